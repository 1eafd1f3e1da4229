//! How many calls Glacier takes at once: more as long as it answers, half as many once it
//! throttles (additive increase, multiplicative decrease).

use std::time::Instant;

/// How many calls may be under way.
#[derive(Debug)]
pub struct Concurrency {
    limit: f64,
    most: f64,
    /// When Glacier last made this less.
    slowed: Option<Instant>,
}

impl Concurrency {
    /// `first` calls at first, and `most` at most.
    pub fn new(first: u32, most: u32) -> Self {
        let most = f64::from(most.max(1));
        Self { limit: f64::from(first).clamp(1.0, most), most, slowed: None }
    }

    /// How many calls may be under way: 1 at least.
    pub fn limit(&self) -> usize {
        self.limit as usize
    }

    /// When Glacier last made this less.
    pub fn slowed(&self) -> Option<Instant> {
        self.slowed
    }

    /// Glacier has answered. Until it has throttled for the first time, each answer makes
    /// room for one call more; then as many answers as there are calls do.
    pub fn answered(&mut self) {
        let step = if self.slowed.is_none() { 1.0 } else { 1.0 / self.limit };
        self.limit = (self.limit + step).min(self.most);
    }

    /// Glacier has throttled a call that began at `begun`. Gives false if it began before
    /// Glacier throttled the last time: those are no further reason to ask less.
    pub fn throttled(&mut self, begun: Instant, now: Instant) -> bool {
        if self.slowed.is_some_and(|slowed| begun < slowed) {
            return false;
        }
        self.limit = (self.limit / 2.0).max(1.0);
        self.slowed = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn after(concurrency: &mut Concurrency, answers: usize) -> usize {
        (0..answers).for_each(|_| concurrency.answered());
        concurrency.limit()
    }

    #[test]
    fn until_glacier_throttles_each_answer_makes_room_for_one_more() {
        let mut concurrency = Concurrency::new(1, 4);
        assert_eq!([0, 1, 1, 1, 1].map(|n| after(&mut concurrency, n)), [1, 2, 3, 4, 4]);
        assert_eq!(concurrency.slowed(), None);
    }

    #[test]
    fn then_it_takes_as_many_answers_as_there_are_calls() {
        let (mut concurrency, now) = (Concurrency::new(16, 16), Instant::now());
        assert!(concurrency.throttled(now, now));
        assert_eq!(concurrency.slowed(), Some(now));
        assert_eq!([0, 8, 1].map(|n| after(&mut concurrency, n)), [8, 8, 9]);
    }

    #[test]
    fn what_was_under_way_when_glacier_throttled_is_no_reason_to_ask_less_still() {
        let (mut concurrency, now) = (Concurrency::new(16, 16), Instant::now());
        let later = now + Duration::from_secs(1);
        assert!(concurrency.throttled(now, later));
        assert!(!concurrency.throttled(now, later));
        assert_eq!(concurrency.limit(), 8);
        assert!(concurrency.throttled(later, later));
        assert_eq!(concurrency.limit(), 4);
        for _ in 0..9 {
            concurrency.throttled(later, later);
        }
        assert_eq!(concurrency.limit(), 1);
    }
}
