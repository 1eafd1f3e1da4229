//! The one thread that appends to the trail's log. It commits in groups without a
//! timer: each commit takes whatever arrived during the last one.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use super::{
    append::{Append, Durable, Kind, Position, Rewrite, Told},
    backend::{Appender, Backend},
    error::{StoreError, Unavailable},
    queue::{MOST_BYTES, MOST_WAITING, Queued, Shared},
};

/// How long an entry that nobody waits for may lie before it is written.
const RIDE: Duration = Duration::from_millis(2);
/// How many entries one commit takes, so that one cannot take long.
const MOST_IN_A_COMMIT: usize = 4_096;
/// How many bytes are written at once of what had to wait.
const MOST_IN_A_PIECE: usize = 1 << 20;
/// How long the writer waits before it tries again to open the store: at first, and at most.
const RETRY: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];
/// How often the writer looks whether the store is still there, and how full it is.
const LOOK: Duration = Duration::from_secs(1);

/// The thread's own state.
pub(super) struct Writing {
    shared: Arc<Shared>,
    backend: Backend,
    /// `None` while the store cannot be written.
    appender: Option<Appender>,
    /// Whether the disk has failed: then nothing is written until another process opens the store.
    is_broken: bool,
    replica: String,
    rewrite: Rewrite,
    /// Everything of ours below this position is known to be written.
    written: i64,
    /// Entries of a commit that failed or that could not be tried. Whoever waited was told
    /// so, and nobody waits for them any more.
    again: Vec<Append>,
    looked: Instant,
    retry: Duration,
}

impl Writing {
    /// Connects.
    pub fn new(
        shared: Arc<Shared>,
        backend: Backend,
        replica: String,
        rewrite: Rewrite,
    ) -> Result<Self, StoreError> {
        let mut appender = backend.appender(&replica)?;
        let written = appender.head()?;
        shared.health.has_room(backend.room());
        Ok(Self {
            shared,
            backend,
            appender: Some(appender),
            is_broken: false,
            replica,
            rewrite,
            written,
            again: Vec::new(),
            looked: Instant::now(),
            retry: RETRY[0],
        })
    }

    /// Writes until the store is closed.
    pub fn run(mut self) {
        loop {
            let batch = self.take();
            if self.appender.is_none() && !self.reopen() {
                self.refuse(batch);
                let closing = self.shared.closing.get();
                if closing.is_some_and(|until| self.is_over(*until)) {
                    return;
                }
                thread::park_timeout(self.retry);
                continue;
            }
            if !batch.is_empty() {
                self.write(batch);
            } else if let Some(until) = self.shared.closing.get().copied() {
                let mut queue = self.shared.queue();
                if queue.entries.is_empty() {
                    queue.closed = true;
                    drop(queue);
                    return self.end(until);
                }
            } else {
                self.wait();
            }
        }
    }

    /// After the last commit. If the disk has failed beside it, nobody may copy any more.
    fn end(&mut self, until: Instant) {
        let Some(appender) = &mut self.appender else { return };
        match appender.finish(until.saturating_duration_since(Instant::now())) {
            Err(error) if error.is_failed_disk() => self.fail(&error),
            _ => {}
        }
    }

    /// Whether there is no more to be done, or no more time.
    fn is_over(&self, until: Instant) -> bool {
        let nothing = self.again.is_empty() && self.shared.queue().entries.is_empty();
        nothing || self.is_broken || Instant::now() + self.retry >= until
    }

    /// What has arrived, if it is to be written now. Entries that nobody waits for are left for a
    /// moment, since those that somebody waits for may join them.
    fn take(&mut self) -> Vec<Queued> {
        let is_urgent = |queued: &Queued| queued.told.is_some();
        let ride = {
            let queue = self.shared.queue();
            let entries = &queue.entries;
            !entries.is_empty()
                && entries.len() < MOST_IN_A_COMMIT
                && !entries.iter().any(is_urgent)
                && self.shared.closing.get().is_none()
        };
        if ride {
            thread::park_timeout(RIDE);
        }
        self.shared.queue().take(MOST_IN_A_COMMIT)
    }

    /// Waits until there is something.
    fn wait(&mut self) {
        thread::park_timeout(RIDE);
        if !self.shared.queue().entries.is_empty() {
            return;
        }
        self.shared.asleep.store(true, Relaxed);
        // Whoever came before the line above did not see that the writer sleeps.
        let nothing = self.shared.queue().entries.is_empty();
        if nothing && self.shared.closing.get().is_none() {
            thread::park_timeout(LOOK);
        }
        self.shared.asleep.store(false, Relaxed);
        if self.looked.elapsed() >= LOOK && self.shared.queue().entries.is_empty() {
            self.look();
        }
    }

    /// Looks whether the store is still there, so that its loss is known before somebody
    /// needs it.
    fn look(&mut self) {
        self.looked = Instant::now();
        let Some(appender) = &mut self.appender else { return };
        self.shared.health.begins();
        match appender.head() {
            Ok(_) => self.shared.health.has_room(self.backend.room()),
            Err(error) => self.fail(&error),
        }
        self.tidy();
        self.shared.health.idles();
    }

    /// Notes that the store cannot be written.
    fn fail(&mut self, error: &StoreError) {
        self.appender = None;
        self.is_broken = error.is_failed_disk();
        if self.is_broken {
            self.shared.health.failed(&format!(
                "the disk has failed ({error}): mend it, then restart the gateway"
            ));
        } else {
            self.shared.health.failed(error);
        }
    }

