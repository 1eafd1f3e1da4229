#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use data_encoding::HEXLOWER;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::{
    audit::{
        export::LogFolder,
        log::{
            Checkpoint, CheckpointKeys, Edge, Hash, LogEnd, LogStart, TrustedKeys, leaf_hash,
            tests::keys,
        },
        test_store::{open, settings},
    },
    store::{Kind, StoreError, both},
};

const STORE: &str = "store.example";

/// An export of a trail of two logs, of which the second begins with the end of the
/// first.
struct Export {
    folder: TempDir,
    keys: CheckpointKeys,
    checkpoints: Vec<Checkpoint>,
}

fn entry(log: usize, index: u64) -> Vec<u8> {
    format!("{{\"eventID\":\"{log}-{index}\",\"text\":\"{}\"}}", "x".repeat(80)).into_bytes()
}

fn first(origin: &str, previous: Option<&Checkpoint>) -> Vec<u8> {
    let previous = previous.map(|end| LogEnd {
        origin: end.origin.clone(),
        size: end.size,
        root_hash: end.root.to_string(),
        checkpoint: Some(end.note.clone()),
    });
    let log = LogStart { origin: origin.to_owned(), previous, abandoned: Vec::new() };
    json!({"eventType": "LogStart", "log": log}).to_string().into_bytes()
}

impl Export {
    fn new(sizes: [u64; 2]) -> Self {
        let mut export =
            Self { folder: TempDir::new().unwrap(), keys: keys(1), checkpoints: Vec::new() };
        for (log, size) in sizes.into_iter().enumerate() {
            let name = format!("2026-1{log}");
            let origin = format!("{STORE}/audit/{name}");
            let mut entries = vec![first(&origin, export.checkpoints.last())];
            entries.extend((1..size).map(|index| entry(log, index)));
            export.write(&name, &entries);
        }
        export
    }

