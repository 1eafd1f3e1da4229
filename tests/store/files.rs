//! What can become of an SQLite file and of the disk below it.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use glacier_gateway::{
    config::StoreUrl,
    store::{Kind, Room, Store, Unavailable},
};
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    commands::Installation,
    log::{append, pool, seal, sealed},
    support::{PATIENCE, Place, close, entry, intend, until},
};

fn file(place: &Place) -> PathBuf {
    let StoreUrl::Sqlite(path) = &place.settings.url else { unreachable!() };
    path.clone()
}

async fn trouble(store: &Store, words: &str) {
    until(words, async || store.status().trouble.is_some_and(|(_, reason)| reason.contains(words)))
        .await;
    assert_eq!(intend(store).await, Err(Unavailable));
}

async fn is_available(store: &Store) {
    until("the store is available", async || store.status().trouble.is_none()).await;
}

#[tokio::test]
async fn a_file_that_is_gone_is_noticed_and_used_again_when_it_is_back() {
    let place = Place::sqlite();
    let store = place.open().await;
    let event = intend(&store).await.unwrap();
    fs::rename(file(&place), file(&place).with_extension("away")).unwrap();
    // Nobody asks for anything.
    trouble(&store, "store.db").await;
    assert!(store.append_later(entry(event, Kind::Outcome, "aborted")));
    fs::rename(file(&place).with_extension("away"), file(&place)).unwrap();
    is_available(&store).await;
    intend(&store).await.unwrap();
    close(&store).await;
    let rows = place.rows().await;
    let mut told: Vec<_> = rows.iter().map(|row| &*row.entry).collect();
    told.sort_unstable();
    assert_eq!(told, ["aborted", "intent", "intent", "intent", "not-attempted"]);
}

#[tokio::test]
async fn a_file_that_was_replaced_is_not_written() {
    let (place, other) = (Place::sqlite(), Place::sqlite());
    close(&other.open().await).await;
    let store = place.open().await;
    intend(&store).await.unwrap();
    fs::rename(file(&other), file(&place)).unwrap();
    trouble(&store, "was replaced").await;
    assert!(store.append_later(entry(Uuid::now_v7(), Kind::Event, "afterwards")));
    assert!(!store.close(Duration::from_secs(1)));
    assert!(!place.rows().await.iter().any(|row| row.entry == "afterwards"));
}

#[tokio::test]
async fn a_log_that_is_removed_is_noticed_and_what_it_held_is_kept() {
    let place = Place::sqlite();
    let store = place.open().await;
    let event = intend(&store).await.unwrap();
    let log = file(&place).with_extension("db-wal");
    fs::remove_file(&log).unwrap();
    trouble(&store, "store.db-wal").await;
    assert!(!store.close(Duration::from_secs(1)), "what was refused meanwhile is lost");
    drop(store);
    let rows = place.rows().await;
    assert!(rows.iter().any(|row| row.event == event), "{rows:?}");
    intend(&place.open().await).await.unwrap();
}

