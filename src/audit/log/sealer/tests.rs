#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;

use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::{
    audit::{
        log::{AcceptError, Accepted, accept_loss, tests::keys},
        retention::retain,
        test_store::{open, settings},
        verify::{Kept, Report, verify_store},
    },
    store::{Append, Kind, Pool, StoreError, both},
};

/// A store with a sealer, whose turns are taken by hand.
struct Sealed {
    folder: TempDir,
    sealer: Sealer,
    state: LogState,
    keep: Duration,
}

/// A month in microseconds, at least.
const MONTH: i64 = 31 * 24 * 3_600_000_000;

impl Sealed {
    /// A store whose first log began so long before now, in microseconds.
    async fn begun(before: i64) -> Self {
        let folder = TempDir::new().unwrap();
        let (store_settings, audit) = settings(folder.path());
        let store = open(&store_settings).await;
        let now = rows::now(store.pool()).await.unwrap();
        writing::begin_first(store.pool(), "store.example", now - before).await.unwrap();
        let (mut sealer, state) = Sealer::start(store, &audit, &store_settings.url).await.unwrap();
        sealer.keys = keys(1);
        Self { folder, sealer, state, keep: Duration::ZERO }
    }

    fn pool(&self) -> &Pool {
        self.sealer.store.pool()
    }

    async fn append(&self, count: u64) {
        let now = rows::now(self.pool()).await.unwrap();
        let append = |text: String| {
            let entry = format!("{{\"eventType\":\"Event\",\"text\":{text:?}}}").into_bytes();
            Append::new(Uuid::now_v7(), now, Kind::Event, String::new(), entry)
        };
        for i in 1..count {
            assert!(self.sealer.store.append_later(append(i.to_string())));
        }
        let last = self.sealer.store.append(append("last".to_owned()));
        last.durable(Duration::from_secs(30)).await.unwrap();
    }

    async fn execute(&self, sql: &'static str) {
        let executed = async {
            both!(self.pool(), pool => sqlx::raw_sql(sql).execute(pool).await.map(drop)?);
            Ok::<_, StoreError>(())
        };
        executed.await.unwrap();
    }

    async fn accept(&self) -> Result<Accepted, AcceptError> {
        accept_loss(self.pool(), "store.example", &[], &self.sealer.keys.trusted()).await
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("checkpoints")
    }

    async fn verify(&self) -> Report {
        let kept: Vec<Kept> = self
            .sealer
            .known
            .values()
            .map(|checkpoint| Kept { checkpoint: checkpoint.clone(), from: "memory".to_owned() })
            .collect();
        let keys = self.sealer.keys.trusted();
        verify_store(self.pool(), &kept, Some(&keys), self.keep).await.unwrap()
    }

    async fn holds(&self) -> Report {
        let report = self.verify().await;
        let wrong: Vec<String> = report.wrong().map(ToString::to_string).collect();
        assert_eq!(wrong, [""; 0]);
        report
    }
}

#[tokio::test]
async fn each_turn_seals_what_was_appended_and_proofs_are_made_of_what_it_stores() {
    let mut sealed = Sealed::begun(0).await;
    for count in [1, 254, 1, 2, 700, 1, 256, 3000] {
        sealed.append(count).await;
        assert_eq!(sealed.sealer.turn().await.unwrap(), None);
        let status = sealed.state.status();
        assert_eq!(status.sealed, rows::head(sealed.pool()).await.unwrap().unwrap().next);
    }
    let report = sealed.holds().await;
    assert_eq!((report.records(), report.logs[0].vouched), (4216, 4216));
    let checkpoint = rows::logs(sealed.pool()).await.unwrap().remove(0).checkpoint.unwrap();
    assert_eq!(checkpoint.size, 4216);
    for index in [0, 255, 256, 4095, 4096, 4215] {
        let proof = rows::inclusion_proof(sealed.pool(), 1, index, 4216).await.unwrap().unwrap();
        let leaf = rows::leaves(sealed.pool(), 1, index, index + 1).await.unwrap()[0];
        tlog_tiles::check_record(&proof, 4216, checkpoint.root, index, leaf).unwrap();
    }
    // A sealer that begins anew goes on where the other has ended.
    sealed.sealer.sealing = None;
    sealed.append(300).await;
    sealed.sealer.turn().await.unwrap();
    assert_eq!(sealed.holds().await.logs[0].vouched, 4516);
    let kept = fs::read_to_string(sealed.folder.path().join("checkpoints")).unwrap();
    assert!(kept.contains("\n4516\n") && !kept.contains("\n4216\n"), "{kept}");
}

