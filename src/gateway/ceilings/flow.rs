//! How many calls end in a second.

use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(1);

/// Counts what ended in this window and in the one before.
#[derive(Debug)]
pub(super) struct Flow {
    since: Instant,
    ended: u32,
    before: u32,
}

impl Flow {
    pub fn new(now: Instant) -> Self {
        Self { since: now, ended: 0, before: 0 }
    }

    /// One has ended.
    pub fn note(&mut self, now: Instant) {
        self.turn(now);
        self.ended += 1;
    }

    /// How long it takes until so many have ended; `None` if none has lately.
    pub fn time_for(&mut self, calls: usize, now: Instant) -> Option<Duration> {
        self.turn(now);
        let seen = self.ended + self.before;
        let past = if self.before == 0 { Duration::ZERO } else { WINDOW } + (now - self.since);
        let each = past.checked_div(seen)?;
        Some(each.saturating_mul(u32::try_from(calls).unwrap_or(u32::MAX)))
    }

    fn turn(&mut self, now: Instant) {
        let past = now.duration_since(self.since);
        if past >= 2 * WINDOW {
            *self = Self::new(now);
        } else if past >= WINDOW {
            *self = Self { since: self.since + WINDOW, ended: 0, before: self.ended };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_from_the_last_seconds_how_long_something_takes() {
        let start = Instant::now();
        let mut flow = Flow::new(start);
        assert_eq!(flow.time_for(1, start), None);
        for hundredth in 1..=150 {
            flow.note(start + Duration::from_millis(10) * hundredth);
        }
        let wait = flow.time_for(100, start + Duration::from_millis(1_500));
        let wait = wait.unwrap_or_default().as_secs_f64();
        assert!((0.95..1.05).contains(&wait), "{wait}");
        assert_eq!(flow.time_for(1, start + 4 * WINDOW), None, "that was long ago");
    }

    #[test]
    fn a_window_begins_where_the_one_before_ended() {
        let start = Instant::now();
        let mut flow = Flow::new(start);
        flow.note(start);
        assert_eq!(flow.time_for(2, start + 3 * WINDOW / 2), Some(3 * WINDOW));
        flow.note(start + 5 * WINDOW);
        assert_eq!(flow.time_for(1, start + 5 * WINDOW), Some(Duration::ZERO));
    }
}
