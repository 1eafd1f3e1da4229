//! `[jobs]`: aborts in bulk.

use std::time::Duration;

use serde::Deserialize;

/// `[jobs]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jobs {
    /// The most calls of Glacier that are under way at once for the jobs of an account and
    /// region.
    pub concurrency: u32,
    /// For how long an upload's parts must not have changed, unless a job says so.
    #[serde(with = "humantime_serde")]
    pub quiet_for: Duration,
    /// How long after it was asked for a job stops.
    #[serde(with = "humantime_serde")]
    pub max_age: Duration,
    /// How long a job is kept once it has ended.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
    /// The most jobs of a team that have not ended.
    pub active_per_team: u32,
    /// The most items of those jobs.
    pub items_per_team: u32,
}

impl Jobs {
    /// What the types cannot say.
    pub(super) fn check(&self, mut wrong: impl FnMut(String, &str)) {
        if !(1..=1024).contains(&self.concurrency) {
            wrong("jobs.concurrency".into(), "write a number from 1 to 1024");
        }
        if self.max_age < Duration::from_secs(60) || self.max_age > Duration::from_secs(90 * 86_400)
        {
            wrong("jobs.max_age".into(), "write a duration from 1min to 90days");
        }
        if self.active_per_team == 0 {
            wrong("jobs.active_per_team".into(), "write 1 or more");
        }
        if self.items_per_team == 0 {
            wrong("jobs.items_per_team".into(), "write 1 or more");
        }
    }
}
