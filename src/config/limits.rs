//! `[limits]`: how much is let through, and for whom.

use std::time::Duration;

use serde::Deserialize;

/// `[limits]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Calls of Glacier, in each account and region.
    pub upstream: UpstreamLimits,
}

/// `[limits.upstream]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamLimits {
    /// The most calls that are under way at once.
    pub concurrency: u32,
    /// Which share of them jobs and inventory runs may have.
    pub background_share: f64,
    /// The most callers that wait for one of them.
    pub queue: u32,
    /// The longest that a caller waits.
    #[serde(with = "humantime_serde")]
    pub queue_timeout: Duration,
    /// After how many failures in a row no further call is made; 0 is never.
    pub breaker_failures: u32,
    /// How often one call is tried then, or if all calls hang.
    #[serde(with = "humantime_serde")]
    pub breaker_interval: Duration,
}

impl Limits {
    /// What the types cannot say.
    pub(super) fn check(&self, mut wrong: impl FnMut(String, &str)) {
        let UpstreamLimits { concurrency, background_share, .. } = &self.upstream;
        if !(1..=10_000).contains(concurrency) {
            wrong("limits.upstream.concurrency".into(), "write a number from 1 to 10000");
        }
        if !(*background_share > 0.0 && *background_share <= 1.0) {
            wrong("limits.upstream.background_share".into(), "write a share above 0 and up to 1");
        }
        for (key, duration) in [
            ("limits.upstream.queue_timeout", self.upstream.queue_timeout),
            ("limits.upstream.breaker_interval", self.upstream.breaker_interval),
        ] {
            if duration.is_zero() {
                wrong(key.into(), "write a duration above zero, such as \"2s\"");
            }
        }
    }
}
