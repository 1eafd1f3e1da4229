//! Copies the write-ahead log into the file beside the writer. A commit that had to wait for
//! that would take ten times as long as the others.

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver, SyncSender, TryRecvError},
    },
    thread,
};

use rusqlite::OpenFlags;

use super::{Sqlite, connect, copy};
use crate::store::{error::StoreError, writer::be_polite};

/// The handle to a thread that copies when it is asked to. Dropped, it ends the thread.
pub(super) struct Copier {
    ask: SyncSender<()>,
    copied: Receiver<Result<i64, StoreError>>,
    is_busy: bool,
}

impl Copier {
    pub fn start(file: &Arc<Sqlite>) -> Result<Self, StoreError> {
        let connection = connect(&file.path, OpenFlags::empty())?;
        let (ask, asked) = mpsc::sync_channel(1);
        let (tell, copied) = mpsc::sync_channel(1);
        let copy_when_asked = move || {
            be_polite();
            while asked.recv().is_ok() {
                if tell.send(copy(&connection)).is_err() {
                    break;
                }
            }
        };
        let thread = thread::Builder::new().name("store-copier".to_owned()).spawn(copy_when_asked);
        thread.map_err(|error| StoreError::unusable(error.to_string()))?;
        Ok(Self { ask, copied, is_busy: false })
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
            Ok(copied) => {
                self.is_busy = false;
                copied.map(Some)
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => {
                Err(StoreError::unusable("the thread that copies SQLite's log has ended"))
            }
        }
    }
}
