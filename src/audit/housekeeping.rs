//! What the trail does by itself: it records what was counted, and looks how much room
//! is left.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::Duration,
};

use rustix::fs::statvfs;
use time::OffsetDateTime;
use tokio::time::MissedTickBehavior;

use super::{event::Counted, flood::omitted, trail::Kept};
use crate::{config::StoreUrl, files::Reader, store::Kind};

/// How often the trail looks after itself.
const TICK: Duration = Duration::from_secs(1);
/// After how many ticks it records what was counted.
const MINUTE: u32 = 60;
/// The most entries in the queue with which there is room for all that was counted.
const QUIET: usize = 4_000;
/// Below this part of the disk, reads and denials are only counted: one in so many.
const SCARCE: u64 = 20;

/// Looks after the trail as long as it is there.
pub(super) async fn keep(trail: Weak<Kept>, url: StoreUrl) {
    let folder = match &url {
        StoreUrl::Sqlite(path) => path.parent().map(Path::to_owned),
        StoreUrl::None | StoreUrl::Postgres(_) => None,
    };
    let (mut room, mut overflow) = (folder.map(Room::of), Overflow::default());
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut since_counted = 0;
    loop {
        ticks.tick().await;
        let Some(kept) = trail.upgrade() else { return };
        if let Some(room) = &mut room {
            kept.flood.set_scarce(room.is_scarce().await);
        }
        since_counted += 1;
        if !kept.has_room() {
            continue;
        }
        overflow.record(&kept);
        if since_counted >= MINUTE {
            kept.record_counted();
            since_counted = 0;
        }
    }
}

impl Kept {
    /// Records what was counted, unless so little room is left that it is to wait.
    pub(super) fn record_counted(&self) {
        if self.flood.is_scarce() {
            return;
        }
        for event in self.flood.take() {
            let kind = if event.counted.is_some() { Kind::Counted } else { Kind::Event };
            self.store.append_later(event.append(kind));
        }
    }

    /// Whether all that was counted can be recorded now.
    fn has_room(&self) -> bool {
        let status = self.store.status();
        !self.flood.is_scarce() && status.trouble.is_none() && status.waiting < QUIET
    }
}

/// Entries that the queue did not take.
struct Overflow {
    recorded: u64,
    since: OffsetDateTime,
}

impl Default for Overflow {
    fn default() -> Self {
        Self { recorded: 0, since: OffsetDateTime::now_utc() }
    }
}

impl Overflow {
    /// Records how many there were since the last time.
    fn record(&mut self, kept: &Arc<Kept>) {
        let (refused, now) = (kept.store.status().refused, OffsetDateTime::now_utc());
        let count = refused - self.recorded;
        let counted = Counted { count, from: self.since, to: now };
        if count > 0
            && !kept.store.append_later(omitted("queue-full", counted).append(Kind::Counted))
        {
            // Counted as refused itself, though it stands for no further event.
            self.recorded += 1;
            return;
        }
        (self.recorded, self.since) = (refused, now);
    }
}

/// The room on the disk that an SQLite file is on.
struct Room {
    folder: PathBuf,
    reader: Reader,
    scarce: bool,
}

impl Room {
    fn of(folder: PathBuf) -> Self {
        let folder = if folder.as_os_str().is_empty() { ".".into() } else { folder };
        Self { folder, reader: Reader::default(), scarce: false }
    }

    /// Whether too little is left. If the disk does not tell, it stays as it was.
    async fn is_scarce(&mut self) -> bool {
        let folder = self.folder.clone();
        let asked = self.reader.read(move |_| statvfs(&folder)).await;
        if let Ok(Ok(disk)) = asked {
            let scarce = is_scarce(disk.f_bavail, disk.f_blocks);
            match (self.scarce, scarce) {
                (false, true) => tracing::error!(
                    folder = %self.folder.display(),
                    "little room is left on the store's disk; reads and denials are only counted"
                ),
                (true, false) => tracing::info!("there is room on the store's disk again"),
                _ => {}
            }
            self.scarce = scarce;
        }
        self.scarce
    }
}

fn is_scarce(available: u64, all: u64) -> bool {
    available.saturating_mul(SCARCE) < all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_scarce_below_a_twentieth() {
        assert!(is_scarce(4, 100));
        assert!(!is_scarce(5, 100));
        assert!(!is_scarce(0, 0), "a file system that does not tell");
    }
}
