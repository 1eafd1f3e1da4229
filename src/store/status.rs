//! How the store is, for `/readyz`, metrics and whoever waits.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use time::OffsetDateTime;

use super::room::Room;

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
    /// The longest commit so far, also of those that failed.
    pub longest_commit: Duration,
    /// The room on the store's file system, if that is known.
    pub room: Option<Room>,
}

/// What the writer notes, and anybody may read.
pub(super) struct Health {
    /// What `busy_since` counts from: a clock that nobody sets.
    started: Instant,
    /// Since when the writer has been inside a commit, in microseconds; 0 if it is not.
    busy_since: AtomicU64,
    /// The same of the last commit that was told not to end.
    stuck_since: AtomicU64,
    trouble: Mutex<Option<(OffsetDateTime, String)>>,
    pub refused: AtomicU64,
    /// Entries that the writer has taken and could not write yet.
    pub held: AtomicU64,
    commits: AtomicU64,
    entries: AtomicU64,
    longest: AtomicU64,
    room: Mutex<Option<Room>>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            busy_since: AtomicU64::default(),
            stuck_since: AtomicU64::default(),
            trouble: Mutex::default(),
            refused: AtomicU64::default(),
            held: AtomicU64::default(),
            commits: AtomicU64::default(),
            entries: AtomicU64::default(),
            longest: AtomicU64::default(),
            room: Mutex::default(),
        }
    }
}

/// Now, in microseconds since 1970.
pub(super) fn now() -> i64 {
    let micros = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1000;
    i64::try_from(micros).unwrap_or(i64::MAX)
}

impl Health {
    /// Notes that a commit begins.
    pub fn begins(&self) {
        self.busy_since.store(micros(self.started.elapsed()).max(1), Relaxed);
    }

    /// Notes that it has ended, whatever came of it.
    pub fn idles(&self) {
        let since = self.busy_since.swap(0, Relaxed);
        if since == 0 {
            return;
        }
        let time = micros(self.started.elapsed()).saturating_sub(since);
        self.longest.fetch_max(time, Relaxed);
        if self.stuck_since.load(Relaxed) == since {
            tracing::warn!(milliseconds = time / 1_000, "the store's commit has ended");
        }
    }

    /// Notes the room on the file system.
    pub fn has_room(&self, room: Option<Room>) {
        *self.room.lock().unwrap_or_else(PoisonError::into_inner) = room;
    }

    /// The room on the file system, if that is known.
    pub fn room(&self) -> Option<Room> {
        *self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that it has succeeded, with so many entries.
    pub fn committed(&self, entries: usize) {
        self.idles();
        self.commits.fetch_add(1, Relaxed);
        self.entries.fetch_add(entries as u64, Relaxed);
    }

    /// Notes that the store can be written again.
    pub fn recovered(&self) {
        self.idles();
        if let Some((since, _)) = self.edit().take() {
            tracing::warn!(%since, "the store can be written again");
        }
    }

    /// Notes that the store cannot be written.
    pub fn failed(&self, reason: &dyn std::fmt::Display) {
        self.idles();
        let mut trouble = self.edit();
        if trouble.is_none() {
            tracing::error!(%reason, "the store cannot be written; changes are refused");
        }
        let since = trouble.take().map_or_else(OffsetDateTime::now_utc, |(since, _)| since);
        *trouble = Some((since, reason.to_string()));
    }

    /// Whether a new entry has no chance of being written in time.
    pub fn is_unavailable(&self) -> bool {
        let stuck = self.stuck();
        if stuck.is_some() {
            let since = self.busy_since.load(Relaxed);
            if self.stuck_since.swap(since, Relaxed) != since {
                tracing::error!("a commit of the store does not end; changes are refused");
            }
        }
        stuck.is_some() || self.edit().is_some()
    }

    /// For how long the writer has been inside a commit, if that is too long.
    fn stuck(&self) -> Option<Duration> {
        let since = self.busy_since.load(Relaxed);
        let busy = self.started.elapsed().saturating_sub(Duration::from_micros(since));
        (since != 0 && busy > STUCK).then_some(busy)
    }

    pub fn status(&self, waiting: usize) -> StoreStatus {
        let stuck = self
            .stuck()
            .map(|busy| (OffsetDateTime::now_utc() - busy, "a commit does not end".to_owned()));
        StoreStatus {
            trouble: self.edit().clone().or(stuck),
            waiting: waiting + usize::try_from(self.held.load(Relaxed)).unwrap_or(usize::MAX),
            refused: self.refused.load(Relaxed),
            commits: self.commits.load(Relaxed),
            entries: self.entries.load(Relaxed),
            longest_commit: Duration::from_micros(self.longest.load(Relaxed)),
            room: self.room(),
        }
    }

    fn edit(&self) -> std::sync::MutexGuard<'_, Option<(OffsetDateTime, String)>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
