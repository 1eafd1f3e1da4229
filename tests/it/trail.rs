//! The audit trail, as `serve` keeps it.

use std::{path::PathBuf, process::Command};

use reqwest::Method;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::Gateway;

/// A gateway that keeps a trail in a file.
pub fn recording(settings: &str) -> Gateway {
    Gateway::with(&format!("[store]\nurl = \"sqlite:DIRECTORY/store.db\"\n{settings}"), &[])
}

fn file(gateway: &Gateway) -> PathBuf {
    gateway.directory.path().join("store.db")
}

/// The entries of the trail so far, without the log's first and those about the gateway
/// itself.
pub fn entries(gateway: &Gateway) -> Vec<Value> {
    all_entries(gateway).into_iter().filter(|entry| entry["eventType"] != "System").collect()
}

/// The entries of the trail so far, without the log's first.
pub fn all_entries(gateway: &Gateway) -> Vec<Value> {
    let connection = Connection::open(file(gateway)).unwrap();
    let mut rows = connection
        .prepare("SELECT entry FROM audit_entry WHERE kind != 4 ORDER BY position")
        .unwrap();
    let entries = rows.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    entries.map(|entry| serde_json::from_slice(&entry.unwrap()).unwrap()).collect()
}

/// Waits until the trail has so many entries.
pub async fn entries_in_time(gateway: &Gateway, wanted: usize) -> Vec<Value> {
    for _ in 0..500 {
        let found = entries(gateway);
        if found.len() >= wanted {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("no {wanted} entries: {:#?}", entries(gateway));
}

fn uploads(vault: &str) -> String {
    format!("/v1/accounts/-/vaults/{vault}/multipart-uploads")
}

#[actix_web::test]
async fn an_abort_leaves_an_intent_and_its_outcome() {
    let gateway = recording("");
    let ids = gateway.simulator.seed("own-a", &["one"]).await;
    let path = format!("{}/{}", uploads("own-a"), ids[0]);
    assert_eq!(gateway.call("owner", Method::DELETE, &path).await.status(), 204);
    let found = entries_in_time(&gateway, 2).await;
    let [intent, outcome] = &found[..] else { panic!("{found:#?}") };
    assert_eq!(intent["eventType"], "Intent");
    assert_eq!(outcome["eventType"], "Outcome");
    assert_eq!(intent["eventID"], outcome["eventID"]);
    assert_eq!(intent["eventName"], "AbortMultipartUpload");
    assert_eq!(intent["eventSource"], "glacier.amazonaws.com");
    assert_eq!(intent["awsRegion"], "eu-central-1");
    assert_eq!(intent["recipientAccountId"], "111122223333");
    assert_eq!(intent["readOnly"], false);
    assert_eq!(intent["team"], "owner");
    assert_eq!(intent["uploadId"], ids[0]);
    assert_eq!(intent["decision"]["outcome"], "allowed");
    assert_eq!(intent["decision"]["sid"], "Own");
    assert_eq!(intent["userIdentity"]["issuer"], "test");
    assert_eq!(outcome["outcome"], "aborted");
    assert!(outcome["upstream"]["requestID"].is_string());
    assert_eq!(outcome["upstream"]["attempts"], 1);
}

#[actix_web::test]
async fn reads_denials_and_simulations_are_recorded() {
    let gateway = recording("");
    gateway.simulator.seed("own-a", &["one"]).await;
    assert_eq!(gateway.call("owner", Method::GET, &uploads("own-a")).await.status(), 200);
    assert_eq!(gateway.call("owner", Method::GET, &uploads("foreign")).await.status(), 403);
    assert_eq!(gateway.call("owner", Method::GET, &uploads("own-none")).await.status(), 404);
    let found = entries_in_time(&gateway, 3).await;
    let told: Vec<_> = found
        .iter()
        .map(|entry| (&entry["decision"]["outcome"], &entry["outcome"], &entry["errorCode"]))
        .collect();
    let (allowed, denied, null) = (json!("allowed"), json!("implicitDeny"), Value::Null);
    let (ok, refused) = (json!("ok"), json!("refused-by-glacier"));
    let (forbidden, unknown) = (json!("not-authorized"), json!("vault-not-found"));
    let wanted =
        [(&allowed, &ok, &null), (&denied, &null, &forbidden), (&allowed, &refused, &unknown)];
    assert_eq!(told, wanted);
}

#[actix_web::test]
async fn nothing_is_forwarded_while_the_trail_cannot_be_written() {
    let gateway = recording("");
    let ids = gateway.simulator.seed("own-a", &["one", "two"]).await;
    let path = |id: &str| format!("{}/{id}", uploads("own-a"));
    let (store, away) = (file(&gateway), gateway.directory.path().join("away.db"));
    std::fs::rename(&store, &away).unwrap();
    let refused = gateway.call("owner", Method::DELETE, &path(&ids[0])).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["code"], "audit-unavailable");
    let sent = gateway.simulator.requests().await;
    assert!(sent.iter().all(|request| request["method"] != "DELETE"), "{sent:#?}");
    let ready = reqwest::get(format!("{}/readyz", gateway.management)).await.unwrap();
    assert_eq!(ready.status(), 200);
    assert!(ready.text().await.unwrap().contains("audit: unavailable"));
    assert_eq!(gateway.call("owner", Method::GET, &uploads("own-a")).await.status(), 200);

    std::fs::rename(&away, &store).unwrap();
    let mut status = 0;
    for _ in 0..100 {
        status = gateway.call("owner", Method::DELETE, &path(&ids[1])).await.status().as_u16();
        if status == 204 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(status, 204, "it recovers by itself");
    let found = entries_in_time(&gateway, 3).await;
    let aborted = found.iter().filter(|entry| entry["outcome"] == "aborted").count();
    assert_eq!(aborted, 1, "{found:#?}");
}

#[actix_web::test]
async fn two_processes_never_share_a_file() {
    let gateway = recording("");
    let second = Command::new(crate::support::BINARY)
        .args(["serve", "--config"])
        .arg(gateway.directory.path().join("gateway.toml"))
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(64));
    let told = String::from_utf8_lossy(&second.stderr);
    assert!(told.contains("another process has it open"), "{told}");
}

#[actix_web::test]
async fn an_outcome_says_how_often_glacier_was_asked() {
    let gateway = recording("");
    let ids = gateway.simulator.seed("own-a", &["one", "two"]).await;
    for (id, times, attempts, outcome) in [(0, 2, 3, "aborted"), (1, 3, 3, "unknown")] {
        gateway.simulator.fault(json!({"effect": "unavailable", "times": times})).await;
        let path = format!("{}/{}", uploads("own-a"), ids[id]);
        gateway.call("owner", Method::DELETE, &path).await;
        let found = entries_in_time(&gateway, 2 * (id + 1)).await;
        let told = found.last().unwrap();
        assert_eq!(told["outcome"], outcome, "{told}");
        assert_eq!(told["upstream"]["attempts"], attempts, "{told}");
    }
}
