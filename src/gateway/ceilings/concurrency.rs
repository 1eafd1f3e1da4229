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