#[tokio::test]
async fn a_new_month_begins_with_the_final_checkpoint_of_the_one_before() {
    let mut sealed = Sealed::begun(MONTH).await;
    sealed.append(300).await;
    sealed.sealer.turn().await.unwrap();
    let logs = rows::logs(sealed.pool()).await.unwrap();
    let [old, new] = &logs[..] else { panic!("{logs:#?}") };
    let this_month = Month::of(rows::now(sealed.pool()).await.unwrap());
    assert_eq!(new.origin, format!("store.example/audit/{this_month}"));
    let checkpoint = old.checkpoint.as_ref().unwrap();
    assert_eq!((old.size, checkpoint.size), (Some(301), 301));
    let first = rows::records(sealed.pool(), new.log, 0, 1).await.unwrap().remove(0).entry;
    let start = crate::audit::log::LogStart::of_entry(&first).unwrap();
    assert_eq!(start.previous.unwrap().checkpoint.as_ref(), Some(&checkpoint.note));
    sealed.append(5).await;
    sealed.sealer.turn().await.unwrap();
    let report = sealed.holds().await;
    assert_eq!((report.logs[0].vouched, report.logs[1].vouched), (301, 6));
    let kept = crate::audit::log::read_checkpoint_file(&sealed.folder.path().join("checkpoints"));
    let sizes: Vec<u64> = kept.unwrap().iter().map(|kept| kept.size).collect();
    assert_eq!(sizes, [301, 6]);
    // The next turn begins no further log.
    sealed.sealer.turn().await.unwrap();
    assert_eq!(rows::logs(sealed.pool()).await.unwrap().len(), 2);

    // Without a word of it, retention of a month keeps both.
    let keep = |micros: i64| Duration::from_micros(micros.unsigned_abs());
    assert_eq!(retain(sealed.pool(), keep(MONTH), false).await.unwrap(), []);
    sealed.append(1).await;
    sealed.sealer.turn().await.unwrap();
    let dropped = retain(sealed.pool(), Duration::ZERO, false).await.unwrap();
    assert_eq!(dropped, [(old.origin.clone(), 301)]);
    assert!(rows::records(sealed.pool(), old.log, 0, 301).await.unwrap().is_empty());
    let report = sealed.holds().await;
    assert!(report.logs[0].dropped);
    assert_eq!((report.logs[0].size, report.records()), (301, 7));
    // Retention drops no records of a month that ended a moment ago: somebody else did.
    sealed.keep = keep(MONTH);
    let said: Vec<String> = sealed.verify().await.wrong().map(ToString::to_string).collect();
    assert!(said[0].contains("it ended less than audit.keep ago"), "{said:?}");
    sealed.keep = Duration::ZERO;
    // What is left is held against the checkpoint that is left.
    sealed.sealer.turn().await.unwrap();
    assert!(!sealed.state.is_rolled_back());
    sealed.execute("UPDATE audit_log SET dropped = 1").await;
    sealed.execute("UPDATE audit_checkpoint SET note = '' WHERE log = 1").await;
    assert!(sealed.verify().await.wrong().count() > 0);
}

#[tokio::test]
async fn a_log_that_a_clock_began_far_ahead_ends_when_the_clock_is_set_right() {
    let mut sealed = Sealed::begun(-24 * MONTH).await;
    sealed.append(5).await;
    sealed.sealer.turn().await.unwrap();
    sealed.append(5).await;
    sealed.sealer.turn().await.unwrap();
    let logs = rows::logs(sealed.pool()).await.unwrap();
    let [ahead, log] = &logs[..] else { panic!("{logs:#?}") };
    assert_eq!(log.origin, format!("{}.2", ahead.origin));
    assert_eq!((ahead.records, log.records), (6, 6));
    let now = rows::now(sealed.pool()).await.unwrap();
    assert!(rows::begun(sealed.pool(), log.log).await.unwrap().unwrap() <= now);
    sealed.holds().await;
    // When the one before ended is not known until another begins.
    assert_eq!(retain(sealed.pool(), Duration::ZERO, false).await.unwrap(), []);
}

