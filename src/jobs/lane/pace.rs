//! How fast Glacier is asked for the jobs of an account and region: as fast as it takes it.
//!
//! At first the number of calls under way grows with each answer. Once Glacier throttles, it
//! grows slowly and halves when Glacier throttles again; and calls are spaced by a little
//! less than what Glacier has taken in the last second.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::gateway::Concurrency;

/// How many calls are under way at first.
const FIRST: u32 = 8;
/// Over how long it is measured what Glacier takes.
const WINDOW: Duration = Duration::from_secs(1);
/// Which share of what Glacier has taken it is asked after it has throttled.
const BACK: f64 = 0.95;
/// By which share the rate grows in a second, for each second since Glacier throttled last.
const GROWTH: f64 = 0.002;

/// How fast Glacier may be asked.
#[derive(Debug)]
pub(super) struct Pace {
    /// How many calls may be under way.
    limit: Concurrency,
    /// How many requests a second there may be, once Glacier has throttled.
    rate: Option<f64>,
    grown: Instant,
    /// When the next request may be sent.
    next: Instant,
    /// When requests were answered lately, and how many.
    taken: VecDeque<(Instant, u32)>,
}

impl Pace {
    pub fn new(most: u32, now: Instant) -> Self {
        let limit = Concurrency::new(FIRST, most);
        Self { limit, rate: None, grown: now, next: now, taken: VecDeque::new() }
    }

    /// How many calls may be under way.
    pub fn limit(&self) -> usize {
        self.limit.limit()
    }

    /// When the next call may begin.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Notes that a call begins that takes about so many requests.
    pub fn begins(&mut self, requests: u32, now: Instant) {
        if let Some(rate) = &mut self.rate {
            let calm = self.limit.slowed().map_or(0.0, |slowed| (now - slowed).as_secs_f64());
            *rate *= 1.0 + GROWTH * calm * (now - self.grown).as_secs_f64();
            let gap = Duration::from_secs_f64(f64::from(requests) / *rate);
            self.next = self.next.max(now) + gap;
        }
        self.grown = now;
    }

    /// Notes how Glacier took a call that began at `begun`.
    pub fn ended(&mut self, begun: Instant, requests: u32, throttled: bool, now: Instant) {
        self.taken.push_back((now, requests));
        while self.taken.front().is_some_and(|(at, _)| now - *at > WINDOW) {
            self.taken.pop_front();
        }
        if !throttled {
            self.limit.answered();
            return;
        }
        // It was throttled: nothing of it was taken.
        self.taken.pop_back();
        if !self.limit.throttled(begun, now) {
            return;
        }
        let taken: u32 = self.taken.iter().map(|(_, requests)| requests).sum();
        let rate = (f64::from(taken) / WINDOW.as_secs_f64() * BACK).max(1.0);
        self.rate = Some(self.rate.map_or(rate, |old| rate.min(old * BACK).max(old / 2.0)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs calls of two requests and 40 ms each for so many seconds against a quota of
    /// `quota` requests a second. Gives how many were taken and how many throttled.
    fn run(quota: f64, seconds: u64) -> (f64, f64) {
        let start = Instant::now();
        let step = Duration::from_millis(1);
        let mut pace = Pace::new(64, start);
        let mut under_way: VecDeque<(Instant, bool)> = VecDeque::new();
        let (mut bucket, mut taken, mut throttled) = (quota, 0.0, 0.0);
        for millis in 0..seconds * 1000 {
            let now = start + step * u32::try_from(millis).unwrap_or(u32::MAX);
            bucket = (bucket + quota / 1000.0).min(quota);
            while under_way.front().is_some_and(|(at, _)| now - *at >= step * 40) {
                let Some((begun, was_throttled)) = under_way.pop_front() else { break };
                pace.ended(begun, 2, was_throttled, now);
            }
            while under_way.len() < pace.limit() && pace.next() <= now {
                let is_throttled = bucket < 2.0;
                if is_throttled {
                    throttled += 2.0;
                } else {
                    bucket -= 2.0;
                    taken += 2.0;
                }
                pace.begins(2, now);
                under_way.push_back((now, is_throttled));
            }
        }
        (taken, throttled)
    }

    #[test]
    fn without_throttling_all_calls_are_under_way_soon() {
        let (taken, throttled) = run(1e9, 10);
        assert_eq!(throttled, 0.0);
        let most = 64.0 * 2.0 / 0.040 * 10.0;
        assert!(taken > 0.95 * most, "{taken} of {most}");
    }

    #[test]
    fn most_of_a_quota_is_used_and_few_calls_are_throttled() {
        for quota in [50.0, 200.0, 1000.0] {
            let (taken, throttled) = run(quota, 60);
            assert!(taken > 0.9 * quota * 60.0, "{taken} of {quota} a second");
            assert!(throttled < 0.05 * taken, "{throttled} throttled of {taken} at {quota}");
        }
    }
}
