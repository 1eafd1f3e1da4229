//! Changes whose gateway ended before it knew what became of them.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    files::told,
    support::{Gateway, MADE_UP, uploads},
    trail::{entries, recording},
};

/// A gateway that is killed after it has sent an abort and before it knows the answer;
/// `fault` is what keeps the answer away.
async fn killed(fault: Value) -> (Gateway, String) {
    let mut gateway = recording("");
    let id = gateway.simulator.seed("own-a", &["x"]).await.remove(0);
    let mut hang = json!({"effect": "hang", "operation": "AbortMultipartUpload"});
    hang.as_object_mut().unwrap().extend(fault.as_object().unwrap().clone());
    gateway.simulator.fault(hang).await;
    let path = format!("{}{}/{id}", gateway.rest, uploads("own-a"));
    let token = gateway.key.token("owner");
    let call = tokio::spawn(crate::support::client().delete(path).bearer_auth(token).send());
    let sent = |requests: &[Value]| requests.iter().any(|request| request["method"] == "DELETE");
    while !sent(&gateway.simulator.requests().await) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gateway.process.child.kill().unwrap();
    gateway.process.child.wait().unwrap();
    assert!(call.await.unwrap().is_err());
    let found = entries(&gateway);
    assert_eq!(found.len(), 1, "an intent and no outcome: {found:#?}");
    (gateway, id)
}