#[tokio::test]
async fn a_log_that_was_taken_out_of_the_store_is_missed() {
    let mut sealed = Sealed::begun(MONTH).await;
    sealed.append(5).await;
    sealed.sealer.turn().await.unwrap();
    sealed.append(5).await;
    sealed.sealer.turn().await.unwrap();
    sealed.holds().await;
    sealed
        .execute(
            "DELETE FROM audit_entry WHERE position < (2 << 40); \
             DELETE FROM audit_log WHERE log = 1; DELETE FROM audit_checkpoint WHERE log = 1; \
             DELETE FROM audit_tile WHERE log = 1",
        )
        .await;
    sealed.sealer.known.clear();
    let said: Vec<String> = sealed.verify().await.wrong().map(ToString::to_string).collect();
    assert!(said[0].contains("the log before it is not in the store"), "{said:?}");
}

#[tokio::test]
async fn whoever_has_lost_the_lease_writes_nothing() {
    let mut sealed = Sealed::begun(0).await;
    sealed.append(5).await;
    let lease = sealed.sealer.store.lease(LEASE, LEASE_LENGTH).await.unwrap().unwrap();
    let row = rows::logs(sealed.pool()).await.unwrap().remove(0);
    let sealing = Sealing::read(sealed.pool(), &row).await.unwrap();
    let leaves = rows::leaves(sealed.pool(), 1, 0, 6).await.unwrap();
    sealed.pool().seize(LEASE, "another", LEASE_LENGTH).await.unwrap();
    let keys = &sealed.sealer.keys;
    let late = sealing.seal(sealed.pool(), &leaves, keys, &lease).await;
    assert!(matches!(late, Err(SealError::Overtaken)), "{late:?}");
    let next = Next { name: "2999-01".parse().unwrap(), prefix: "a", abandoned: &[], now: 0 };
    let late = sealing.roll_over(sealed.pool(), next, keys, &lease).await;
    assert!(matches!(late, Err(SealError::Overtaken)), "{late:?}");
    let logs = rows::logs(sealed.pool()).await.unwrap();
    assert_eq!((logs.len(), logs[0].tiled), (1, 0));
    // The other one's lease still holds: this one leaves the log alone.
    sealed.sealer.turn().await.unwrap();
    assert_eq!(rows::logs(sealed.pool()).await.unwrap()[0].tiled, 0);
}

#[tokio::test]
async fn a_database_that_lost_commits_under_a_running_gateway_is_noticed() {
    const LOSE: &str = "DELETE FROM audit_entry WHERE position >= (1 << 40) + 10; \
                        UPDATE audit_head SET next = 10; DELETE FROM audit_checkpoint; \
                        DELETE FROM audit_tile";
    // It may have gone on with other records by the time that somebody looks.
    for after in [0, 50] {
        let mut sealed = Sealed::begun(0).await;
        sealed.append(30).await;
        sealed.sealer.turn().await.unwrap();
        fs::remove_file(sealed.folder.path().join("checkpoints")).unwrap();
        sealed.execute(LOSE).await;
        if after > 0 {
            sealed.append(after).await;
        }
        sealed.sealer.turn().await.unwrap();
        assert!(sealed.state.is_rolled_back());
        // Nothing is signed for it any more.
        assert!(rows::logs(sealed.pool()).await.unwrap()[0].checkpoint.is_none());

        // The loss is known to whoever opens the store next.
        let accepted = sealed.accept().await.unwrap();
        assert!(accepted.origin.ends_with(".2"), "{accepted:?}");
        assert_eq!(accepted.lost[0].size, 31);
        tokio::time::sleep(LEASE_LENGTH).await;
        sealed.append(3).await;
        sealed.sealer.turn().await.unwrap();
        assert!(!sealed.state.is_rolled_back());
        let report = sealed.holds().await;
        assert_eq!(report.logs[1].vouched, 4);
        assert!(!report.logs[0].losses.is_empty());
        assert_eq!(report.logs[0].vouched, report.logs[0].size);
    }
}