    fn write(&mut self, name: &str, entries: &[Vec<u8>]) {
        let _ = fs::remove_dir_all(self.log(name));
        let mut folder = LogFolder::create(&self.log(name)).unwrap();
        entries.iter().for_each(|entry| folder.push(entry).unwrap());
        let root = root(entries);
        let origin = format!("{STORE}/audit/{name}");
        let size = entries.len() as u64;
        let checkpoint = Checkpoint::sign(&origin, size, root, &self.keys).unwrap();
        folder.finish(&checkpoint).unwrap();
        self.checkpoints.push(checkpoint);
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn verify(&self, kept: &[&Checkpoint]) -> Vec<String> {
        let kept: Vec<Kept> = kept
            .iter()
            .map(|kept| Kept { checkpoint: (*kept).clone(), from: "kept.txt".to_owned() })
            .collect();
        let keys = self.keys.trusted();
        let report = verify_folder(self.folder.path(), &kept, Some(&keys)).unwrap();
        report.wrong().map(ToString::to_string).collect()
    }

    /// What verification says first after `change` to the file at `path`.
    fn after(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
        let path = self.folder.path().join(path);
        let before = fs::read(&path).unwrap();
        let mut after = before.clone();
        change(&mut after);
        fs::write(&path, after).unwrap();
        let wrong = self.verify(&[]);
        fs::write(&path, before).unwrap();
        assert!(!wrong.is_empty(), "a change of {} is not found", path.display());
        wrong[0].clone()
    }
}

fn root(entries: &[Vec<u8>]) -> Hash {
    let mut edge = Edge::default();
    entries.iter().for_each(|entry| edge.push(leaf_hash(entry), |_| ()));
    edge.root()
}

fn flip_at(text: &str) -> impl FnOnce(&mut Vec<u8>) {
    move |file| {
        let place = file.windows(text.len()).position(|part| part == text.as_bytes()).unwrap();
        file[place] ^= 1;
    }
}

#[test]
fn a_whole_export_holds_and_so_does_a_single_log_and_a_dropped_one() {
    let export = Export::new([700, 300]);
    assert_eq!(export.verify(&[]), [""; 0]);
    let kept: Vec<&Checkpoint> = export.checkpoints.iter().collect();
    assert_eq!(export.verify(&kept), [""; 0]);
    let keys = export.keys.trusted();
    let report = verify_folder(export.folder.path(), &[], Some(&keys)).unwrap();
    assert_eq!(
        (report.records(), report.logs[0].vouched, report.logs[1].vouched),
        (1000, 700, 300)
    );
    for log in ["2026-10", "2026-11"] {
        let kept = Kept { checkpoint: export.checkpoints[0].clone(), from: String::new() };
        let report = verify_folder(&export.log(log), &[kept], Some(&keys)).unwrap();
        assert_eq!(report.wrong().count(), 0);
    }
    fs::remove_dir_all(export.log("2026-10").join("tile")).unwrap();
    assert_eq!(export.verify(&kept), [""; 0]);
    fs::remove_dir_all(export.log("2026-10")).unwrap();
    let wrong = export.verify(&kept);
    let missing = "store.example/audit/2026-10, record 0: the log is missing";
    assert!(wrong[0].starts_with(missing), "{wrong:?}");
    fs::remove_dir_all(export.log("2026-11").join("tile")).unwrap();
    let wrong = export.verify(&[]);
    assert!(wrong[0].contains("retention drops the records of no log"), "{wrong:?}");
}

#[test]
fn the_record_that_was_changed_is_named() {
    let export = Export::new([70_000, 300]);
    for (file, index) in [("000", 77), ("001", 300), ("272", 69_700), ("273.p/112", 69_999)] {
        if index == 0 {
            continue;
        }
        let said = export
            .after(&format!("2026-10/tile/entries/{file}"), flip_at(&format!("\"0-{index}\"")));
        let expected = format!("store.example/audit/2026-10, record {index}: it was changed");
        assert!(said.starts_with(&expected), "{said}");
    }
    let said = export.after("2026-11/tile/entries/001.p/44", flip_at("\"1-299\""));
    assert!(said.starts_with("store.example/audit/2026-11, record 299: it was changed"), "{said}");
}

#[test]
fn a_changed_tile_is_told_from_a_changed_record() {
    let export = Export::new([66_000, 300]);
    let said = export.after("2026-10/tile/0/001", |file| file[32 * 5] ^= 1);
    assert!(said.contains("2026-10, record 261: the hash stored for it is not its hash"), "{said}");
    let said = export.after("2026-10/tile/1/000", |file| file[32 * 5] ^= 1);
    assert!(said.contains("records 1280 to 1535: the stored tile above them is wrong"), "{said}");
    let said = export.after("2026-10/tile/2/000.p/1", |file| file[3] ^= 1);
    assert!(said.contains("the stored tile of level 2"), "{said}");
    let said = export.after("2026-10/tile/1/001.p/1", Vec::clear);
    assert!(said.contains("the file tile/1/001.p/1 is missing or cut"), "{said}");
    let said = export.after("2026-10/tile/0/003", |file| file.truncate(31));
    assert!(said.contains("record 768: the hash stored for it"), "{said}");
}

#[test]
fn records_that_were_changed_with_their_hashes_are_narrowed_down() {
    let export = Export::new([1000, 300]);
    // The record and the leaf's hash; the tile above tells of which 256.
    let changed = entry(0, 7777);
    let replace = |bundle: &mut Vec<u8>| {
        let mut entries: Vec<Vec<u8>> = crate::audit::log::entries_of_bundle(bundle)
            .map(|entry| entry.unwrap().to_vec())
            .collect();
        entries[44].clone_from(&changed);
        bundle.clear();
        for entry in entries {
            crate::audit::log::append_to_bundle(bundle, &entry).unwrap();
        }
    };
    let leaves = export.log("2026-10").join("tile/0/001");
    let before = fs::read(&leaves).unwrap();
    let mut after = before.clone();
    after[44 * 32..45 * 32].copy_from_slice(&leaf_hash(&changed).0);
    fs::write(&leaves, after).unwrap();
    let said = export.after("2026-10/tile/entries/001", replace);
    assert!(
        said.contains("2026-10, records 256 to 511: at least one of them was changed"),
        "{said}"
    );
}

/// The entries of a log of the export.
fn entries(export: &Export, name: &str) -> Vec<Vec<u8>> {
    let size = export.checkpoints.iter().find(|c| c.origin.ends_with(name)).unwrap().size;
    let files = export.log(name);
    let mut entries = Vec::new();
    for index in 0..size.div_ceil(256) {
        let width = crate::audit::log::tile_width(0, index, size);
        let path = crate::audit::log::LogPath::Entries { index, width }.to_string();
        let bundle = fs::read(files.join(path)).unwrap();
        entries.extend(
            crate::audit::log::entries_of_bundle(&bundle).map(|entry| entry.unwrap().to_vec()),
        );
    }
    entries
}

/// Whoever has the key as well can rewrite everything but what was kept elsewhere.
#[test]
fn a_trail_that_was_rewritten_with_its_key_does_not_hold_against_kept_checkpoints() {
    let edit: fn(&mut Vec<Vec<u8>>) = |entries| entries[250] = entry(0, 9999);
    let swap: fn(&mut Vec<Vec<u8>>) = |entries| entries.swap(250, 251);
    let delete: fn(&mut Vec<Vec<u8>>) = |entries| drop(entries.remove(250));
    let glue: fn(&mut Vec<Vec<u8>>) =
        |entries| entries.splice(250.., (0..500).map(|i| entry(5, i))).for_each(drop);
    let truncate: fn(&mut Vec<Vec<u8>>) = |entries| entries.truncate(250);
    for (what, tamper, expected) in [
        ("edit", edit, "records 200 to 399: at least one of them is not"),
        ("swap", swap, "records 200 to 399: at least one of them is not"),
        ("delete", delete, "records 200 to 399: at least one of them is not"),
        ("glue", glue, "records 200 to 399: at least one of them is not"),
        ("truncate", truncate, "record 250: it is missing, with all after it"),
    ] {
        let mut export = Export::new([600, 300]);
        let mut entries = entries(&export, "2026-11");
        entries.truncate(600);
        let mut entries_of_october = self::entries(&export, "2026-10");
        let sign = |size: usize, entries: &[Vec<u8>]| {
            let origin = format!("{STORE}/audit/2026-10");
            Checkpoint::sign(&origin, size as u64, root(&entries[..size]), &export.keys).unwrap()
        };
        let kept = [200, 400, 600].map(|size| sign(size, &entries_of_october));
        tamper(&mut entries_of_october);
        export.checkpoints.clear();
        export.write("2026-10", &entries_of_october);
        entries[0] = first(&format!("{STORE}/audit/2026-11"), export.checkpoints.last());
        export.write("2026-11", &entries);
        assert_eq!(export.verify(&[]), [""; 0], "{what}");
        let wrong = export.verify(&kept.each_ref());
        assert!(wrong[0].contains(expected), "{what}: {wrong:#?}");
        // Without the next month's log rewritten, it does not hold in itself.
        let mut broken = Export::new([600, 300]);
        broken.keys = export.keys;
        let november = self::entries(&broken, "2026-11");
        broken.write("2026-11", &november);
        broken.write("2026-10", &entries_of_october);
        let wrong = broken.verify(&[]);
        assert!(wrong[0].contains("store.example/audit/2026-10, record"), "{what}: {wrong:#?}");
    }
}

#[test]
fn missing_files_edited_checkpoints_and_foreign_logs_are_found() {
    let export = Export::new([600, 300]);
    let edited = |file: &mut Vec<u8>| {
        *file = String::from_utf8(file.clone()).unwrap().replace("\n600\n", "\n599\n").into_bytes();
    };
    let said = export.after("2026-10/checkpoint", edited);
    assert!(said.contains("is not signed as it stands"), "{said}");
    let said = export.after("2026-10/checkpoint", Vec::clear);
    assert!(said.contains("record 0"), "{said}");
    let other = Export::new([600, 300]);
    let wrong = {
        let report = verify_folder(export.folder.path(), &[], Some(&other.keys.trusted())).unwrap();
        report.wrong().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(wrong[0].contains("is signed by none of the keys given"), "{wrong:?}");

    let bundle = export.log("2026-10").join("tile/entries/001");
    fs::rename(&bundle, bundle.with_extension("gone")).unwrap();
    let wrong = export.verify(&[]);
    assert!(wrong[0].contains("2026-10, record 256: it is missing, with the file"), "{wrong:?}");
    fs::rename(bundle.with_extension("gone"), &bundle).unwrap();

    // Two trails glued: November of another one.
    fs::remove_dir_all(export.log("2026-11")).unwrap();
    copy(&other.log("2026-11"), &export.log("2026-11"));
    assert!(!export.verify(&[]).is_empty());
    assert!(matches!(
        verify_folder(other.log("2026-11").join("tile").as_path(), &[], None),
        Err(FolderError::NoLog { .. })
    ));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn sizes_that_somebody_made_up_and_files_that_never_end_are_told_at_once() {
    for size in [0, 257, 1 << 50, u64::MAX] {
        let export = Export::new([600, 300]);
        let origin = format!("{STORE}/audit/2026-11");
        let vast = Checkpoint::sign(&origin, size, Hash([1; 32]), &export.keys).unwrap();
        fs::write(export.log("2026-11").join("checkpoint"), vast.note).unwrap();
        let wrong = export.verify(&[]);
        assert!(wrong[0].starts_with(&format!("{origin}, record")), "{size}: {wrong:?}");
    }
    for path in ["2026-11/checkpoint", "2026-11/tile/0/000", "2026-11/tile/entries/000"] {
        let export = Export::new([600, 300]);
        let path = export.folder.path().join(path);
        fs::remove_file(&path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
        let error = verify_folder(export.folder.path(), &[], None).unwrap_err().to_string();
        assert!(error.ends_with("it is not a regular file"), "{error}");
    }
}

#[test]
fn a_record_that_no_bundle_can_hold_is_named() {
    let mut check = LogCheck::new("a", Vec::new(), None);
    for (index, length) in [(0, 65_535), (1, 65_536)] {
        let entry = vec![b' '; length];
        check.record(index, &entry, Some(leaf_hash(&entry)));
    }
    let wrong = check.finish(2).wrong;
    assert_eq!(wrong.len(), 1);
    assert!(wrong[0].to_string().starts_with("a, record 1: it has 65536 bytes"), "{wrong:?}");
}

#[tokio::test]
async fn a_log_that_nothing_vouches_for_and_a_loss_that_was_noted_are_told() {
    let folder = TempDir::new().unwrap();
    let store = open(&settings(folder.path()).0).await;
    let execute = async |sql: String| {
        let executed = async {
            both!(store, pool => {
                sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(pool).await.map(drop)?
            });
            Ok::<_, StoreError>(())
        };
        executed.await.unwrap();
    };
    let keys = keys(1);
    let wrong = async |trusted: Option<&TrustedKeys>| {
        let report = verify_store(store.pool(), &[], trusted, Duration::ZERO).await.unwrap();
        report.wrong().map(ToString::to_string).collect::<Vec<_>>()
    };
    let hex = |bytes: &[u8]| HEXLOWER.encode(bytes);
    let append = async |log: u8, index: u8, kind: Kind, entry: &[u8]| {
        let leaf = hex(&leaf_hash(entry).0);
        execute(format!(
            "INSERT INTO audit_entry VALUES (({log} << 40) + {index}, 0, x'', {}, '', x'{leaf}', \
             x'{}'); \
             INSERT INTO audit_head (id, log, next) VALUES (1, {log}, {index} + 1) \
             ON CONFLICT DO UPDATE SET log = excluded.log, next = excluded.next",
            kind as i64,
            hex(entry)
        ))
        .await;
    };
    let add = async |log: u8, origin: &str| {
        let values = format!("({log}, '{origin}', '2020-01')");
        execute(format!("INSERT INTO audit_log (log, origin, month) VALUES {values}")).await;
    };
    let trusted = keys.trusted();
    assert_eq!(wrong(Some(&trusted)).await, [""; 0]);
    add(1, "a/audit/2020-01").await;
    append(1, 0, Kind::LogStart, &first("a/audit/2020-01", None)).await;
    append(1, 1, Kind::Event, &entry(0, 1)).await;
    let said = wrong(Some(&trusted)).await;
    assert!(said[0].contains("record 0: no checkpoint vouches for it"), "{said:?}");
    assert_eq!(wrong(None).await, [""; 0]);

    let lost = Checkpoint::sign("a/audit/2020-01", 7, Hash([1; 32]), &keys).unwrap();
    execute(format!("INSERT INTO audit_lost (log, notes) VALUES (1, '{}')", lost.note)).await;
    let said = wrong(None).await;
    assert!(said[0].contains("record 2: it is missing"), "{said:?}");
    assert!(said[0].contains("the store's own note of a loss"), "{said:?}");

    // A later log accepts it.
    let root = root(&[first("a/audit/2020-01", None), entry(0, 1)]);
    let previous = LogEnd {
        origin: "a/audit/2020-01".to_owned(),
        size: 2,
        root_hash: root.to_string(),
        checkpoint: None,
    };
    let origin = "a/audit/2020-01.2".to_owned();
    add(2, &origin).await;
    execute("UPDATE audit_log SET size = 2 WHERE log = 1".to_owned()).await;
    let abandoned = vec![lost.note.clone()];
    let log = LogStart { origin, previous: Some(previous), abandoned };
    let start = json!({"eventType": "LogStart", "log": log}).to_string().into_bytes();
    append(2, 0, Kind::LogStart, &start).await;
    assert_eq!(wrong(None).await, [""; 0]);
}

/// The record of an event of the 10th of a month.
fn record(event: u128, month: u8, event_type: &str) -> Vec<u8> {
    let time = format!("2026-{month}-10T00:00:00Z");
    let id = uuid::Uuid::from_u128(event);
    json!({"eventID": id, "eventTime": time, "eventType": event_type}).to_string().into_bytes()
}

#[test]
fn each_outcome_has_its_intent_before_it_and_each_intent_one_outcome() {
    let mut export = Export::new([1, 1]);
    let mut october = vec![first(&format!("{STORE}/audit/2026-10"), None)];
    let told = ["Intent", "Outcome", "LateOutcome"].map(|told| record(1, 10, told));
    october.extend(told);
    october.push(record(2, 10, "Intent"));
    export.write("2026-10", &october);
    let begin = first(&format!("{STORE}/audit/2026-11"), export.checkpoints.last());
    let mut begin: serde_json::Value = serde_json::from_slice(&begin).unwrap();
    begin["eventTime"] = "2026-11-01T00:00:00Z".into();
    let mut november = vec![begin.to_string().into_bytes()];
    november.extend([record(2, 10, "Outcome"), record(3, 11, "Intent")]);
    let under_way = |export: &Export| {
        let report = verify_folder(export.folder.path(), &[], None).unwrap();
        assert_eq!(report.wrong().count(), 0, "{:?}", report.wrong);
        report.under_way
    };
    export.write("2026-11", &november);
    assert_eq!(under_way(&export), 1);

    for (added, wanted) in [
        (record(2, 10, "Outcome"), "it is a second outcome of the event 0000"),
        (record(1, 10, "Outcome"), "it is a second outcome of the event 0000"),
        (record(4, 11, "Outcome"), "or its outcome without an intent"),
        (record(3, 11, "Intent"), "it is a second intent of the event 0000"),
    ] {
        export.write("2026-11", &[&november[..], &[added]].concat());
        let wrong = export.verify(&[]);
        assert!(wrong[0].starts_with(&format!("{STORE}/audit/2026-11, record 3: ")), "{wrong:?}");
        assert!(wrong[0].contains(wanted) && wrong.len() == 1, "{wrong:?}");
    }
    // Without October's records an outcome of October proves nothing, and one of November does.
    let dropped = export.log("2026-10").join("tile");
    fs::remove_dir_all(dropped).unwrap();
    let outcomes = [10, 11].map(|month| record(4, month, "Outcome"));
    export.write("2026-11", &[&november[..], &outcomes[..1]].concat());
    assert_eq!(under_way(&export), 1);
    export.write("2026-11", &[&november[..], &outcomes].concat());
    let wrong = export.verify(&[]);
    assert!(wrong[0].contains("record 4: it is a second outcome") && wrong.len() == 1, "{wrong:?}");
}
