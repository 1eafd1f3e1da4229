//! The audit trail, as `serve` keeps it.

use std::{path::PathBuf, process::Command, time::Duration};

use reqwest::Method;
use rusqlite::Connection;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    outcomes::OLD_ONLY,
    support::{Gateway, client, problem},
};

/// A gateway that keeps a trail in a file.
pub fn recording(settings: &str) -> Gateway {
    Gateway::with(&format!("[store]\nurl = \"sqlite:DIRECTORY/store.db\"\n{settings}"), &[])
}

fn file(gateway: &Gateway) -> PathBuf {
    gateway.directory.path().join("store.db")
}

/// Ends the gateway, so that another one may have its file.
fn stopped(gateway: &mut Gateway) {
    gateway.process.child.kill().unwrap();
    gateway.process.child.wait().unwrap();
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

/// A gateway whose policies ask for an upload's age, and the path of one that is old enough.
async fn looking_up() -> (Gateway, String) {
    let mut gateway = recording("");
    stopped(&mut gateway);
    let policy = OLD_ONLY.replace("\"7\"", "\"0\"");
    std::fs::write(gateway.directory.path().join("policies/teams/owner.json"), policy).unwrap();
    let gateway = gateway.restarted();
    let id = gateway.simulator.seed("own-a", &["one"]).await.remove(0);
    (gateway, format!("{}/{id}", uploads("own-a")))
}

#[actix_web::test]
async fn an_abort_whose_look_up_failed_was_not_attempted() {
    let (gateway, path) = looking_up().await;
    gateway.simulator.fault(json!({"effect": "unavailable", "operation": "ListParts"})).await;
    assert_eq!(gateway.call("owner", Method::DELETE, &path).await.status(), 503);
    let found = entries_in_time(&gateway, 1).await;
    let [record] = &found[..] else { panic!("{found:#?}") };
    assert_eq!(record["outcome"], "not-attempted", "{record}");
    assert_eq!(record["errorCode"], "glacier-unavailable", "{record}");
}

#[actix_web::test]
async fn the_intent_of_an_abort_says_nothing_of_the_look_up_before_it() {
    let (gateway, path) = looking_up().await;
    assert_eq!(gateway.call("owner", Method::DELETE, &path).await.status(), 204);
    let found = entries_in_time(&gateway, 2).await;
    let [intent, outcome] = &found[..] else { panic!("{found:#?}") };
    assert_eq!((&intent["eventType"], &intent["upstream"]), (&json!("Intent"), &Value::Null));
    let requests = gateway.simulator.requests().await;
    let operations: Vec<_> = requests.iter().map(|request| &request["operation"]).collect();
    assert_eq!(operations, ["ListParts", "AbortMultipartUpload"]);
    assert!(outcome["upstream"]["requestID"].is_string(), "{outcome}");
}

#[actix_web::test]
async fn reads_denials_and_simulations_are_recorded() {
    let gateway = recording("");
    gateway.simulator.seed("own-a", &["one"]).await;
    assert_eq!(gateway.call("owner", Method::GET, &uploads("own-a")).await.status(), 200);
    assert_eq!(gateway.call("owner", Method::GET, &uploads("foreign")).await.status(), 403);
    assert_eq!(gateway.call("owner", Method::GET, &uploads("own-none")).await.status(), 404);
    let simulation = json!({"resources": ["arn:aws:glacier:eu-central-1:111122223333:vaults/v"]});
    let simulated = client()
        .post(format!("{}/v1/access/simulate", gateway.rest))
        .bearer_auth(gateway.key.token("owner"))
        .json(&simulation);
    assert_eq!(simulated.send().await.unwrap().status(), 200);
    let found = entries_in_time(&gateway, 4).await;
    assert!(found[2]["upstream"]["requestID"].is_string(), "{:#}", found[2]);
    assert_eq!(found[3]["eventName"], "SimulateAccess");
    let told: Vec<_> = found
        .iter()
        .map(|entry| (&entry["decision"]["outcome"], &entry["outcome"], &entry["errorCode"]))
        .collect();
    let (allowed, denied, null) = (json!("allowed"), json!("implicitDeny"), Value::Null);
    let (ok, refused) = (json!("ok"), json!("refused-by-glacier"));
    let (forbidden, unknown) = (json!("not-authorized"), json!("vault-not-found"));
    let wanted = [
        (&allowed, &ok, &null),
        (&denied, &null, &forbidden),
        (&allowed, &refused, &unknown),
        (&null, &ok, &null),
    ];
    assert_eq!(told, wanted);
}

#[actix_web::test]
async fn the_record_of_a_read_says_who_asked_for_what_from_where_and_what_glacier_answered() {
    let gateway = recording("");
    let id = gateway.simulator.seed("own-a", &["one"]).await.remove(0);
    let url = format!("{}{}/{id}", gateway.rest, uploads("own-a"));
    let latency = Duration::from_millis(300);
    gateway.simulator.fault(json!({"latencyMillis": latency.as_millis()})).await;
    let before = OffsetDateTime::now_utc();
    let reply = client()
        .get(url)
        .bearer_auth(gateway.key.token("owner"))
        .header("x-request-id", "the-read")
        .send()
        .await
        .unwrap();
    let after = OffsetDateTime::now_utc();
    let aws_id = reply.headers()["x-amzn-requestid"].to_str().unwrap();
    let read = entries_in_time(&gateway, 1).await.remove(0);
    for (name, value) in [
        ("eventType", json!("Event")),
        ("eventName", json!("ListParts")),
        ("readOnly", json!(true)),
        ("requestID", json!("the-read")),
        ("door", json!("rest")),
        ("sourceIPAddress", json!("127.0.0.1")),
        ("resource", json!("arn:aws:glacier:eu-central-1:111122223333:vaults/own-a")),
        ("uploadId", json!(id)),
    ] {
        assert_eq!(read[name], value, "{read:#}");
    }
    let identity = json!({"issuer": "test", "subject": "owner-service", "teams": ["owner"]});
    assert_eq!(read["userIdentity"], identity);
    assert_eq!(read["upstream"]["requestID"], aws_id);
    assert_eq!(read["upstream"]["attempts"], 1);
    let line = gateway.process.event(|line| line["request_id"] == "the-read");
    assert_eq!(read["eventID"], line["event_id"]);
    let began = OffsetDateTime::parse(read["eventTime"].as_str().unwrap(), &Rfc3339).unwrap();
    // It is when the request came, not when Glacier answered.
    assert!((before..=after - latency).contains(&began), "{read:#}");
}

#[actix_web::test]
async fn a_read_waits_for_its_record_if_the_settings_say_so() {
    let gateway = recording("[audit]\nreads = \"require\"");
    gateway.simulator.seed("own-a", &["one"]).await;
    assert_eq!(gateway.call("owner", Method::GET, &uploads("own-a")).await.status(), 200);
    let found = entries(&gateway);
    let [read] = &found[..] else { panic!("{found:#?}") };
    assert_eq!(read["outcome"], "ok");
    std::fs::rename(file(&gateway), gateway.directory.path().join("away.db")).unwrap();
    let reply = gateway.call("owner", Method::GET, &uploads("own-a")).await;
    let (status, body) = problem(reply).await;
    assert_eq!((status, &body["code"]), (503, &json!("audit-unavailable")));
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
    let aborted = outcome_of(&gateway, "Outcome", &ids[1], "aborted").await;
    assert_eq!(aborted["upstream"]["attempts"], 1);
    let refused = outcome_of(&gateway, "Outcome", &ids[0], "not-attempted").await;
    assert_eq!(refused["errorCode"], Value::Null);
}

/// Waits until the trail says what became of a change, or a read, of `upload`.
async fn outcome_of(gateway: &Gateway, kind: &str, upload: &str, outcome: &str) -> Value {
    for _ in 0..500 {
        let says = |entry: &Value| {
            entry["eventType"] == kind && entry["uploadId"] == upload && entry["outcome"] == outcome
        };
        if let Some(found) = entries(gateway).into_iter().find(says) {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("no {outcome} of {upload}: {:#?}", entries(gateway));
}

/// Sends a request while the store is busy with an earlier record, and resets the
/// connection once the gateway's metrics have `line`.
async fn leave_while_the_record_waits(gateway: &Gateway, method: &str, path: &str, line: &str) {
    let metrics = async |line: &str| {
        let metrics = format!("{}/metrics", gateway.management);
        while !reqwest::get(&metrics).await.unwrap().text().await.unwrap().contains(line) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let held = Connection::open(file(gateway)).unwrap();
    held.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(gateway.call("owner", Method::GET, &uploads("foreign")).await.status(), 403);
    metrics("audit_entries_waiting 0").await;
    let host = gateway.rest.strip_prefix("http://").unwrap();
    let token = gateway.key.token("owner");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let stream = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    stream.connect(&host.parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    stream.send(request.as_bytes()).unwrap();
    metrics(line).await;
    stream.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(stream);
    gateway.process.event(|event| event["outcome"] == "client-left");
    held.execute_batch("ROLLBACK").unwrap();
}

#[actix_web::test]
async fn an_abort_whose_client_left_before_its_record_was_durable_is_recorded() {
    let gateway = recording("[audit]\ndeadline = \"30s\"\n");
    let ids = gateway.simulator.seed("own-a", &["one"]).await;
    let path = format!("{}/{}", uploads("own-a"), ids[0]);
    let decided = "decisions_total{action=\"glacier:AbortMultipartUpload\",outcome=\"allowed\"} 1";
    leave_while_the_record_waits(&gateway, "DELETE", &path, decided).await;
    outcome_of(&gateway, "Outcome", &ids[0], "not-attempted").await;
    let is_intent = |entry: &Value| entry["eventType"] == "Intent" && entry["uploadId"] == ids[0];
    assert!(entries(&gateway).iter().any(is_intent));
    let sent = gateway.simulator.requests().await;
    assert!(sent.iter().all(|request| request["method"] != "DELETE"), "{sent:#?}");
}

#[actix_web::test]
async fn a_read_whose_client_left_before_its_record_was_durable_is_recorded() {
    let gateway = recording("[audit]\nreads = \"require\"\ndeadline = \"30s\"\n");
    let ids = gateway.simulator.seed("own-a", &["one"]).await;
    let path = format!("{}/{}", uploads("own-a"), ids[0]);
    let answered = "upstream_requests_total{operation=\"ListParts\",result=\"ok\"} 1";
    leave_while_the_record_waits(&gateway, "GET", &path, answered).await;
    outcome_of(&gateway, "Event", &ids[0], "ok").await;
}

#[actix_web::test]
async fn a_page_of_a_proxy_is_no_refusal_of_glaciers() {
    let gateway = recording("");
    let ids = gateway.simulator.seed("own-a", &["one"]).await;
    let path = format!("{}/{}", uploads("own-a"), ids[0]);
    for status in [401, 403, 429] {
        gateway.simulator.fault(json!({"effect": {"notJson": {"status": status}}})).await;
        gateway.call("owner", Method::DELETE, &path).await;
        gateway.call("owner", Method::GET, &path).await;
        gateway.simulator.order(Method::DELETE, "/faults", &Value::Null).await;
    }
    let found = entries_in_time(&gateway, 9).await;
    let told = |kind: &str| {
        let of_kind = found.iter().filter(|entry| entry["eventType"] == kind);
        of_kind.map(|entry| (&entry["outcome"], &entry["errorCode"])).collect::<Vec<_>>()
    };
    let (odd, busy) = (json!("glacier-invalid-response"), json!("glacier-unavailable"));
    let (unknown, failed) = (json!("unknown"), json!("failed"));
    assert_eq!(told("Outcome"), [(&unknown, &odd), (&unknown, &odd), (&unknown, &busy)]);
    assert_eq!(told("Event"), [(&failed, &odd), (&failed, &odd), (&failed, &busy)]);
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

#[actix_web::test]
async fn a_caller_that_resets_its_connection_does_not_escape_a_deny_about_its_address() {
    let mut gateway = recording("");
    let policy = r#"{"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "glacier:*", "Resource": "*"},
        {"Effect": "Deny", "Action": "glacier:*", "Resource": "*",
         "Condition": {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}}]}"#;
    let file = gateway.directory.path().join("policies/teams/owner.json");
    std::fs::write(file, policy).unwrap();
    stopped(&mut gateway);
    let gateway = gateway.restarted();
    let ids = gateway.simulator.seed("own-a", &["one"]).await;
    let path = format!("{}/{}", uploads("own-a"), ids[0]);
    assert_eq!(gateway.call("owner", Method::DELETE, &path).await.status(), 403);
    let host = gateway.rest.strip_prefix("http://").unwrap();
    let token = gateway.key.token("owner");
    let request =
        format!("DELETE {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n");
    // While the gateway stands still, what came and the reset wait for it together.
    for _ in 0..20 {
        gateway.process.signal("STOP");
        for _ in 0..5 {
            let stream =
                socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            stream.connect(&host.parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
            stream.send(request.as_bytes()).unwrap();
            stream.set_linger(Some(std::time::Duration::ZERO)).unwrap();
        }
        gateway.process.signal("CONT");
        assert_eq!(gateway.call("owner", Method::DELETE, &path).await.status(), 403);
    }
    let sent = gateway.simulator.requests().await;
    assert!(sent.iter().all(|request| request["method"] != "DELETE"), "{sent:#?}");
}

#[actix_web::test]
async fn what_stands_in_glaciers_place_cannot_swell_a_record() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|length| length > 0) {
                    let id = "x".repeat(30_000);
                    let reply =
                        format!("HTTP/1.1 204 No Content\r\nx-amzn-RequestId: {id}\r\n\r\n");
                    stream.write_all(reply.as_bytes()).await.unwrap();
                }
            });
        }
    });
    let mut gateway = recording("");
    stopped(&mut gateway);
    let gateway = gateway.with_environment(&[("GATEWAY__AWS__ENDPOINT_URL", &endpoint)]);
    let path = format!("{}/abc", uploads("own-a"));
    assert_eq!(gateway.call("owner", Method::DELETE, &path).await.status(), 204);
    let found = entries_in_time(&gateway, 2).await;
    let outcome = found.iter().find(|entry| entry["eventType"] == "Outcome").unwrap();
    assert_eq!(outcome["outcome"], "aborted");
    assert_eq!(outcome["upstream"].get("requestID"), None);
}