#[tokio::test]
async fn nothing_is_signed_over_a_record_that_is_missing() {
    let mut sealed = Sealed::begun(0).await;
    sealed.append(30).await;
    sealed.execute("DELETE FROM audit_entry WHERE position = (1 << 40) + 10").await;
    let missing = sealed.sealer.turn().await.unwrap_err();
    assert!(matches!(missing, SealError::Missing { .. }), "{missing}");
    assert!(rows::logs(sealed.pool()).await.unwrap()[0].checkpoint.is_none());
    let report = sealed.verify().await;
    let wrong: Vec<String> = report.wrong().map(ToString::to_string).collect();
    assert!(wrong[0].contains("record 10: it is missing"), "{wrong:?}");
}

#[tokio::test]
async fn a_log_without_a_key_is_sealed_as_soon_as_there_is_one() {
    let mut sealed = Sealed::begun(MONTH).await;
    let key = std::mem::take(&mut sealed.sealer.keys);
    sealed.append(600).await;
    sealed.sealer.turn().await.unwrap();
    sealed.append(600).await;
    sealed.sealer.turn().await.unwrap();
    let logs = rows::logs(sealed.pool()).await.unwrap();
    assert_eq!((logs.len(), logs[0].tiled, logs[1].tiled), (2, 601, 601));
    assert!(logs.iter().all(|log| log.checkpoint.is_none()));
    sealed.sealer.keys = key;
    sealed.sealer.turn().await.unwrap();
    let report = sealed.holds().await;
    // The first record of the second log vouches for the first log.
    assert_eq!((report.logs[0].vouched, report.logs[1].vouched), (601, 601));
}

#[tokio::test]
async fn a_checkpoint_file_that_hangs_or_is_no_such_file_keeps_nobody_from_sealing() {
    let mut sealed = Sealed::begun(0).await;
    let path = sealed.folder.path().join("checkpoints");
    fs::create_dir(&path).unwrap();
    sealed.append(5).await;
    assert!(sealed.sealer.turn().await.unwrap().is_some());
    assert_eq!(sealed.state.status().sealed, 6);
    fs::remove_dir(&path).unwrap();
    sealed.append(5).await;
    assert_eq!(sealed.sealer.turn().await.unwrap(), None);
    assert!(fs::read_to_string(&path).unwrap().contains("\n11\n"));
}

fn forged(origin: &str, size: u64) -> Checkpoint {
    Checkpoint::sign(origin, size, super::super::leaf_hash(b"forged"), &keys(1)).unwrap()
}

#[tokio::test]
async fn a_checkpoint_that_no_key_signed_keeps_nobody_from_changing_anything() {
    let mut sealed = Sealed::begun(0).await;
    sealed.append(5).await;
    sealed.sealer.turn().await.unwrap();
    let origin = sealed.state.status().origin;
    let genuine = fs::read_to_string(sealed.file()).unwrap();
    let forged = forged(&origin, 999_999);
    fs::write(sealed.file(), &forged.note).unwrap();
    sealed.append(5).await;
    assert_eq!(sealed.sealer.turn().await.unwrap(), None);
    let status = sealed.state.status();
    assert_eq!((status.rolled_back, status.sealed), (None, 11));
    assert!(status.doubts.unwrap().contains("999999 records that none of audit.key_files"));
    assert!(rows::lost(sealed.pool()).await.unwrap().is_empty());
    // It stays where it is, beside the checkpoint that is kept.
    let kept = fs::read_to_string(sealed.file()).unwrap();
    assert!(kept.contains("\n11\n") && kept.contains(&forged.note), "{kept}");
    assert!(matches!(sealed.accept().await, Err(AcceptError::Nothing)));

    sealed.holds().await;

    // Somebody writes into the store that it was lost.
    fs::write(sealed.file(), genuine).unwrap();
    let head = rows::head(sealed.pool()).await.unwrap().unwrap();
    writing::note_lost(sealed.pool(), head, &[forged]).await.unwrap();
    sealed.sealer.turn().await.unwrap();
    let status = sealed.state.status();
    assert_eq!(status.rolled_back, None);
    assert!(status.doubts.unwrap().contains("audit_lost"));
    assert!(matches!(sealed.accept().await, Err(AcceptError::Nothing)));
    let report = sealed.verify().await;
    assert!(report.wrong().next().unwrap().to_string().contains("store's own note of a loss"));
}

