//! How the store is, for `/readyz`, metrics and whoever waits.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use time::OffsetDateTime;

/// How long a commit may take before the store counts as unavailable.
const STUCK: Duration = Duration::from_secs(1);

/// How the store is.
#[derive(Clone, Debug, Default)]
pub struct StoreStatus {
    /// Why nothing can be written now, and since when, if so.
    pub trouble: Option<(OffsetDateTime, String)>,
    /// Entries that wait to be written.
    pub waiting: usize,
    /// Entries that were not taken because too many waited.
    pub refused: u64,
    /// Commits so far.
    pub commits: u64,
    /// Entries written so far.
    pub entries: u64,
    /// The longest commit so far.
    pub longest_commit: Duration,
}

/// What the writer notes, and anybody may read.
#[derive(Default)]
pub(super) struct Health {
    /// Since when the writer has been inside a commit, in microseconds; 0 if it is not.
    busy_since: AtomicI64,
    trouble: Mutex<Option<(OffsetDateTime, String)>>,
    pub refused: AtomicU64,
    commits: AtomicU64,
    entries: AtomicU64,
    longest: AtomicU64,
}

/// Now, in microseconds since 1970.
pub(super) fn now() -> i64 {
    let micros = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1000;
    i64::try_from(micros).unwrap_or(i64::MAX)
}

impl Health {
    /// Notes that a commit begins.
    pub fn begins(&self) {
        self.busy_since.store(now(), Relaxed);
    }

    /// Notes that it has succeeded, with so many entries after so long.
    pub fn committed(&self, entries: usize, time: Duration) {
        self.busy_since.store(0, Relaxed);
        self.commits.fetch_add(1, Relaxed);
        self.entries.fetch_add(entries as u64, Relaxed);
        self.longest.fetch_max(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Notes that the store can be written again.
    pub fn recovered(&self) {
        self.busy_since.store(0, Relaxed);
        if let Some((since, _)) = self.edit().take() {
            tracing::warn!(%since, "the store can be written again");
        }
    }

    /// Notes that the store cannot be written.
    pub fn failed(&self, reason: &dyn std::fmt::Display) {
        self.busy_since.store(0, Relaxed);
        let mut trouble = self.edit();
        if trouble.is_none() {
            tracing::error!(%reason, "the store cannot be written; changes are refused");
        }
        let since = trouble.take().map_or_else(OffsetDateTime::now_utc, |(since, _)| since);
        *trouble = Some((since, reason.to_string()));
    }

    /// Whether a new entry has no chance of being written in time.
    pub fn is_unavailable(&self) -> bool {
        self.stuck_since().is_some() || self.edit().is_some()
    }

    fn stuck_since(&self) -> Option<i64> {
        let since = self.busy_since.load(Relaxed);
        let stuck = i64::try_from(STUCK.as_micros()).unwrap_or(i64::MAX);
        (since != 0 && now() - since > stuck).then_some(since)
    }

    pub fn status(&self, waiting: usize) -> StoreStatus {
        let stuck = self.stuck_since().map(|since| {
            let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(since) * 1000);
            let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
            (at, "a commit does not end".to_owned())
        });
        StoreStatus {
            trouble: self.edit().clone().or(stuck),
            waiting,
            refused: self.refused.load(Relaxed),
            commits: self.commits.load(Relaxed),
            entries: self.entries.load(Relaxed),
            longest_commit: Duration::from_micros(self.longest.load(Relaxed)),
        }
    }

    fn edit(&self) -> std::sync::MutexGuard<'_, Option<(OffsetDateTime, String)>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
