//! Who has room, and who gets it next.

use std::time::{Duration, Instant};

use super::{
    breaker::Breaker,
    concurrency::Concurrency,
    flow::Flow,
    queue::{Held, Queue, Round},
};
use crate::config::UpstreamLimits;

/// The longest after which a caller is told to try again.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// How many calls were not made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refused {
    /// There were too many.
    pub overloaded: u64,
    /// Calls only failed.
    pub open: u64,
}

/// How it stands with the calls of an account and region.
pub(super) struct State {
    pub concurrency: Concurrency,
    pub under_way: usize,
    /// How many of those nobody waits for.
    pub background: usize,
    /// How many of those take no room any more: they hang, and later ones were answered.
    pub written_off: usize,
    /// How often calls were written off.
    pub round: Round,
    pub queue: Queue,
    pub flow: Flow,
    /// When a place was last taken, or given back to whoever waited.
    pub moved: Instant,
    /// When a call may next be made without room.
    next_try: Instant,
    pub breaker: Breaker,
    pub refused: Refused,
}

impl State {
    pub fn new(settings: &UpstreamLimits, now: Instant) -> Self {
        Self {
            concurrency: Concurrency::new(settings.concurrency, settings.concurrency),
            under_way: 0,
            background: 0,
            written_off: 0,
            round: 0,
            queue: Queue::default(),
            flow: Flow::new(now),
            moved: now,
            next_try: now,
            breaker: Breaker::default(),
            refused: Refused::default(),
        }
    }

    /// Whether as many calls are under way as may.
    pub fn is_full(&self) -> bool {
        self.under_way - self.written_off >= self.concurrency.limit()
    }

    /// Whether there is room. The background leaves some to those who wait for an answer.
    pub fn has_room(&self, background: bool, settings: &UpstreamLimits) -> bool {
        let limit = self.concurrency.limit();
        let share = || ((limit as f64 * settings.background_share) as usize).max(1);
        !self.is_full() && (!background || self.background < share())
    }

    pub fn take(&mut self, background: bool, now: Instant) {
        self.under_way += 1;
        self.background += usize::from(background);
        self.moved = now;
    }

    /// Whether all calls hang, for longer than anybody waits.
    pub fn is_stuck(&self, settings: &UpstreamLimits, now: Instant) -> bool {
        self.is_full() && now.duration_since(self.moved) >= settings.queue_timeout
    }

    /// Lets one call in each interval try without room whether only those that are under way
    /// hang.
    pub fn tries(&mut self, settings: &UpstreamLimits, now: Instant) -> bool {
        let tries = now >= self.next_try;
        if tries {
            self.next_try = now + settings.breaker_interval;
            self.under_way += 1;
        }
        tries
    }

    /// A call that was made without room was answered: those that still hang give their room
    /// to others. If some did so before, these have to end first: there are never more than
    /// twice as many calls as may be.
    pub fn write_off(&mut self, now: Instant) {
        if self.written_off == 0 {
            self.written_off = self.under_way;
            self.round += 1;
            self.moved = now;
        }
    }

    /// Gives room to whoever waits.
    pub fn hand_on(&mut self, settings: &UpstreamLimits, now: Instant) {
        while self.has_room(false, settings) {
            let background = self.has_room(true, settings);
            let Some((background, tell)) = self.queue.pop(background) else { return };
            // Whoever waits takes itself out of the queue before it stops to listen.
            if tell.send(Ok(self.round)).is_ok() {
                self.take(background, now);
            }
        }
    }

    /// Whether one of `team` who comes now is likely to find room in time. If the queue is
    /// full, the team with the most waiters makes room.
    ///
    /// # Errors
    /// It is not, and may be after so long.
    pub fn expect_room(
        &mut self,
        team: &str,
        settings: &UpstreamLimits,
        now: Instant,
    ) -> Result<(), Held> {
        let UpstreamLimits { queue, queue_timeout, .. } = settings;
        let wait = if self.is_stuck(settings, now) {
            self.next_try.duration_since(now)
        } else {
            let ahead = self.queue.ahead_of(Some(team));
            let wait = self.flow.time_for(ahead + 1, now).unwrap_or_default();
            let has_place = self.queue.callers() < *queue as usize;
            if wait <= *queue_timeout && (has_place || *queue > 0 && self.displaced(team)) {
                return Ok(());
            }
            wait
        };
        self.refused.overloaded += 1;
        Err(overloaded(wait))
    }

    /// What one hears who has waited for too long, or has made room for another team.
    pub fn waited_in_vain(&mut self, now: Instant) -> Held {
        let calls = self.queue.callers() + 1;
        overloaded(self.flow.time_for(calls, now).unwrap_or_default())
    }

    fn displaced(&mut self, team: &str) -> bool {
        let displaced = self.queue.displace(team).is_some();
        self.refused.overloaded += u64::from(displaced);
        displaced
    }
}

fn overloaded(wait: Duration) -> Held {
    Held::Overloaded(wait.clamp(Duration::from_secs(1), LONGEST_RETRY))
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