    /// Lets the store tidy up. Nobody waits for this.
    fn tidy(&mut self) {
        let Some(appender) = &mut self.appender else { return };
        self.shared.health.begins();
        if let Err(error) = appender.checkpoint() {
            if error.is_failed_disk() {
                self.fail(&error);
            } else {
                tracing::debug!(%error, "the store's log is not copied into its file");
            }
        }
        self.shared.health.idles();
    }

    fn write(&mut self, batch: Vec<Queued>) {
        let (appends, told): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|queued| (queued.append, queued.told)).unzip();
        self.shared.health.begins();
        let committed = match &mut self.appender {
            Some(appender) => appender.commit(&appends),
            None => Err(StoreError::unusable("the store is not open")),
        };
        match committed {
            Ok(positions) => {
                self.shared.health.committed(appends.len());
                self.note(&positions);
                for ((append, told), position) in appends.into_iter().zip(told).zip(positions) {
                    self.tell(append, told, position);
                }
                if self.looked.elapsed() >= LOOK {
                    self.looked = Instant::now();
                    self.shared.health.has_room(self.backend.room());
                }
                self.tidy();
            }
            Err(error) => {
                self.fail(&error);
                // They may have become durable all the same.
                self.again.extend(appends);
                told.into_iter().flatten().for_each(refuse);
                self.note_held();
            }
        }
    }

    /// Tells whoever waits for an entry that it is written. If nobody waits for an intent,
    /// nothing is attempted. An outcome that found no open intent was not written: it is
    /// written as a late one.
    fn tell(&self, append: Append, told: Option<Told>, position: Option<Position>) {
        let Some(position) = position else {
            let late = Queued { append: (self.rewrite.late)(append), told };
            self.shared.queue().push(late);
            return;
        };
        let untaken = (append.kind == Kind::Intent).then(|| self.untaken(append));
        let durable = Durable::new(position, untaken);
        match told {
            Some(told) => drop(told.send(Ok(durable))),
            None => drop(durable),
        }
    }

    /// What is done for an intent that became durable when nobody waited any more.
    fn untaken(&self, intent: Append) -> Box<dyn FnOnce() + Send> {
        let (shared, not_attempted) = (self.shared.clone(), self.rewrite.not_attempted);
        Box::new(move || {
            shared.append_later(not_attempted(&intent));
        })
    }

    /// Notes how far the log is written.
    fn note(&mut self, positions: &[Option<Position>]) {
        if let Some(last) = positions.iter().rev().flatten().next() {
            self.written = last.to_i64() + 1;
        }
    }

    fn note_held(&self) {
        self.shared.health.held.store(self.again.len() as u64, Relaxed);
    }

    /// Opens the store again, and settles what failed commits have left in doubt.
    fn reopen(&mut self) -> bool {
        if self.is_broken {
            return false;
        }
        match self.settle() {
            Ok(()) => {
                self.shared.health.recovered();
                self.retry = RETRY[0];
                true
            }
            Err(error) => {
                self.fail(&error);
                self.retry = RETRY[1].min(self.retry * 2);
                false
            }
        }
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        let mut appender = self.backend.appender(&self.replica)?;
        // What is in doubt lies at this position or later, whatever is written now. If a failover
        // has lost what was written, that is where the log goes on.
        self.written = self.written.min(appender.head()?);
        let since = self.written;
        let mut newest = None;
        loop {
            let length = piece(&self.again);
            let piece = &self.again[..length];
            let present = appender.present(piece, since)?;
            let missing = piece.iter().zip(present).filter_map(|(append, present)| {
                match (append.kind, present) {
                    (_, false) => Some(append.clone()),
                    (Kind::Intent, true) => Some((self.rewrite.not_attempted)(append)),
                    (_, true) => None,
                }
            });
            let mut missing: Vec<Append> = missing.collect();
            // An earlier attempt at this may have succeeded without our knowing.
            let mut present = appender.present(&missing, since)?.into_iter();
            missing.retain(|_| !present.next().unwrap_or(false));
            // Also if there is nothing, since it tells whether the store can be written.
            let positions = appender.commit(&missing)?;
            self.again.drain(..length);
            self.note_held();
            for (append, position) in missing.into_iter().zip(&positions) {
                self.tell(append, None, *position);
            }
            newest = positions.into_iter().flatten().last().or(newest);
            if self.again.is_empty() {
                break;
            }
        }
        self.note(&[newest]);
        self.shared.health.has_room(self.backend.room());
        self.appender = Some(appender);
        Ok(())
    }

    /// Tells those who wait that the store cannot be written, and keeps what there is room for.
    fn refuse(&mut self, batch: Vec<Queued>) {
        let mut held: usize = self.again.iter().map(|append| append.entry.len()).sum();
        for Queued { append, told } in batch {
            let has_room = self.again.len() < MOST_WAITING && held < MOST_BYTES;
            if append.kind.is_outcome() || has_room {
                held += append.entry.len();
                self.again.push(append);
            } else {
                self.shared.health.refused.fetch_add(1, Relaxed);
            }
            told.into_iter().for_each(refuse);
        }
        self.note_held();
    }
}

/// How many of the first entries are written at once: as many as a slow network takes in
/// time.
fn piece(entries: &[Append]) -> usize {
    let mut bytes = 0;
    let fits = |append: &&Append| {
        bytes += append.entry.len();
        bytes <= MOST_IN_A_PIECE
    };
    let fitting = entries.iter().take(MOST_IN_A_COMMIT).take_while(fits).count();
    fitting.max(entries.len().min(1))
}

/// Tells whoever waits that the store cannot be written.
fn refuse(told: Told) {
    // Nobody may wait any more.
    let _ = told.send(Err(Unavailable));
}
