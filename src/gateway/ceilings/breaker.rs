//! A circuit breaker: if calls of Glacier fail one after the other, further ones are refused
//! at once, but for one now and then that tries whether Glacier answers again.

use std::time::{Duration, Instant};

use time::OffsetDateTime;

/// Whether calls are made.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// How many have failed since the last that was answered.
    failures: u32,
    open: Option<OpenSince>,
}

/// The breaker is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenSince {
    /// Since when.
    pub since: OffsetDateTime,
    /// When the next call may try.
    pub next: Instant,
}

impl Breaker {
    /// Whether a call may be made. If not all are, one may in each `interval`, be the one
    /// before answered or not: it may hang for long after Glacier has come back.
    pub fn admits(&mut self, interval: Duration, now: Instant) -> Result<(), OpenSince> {
        match &mut self.open {
            None => Ok(()),
            Some(open) if open.next <= now => {
                open.next = now + interval;
                Ok(())
            }
            Some(open) => Err(*open),
        }
    }

    /// Glacier has answered a call. If that closes the breaker, gives since when it was open.
    pub fn answered(&mut self) -> Option<OffsetDateTime> {
        self.failures = 0;
        self.open.take().map(|open| open.since)
    }

    /// A call has failed, of which `most` in a row open the breaker. Says whether this one
    /// did.
    pub fn failed(&mut self, most: u32, interval: Duration, now: Instant) -> Option<OpenSince> {
        self.failures = self.failures.saturating_add(1);
        if most == 0 || self.failures < most || self.open.is_some() {
            return None;
        }
        self.open = Some(OpenSince { since: OffsetDateTime::now_utc(), next: now + interval });
        self.open
    }

    /// Since when it is open.
    pub fn open_since(&self) -> Option<OffsetDateTime> {
        self.open.map(|open| open.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(2);

    #[test]
    fn failures_in_a_row_open_it_and_one_answer_closes_it() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        let fail = |breaker: &mut Breaker| breaker.failed(3, INTERVAL, now).is_some();
        assert!(!fail(&mut breaker) && !fail(&mut breaker));
        assert_eq!(breaker.answered(), None);
        assert!(!fail(&mut breaker) && !fail(&mut breaker) && fail(&mut breaker));
        assert!(breaker.admits(INTERVAL, now).is_err());
        assert!(breaker.answered().is_some());
        assert!(breaker.admits(INTERVAL, now).is_ok());
    }

    #[test]
    fn an_open_one_lets_one_call_try_in_each_interval() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        breaker.failed(1, INTERVAL, now);
        assert!(breaker.admits(INTERVAL, now + INTERVAL).is_ok());
        assert!(breaker.admits(INTERVAL, now + INTERVAL).is_err(), "one at a time");
        assert!(breaker.admits(INTERVAL, now + 2 * INTERVAL).is_ok(), "the first may hang");
    }

    #[test]
    fn zero_failures_are_never_enough() {
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            assert_eq!(breaker.failed(0, INTERVAL, Instant::now()), None);
        }
    }
}
