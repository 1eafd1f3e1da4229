//! The one thread that appends to the trail's log. It commits in groups without a
//! timer: each commit takes whatever arrived during the last one.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle, Thread},
    time::{Duration, Instant},
};

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

use super::{
    append::{Append, Kind, Pending, Rewrite, Told},
    error::{StoreError, Unavailable},
    sqlite::{Appender, Sqlite},
    status::{Health, StoreStatus},
};

/// How long an entry that nobody waits for may lie before it is written.
const RIDE: Duration = Duration::from_millis(2);
/// How many entries that nobody waits for may wait.
const MOST_WAITING: usize = 20_000;
/// How many entries one commit takes, so that one cannot take long.
const MOST_IN_A_COMMIT: usize = 4_096;
/// The crate's number for the usual niceness, of 0 to 99.
const NICENESS_ZERO: u8 = 48;
/// How long the writer waits before it tries again to open the store.
const RETRY: Duration = Duration::from_millis(250);

/// An entry in the queue, with whoever waits for it.
struct Queued {
    append: Append,
    told: Option<Told>,
}

/// What the writer shares with whoever appends.
struct Shared {
    queue: Mutex<Vec<Queued>>,
    /// Whether the writer waits for nothing but a call.
    asleep: AtomicBool,
    closing: AtomicBool,
    health: Health,
}

