//! The simulator's time.

use time::{Duration, OffsetDateTime, macros::format_description};

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

/// A date as Glacier writes it, e.g. `2012-03-20T17:03:43.221Z`.
pub(super) fn timestamp(moment: OffsetDateTime) -> String {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    moment.format(format).unwrap_or_default()
}
