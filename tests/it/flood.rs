//! What the trail says of floods, and of the gateway itself.

use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    signed::Request,
    support::{Gateway, client, uploads},
    trail::{all_entries, entries, recording},
};

/// Ends the gateway, which writes what it has counted.
pub fn stop(gateway: &mut Gateway) {
    gateway.process.signal("TERM");
    assert!(gateway.process.child.wait().unwrap().success());
}

/// Waits until the trail has an entry for which `wanted` holds.
async fn entry(gateway: &Gateway, wanted: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..1_000 {
        if let Some(found) = all_entries(gateway).into_iter().find(&wanted) {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("no such entry: {:#?}", all_entries(gateway));
}

#[actix_web::test]
async fn a_flood_of_denials_becomes_a_hundred_records_and_one_with_their_number() {
    let mut gateway = recording("");
    for _ in 0..150 {
        assert_eq!(gateway.call("owner", Method::GET, &uploads("foreign")).await.status(), 403);
    }
    stop(&mut gateway);
    let found = entries(&gateway);
    assert_eq!(found.len(), 101);
    let counted = &found[100];
    assert_eq!(counted["eventType"], "Counted");
    assert_eq!(counted["count"], 50);
    assert_eq!(counted["resource"], found[0]["resource"]);
    assert_eq!(counted["userIdentity"], found[0]["userIdentity"]);
    assert_eq!(counted["errorCode"], "not-authorized");
    let verified = gateway.command(&["audit", "verify"], true);
    assert!(verified.status.success(), "{verified:?}");
}

#[actix_web::test]
async fn a_caller_of_many_teams_without_permission_fills_no_disk() {
    let mut gateway = recording("");
    let teams: Vec<_> = (0..80).map(|n| format!("{n:0>100}")).collect();
    let mut claims = crate::support::claims("stranger");
    claims["team"] = json!(teams);
    let token = gateway.key.sign(&claims);
    for n in 0..150 {
        let path = uploads(&format!("foreign-{n}"));
        assert_eq!(gateway.call_with(&token, Method::GET, &path).await.status(), 403);
    }
    stop(&mut gateway);
    let found = entries(&gateway);
    let told = |entry: &Value| entry["count"].as_u64().unwrap_or(1);
    assert_eq!(found.iter().map(told).sum::<u64>(), 150);
    let omitted = found.last().unwrap();
    assert_eq!(omitted["eventName"], "OmitRecords");
    assert_eq!(omitted["userIdentity"]["subject"], "stranger-service");
    let store = rusqlite::Connection::open(gateway.directory.path().join("store.db")).unwrap();
    let sum = "SELECT sum(length(entry) + length(teams)) FROM audit_entry";
    let bytes: i64 = store.query_row(sum, [], |row| row.get(0)).unwrap();
    assert!(bytes < 600 << 10, "{bytes} bytes");
    let verified = gateway.command(&["audit", "verify"], true);
    assert!(verified.status.success(), "{verified:?}");
}

#[actix_web::test]
async fn requests_whose_callers_prove_nothing_are_counted_by_issuer() {
    let mut gateway = recording("[keys.master_key_files]\n1 = \"DIRECTORY/master-key-1\"\n");
    let stranger = crate::support::Key::es256("es256");
    for _ in 0..3 {
        let reply = gateway.call_with(&stranger.token("owner"), Method::GET, "/v1/access").await;
        assert_eq!(reply.status(), 401);
    }
    for door in ["/v1/access", "/glacier/-/vaults"] {
        let reply = client().get(format!("{}{door}", gateway.rest)).send().await.unwrap();
        assert!(matches!(reply.status().as_u16(), 401 | 403), "{door}");
    }
    let key = gateway.create_key(&["--team", "owner"]);
    let mut signed = Request::new(&gateway, "GET", "/glacier/-/vaults").signed(&key);
    signed.target = "/glacier/-/vaults/other".to_owned();
    assert_eq!(signed.send(&gateway).await.0, 403);
    stop(&mut gateway);
    let mut told: Vec<String> = entries(&gateway)
        .iter()
        .map(|entry| {
            assert_eq!(entry["eventType"], "Counted");
            assert_eq!(entry["eventName"], "Authenticate");
            assert_eq!(entry["sourceIPAddress"], "127.0.0.1");
            let identity = &entry["userIdentity"];
            json!([identity["issuer"], entry["errorCode"], entry["count"]]).to_string()
        })
        .collect();
    told.sort();
    let expected = [
        r#"["gateway-keys","SignatureDoesNotMatch",1]"#,
        r#"["other","MissingAuthenticationToken",1]"#,
        r#"["other","token-missing",1]"#,
        r#"["test","token-invalid",3]"#,
    ];
    assert_eq!(told, expected);
}

#[actix_web::test]
async fn the_trail_says_when_the_gateway_ran_and_what_was_in_force() {
    let settings = "[tokens]\nrevocation_file = \"DIRECTORY/revoked.json\"\n\
                    [keys.master_key_files]\n1 = \"DIRECTORY/master-key-1\"\n";
    let mut gateway = recording(settings);
    let path = |name: &str| gateway.directory.path().join(name);
    let is = |name: &'static str| move |entry: &Value| entry["eventName"] == name;
    let start = entry(&gateway, is("Start")).await;
    assert_eq!(start["eventType"], "System");
    assert_eq!(start["additionalEventData"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(start["additionalEventData"]["replica"].is_string());
    let policies = entry(&gateway, is("PoliciesReplaced")).await;
    assert_eq!(policies["additionalEventData"]["setting"], "policy.directory");
    let by_hand = Command::new("sh")
        .args([
            "-c",
            "find . -name '*.json' -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum | sha256sum",
        ])
        .current_dir(path("policies"))
        .output()
        .unwrap();
    let by_hand = String::from_utf8(by_hand.stdout).unwrap();
    assert_eq!(policies["additionalEventData"]["digest"], by_hand[..64]);
    let digest = |setting: &'static str| {
        move |entry: &Value| entry["additionalEventData"]["setting"] == setting
    };
    for keys in ["issuers.test", "keys.master_key_files.1"] {
        let keys = entry(&gateway, digest(keys)).await;
        assert_eq!(keys["eventName"], "KeysReplaced");
        assert!(keys["additionalEventData"]["digest"].is_string());
    }
    let revocations = entry(&gateway, digest("tokens.revocation_file")).await;
    assert_eq!(revocations["eventName"], "RevocationsReplaced");

    let policy = path("policies/teams/owner.json");
    let text = std::fs::read_to_string(&policy).unwrap();
    std::fs::write(&policy, "{}").unwrap();
    let refused = entry(&gateway, is("PoliciesRefused")).await;
    assert_eq!(refused["additionalEventData"]["errors"], 1);
    // Looked at again, they are refused again, and that is no news.
    for looks in 1..=2 {
        gateway.process.signal("HUP");
        let told =
            |lines: &[String]| lines.iter().filter(|line| line.contains("on SIGHUP")).count();
        gateway.process.wait_until(|lines| told(lines) == looks);
    }
    std::fs::write(&policy, text + "\n").unwrap();
    std::fs::write(path("revoked.json"), r#"{"tokens": []}"#).unwrap();
    let old = revocations["additionalEventData"]["digest"].clone();
    let anew = |entry: &Value| {
        let told = &entry["additionalEventData"];
        told["setting"] == "tokens.revocation_file" && told["digest"] != old
    };
    entry(&gateway, anew).await;
    let old = policies["additionalEventData"]["digest"].clone();
    let anew = |entry: &Value| {
        entry["eventName"] == "PoliciesReplaced" && entry["additionalEventData"]["digest"] != old
    };
    entry(&gateway, anew).await;
    stop(&mut gateway);
    let all = all_entries(&gateway);
    assert_eq!(all.iter().filter(|entry| entry["eventName"] == "PoliciesRefused").count(), 1);
    assert_eq!(all.last().unwrap()["eventName"], "Stop");
}
