//! Shutting down loses no request.

use std::time::Duration;

use reqwest::Method;
use rusqlite::Connection;
use serde_json::json;

use crate::{
    management::probe,
    support::{Gateway, client, uploads},
};

#[tokio::test]
async fn sigterm_turns_readiness_red_and_lets_requests_in_flight_finish() {
    let mut gateway = Gateway::start();
    let id = gateway.simulator.seed("own-a", &["x"]).await.remove(0);
    gateway.simulator.fault(json!({"latencyMillis": 700})).await;
    let ready = format!("{}/readyz", gateway.management);
    assert_eq!(client().get(&ready).send().await.unwrap().status(), 200);

    let path = format!("{}/{id}", uploads("own-a"));
    let abort = gateway.call("owner", Method::DELETE, &path);
    let stop = async {
        // The request is in flight once Glacier has it.
        while gateway.simulator.requests().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        gateway.process.signal("TERM");
        gateway.process.event(|event| event["message"] == "shutting down");
        client().get(&ready).send().await.unwrap().status()
    };
    let (reply, readiness) = tokio::join!(abort, stop);

    assert_eq!(readiness, 503);
    assert_eq!(reply.status(), 204);
    assert!(gateway.process.child.wait().unwrap().success());
}

#[tokio::test]
async fn requests_are_taken_until_load_balancers_know() {
    let mut gateway =
        Gateway::start().with_environment(&[("GATEWAY__SERVER__SHUTDOWN_DELAY", "600s")]);
    gateway.simulator.seed("own-a", &["x"]).await;
    gateway.process.signal("TERM");
    while probe(&gateway, "readyz").await.0 == 200 {}
    assert_eq!(gateway.call("owner", Method::GET, &uploads("own-a")).await.status(), 200);
    gateway.process.signal("TERM");
    gateway.process.event(|event| event["message"] == "not waiting any longer");
    assert!(gateway.process.child.wait().unwrap().success());
}

#[tokio::test]
async fn a_second_signal_does_not_wait() {
    let mut gateway = Gateway::with("", &[]);
    gateway.simulator.seed("own-a", &["x"]).await;
    gateway.simulator.fault(json!({"effect": "hang"})).await;
    let path = format!("{}/x", uploads("own-a"));
    let url = format!("{}{path}", gateway.rest);
    let token = gateway.key.token("owner");
    let pending = tokio::spawn(client().delete(url).bearer_auth(token).send());
    while gateway.simulator.requests().await.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gateway.process.signal("TERM");
    gateway.process.event(|event| event["message"] == "shutting down");
    gateway.process.signal("TERM");
    gateway.process.event(|event| event["message"] == "not waiting any longer");
    assert!(gateway.process.child.wait().unwrap().success());
    assert!(pending.await.unwrap().is_err(), "the hanging request was cut off");
}

#[tokio::test]
async fn a_request_that_outlasts_the_deadline_is_cut_off() {
    let mut gateway = Gateway::start().with_environment(&[
        ("GATEWAY__SERVER__SHUTDOWN_TIMEOUT", "1s"),
        PATIENT[0],
        PATIENT[1],
    ]);
    gateway.simulator.seed("own-a", &["x"]).await;
    gateway.simulator.fault(json!({"effect": "hang"})).await;
    let pending = tokio::spawn(
        client()
            .delete(format!("{}{}/x", gateway.rest, uploads("own-a")))
            .bearer_auth(gateway.key.token("owner"))
            .send(),
    );
    while gateway.simulator.requests().await.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gateway.process.signal("TERM");
    assert!(gateway.process.child.wait().unwrap().success());
    assert!(pending.await.unwrap().is_err(), "the hanging request was cut off");
}

/// Time limits upstream that no test reaches.
const PATIENT: [(&str, &str); 2] =
    [("GATEWAY__AWS__READ_TIMEOUT", "60s"), ("GATEWAY__AWS__ATTEMPT_TIMEOUT", "60s")];

#[tokio::test]
async fn a_connection_that_is_kept_alive_ends_with_its_last_answer() {
    let mut gateway = Gateway::start();
    let id = gateway.simulator.seed("own-a", &["x"]).await.remove(0);
    gateway.simulator.fault(json!({"latencyMillis": 700})).await;
    let proxy = client();
    let url = format!("{}{}/{id}", gateway.rest, uploads("own-a"));
    let abort = proxy.delete(&url).bearer_auth(gateway.key.token("owner")).send();
    let stop = async {
        while gateway.simulator.requests().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        gateway.process.signal("TERM");
        gateway.process.event(|event| event["message"] == "shutting down");
    };
    let (reply, ()) = tokio::join!(abort, stop);
    let reply = reply.unwrap();
    assert_eq!(
        (reply.status(), &reply.headers()["connection"]),
        (204.try_into().unwrap(), &"close".parse().unwrap())
    );
    assert!(gateway.process.child.wait().unwrap().success());
}

const STORE: &str = "[store]\nurl = \"sqlite:DIRECTORY/store.db\"\n";

#[tokio::test]
async fn a_stop_leaves_nothing_unsealed_and_nobody_waits_for_the_lease() {
    let mut gateway = Gateway::with(STORE, &[]);
    gateway.call("owner", Method::GET, &uploads("own-a")).await;
    gateway.process.signal("TERM");
    assert!(gateway.process.child.wait().unwrap().success());
    let store = Connection::open(gateway.directory.path().join("store.db")).unwrap();
    let number = |sql| store.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let records = number("SELECT next FROM audit_head");
    assert!(records > 2, "{records}");
    assert_eq!(number("SELECT size FROM audit_checkpoint"), records);
    assert_eq!(number("SELECT until FROM lease WHERE name = 'audit-sealer'"), 0);
}

/// Whoever waits for the store at the end has a connection to it.
#[tokio::test]
async fn a_stop_with_a_store_that_is_locked_ends_with_code_1() {
    let mut gateway = Gateway::with(STORE, &[]);
    let store = Connection::open(gateway.directory.path().join("store.db")).unwrap();
    store.execute_batch("BEGIN IMMEDIATE").unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    gateway.process.signal("TERM");
    let ended = gateway.process.child.wait().unwrap();
    let lines = gateway.process.all_lines().join("\n");
    assert_eq!(ended.code(), Some(1), "{lines}");
    assert!(lines.contains("records of the last requests are lost"), "{lines}");
    assert!(!lines.contains("panicked"), "{lines}");
}