/// Waits until the intent has an outcome, and gives it.
async fn outcome(gateway: &Gateway) -> Value {
    for _ in 0..3_000 {
        if let [intent, outcome] = &entries(gateway)[..] {
            assert_eq!(intent["eventType"], "Intent");
            assert_eq!(outcome["eventType"], "Outcome");
            assert_eq!(intent["eventID"], outcome["eventID"]);
            assert_eq!(outcome["additionalEventData"]["recovered"], true);
            assert_eq!(outcome["userIdentity"], Value::Null, "the intent says it");
            return outcome.clone();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no outcome: {:#?}", entries(gateway));
}

#[actix_web::test]
async fn an_abort_that_was_carried_out_while_the_gateway_died_is_gone() {
    let (gateway, id) = killed(json!({"carriedOut": true})).await;
    let gateway = gateway.restarted();
    let outcome = outcome(&gateway).await;
    assert_eq!((&outcome["outcome"], &outcome["uploadId"]), (&json!("gone"), &json!(id)));
    assert_eq!(outcome["errorCode"], "upload-not-found");
    let settled = gateway.process.event(|line| line["outcome"] == "gone");
    assert_eq!(settled["event_id"], outcome["eventID"]);
    let verified = gateway.command(&["audit", "verify"], true);
    assert!(verified.status.success(), "{verified:?}");
}

#[actix_web::test]
async fn an_abort_of_an_upload_that_is_still_there_has_failed_once_it_cannot_arrive_any_more() {
    for (older, told) in [("0", "unknown"), ("3600000000", "failed")] {
        let (gateway, _) = killed(json!({})).await;
        store(&gateway).execute(&format!("UPDATE audit_entry SET at = at - {older}"), []).unwrap();
        let gateway = gateway.restarted();
        let outcome = outcome(&gateway).await;
        assert_eq!(outcome["outcome"], told);
        assert_eq!(outcome["errorCode"], "upload-still-there");
    }
}

#[actix_web::test]
async fn changes_of_which_glacier_tells_nothing_hold_up_no_others() {
    let (gateway, id) = killed(json!({})).await;
    std::fs::write(gateway.directory.path().join(MADE_UP), "").unwrap();
    let store = store(&gateway);
    let copy = "INSERT INTO audit_entry SELECT position + ?1, at, randomblob(16), kind, teams, leaf, \
                CAST(replace(CAST(entry AS TEXT), ?2, ?3) AS BLOB) FROM audit_entry WHERE kind = 1 ORDER BY position LIMIT 1";
    for n in 1..200 {
        store.execute(copy, rusqlite::params![n, "", ""]).unwrap();
    }
    store.execute(copy, rusqlite::params![200, id, "another"]).unwrap();
    let open = "INSERT OR IGNORE INTO audit_open SELECT event, 'another', position \
                FROM audit_entry WHERE kind = 1";
    store.execute(open, []).unwrap();
    store.execute("UPDATE audit_head SET next = next + 1000", []).unwrap();
    let refused = json!({"status": 403, "code": "AccessDeniedException", "message": ""});
    let refused = json!({"effect": {"error": refused}, "operation": "ListParts", "uploadId": id});
    gateway.simulator.fault(refused).await;
    let gateway = gateway.restarted();
    gateway.process.event(|line| line["outcome"] == "gone" && line["code"] == "upload-not-found");
    assert!(
        !entries(&gateway)
            .iter()
            .any(|entry| entry["uploadId"] == *id && entry["eventType"] == "Outcome")
    );
}

/// What `audit verify` says, and whether the trail holds.
fn verified(gateway: &Gateway) -> (bool, String) {
    let output = gateway.command(&["audit", "verify"], true);
    let text = [&output.stdout[..], &output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[actix_web::test]
async fn an_intent_that_the_store_forgets_and_an_outcome_that_it_wants_twice_are_named() {
    let (mut gateway, _) = killed(json!({"carriedOut": true})).await;
    let (holds, said) = verified(&gateway);
    assert!(holds && said.contains("Changes without an outcome so far: 1."), "{said}");
    let open = "SELECT event, position FROM audit_open";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let (event, position): (Vec<u8>, i64) = store(&gateway).query_row(open, [], read).unwrap();
    let plant = |gateway: &Gateway| {
        let row = rusqlite::params![event, position];
        store(gateway).execute("INSERT INTO audit_open VALUES (?1, 'another', ?2)", row).unwrap();
    };
    store(&gateway).execute("DELETE FROM audit_open", []).unwrap();
    let (holds, said) = verified(&gateway);
    assert!(!holds && said.contains("has no outcome and is not under way"), "{said}");
    plant(&gateway);
    gateway.restart(&[]);
    assert_eq!(outcome(&gateway).await["outcome"], "gone");
    let (holds, said) = verified(&gateway);
    assert!(holds, "{said}");

    gateway.process.child.kill().unwrap();
    gateway.process.child.wait().unwrap();
    plant(&gateway);
    // The gateway believes its store, and records what became of the change once more.
    gateway.restart(&[]);
    let outcomes = || {
        let entries = entries(&gateway);
        entries.iter().filter(|entry| entry["eventType"] == "Outcome").count()
    };
    while outcomes() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (holds, said) = verified(&gateway);
    assert!(!holds && said.contains("it is a second outcome of the event"), "{said}");
}

#[actix_web::test]
async fn nothing_is_settled_while_the_store_cannot_be_written_and_then_once() {
    let (mut gateway, _) = killed(json!({"carriedOut": true})).await;
    gateway.restart(&[]);
    let file = gateway.directory.path().join("store.db");
    std::fs::rename(&file, file.with_extension("away")).unwrap();
    told(&gateway, "readyz", "audit: unavailable", true).await;
    // The recovery still reads the file, and would find the same change several times.
    tokio::time::sleep(Duration::from_secs(12)).await;
    std::fs::rename(file.with_extension("away"), &file).unwrap();
    assert_eq!(outcome(&gateway).await["outcome"], "gone");
    told(&gateway, "readyz", "audit: unavailable", false).await;
    assert_eq!(entries(&gateway).len(), 2, "{:#?}", entries(&gateway));
}

fn store(gateway: &Gateway) -> rusqlite::Connection {
    rusqlite::Connection::open(gateway.directory.path().join("store.db")).unwrap()
}

#[actix_web::test]
async fn an_intent_stays_open_while_glacier_does_not_answer() {
    let (gateway, _) = killed(json!({"carriedOut": true})).await;
    let silent = json!({"effect": "unavailable", "operation": "ListParts"});
    gateway.simulator.fault(silent).await;
    let gateway = gateway.restarted();
    let asked = |requests: &[Value]| {
        let parts = |request: &&Value| request["method"] == "GET";
        requests.iter().filter(parts).count() > 0
    };
    while !asked(&gateway.simulator.requests().await) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(entries(&gateway).len(), 1, "still open");
    gateway.simulator.order(Method::DELETE, "/faults", &Value::Null).await;
    assert_eq!(outcome(&gateway).await["outcome"], "gone");
}
