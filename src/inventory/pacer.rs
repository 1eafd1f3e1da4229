//! How fast Glacier is asked. A pace is kept for each account and region, since Glacier
//! throttles each for itself.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// The least requests a second, however Glacier throttles.
const LEAST: f64 = 0.5;
/// Requests that were under way when the pace was halved do not halve it again.
const SETTLING: Duration = Duration::from_secs(1);
/// How long it takes to come from nothing to the whole pace.
const RECOVERY: f64 = 20.0;

/// Spreads requests evenly. The pace halves when Glacier throttles, and grows again as long
/// as it does not.
#[derive(Debug)]
pub(super) struct Pacer {
    most: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rate: f64,
    next: Instant,
    slowed: Option<Instant>,
}

impl Pacer {
    /// At most so many requests a second.
    pub fn new(most: u32) -> Self {
        let most = f64::from(most);
        let state = State { rate: most, next: Instant::now(), slowed: None };
        Self { most, state: Mutex::new(state) }
    }

    /// Waits until the next request may be sent.
    pub async fn turn(&self) {
        sleep_until(self.next(Instant::now())).await;
    }

    /// When a request may be sent that could be sent now.
    fn next(&self, now: Instant) -> Instant {
        let mut state = self.state();
        let at = state.next.max(now);
        state.next = at + Duration::from_secs_f64(1.0 / state.rate);
        at
    }

    /// Glacier has throttled a request.
    pub fn throttled(&self) {
        self.slow_down(Instant::now());
    }

    fn slow_down(&self, now: Instant) {
        let mut state = self.state();
        if state.slowed.is_none_or(|slowed| now.duration_since(slowed) >= SETTLING) {
            state.slowed = Some(now);
            state.rate = (state.rate / 2.0).max(LEAST);
            state.next = state.next.max(now + Duration::from_secs_f64(1.0 / state.rate));
        }
    }

    /// Glacier has answered.
    pub fn answered(&self) {
        let mut state = self.state();
        // So much for each request, that it is the same in each second whatever the rate.
        state.rate = (state.rate + self.most / (RECOVERY * state.rate)).min(self.most);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_keep_the_pace_and_half_of_it_after_a_throttled_one() {
        let pacer = Pacer::new(20);
        let mut now = pacer.next(Instant::now());
        let mut took = |requests: u32| {
            let begun = now;
            for _ in 0..requests {
                now = pacer.next(now);
            }
            ((now - begun).as_secs_f64().round(), now)
        };
        assert_eq!(took(20).0, 1.0);
        let (_, now) = took(1);
        pacer.slow_down(now);
        // One that was under way already.
        pacer.slow_down(now);
        assert_eq!(took(20).0, 2.0);
        (0..400).for_each(|_| pacer.answered());
        took(1);
        assert_eq!(took(20).0, 1.0, "never above the pace");
        for _ in 0..100 {
            let (_, now) = took(40);
            pacer.slow_down(now);
        }
        took(1);
        assert_eq!(took(2).0, 4.0, "never to a standstill");
    }
}