#[tokio::test]
async fn what_a_key_signed_that_is_not_in_use_any_more_is_kept_without_a_word() {
    let mut sealed = Sealed::begun(MONTH).await;
    sealed.append(5).await;
    sealed.sealer.turn().await.unwrap();
    let kept = fs::read_to_string(sealed.file()).unwrap();
    sealed.sealer.keys = keys(1);
    sealed.sealer.known.clear();
    sealed.append(5).await;
    sealed.sealer.turn().await.unwrap();
    let status = sealed.state.status();
    assert_eq!((status.rolled_back, status.doubts), (None, None));
    assert!(fs::read_to_string(sealed.file()).unwrap().starts_with(&kept));
}

#[tokio::test]
async fn what_the_file_holds_is_looked_at_before_it_is_replaced() {
    let mut sealed = Sealed::begun(0).await;
    sealed.append(5).await;
    sealed.sealer.turn().await.unwrap();
    let origin = sealed.state.status().origin;
    // The store is longer than what the file vouches for, and yet another.
    let root = super::super::leaf_hash(b"other records");
    let other = Checkpoint::sign(&origin, 3, root, &sealed.sealer.keys).unwrap();
    let aside = sealed.folder.path().join("aside");
    fs::rename(sealed.file(), &aside).unwrap();
    fs::create_dir(sealed.file()).unwrap();
    sealed.append(5).await;
    assert!(sealed.sealer.turn().await.unwrap().is_some(), "the file cannot be read");
    fs::remove_dir(sealed.file()).unwrap();
    fs::write(sealed.file(), &other.note).unwrap();
    sealed.sealer.turn().await.unwrap();
    let reason = sealed.state.status().rolled_back.unwrap();
    assert!(reason.contains("was changed: the first 3 records"), "{reason}");
    assert_eq!(fs::read_to_string(sealed.file()).unwrap(), other.note);
}

#[tokio::test]
async fn a_checkpoint_that_was_deleted_from_the_store_is_missed() {
    let mut sealed = Sealed::begun(0).await;
    sealed.append(5).await;
    sealed.sealer.turn().await.unwrap();
    sealed.execute("DELETE FROM audit_checkpoint; DELETE FROM audit_tile").await;
    sealed.sealer.known.clear();
    sealed.sealer.sealing = None;
    sealed.append(5).await;
    sealed.sealer.turn().await.unwrap();
    let doubts = sealed.state.status().doubts.unwrap();
    assert!(doubts.contains("though one of 6 records was signed"), "{doubts}");
}

#[tokio::test]
async fn nothing_is_signed_over_records_that_the_last_checkpoint_does_not_fit() {
    let mut sealed = Sealed::begun(0).await;
    sealed.append(5).await;
    sealed.sealer.turn().await.unwrap();
    let kept = fs::read_to_string(sealed.file()).unwrap();
    // As whoever can write the database does while the gateway is stopped.
    sealed
        .execute("UPDATE audit_entry SET leaf = zeroblob(32) WHERE position = (1 << 40) + 3")
        .await;
    sealed.sealer.known.clear();
    sealed.sealer.sealing = None;
    sealed.append(5).await;
    sealed.sealer.turn().await.unwrap();
    let reason = sealed.state.status().rolled_back.unwrap();
    assert!(reason.contains("was changed: the first 6 records"), "{reason}");
    assert_eq!(fs::read_to_string(sealed.file()).unwrap(), kept);
}
