//! Gateway keys: made and inspected on the command line, rotated and revoked.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    signed::Request,
    support::{AccessKey, Gateway, now},
};

async fn list_vaults(gateway: &Gateway, key: &AccessKey) -> (u16, String) {
    let request = Request::new(gateway, "GET", "/glacier/-/vaults").signed(key);
    let (status, body) = request.send(gateway).await;
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

const GOOD: (u16, String) = (200, String::new());

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn a_key_says_whose_it_is_and_how_long_it_is_valid() {
    let gateway = Gateway::with_master_keys(&[1], "");
    let key =
        gateway.create_key(&["--team", "owner", "--subject", "ci/nightly", "--expires", "2h"]);
    assert!(key.id.len() <= 128 && key.id.bytes().all(|b| b.is_ascii_alphanumeric()));

    let output = gateway.command(&["key", "inspect", &key.id], false);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["team"], "owner");
    assert_eq!(said["subject"], "ci/nightly");
    assert_eq!(said["masterKey"], 1);
    let moment = |name: &str| humantime::parse_rfc3339_weak(said[name].as_str().unwrap()).unwrap();
    let validity = moment("expires").duration_since(moment("issued")).unwrap();
    assert_eq!(validity.as_secs(), 2 * 3600);
    assert!(!String::from_utf8_lossy(&output.stdout).contains(&key.secret));
    assert_eq!(list_vaults(&gateway, &key).await, GOOD);

    let other = gateway.create_key(&["--team", "owner", "--subject", "ci/nightly"]);
    assert_ne!((&key.id, &key.secret), (&other.id, &other.secret));
    for wrong in ["AKIAIOSFODNN7EXAMPLE", &key.id.to_lowercase(), &key.id[1..]] {
        assert!(!gateway.command(&["key", "inspect", wrong], false).status.success(), "{wrong}");
    }
    for wrong in [["--team", "a b"], ["--team", "a/b"], ["--team", ""], ["--team", &"t".repeat(63)]]
    {
        let output = gateway.command(&[&["key", "create"], &wrong[..]].concat(), true);
        assert_eq!(output.status.code(), Some(64), "{wrong:?}");
    }
    for wrong in ["0s", "999ms", "367d", "78years"] {
        let options = ["key", "create", "--team", "owner", "--expires", wrong];
        let output = gateway.command(&options, true);
        assert_eq!(output.status.code(), Some(64), "{wrong}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("at most 366 days"), "{wrong}: {said}");
    }
    gateway.create_key(&["--team", "owner", "--expires", "1y"]);
}

#[tokio::test]
async fn an_altered_id_has_another_secret() {
    let gateway = Gateway::with_master_keys(&[1], "");
    let stranger = gateway.create_key(&["--team", "guest", "--subject", "ci"]);
    let owner = gateway.create_key(&["--team", "owner", "--subject", "ci"]);
    // The owner's ID with the guest's secret: what an attacker could make.
    let forged = AccessKey { id: owner.id, secret: stranger.secret.clone() };
    assert_eq!(list_vaults(&gateway, &forged).await, refused(403, "SignatureDoesNotMatch"));
    assert_eq!(list_vaults(&gateway, &stranger).await, refused(403, "AccessDeniedException"));
}

#[tokio::test]
async fn an_expired_key_is_refused_and_says_so_only_to_its_holder() {
    let gateway = Gateway::with_master_keys(&[1], "");
    let key = gateway.create_key(&["--team", "owner", "--expires", "1s"]);
    let expired = refused(403, "ExpiredTokenException");
    let deadline = now() + 30;
    while list_vaults(&gateway, &key).await != expired {
        assert!(now() < deadline, "the key does not expire");
    }
    let guessed = AccessKey { secret: "guess".to_owned(), ..key };
    assert_eq!(list_vaults(&gateway, &guessed).await, refused(403, "SignatureDoesNotMatch"));
}

#[tokio::test]
async fn master_keys_rotate_without_refusing_a_good_key() {
    let gateway = Gateway::with_master_keys(&[1], "");
    let old = gateway.create_key(&["--team", "owner"]);
    let gateway = gateway.set_master_keys(&[1, 2]);
    let new = gateway.create_key(&["--team", "owner"]);
    assert_eq!(list_vaults(&gateway, &old).await, GOOD);
    assert_eq!(list_vaults(&gateway, &new).await, GOOD);
    let gateway = gateway.set_master_keys(&[2]);
    let unknown = refused(400, "UnrecognizedClientException");
    assert_eq!(list_vaults(&gateway, &old).await, unknown);
    assert_eq!(list_vaults(&gateway, &new).await, GOOD);
}

#[tokio::test]
async fn another_replica_knows_a_key_without_being_told() {
    let gateway = Gateway::with_master_keys(&[1], "");
    let key = gateway.create_key(&["--team", "owner"]);
    let gateway = gateway.restarted();
    assert_eq!(list_vaults(&gateway, &key).await, GOOD);
}

#[tokio::test]
async fn a_revocation_takes_effect_without_a_restart_and_a_broken_file_revokes_no_less() {
    let gateway = Gateway::with_master_keys(&[1], r#"revocation_file = "DIRECTORY/revoked.json""#);
    let write = |revocations: &str| {
        std::fs::write(gateway.directory.path().join("revoked.json"), revocations).unwrap();
    };
    let reloaded = |times: usize| {
        gateway.process.wait_until(|lines| {
            lines.iter().filter(|line| line.contains("\"reloaded\"")).count() >= times
        });
    };
    let by_id = gateway.create_key(&["--team", "owner"]);
    let other = gateway.create_key(&["--team", "owner"]);
    assert_eq!(list_vaults(&gateway, &by_id).await, GOOD);

    let revoked = refused(400, "UnrecognizedClientException");
    write(&json!({"ids": [by_id.id]}).to_string());
    reloaded(1);
    assert_eq!(list_vaults(&gateway, &by_id).await, revoked);
    assert_eq!(list_vaults(&gateway, &other).await, GOOD);

    write(r#"{"ids": ["#);
    gateway
        .process
        .event(|event| event["level"] == "ERROR" && event["setting"] == "keys.revocation_file");
    assert_eq!(list_vaults(&gateway, &by_id).await, revoked);

    write(r#"{"teams": {"owner": "2999-01-01T00:00:00Z"}}"#);
    reloaded(2);
    assert_eq!(list_vaults(&gateway, &other).await, revoked);
    write(
        r#"{"teams": {"guest": "2999-01-01T00:00:00Z"}, "issuedBefore": "2020-01-01T00:00:00Z"}"#,
    );
    reloaded(3);
    assert_eq!(list_vaults(&gateway, &other).await, GOOD);
    write(r#"{"issuedBefore": "2999-01-01T00:00:00Z"}"#);
    reloaded(4);
    assert_eq!(list_vaults(&gateway, &other).await, revoked);

    // Tokens have nothing to do with it.
    let token = gateway.call("owner", Method::GET, "/v1/accounts/-/vaults").await;
    assert_eq!(token.status(), 200);
}

#[tokio::test]
async fn without_master_keys_nobody_signs_in_and_no_key_can_be_made() {
    let gateway = Gateway::start();
    let output = gateway.command(&["key", "create", "--team", "owner"], true);
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("keys.master_key_files"));
    let elsewhere = Gateway::with_master_keys(&[1], "");
    let key = elsewhere.create_key(&["--team", "owner"]);
    let unknown = refused(400, "UnrecognizedClientException");
    assert_eq!(list_vaults(&gateway, &key).await, unknown);
    assert_eq!(list_vaults(&elsewhere, &key).await, GOOD);
}

#[test]
fn unusable_key_files_and_settings_are_bad_configuration() {
    let gateway = Gateway::with_master_keys(&[1], "");
    let run = |command: &str, keys: &str| {
        let config = gateway.directory.path().join("gateway.toml");
        let good = std::fs::read_to_string(&config).unwrap();
        let broken = gateway.directory.path().join("broken.toml");
        let (head, _) = good.split_once("[keys]").unwrap();
        std::fs::write(&broken, format!("{head}\n[keys]\n{keys}")).unwrap();
        let config = broken.to_str().unwrap().to_owned();
        gateway.command(&[command, "--config", &config], false)
    };
    let path = |name: &str| gateway.directory.path().join(name).display().to_string();
    std::fs::write(path("short"), "too short\n").unwrap();
    std::fs::write(path("bad.json"), "{").unwrap();
    for (keys, word) in [
        (format!("master_key_files = {{1 = {:?}}}", path("missing")), "No such file"),
        (format!("master_key_files = {{1 = {:?}}}", path("short")), "at least 32 bytes"),
        ("master_key_files = {one = \"x\"}".to_owned(), "0 to 255"),
        ("master_key_files = {256 = \"x\"}".to_owned(), "0 to 255"),
        (
            format!("master_key_files = {{1 = {0:?}, 01 = {0:?}}}", path("master-key-1")),
            "without leading zeros",
        ),
        (format!("revocation_file = {:?}", path("bad.json")), "bad.json"),
        (format!("revocation_file = {:?}", path("missing")), "No such file"),
        ("clock_skew = \"16m\"".to_owned(), "keys.clock_skew"),
    ] {
        // `serve` would not end if it were not refused, so it comes second.
        for command in ["check-config", "serve"] {
            let output = run(command, &keys);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains(word), "{command} {keys}: {said}");
            assert_eq!(output.status.code(), Some(64), "{command} {keys}: {said}");
        }
    }
    assert!(run("check-config", "clock_skew = \"15m\"").status.success());
}
