//! Copies the write-ahead log into the file beside the writer. A commit that had to wait for
//! that would take ten times as long as the others.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TryRecvError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rusqlite::{InterruptHandle, OpenFlags};

use super::{Sqlite, connect, copy};
use crate::store::{error::StoreError, writer::be_polite};

/// How often a thread that copies is told to end, a millisecond apart. Only between two pages
/// can it hear that; a disk that hangs is not waited for.
const TOLD: u32 = 20;

/// The handle to a thread that copies when it is asked to. Dropped, it ends the thread, also
/// in the midst of copying: the disk may have failed.
pub(super) struct Copier {
    ask: SyncSender<()>,
    copied: Receiver<Result<i64, StoreError>>,
    is_busy: bool,
    ends: Arc<AtomicBool>,
    interrupt: InterruptHandle,
    thread: JoinHandle<()>,
}

impl Copier {
    pub fn start(file: &Arc<Sqlite>) -> Result<Self, StoreError> {
        let connection = connect(&file.path, OpenFlags::empty())?;
        let interrupt = connection.get_interrupt_handle();
        let (ask, asked) = mpsc::sync_channel(1);
        let (tell, copied) = mpsc::sync_channel(1);
        let ends = Arc::<AtomicBool>::default();
        let is_over = ends.clone();
        let copy_when_asked = move || {
            be_polite();
            while asked.recv().is_ok() && !is_over.load(Relaxed) {
                if tell.send(copy(&connection)).is_err() {
                    break;
                }
            }
        };
        let thread = thread::Builder::new().name("store-copier".to_owned()).spawn(copy_when_asked);
        let thread = thread.map_err(|error| StoreError::unusable(error.to_string()))?;
        Ok(Self { ask, copied, is_busy: false, ends, interrupt, thread })
    }

    /// Has it copy what was committed by now, unless it is about that already.
    pub fn copy(&mut self) {
        self.is_busy |= self.ask.try_send(()).is_ok();
    }

    pub fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// How many pages it left, if it has copied since this was last asked.
    ///
    /// # Errors
    /// When it could not.
    pub fn left(&mut self) -> Result<Option<i64>, StoreError> {
        match self.copied.try_recv() {
            Ok(copied) => self.has_copied(copied).map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(has_ended()),
        }
    }

    /// Waits until it has copied what it is about, but no longer than `limit`.
    ///
    /// # Errors
    /// When it could not, or takes longer.
    pub fn finish(&mut self, limit: Duration) -> Result<(), StoreError> {
        while self.is_busy {
            match self.copied.recv_timeout(limit) {
                Ok(copied) => drop(self.has_copied(copied)?),
                Err(RecvTimeoutError::Timeout) => return Err(StoreError::Silent(limit)),
                Err(RecvTimeoutError::Disconnected) => return Err(has_ended()),
            }
        }
        Ok(())
    }

    fn has_copied(&mut self, copied: Result<i64, StoreError>) -> Result<i64, StoreError> {
        self.is_busy = false;
        copied
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        self.ends.store(true, Relaxed);
        // One that has not begun to copy yet does not hear it.
        for _ in 0..TOLD {
            if !self.is_busy || self.thread.is_finished() {
                break;
            }
            self.interrupt.interrupt();
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn has_ended() -> StoreError {
    StoreError::unusable("the thread that copies SQLite's log has ended")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, fs::OpenOptions, time::Instant};

    use rusqlite::Connection;
    use tempfile::TempDir;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A file whose write-ahead log holds so many megabytes.
    fn filled(megabytes: u32) -> (TempDir, Arc<Sqlite>, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let file = Arc::new(Sqlite::open(&folder.path().join("store.db"), &[]).unwrap());
        let writer = connect(&file.path, OpenFlags::empty()).unwrap();
        writer.execute_batch("CREATE TABLE much (content BLOB)").unwrap();
        for _ in 0..megabytes {
            writer.execute("INSERT INTO much VALUES (randomblob(1 << 20))", []).unwrap();
        }
        (folder, file, writer)
    }

    fn cut_log(folder: &TempDir) {
        let log = folder.path().join("store.db-wal");
        OpenOptions::new().write(true).open(log).unwrap().set_len(0).unwrap();
    }

    #[test]
    fn one_that_copies_ends_when_it_is_dropped() {
        let (folder, file, _writer) = filled(64);
        let copied = || fs::metadata(folder.path().join("store.db")).unwrap().len();
        let before = copied();
        let mut copier = Copier::start(&file).unwrap();
        copier.copy();
        let begun = Instant::now();
        while copied() == before {
            assert!(begun.elapsed() < PATIENCE);
        }
        // What the disk was given is written; the rest is left.
        drop(copier);
        let then = copied();
        thread::sleep(Duration::from_millis(300));
        assert_eq!(copied(), then);
        assert!(then < 64 << 20, "all {then} bytes were copied");
    }

    #[test]
    fn its_failure_is_heard_of_at_the_end() {
        let (folder, file, _writer) = filled(2);
        let mut copier = Copier::start(&file).unwrap();
        cut_log(&folder);
        copier.copy();
        let failure = copier.finish(PATIENCE).unwrap_err();
        assert!(failure.is_failed_disk(), "{failure}");
    }

    #[test]
    fn a_failure_to_keep_what_a_removed_log_held_is_told() {
        let (folder, file, _writer) = filled(2);
        let away = || fs::remove_file(folder.path().join("store.db-wal")).unwrap();
        cut_log(&folder);
        away();
        let failure = file.check().unwrap_err();
        assert!(failure.is_failed_disk(), "{failure}");
    }
}
