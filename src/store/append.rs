//! An entry on its way into the trail's log.

use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::error::Unavailable;

/// The longest entry, in bytes: an entry bundle gives its length two bytes (C2SP
/// tlog-tiles, "Log entries").
pub const MAX_ENTRY: usize = 65_535;
/// How many bits of a position are the entry's index in its log.
const INDEX_BITS: u32 = 40;

/// What an entry is, for whoever looks for it without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum Kind {
    /// Something that happened.
    Event = 0,
    /// A change that is about to be forwarded; its outcome follows.
    Intent = 1,
    /// What became of the intent with the same event ID.
    Outcome = 2,
    /// An outcome that came when the intent had one already.
    LateOutcome = 3,
    /// The first entry of a log.
    LogStart = 4,
    /// Many equal events, counted.
    Counted = 5,
}

impl Kind {
    /// Whether it says what became of a change. There are no more of these than changes that
    /// were let through, so each is kept, however much waits.
    pub(super) fn is_outcome(self) -> bool {
        matches!(self, Self::Outcome | Self::LateOutcome)
    }
}

/// Where an entry is: the number of its log, and its index in that log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The number of the log, from 1.
    pub log: i64,
    /// The entry's index in its log, from 0.
    pub index: i64,
}

impl Position {
    /// As `audit_entry.position` has it.
    pub const fn to_i64(self) -> i64 {
        self.log << INDEX_BITS | self.index
    }

    /// From `audit_entry.position`.
    pub const fn from_i64(position: i64) -> Self {
        Self { log: position >> INDEX_BITS, index: position & ((1 << INDEX_BITS) - 1) }
    }
}

/// An entry to be appended.
#[derive(Clone, Debug)]
pub struct Append {
    /// The event that it is about.
    pub event: Uuid,
    /// When that happened, in microseconds since 1970.
    pub at: i64,
    /// What it is.
    pub kind: Kind,
    /// The teams that may read it, as `/media/video/`.
    pub teams: String,
    /// The record, as JSON.
    pub entry: Vec<u8>,
    /// The hash of the entry as a leaf.
    pub(super) leaf: [u8; 32],
}

impl Append {
    /// An entry, at most [`MAX_ENTRY`] bytes long.
    pub fn new(event: Uuid, at: i64, kind: Kind, teams: String, entry: Vec<u8>) -> Self {
        let leaf = leaf(&entry);
        Self { event, at, kind, teams, entry, leaf }
    }
}

/// The hash of a leaf (RFC 6962, section 2.1).
pub fn leaf(entry: &[u8]) -> [u8; 32] {
    let mut hash = Context::new(&SHA256);
    hash.update(&[0]);
    hash.update(entry);
    let mut leaf = [0; 32];
    leaf.copy_from_slice(hash.finish().as_ref());
    leaf
}

/// How the writer makes, of an entry that it has, one that it needs. The trail knows the
/// entries' text, and the store does not.
#[derive(Clone, Copy)]
pub struct Rewrite {
    /// An outcome that found no open intent, as a late outcome.
    pub late: fn(Append) -> Append,
    /// The outcome of an intent that became durable when nobody waited any more.
    pub not_attempted: fn(&Append) -> Append,
}

/// An entry that is durable, on its way to whoever waits for it. If it is an intent and
/// nobody takes it, its outcome is written: nothing was attempted.
pub(super) struct Durable {
    position: Position,
    untaken: Option<Box<dyn FnOnce() + Send>>,
}

impl Durable {
    /// `untaken` is called if nobody takes it.
    pub fn new(position: Position, untaken: Option<Box<dyn FnOnce() + Send>>) -> Self {
        Self { position, untaken }
    }

    fn take(mut self) -> Position {
        self.untaken = None;
        self.position
    }
}

impl Drop for Durable {
    fn drop(&mut self) {
        if let Some(untaken) = self.untaken.take() {
            untaken();
        }
    }
}

/// What tells that an entry is durable.
pub(super) type Told = oneshot::Sender<Result<Durable, Unavailable>>;

/// The wait for an entry to be durable. If it is dropped, the entry is written all the
/// same; if it is an intent, its outcome says that nothing was attempted.
pub struct Pending(Option<oneshot::Receiver<Result<Durable, Unavailable>>>);

impl Pending {
    pub(super) fn new() -> (Told, Self) {
        let (told, receiver) = oneshot::channel();
        (told, Self(Some(receiver)))
    }

    pub(super) fn refused() -> Self {
        Self(None)
    }

    /// Waits until the entry is durable, but no longer than `deadline`.
    ///
    /// # Errors
    /// When it is not durable by then.
    pub async fn durable(mut self, deadline: Duration) -> Result<Position, Unavailable> {
        let Some(receiver) = &mut self.0 else { return Err(Unavailable) };
        let told = match tokio::time::timeout(deadline, &mut *receiver).await {
            Ok(told) => told.unwrap_or(Err(Unavailable)),
            Err(_) => {
                // From here on the writer notices that nobody waits.
                receiver.close();
                receiver.try_recv().unwrap_or(Err(Unavailable))
            }
        };
        told.map(Durable::take)
    }
}
