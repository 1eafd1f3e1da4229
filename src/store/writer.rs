//! The one thread that appends to the trail's log, as others see it.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed, mpsc},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};
use tokio::sync::oneshot;

use super::{
    append::{Append, Pending, Rewrite},
    backend::Backend,
    error::StoreError,
    queue::Shared,
    room::Room,
    status::StoreStatus,
    writing::Writing,
};

/// The crate's number for the usual niceness, of 0 to 99.
const NICENESS_ZERO: u8 = 48;
/// The handle to the writer's thread.
pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Thread,
    ended: Mutex<mpsc::Receiver<()>>,
}

impl Writer {
    /// Starts the thread, and connects.
    pub async fn start(
        backend: Backend,
        replica: String,
        rewrite: Rewrite,
    ) -> Result<Self, StoreError> {
        let shared = Arc::<Shared>::default();
        let (started, starting) = oneshot::channel();
        let (ending, ended) = mpsc::channel();
        let owned = shared.clone();
        let start = move || {
            be_polite();
            let _end = End { shared: owned.clone(), _ending: ending };
            match Writing::new(owned, backend, replica, rewrite) {
                Ok(writing) => {
                    let _ = started.send(Ok(()));
                    writing.run();
                }
                Err(error) => drop(started.send(Err(error))),
            }
        };
        let thread = thread::Builder::new().name("store".to_owned()).spawn(start);
        let thread = thread.map_err(|error| StoreError::unusable(error.to_string()))?;
        let has_ended = |_| StoreError::unusable("the writer has ended");
        starting.await.map_err(has_ended)??;
        Ok(Self { shared, thread: thread.thread().clone(), ended: Mutex::new(ended) })
    }

    /// Appends an entry that somebody waits for, if that makes sense now. Otherwise it is
    /// written once it can be.
    pub fn append(&self, append: Append) -> Pending {
        if self.shared.health.is_unavailable() {
            self.append_later(append);
            return Pending::refused();
        }
        let (told, pending) = Pending::new();
        if !self.shared.append(append, told) {
            return Pending::refused();
        }
        self.thread.unpark();
        pending
    }

    /// Appends an entry that nobody waits for, if there is room.
    pub fn append_later(&self, append: Append) -> bool {
        let taken = self.shared.append_later(append);
        if taken && self.shared.asleep.load(Relaxed) {
            self.thread.unpark();
        }
        taken
    }

    pub fn status(&self) -> StoreStatus {
        let waiting = self.shared.queue().entries.len();
        self.shared.health.status(waiting)
    }

    /// The room on the store's file system, if that is known.
    pub fn room(&self) -> Option<Room> {
        self.shared.health.room()
    }

    /// Writes what waits, and ends the thread. Gives false if that took longer than
    /// `limit`, or if something was not written.
    pub fn close(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        self.shared.closing.get_or_init(|| until);
        self.thread.unpark();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        // A commit that hangs cannot be ended from here.
        let still_runs = ended.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
        let mut queue = self.shared.queue();
        queue.closed = true;
        let unwritten = self.shared.health.status(queue.entries.len()).waiting;
        drop(queue);
        if still_runs || unwritten > 0 {
            tracing::error!(entries = unwritten, "the store was closed before all was written");
        }
        !still_runs && unwritten == 0
    }
}

/// Says that the thread has ended, also if by a panic.
struct End {
    shared: Arc<Shared>,
    _ending: mpsc::Sender<()>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        if thread::panicking() {
            self.shared.health.failed(&"the writer has ended");
        }
    }
}

/// Lets the threads that serve go first: a writer that preempts them commits half a group.
/// If the system refuses, nothing is lost but speed.
pub(super) fn be_polite() {
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
    if let Ok(priority) = NICENESS_ZERO.try_into().map(ThreadPriority::Crossplatform) {
        let _ = set_thread_priority_and_policy(thread_native_id(), priority, policy);
    }
}
