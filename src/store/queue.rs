//! What waits to be written, between those who append and the one thread that writes.

use std::{
    mem,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use super::{
    append::{Append, Told},
    status::Health,
};

/// How many entries that nobody waits for may wait. Outcomes always may: there are no
/// more of them than changes that were let through.
pub(super) const MOST_WAITING: usize = 20_000;
/// How many entries may wait in all before none is taken that somebody waits for.
const MOST_QUEUED: usize = 2 * MOST_WAITING;

/// How many bytes of entries may wait before none but outcomes is taken.
pub(super) const MOST_BYTES: usize = 16 << 20;

/// An entry in the queue, with whoever waits for it.
pub(super) struct Queued {
    pub append: Append,
    pub told: Option<Told>,
}

#[derive(Default)]
pub(super) struct Queue {
    pub entries: Vec<Queued>,
    /// How long these are together.
    bytes: usize,
    /// Whether nothing is taken any more.
    pub closed: bool,
}

impl Queue {
    pub fn push(&mut self, queued: Queued) {
        self.bytes += queued.append.entry.len();
        self.entries.push(queued);
    }

    /// Takes the first entries, `most` at most.
    pub fn take(&mut self, most: usize) -> Vec<Queued> {
        if self.entries.len() <= most {
            self.bytes = 0;
            return mem::take(&mut self.entries);
        }
        let taken: Vec<_> = self.entries.drain(..most).collect();
        self.bytes -= taken.iter().map(|queued| queued.append.entry.len()).sum::<usize>();
        taken
    }
}

/// What the writer shares with whoever appends.
#[derive(Default)]
pub(super) struct Shared {
    queue: Mutex<Queue>,
    /// Whether the writer waits for nothing but a call.
    pub asleep: AtomicBool,
    /// Until when what waits is to be written, once the store is closed.
    pub closing: OnceLock<Instant>,
    pub health: Health,
}

impl Shared {
    pub fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an entry that somebody waits for, if there is room.
    pub fn append(&self, append: Append, told: Told) -> bool {
        let mut queue = self.queue();
        let is_full = queue.entries.len() >= MOST_QUEUED || queue.bytes >= MOST_BYTES;
        if queue.closed || is_full {
            self.health.refused.fetch_add(1, Relaxed);
            return false;
        }
        queue.push(Queued { append, told: Some(told) });
        true
    }

    /// Takes an entry that nobody waits for, if there is room.
    pub fn append_later(&self, append: Append) -> bool {
        let mut queue = self.queue();
        let is_full = queue.entries.len() >= MOST_WAITING || queue.bytes >= MOST_BYTES;
        if (is_full && !append.kind.is_outcome()) || queue.closed {
            self.health.refused.fetch_add(1, Relaxed);
            return false;
        }
        queue.push(Queued { append, told: None });
        true
    }
}