/// After the disk has failed, nobody may write to it.
#[tokio::test]
async fn nothing_is_sealed_while_the_store_cannot_be_written() {
    let place = Place::sqlite();
    let store = place.try_open().await.unwrap();
    let _state = seal(&place, &store).await;
    sealed(&pool(&place).await).await;
    let reader = rusqlite::Connection::open(file(&place)).unwrap();
    // With each turn of the sealer its lease gets longer.
    let until = || -> i64 {
        let sql = "SELECT until FROM lease WHERE name = 'audit-sealer'";
        reader.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    until();
    fs::rename(file(&place), file(&place).with_extension("away")).unwrap();
    trouble(&store, "store.db").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = until();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(until(), before);
}

fn log_size(place: &Place) -> u64 {
    fs::metadata(file(place).with_extension("db-wal")).unwrap().len()
}

/// Otherwise the copier would always have something left, and the log would never begin anew.
#[tokio::test]
async fn the_log_stays_small_while_entries_come_without_end() {
    let place = Place::sqlite();
    let store = place.open().await;
    let long = "x".repeat(60_000);
    let mut longest = 0;
    for _ in 0..150 {
        let waiting: Vec<_> =
            (0..8).map(|_| store.append(entry(Uuid::now_v7(), Kind::Event, &long))).collect();
        for pending in waiting {
            pending.durable(PATIENCE).await.unwrap();
        }
        longest = longest.max(log_size(&place));
    }
    assert!(longest < 40 << 20, "of 72 MB the log has {longest} bytes");
    close(&store).await;
}

#[tokio::test]
async fn a_log_that_grew_while_somebody_read_shrinks_afterwards() {
    let place = Place::sqlite();
    let store = place.open().await;
    let reader = rusqlite::Connection::open(file(&place)).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM audit_entry").unwrap();
    let long = "x".repeat(60_000);
    while log_size(&place) < 80 << 20 {
        let waiting: Vec<_> =
            (0..50).map(|_| store.append(entry(Uuid::now_v7(), Kind::Event, &long))).collect();
        for pending in waiting {
            pending.durable(PATIENCE).await.unwrap();
        }
    }
    reader.execute_batch("COMMIT").unwrap();
    until("a log of 64 MiB at most", async || {
        intend(&store).await.unwrap();
        log_size(&place) <= 64 << 20
    })
    .await;
    close(&store).await;
}

#[tokio::test]
async fn a_file_is_for_one_process() {
    let place = Place::sqlite();
    let store = place.open().await;
    let second = Installation::of(&place).run(&["serve"]);
    assert!(
        !second.success && second.told.contains("another process has it open"),
        "{}",
        second.told
    );
    let check = Installation::of(&place).run(&["store", "check"]);
    assert!(check.told.contains("in use by a gateway: yes"), "{}", check.told);
    close(&store).await;
    drop(store);
    let third = Installation::of(&place).run(&["store", "migrate"]);
    assert!(third.success, "{}", third.told);
}

#[tokio::test]
async fn a_lock_that_is_removed_is_taken_again() {
    let place = Place::sqlite();
    let store = place.open().await;
    let lock = file(&place).with_extension("db.lock");
    fs::remove_file(&lock).unwrap();
    until("the lock", async || lock.exists()).await;
    let second = Installation::of(&place).run(&["serve"]);
    assert!(second.told.contains("another process has it open"), "{}", second.told);
    intend(&store).await.unwrap();
}

#[tokio::test]
async fn a_store_whose_lock_another_process_has_taken_is_not_written() {
    let place = Place::sqlite();
    let store = place.open().await;
    let others = file(&place).with_extension("others");
    let lock = File::create(&others).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    fs::rename(&others, file(&place).with_extension("db.lock")).unwrap();
    trouble(&store, "another process has it open").await;
    drop(lock);
    is_available(&store).await;
    intend(&store).await.unwrap();
}

#[tokio::test]
async fn a_copy_of_the_file_alone_is_whole_after_a_clean_stop() {
    let place = Place::sqlite();
    let store = place.open().await;
    let event = intend(&store).await.unwrap();
    let copy = Place::sqlite();
    close(&store).await;
    store.finish(PATIENCE).await;
    fs::copy(file(&place), file(&copy)).unwrap();
    assert_eq!(copy.rows().await[0].event, event);
    let check = Installation::of(&copy).run(&["store", "check"]);
    assert!(check.success, "{}", check.told);
}

/// A file system of its own, which root alone can make.
struct Mount {
    directory: TempDir,
}

impl Mount {
    fn try_new(mount: impl FnOnce(&Path) -> Command) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = mount(directory.path()).stderr(Stdio::null()).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self { directory });
        }
        eprintln!("SKIPPED: this user may not mount file systems");
        None
    }

    fn place(&self) -> Place {
        Place::in_folder(self.directory.path())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.directory.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_changes_loses_nothing_and_recovers() {
    let mounted = Mount::try_new(|folder| {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(folder);
        mount
    });
    let Some(mount) = mounted else { return };
    let place = mount.place();
    let store = place.open().await;
    let ballast = mount.directory.path().join("ballast");
    fs::write(&ballast, vec![1; 2 << 20]).unwrap();
    let long = "intent ".repeat(1000);
    let (mut durable, mut refused) = (Vec::new(), 0);
    while refused < 3 {
        let event = Uuid::now_v7();
        match store.append(entry(event, Kind::Intent, &long)).durable(PATIENCE).await {
            Ok(_) => durable.push(event),
            Err(Unavailable) => refused += 1,
        }
    }
    assert!(!durable.is_empty());
    trouble(&store, "full").await;
    for event in &durable {
        assert!(store.append_later(entry(*event, Kind::Outcome, "aborted")));
    }
    fs::remove_file(&ballast).unwrap();
    is_available(&store).await;
    intend(&store).await.unwrap();
    close(&store).await;
    let rows = place.rows().await;
    for event in &durable {
        assert_eq!(rows.iter().filter(|row| row.event == *event).count(), 2);
    }
    assert_eq!(place.open_intents().await.len(), 1);
    let check = Installation::of(&place).run(&["store", "check"]);
    assert!(check.success, "{}", check.told);
}

/// A transaction of the sealer that finds no room is rolled back by SQLite itself. Its
/// connection must not keep the file's lock from then on.
#[tokio::test]
async fn a_disk_that_was_full_is_written_and_sealed_again() {
    let mounted = Mount::try_new(|folder| {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(folder);
        mount
    });
    let Some(mount) = mounted else { return };
    let place = mount.place();
    let store = place.try_open().await.unwrap();
    let state = seal(&place, &store).await;
    let pool = pool(&place).await;
    sealed(&pool).await;
    let path = mount.directory.path().join("ballast");
    append(&store, 300).await;
    let mut ballast = File::create(&path).unwrap();
    while ballast.write_all(&[1; 4096]).is_ok() {}
    // There is room for the sealer's lease, but not for what it seals.
    ballast.set_len(ballast.metadata().unwrap().len() - (12 << 10)).unwrap();
    until("it is full", async || state.status().trouble.is_some()).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(ballast);
    fs::remove_file(&path).unwrap();
    is_available(&store).await;
    append(&store, 1).await;
    sealed(&pool).await;
    store.lease("a chore", Duration::from_secs(5)).await.unwrap().unwrap();
    until("no trouble", async || state.status().trouble.is_none()).await;
}

#[tokio::test]
async fn the_free_space_is_known() {
    let mounted = Mount::try_new(|folder| {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(folder);
        mount
    });
    let Some(mount) = mounted else { return };
    let store = mount.place().open().await;
    let room = store.room().unwrap();
    assert!(room.free > 2 << 20 && room.size == 4 << 20 && !room.is_scarce(), "{room:?}");
    let ballast = usize::try_from(room.free).unwrap() - (100 << 10);
    fs::write(mount.directory.path().join("ballast"), vec![1; ballast]).unwrap();
    until("little room", async || store.room().is_some_and(Room::is_scarce)).await;
    assert_eq!(store.status().room, store.room());
}

/// The file does not shrink when records are dropped, but further ones find room in it.
#[tokio::test]
async fn what_dropped_records_leave_free_is_room() {
    let mounted = Mount::try_new(|folder| {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(folder);
        mount
    });
    let Some(mount) = mounted else { return };
    let place = mount.place();
    let store = place.open().await;
    append(&store, 6_000).await;
    let beside = rusqlite::Connection::open(file(&place)).unwrap();
    let copy = || beside.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
    copy();
    let mut ballast = File::create(mount.directory.path().join("ballast")).unwrap();
    while ballast.write_all(&[1; 4096]).is_ok() {}
    ballast.set_len(ballast.metadata().unwrap().len() - (700 << 10)).unwrap();
    until("little room", async || store.room().is_some_and(Room::is_scarce)).await;
    while beside
        .execute(
            "DELETE FROM audit_entry WHERE position IN \
        (SELECT position FROM audit_entry LIMIT 40)",
            [],
        )
        .unwrap()
        > 0
    {
        copy();
    }
    until("room", async || store.room().is_some_and(|room| !room.is_scarce())).await;
}

#[tokio::test]
async fn a_disk_that_hangs_refuses_changes_at_once_and_recovers() {
    let images = tempfile::tempdir().unwrap();
    let image = images.path().join("image");
    File::create(&image).unwrap().set_len(32 << 20).unwrap();
    let formatted = Command::new("mkfs.ext4").arg("-q").arg(&image).status();
    if !formatted.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: mkfs.ext4 is missing");
        return;
    }
    let mounted = Mount::try_new(|folder| {
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop"]).arg(&image).arg(folder);
        mount
    });
    let Some(mount) = mounted else { return };
    let place = mount.place();
    let store = place.open().await;
    let first = intend(&store).await.unwrap();
    let freezes =
        |how: &str| Command::new("fsfreeze").arg(how).arg(mount.directory.path()).status();
    assert!(freezes("--freeze").unwrap().success());
    let deadline = Duration::from_millis(200);
    let hung = Uuid::now_v7();
    let pending = store.append(entry(hung, Kind::Intent, "intent"));
    let told = pending.durable(deadline).await;
    assert!(store.append_later(entry(first, Kind::Outcome, "aborted")));
    until("trouble", async || {
        store.status().trouble.is_some_and(|(_, reason)| reason.contains("does not end"))
    })
    .await;
    let asked = Instant::now();
    let refused = intend(&store).await;
    let waited = asked.elapsed();
    // Before anything can fail: a frozen file system hangs whoever touches it.
    assert!(freezes("--unfreeze").unwrap().success());
    assert_eq!((told, refused), (Err(Unavailable), Err(Unavailable)));
    assert!(waited < Duration::from_secs(1), "{waited:?}");
    is_available(&store).await;
    until("the outcomes", async || place.open_intents().await.is_empty()).await;
    let rows = place.rows().await;
    let of = |event| rows.iter().filter(move |row| row.event == event).map(|row| &*row.entry);
    assert!(of(first).eq(["intent", "aborted"]), "{rows:?}");
    assert!(of(hung).eq(["intent", "not-attempted"]), "{rows:?}");
    assert!(freezes("--freeze").unwrap().success());
    store.append_later(entry(Uuid::now_v7(), Kind::Event, "event"));
    let closed = store.close(deadline);
    assert!(freezes("--unfreeze").unwrap().success());
    assert!(!closed);
}
