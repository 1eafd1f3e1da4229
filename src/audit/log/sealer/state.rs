//! How the log is, for whoever serves.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};

/// How the log is; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LogState(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    status: Mutex<LogStatus>,
    rolled_back: AtomicBool,
}

/// How the log is.
#[derive(Clone, Debug, Default)]
pub struct LogStatus {
    /// The log that is written.
    pub origin: String,
    /// How many records it has.
    pub next: u64,
    /// How many of them the last checkpoint vouches for.
    pub sealed: u64,
    /// What the store does not bear out, if changes are to be refused for that.
    pub rolled_back: Option<String>,
    /// Why the log cannot be sealed.
    pub trouble: Option<String>,
    /// Why checkpoints cannot be kept outside of the store.
    pub outside: Option<String>,
    /// What else is strange about the checkpoints.
    pub doubts: Option<String>,
}

impl LogState {
    /// How the log is.
    pub fn status(&self) -> LogStatus {
        self.edit().clone()
    }

    /// Whether changes are to be refused because the store does not bear out what was
    /// signed.
    pub fn is_rolled_back(&self) -> bool {
        self.0.rolled_back.load(Relaxed)
    }

    pub(super) fn refuse_changes(&self, refuse: bool) {
        self.0.rolled_back.store(refuse, Relaxed);
    }

    pub(super) fn edit(&self) -> MutexGuard<'_, LogStatus> {
        self.0.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