/// The handle to the writer's thread.
pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Thread,
    ended: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread.
    pub fn start(file: Sqlite, replica: String, rewrite: Rewrite) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            asleep: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            health: Health::default(),
        });
        let appender = file.writer()?;
        let writing = Writing {
            shared: shared.clone(),
            file,
            appender: Some(appender),
            replica,
            rewrite,
            again: Vec::new(),
            doubtful: Vec::new(),
        };
        let start = move || {
            be_polite();
            writing.run();
        };
        let thread = thread::Builder::new().name("store".to_owned()).spawn(start);
        let thread = thread.map_err(|error| StoreError::unusable(error.to_string()))?;
        Ok(Self { shared, thread: thread.thread().clone(), ended: Mutex::new(Some(thread)) })
    }

    /// Appends an entry that somebody waits for.
    pub fn append(&self, append: Append) -> Pending {
        if self.shared.health.is_unavailable() || self.shared.closing.load(Relaxed) {
            return Pending::refused();
        }
        let (told, pending) = Pending::new();
        self.shared.queue().push(Queued { append, told: Some(told) });
        self.thread.unpark();
        pending
    }

    /// Appends an entry that nobody waits for, if there is room.
    pub fn append_later(&self, append: Append) -> bool {
        let mut queue = self.shared.queue();
        if queue.len() >= MOST_WAITING && append.kind != Kind::Outcome {
            self.shared.health.refused.fetch_add(1, Relaxed);
            return false;
        }
        queue.push(Queued { append, told: None });
        drop(queue);
        if self.shared.asleep.load(Relaxed) {
            self.thread.unpark();
        }
        true
    }

    pub fn status(&self) -> StoreStatus {
        let waiting = self.shared.queue().len();
        self.shared.health.status(waiting)
    }

    /// Writes what waits, and ends the thread.
    pub fn close(&self) {
        self.shared.closing.store(true, Relaxed);
        self.thread.unpark();
        let thread = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Vec<Queued>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the threads that serve go first: a writer that preempts them commits half a group.
/// If the system refuses, nothing is lost but speed.
fn be_polite() {
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
    if let Ok(priority) = NICENESS_ZERO.try_into().map(ThreadPriority::Crossplatform) {
        let _ = set_thread_priority_and_policy(thread_native_id(), priority, policy);
    }
}

/// The thread's own state.
struct Writing {
    shared: Arc<Shared>,
    file: Sqlite,
    /// `None` while the store cannot be written.
    appender: Option<Appender>,
    replica: String,
    rewrite: Rewrite,
    /// Entries that nobody waits for, of a commit that failed.
    again: Vec<Append>,
    /// Intents of a commit that failed. Those who waited were told so.
    doubtful: Vec<Append>,
}

impl Writing {
    fn run(mut self) {
        loop {
            let batch = self.take();
            if self.appender.is_none() && !self.reopen() {
                self.refuse(batch);
                if self.shared.closing.load(Relaxed) {
                    return;
                }
                thread::park_timeout(RETRY);
                continue;
            }
            if batch.is_empty() {
                if self.shared.closing.load(Relaxed) {
                    return;
                }
                self.wait();
                continue;
            }
            self.write(batch);
        }
    }

    /// What has arrived, if it is to be written now. Entries that nobody waits for are left for a
    /// moment, since those that somebody waits for may join them.
    fn take(&mut self) -> Vec<Queued> {
        let is_urgent = |queue: &[Queued]| queue.iter().any(|queued| queued.told.is_some());
        let ride = {
            let queue = self.shared.queue();
            !queue.is_empty() && !is_urgent(&queue) && !self.shared.closing.load(Relaxed)
        };
        if ride {
            thread::park_timeout(RIDE);
        }
        let mut queue = self.shared.queue();
        if queue.len() <= MOST_IN_A_COMMIT {
            mem::take(&mut *queue)
        } else {
            queue.drain(..MOST_IN_A_COMMIT).collect()
        }
    }

    /// Waits until there is something.
    fn wait(&self) {
        thread::park_timeout(RIDE);
        if !self.shared.queue().is_empty() {
            return;
        }
        self.shared.asleep.store(true, Relaxed);
        // Whoever came before the line above did not see that the writer sleeps.
        let nothing = self.shared.queue().is_empty();
        if nothing && !self.shared.closing.load(Relaxed) {
            thread::park();
        }
        self.shared.asleep.store(false, Relaxed);
    }

    fn write(&mut self, batch: Vec<Queued>) {
        // Whoever no longer waits has been refused, so nothing is to be written for them.
        let waited = |queued: &Queued| !queued.told.as_ref().is_some_and(Told::is_closed);
        let (appends, told): (Vec<_>, Vec<_>) =
            batch.into_iter().filter(waited).map(|queued| (queued.append, queued.told)).unzip();
        if appends.is_empty() {
            return;
        }
        self.shared.health.begins();
        let begun = Instant::now();
        let committed = self.file.check().and_then(|()| match &mut self.appender {
            Some(appender) => appender.commit(&appends, &self.replica),
            None => Err(StoreError::unusable("the store is not open")),
        });
        let mut later = Vec::new();
        match committed {
            Ok(positions) => {
                self.shared.health.committed(appends.len(), begun.elapsed());
                for ((append, told), position) in appends.into_iter().zip(told).zip(positions) {
                    match (told, position) {
                        (Some(told), Some(position)) => {
                            let unheard = told.send(Ok(position)).is_err();
                            if unheard && append.kind == Kind::Intent {
                                later.push((self.rewrite.not_attempted)(&append));
                            }
                        }
                        (None, None) => later.push((self.rewrite.late)(append)),
                        _ => {}
                    }
                }
            }
            Err(error) => {
                self.shared.health.failed(&error);
                self.appender = None;
                for (append, told) in appends.into_iter().zip(told) {
                    match told {
                        Some(told) => {
                            let _ = told.send(Err(Unavailable));
                            if append.kind == Kind::Intent {
                                self.doubtful.push(append);
                            }
                        }
                        None => self.again.push(append),
                    }
                }
            }
        }
        let later = later.into_iter().map(|append| Queued { append, told: None });
        self.shared.queue().extend(later);
    }

    /// Opens the store again, and settles what the failed commit left in doubt.
    fn reopen(&mut self) -> bool {
        match self.settle() {
            Ok(()) => {
                self.shared.health.recovered();
                true
            }
            Err(error) => {
                self.shared.health.failed(&error);
                self.appender = None;
                false
            }
        }
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        let mut appender = self.file.writer()?;
        let present = appender.present(&self.doubtful)?;
        let durable = self.doubtful.iter().zip(present).filter(|(_, present)| *present);
        let unattempted = durable.map(|(intent, _)| (self.rewrite.not_attempted)(intent));
        let mut missing: Vec<Append> = unattempted.collect();
        let present = appender.present(&self.again)?;
        let absent = self.again.iter().zip(present).filter(|(_, present)| !*present);
        missing.extend(absent.map(|(append, _)| append.clone()));
        // All at once: what a second failure leaves behind is as the first one left it.
        let positions = appender.commit(&missing, &self.replica)?;
        for (append, position) in missing.into_iter().zip(positions) {
            if position.is_none() {
                let late = (self.rewrite.late)(append);
                self.shared.queue().push(Queued { append: late, told: None });
            }
        }
        self.doubtful.clear();
        self.again.clear();
        self.appender = Some(appender);
        Ok(())
    }

    /// Tells those who wait that the store cannot be written, and keeps the rest.
    fn refuse(&mut self, batch: Vec<Queued>) {
        for Queued { append, told } in batch {
            match told {
                Some(told) => drop(told.send(Err(Unavailable))),
                None if append.kind == Kind::Outcome || self.again.len() < MOST_WAITING => {
                    self.again.push(append);
                }
                None => drop(self.shared.health.refused.fetch_add(1, Relaxed)),
            }
        }
    }
}
