//! The simulator's time.

use time::{Duration, OffsetDateTime};

/// Two readings of the real clock: one that can be moved on, by which uploads age,
/// and one that can be wrong, by which signatures are judged.
pub(super) struct Clock {
    pub(super) advanced: Duration,
    pub(super) skew: Duration,
}

impl Clock {
    pub(super) fn new(skew: Duration) -> Self {
        Self { advanced: Duration::ZERO, skew }
    }

    /// The moment at which things in vaults happen.
    pub(super) fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc() + self.advanced
    }

    /// What the service takes for the time of day.
    pub(super) fn wall(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc() + self.skew
    }
}
