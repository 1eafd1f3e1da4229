//! The audit trail's log: that it can be verified, by others too, and that whoever
//! tampers with it is found out.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
    time::Duration,
};

use reqwest::Method;
use rusqlite::Connection;
use serde_json::Value;

use crate::{
    files::told as says_so,
    support::{BINARY, Gateway},
};

/// A gateway whose trail is sealed.
fn sealing() -> Gateway {
    sealing_with(&[1])
}

fn sealing_with(keys: &[u8]) -> Gateway {
    static KEYS: OnceLock<()> = OnceLock::new();
    // They must be there before the gateway is.
    let file = |key: u8| Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("audit-key-{key}"));
    KEYS.get_or_init(|| {
        [1, 2].into_iter().for_each(|key| fs::write(file(key), new_key()).unwrap())
    });
    let files: String =
        keys.iter().map(|key| format!("{key} = \"{}\"\n", file(*key).display())).collect();
    Gateway::with(
        &format!(
            "[store]\nurl = \"sqlite:DIRECTORY/store.db\"\n[audit]\n\
             checkpoint_file = \"DIRECTORY/kept/checkpoints\"\n[audit.key_files]\n{files}"
        ),
        &[],
    )
}

fn new_key() -> String {
    let output = Command::new(BINARY).args(["audit", "key", "create"]).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

fn store(gateway: &Gateway) -> Connection {
    Connection::open(gateway.directory.path().join("store.db")).unwrap()
}

/// `audit` with these arguments and the gateway's configuration: exit code and words.
fn audit(gateway: &Gateway, arguments: &[&str]) -> (i32, String) {
    told(&gateway.command(&[&["audit"], arguments].concat(), true))
}

fn told(output: &Output) -> (i32, String) {
    let text = [&output.stdout[..], &output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

/// Aborts until the trail has so many records, and waits until all are sealed. Reads
/// would be counted rather than recorded one by one.
async fn records(gateway: &Gateway, wanted: i64) {
    let id = gateway.simulator.seed("own-z", &["one"]).await.remove(0);
    let url = format!("/v1/accounts/-/vaults/own-z/multipart-uploads/{id}");
    let count = || -> (i64, i64) {
        let sql = "SELECT next, coalesce((SELECT size FROM audit_checkpoint c \
                   WHERE c.log = h.log AND note != ''), 0) FROM audit_head h";
        store(gateway).query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    };
    for _ in 0..wanted * 2 {
        if count().0 >= wanted {
            break;
        }
        // Glacier forgets it at some time.
        let status = gateway.call("owner", Method::DELETE, &url).await.status();
        assert!([204, 404].contains(&status.as_u16()), "{status}");
    }
    for _ in 0..300 {
        let (next, sealed) = count();
        let kept = gateway.directory.path().join("kept/checkpoints");
        let kept = fs::read_to_string(kept).unwrap_or_default();
        if next >= wanted && next == sealed && kept.contains(&format!("\n{sealed}\n")) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not sealed: {:?} of {wanted}", count());
}

/// A gateway with so many sealed records, stopped, in whose place its folder is left.
async fn sealed(wanted: i64) -> Gateway {
    let gateway = sealing();
    fs::create_dir(gateway.directory.path().join("kept")).unwrap();
    records(&gateway, wanted).await;
    gateway
}

fn stop(gateway: &mut Gateway) {
    gateway.process.signal("TERM");
    gateway.process.child.wait().unwrap();
}

#[actix_web::test]
async fn a_trail_holds_while_it_is_written_and_a_change_of_a_byte_is_named() {
    let gateway = sealed(12).await;
    let (code, said) = audit(&gateway, &["verify"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("records: the trail holds."), "{said}");
    let origin: String =
        store(&gateway).query_row("SELECT origin FROM audit_log", [], |row| row.get(0)).unwrap();
    for (tampering, wanted) in [
        (
            "UPDATE audit_entry SET entry = CAST(replace(CAST(entry AS TEXT), 'Abort', \
             'Abor7') AS BLOB) WHERE position = (1 << 40) + 5",
            "record 5: it was changed",
        ),
        ("DELETE FROM audit_entry WHERE position = (1 << 40) + 5", "record 5: it is missing"),
        (
            "UPDATE audit_entry SET entry = (SELECT entry FROM audit_entry o WHERE o.position = \
             audit_entry.position + 1), leaf = (SELECT leaf FROM audit_entry o WHERE o.position = \
             audit_entry.position + 1) WHERE position = (1 << 40) + 5",
            "at least one of them is not the record that the checkpoint at",
        ),
        (
            "DELETE FROM audit_entry WHERE position >= (1 << 40) + 8; \
             UPDATE audit_head SET next = 8; DELETE FROM audit_checkpoint",
            "record 8: it is missing, with all after it",
        ),
        (
            "UPDATE audit_entry SET teams = '/nobody/' WHERE position > (1 << 40) + 3",
            "the column teams was changed",
        ),
        (
            "UPDATE audit_entry SET kind = 3, event = x'00', at = at + 1 \
             WHERE position = (1 << 40) + 5",
            "record 5: the store finds it by what it does not say: the column kind and the column \
             event and the column at was changed",
        ),
        (
            "INSERT INTO audit_entry SELECT position + 1000, at, event, kind, teams, leaf, entry \
             FROM audit_entry WHERE position = (1 << 40) + 5",
            "record 1005: it is beyond the end of the log",
        ),
        (
            "UPDATE audit_checkpoint SET size = 1 << 50; UPDATE audit_head SET next = 1 << 50",
            "it is missing: there ought to be 1125899906842624 records",
        ),
        (
            "INSERT INTO audit_entry SELECT (1 << 40) + next, at, event, kind, teams, leaf, entry \
             FROM audit_entry, audit_head WHERE kind = 2 LIMIT 1; \
             UPDATE audit_head SET next = next + 1",
            "it is a second outcome of the event",
        ),
        (
            "INSERT INTO audit_open SELECT event, 'another', position FROM audit_entry \
             WHERE kind = 1 LIMIT 1",
            "the store takes it for a change that is under way, and it has its outcome",
        ),
        (
            "INSERT INTO audit_open VALUES (randomblob(16), 'another', (1 << 40) + 5000)",
            "record 5000: the store takes it for a change that is under way, and it is not that",
        ),
        ("UPDATE audit_head SET latest = earliest", "record 0: searches by time can pass over it"),
        ("UPDATE audit_checkpoint SET size = size - 1", "record"),
        ("UPDATE audit_checkpoint SET note = replace(note, '/audit/', '/audits/')", "is one of"),
    ] {
        let copy = tempfile::tempdir().unwrap();
        let file = copy.path().join("store.db");
        store(&gateway).execute("VACUUM INTO ?1", [file.to_str().unwrap()]).unwrap();
        Connection::open(&file).unwrap().execute_batch(tampering).unwrap();
        let output = Command::new(BINARY)
            .args(["audit", "verify", "--config"])
            .arg(gateway.directory.path().join("gateway.toml"))
            .env("GATEWAY__STORE__URL", format!("sqlite:{}", file.display()))
            .output()
            .unwrap();
        let (code, said) = told(&output);
        if tampering.contains("size = size - 1") {
            // The note counts, not what stands beside it.
            assert_eq!(code, 0, "{said}");
            continue;
        }
        assert_eq!(code, 1, "{tampering}: {said}");
        assert!(said.contains(&format!("First: {origin}, record")), "{said}");
        assert!(said.contains(wanted), "{tampering}: {said}");
    }
}

#[actix_web::test]
async fn a_restored_backup_refuses_changes_until_the_loss_is_accepted() {
    let mut gateway = sealed(8).await;
    let ids = gateway.simulator.seed("own-a", &["one", "two"]).await;
    let backup = tempfile::tempdir().unwrap();
    let backup = backup.path().join("backup.db");
    store(&gateway).execute("VACUUM INTO ?1", [backup.to_str().unwrap()]).unwrap();
    records(&gateway, 20).await;
    stop(&mut gateway);
    let folder = gateway.directory.path().to_owned();
    for name in ["store.db", "store.db-wal", "store.db-shm"] {
        let _ = fs::remove_file(folder.join(name));
    }
    fs::copy(&backup, folder.join("store.db")).unwrap();
    let gateway = gateway.restarted();
    let abort = |id: &str| format!("/v1/accounts/-/vaults/own-a/multipart-uploads/{id}");
    let refused = gateway.call("owner", Method::DELETE, &abort(&ids[0])).await;
    assert_eq!(refused.status(), 503);
    let problem: Value = refused.json().await.unwrap();
    assert!(problem["code"].as_str().unwrap().starts_with("audit-"), "{problem}");
    assert_eq!(gateway.simulator.status("own-a", &ids[0]).await.as_deref(), Some("in-progress"));
    let (code, said) = audit(&gateway, &["verify"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("An older copy of the store was restored"), "{said}");

    let (code, said) = audit(&gateway, &["accept-loss"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(".2 begins, and says so"), "{said}");
    let mut status = 0;
    for _ in 0..200 {
        status = gateway.call("owner", Method::DELETE, &abort(&ids[0])).await.status().as_u16();
        if status == 204 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(status, 204, "changes are accepted again");
    records(&gateway, 6).await;
    let (code, said) = audit(&gateway, &["verify"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("accepted loss"), "{said}");
    assert_eq!(audit(&gateway, &["accept-loss"]).0, 1, "there is nothing to accept any more");
    // It stays so.
    let mut gateway = gateway;
    stop(&mut gateway);
    let gateway = gateway.restarted();
    assert_eq!(gateway.call("owner", Method::DELETE, &abort(&ids[1])).await.status(), 204);
}

#[actix_web::test]
async fn a_forged_checkpoint_and_a_file_that_cannot_be_written_are_told_and_refuse_nothing() {
    let gateway = sealing();
    let kept = gateway.directory.path().join("kept");
    let readyz = async |wanted: &str, says: bool| says_so(&gateway, "readyz", wanted, says).await;
    readyz("audit: checkpoints are not kept outside (", true).await;
    readyz("its folder does not exist", true).await;
    readyz("the log is not sealed", false).await;
    fs::create_dir(&kept).unwrap();
    records(&gateway, 5).await;
    readyz("kept outside", false).await;

    let file = kept.join("checkpoints");
    let genuine = fs::read_to_string(&file).unwrap();
    let size = genuine.lines().nth(1).unwrap();
    fs::write(&file, genuine.replacen(&format!("\n{size}\n"), "\n999999\n", 1)).unwrap();
    readyz("with 999999 records that none of audit.key_files signed", true).await;
    records(&gateway, 8).await;
    assert_eq!(audit(&gateway, &["verify"]).0, 1, "it is named");
    let (code, said) = audit(&gateway, &["accept-loss"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("Ignored: ") && said.contains("no loss to accept"), "{said}");
    fs::write(&file, genuine).unwrap();
    readyz("none of audit.key_files", false).await;
    records(&gateway, 10).await;
    let (code, said) = audit(&gateway, &["verify"]);
    assert_eq!(code, 0, "{said}");
}

/// Builds the verifier that is made of Go's own implementation.
fn verifier() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("audit-verify");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/audit/verify.go");
        let output = Command::new("go")
            .args(["build", "-o"])
            .args([&binary, Path::new(source)])
            .env("GO111MODULE", "off")
            .env("GOPATH", "/usr/share/gocode")
            .env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-cache"))
            .output()
            .expect("Go is missing: run `make setup`");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        binary
    })
}

fn go_verify(folder: &Path, keys: &[String]) -> (i32, String) {
    told(&Command::new(verifier()).arg(folder).args(keys).output().unwrap())
}

fn ours(folder: &Path, keys: &[String]) -> (i32, String) {
    let keys = keys.iter().flat_map(|key| ["--key", key]);
    let output = Command::new(BINARY)
        .args(["audit", "verify", "--folder"])
        .arg(folder)
        .args(keys)
        .output()
        .unwrap();
    told(&output)
}

fn keys_of(gateway: &Gateway) -> Vec<String> {
    let (code, keys) = audit(gateway, &["keys"]);
    assert_eq!(code, 0, "{keys}");
    keys.lines().map(str::to_owned).collect()
}

#[actix_web::test]
async fn a_verifier_that_others_wrote_accepts_the_export_and_refuses_each_tampering() {
    let gateway = sealing_with(&[1, 2]);
    fs::create_dir(gateway.directory.path().join("kept")).unwrap();
    records(&gateway, 300).await;
    let folder = gateway.directory.path().join("export");
    let (code, said) = audit(&gateway, &["export", "--tiles", folder.to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
    let keys = keys_of(&gateway);
    assert_eq!(keys.len(), 2);
    for keys in [&keys[..], &keys[..1], &keys[1..]] {
        let (code, said) = go_verify(&folder, keys);
        assert_eq!(code, 0, "{said}");
        assert_eq!(ours(&folder, keys).0, 0);
    }
    let log = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let partial = |kind: &str| {
        let files = fs::read_dir(log.join(kind).join("001.p")).unwrap();
        files.into_iter().next().unwrap().unwrap().path()
    };
    let flip = |file: &mut Vec<u8>| file[100] ^= 1;
    let cut = |file: &mut Vec<u8>| file.truncate(file.len() / 2);
    let one_less = |file: &mut Vec<u8>| {
        let text = String::from_utf8(file.clone()).unwrap();
        let size = text.lines().nth(1).unwrap();
        let less = (size.parse::<u64>().unwrap() - 1).to_string();
        *file = text.replacen(size, &less, 1).into_bytes();
    };
    let swap = |file: &mut Vec<u8>| {
        // The second and the third entry of a bundle, with their lengths.
        let length = |at: usize| 2 + usize::from(u16::from_be_bytes([file[at], file[at + 1]]));
        let first = length(0);
        let second = first + length(first);
        let third = second + length(second);
        file[first..third].rotate_left(second - first);
    };
    type Tampering<'a> = &'a dyn Fn(&mut Vec<u8>);
    let tamperings: [(PathBuf, Tampering); 10] = [
        (log.join("tile/entries/000"), &flip),
        (partial("tile/entries"), &flip),
        (log.join("tile/entries/000"), &swap),
        (partial("tile/entries"), &cut),
        (log.join("tile/0/000"), &flip),
        (partial("tile/0"), &flip),
        (log.join("tile/1/000.p/1"), &|file| file[5] ^= 1),
        (log.join("checkpoint"), &one_less),
        (log.join("checkpoint"), &cut),
        (log.join("tile/0/000"), &|file| file.clear()),
    ];
    for (file, tamper) in &tamperings {
        let before = fs::read(file).unwrap();
        let mut after = before.clone();
        tamper(&mut after);
        assert_ne!(before, after);
        fs::write(file, after).unwrap();
        let (theirs, said) = go_verify(&folder, &keys);
        assert_eq!(theirs, 1, "{}: {said}", file.display());
        let (ours, said) = ours(&folder, &keys);
        assert_eq!(ours, 1, "{}: {said}", file.display());
        fs::remove_file(file).unwrap();
        assert_eq!(go_verify(&folder, &keys).0, 1, "{} is missing", file.display());
        assert_ne!(self::ours(&folder, &keys).0, 0, "{} is missing", file.display());
        fs::write(file, before).unwrap();
    }
    assert_eq!(go_verify(&folder, &keys).0, 0, "the export is whole again");

    // Another store's log after this one.
    let other = sealed(5).await;
    let glued = other.directory.path().join("export");
    audit(&other, &["export", "--tiles", glued.to_str().unwrap()]);
    let foreign = fs::read_dir(&glued).unwrap().next().unwrap().unwrap().path();
    fs::rename(foreign, folder.join("2999-01")).unwrap();
    let keys = [keys, keys_of(&other)].concat();
    let (code, said) = go_verify(&folder, &keys);
    assert_eq!(code, 1, "{said}");
    let (code, said) = ours(&folder, &keys);
    assert_eq!(code, 1, "{said}");
}

#[actix_web::test]
async fn a_trail_that_nothing_can_be_held_against_is_said_aloud() {
    let mut gateway = sealed(5).await;
    stop(&mut gateway);
    let fifo = gateway.directory.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let (code, said) = audit(&gateway, &["verify", "--checkpoint", fifo.to_str().unwrap()]);
    assert!(code == 64 && said.contains("it is not a regular file"), "{code}: {said}");
    fs::remove_file(gateway.directory.path().join("kept/checkpoints")).unwrap();
    let (code, said) = audit(&gateway, &["verify"]);
    assert!(code == 1 && said.contains("audit.checkpoint_file is missing"), "{code}: {said}");
    store(&gateway)
        .execute_batch(
            "DELETE FROM audit_entry; DELETE FROM audit_log; DELETE FROM audit_head; \
             DELETE FROM audit_checkpoint; DELETE FROM audit_tile",
        )
        .unwrap();
    let (code, said) = audit(&gateway, &["verify"]);
    assert!(code == 1 && said.contains("The trail is empty"), "{code}: {said}");
}

#[actix_web::test]
async fn what_is_exported_as_lines_is_every_record() {
    let gateway = sealed(5).await;
    let (code, said) = audit(&gateway, &["export"]);
    assert_eq!(code, 0);
    let records: Vec<Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(records.len() >= 5);
    assert_eq!(records[0]["eventType"], "LogStart");
}
