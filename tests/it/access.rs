//! Who gets in: every operation of the OpenAPI document, for an anonymous caller,
//! a team without a policy and a team with one. A new operation without a row
//! here fails the test.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    support::{Gateway, client, problem},
    trail,
};

/// Operation, the statuses that a team without a policy and one with a policy
/// get, and the request's body.
const OPERATIONS: [(&str, u16, u16, &str); 31] = [
    ("abortMultipartUpload", 403, 204, ""),
    ("cancelAbortJob", 403, 202, ""),
    // It is cancelled by then: the last goes first.
    ("confirmAbortJob", 403, 409, r#"{"selectionToken": "x"}"#),
    (
        "createAbortJob",
        403,
        202,
        r#"{"team": "TEAM", "target": {"vaults": ["own-a"]}, "select": {"all": true}}"#,
    ),
    ("describeVault", 403, 200, ""),
    ("followAbortJob", 403, 200, ""),
    ("getAbortJob", 403, 200, ""),
    // Everyone may ask who they are.
    ("getAccess", 200, 200, ""),
    // Without a key nothing is published.
    ("getAuditCheckpoint", 403, 404, ""),
    ("getAuditEvent", 403, 200, ""),
    ("getAuditTile", 403, 404, ""),
    ("getInventory", 403, 200, ""),
    ("getInventoryRun", 403, 200, ""),
    ("getLifecycleRule", 403, 200, ""),
    ("listAbortJobItems", 403, 200, ""),
    ("listAbortJobs", 403, 200, ""),
    ("listAccounts", 403, 200, ""),
    ("listAuditEvents", 403, 200, ""),
    ("listInventoryRuns", 403, 200, ""),
    ("listLifecycleRules", 403, 200, ""),
    ("listMultipartUploads", 403, 200, ""),
    ("listParts", 403, 200, ""),
    ("listSeenUploads", 403, 200, ""),
    ("listVaults", 403, 200, ""),
    ("pauseAbortJob", 403, 409, ""),
    ("reportAbortJob", 403, 200, ""),
    ("resumeAbortJob", 403, 409, ""),
    ("retryFailedAbortJob", 403, 409, ""),
    ("runLifecycleRule", 403, 202, ""),
    (
        "simulateAccess",
        403,
        200,
        r#"{"team": "owner", "resources": ["arn:aws:glacier:eu-central-1:111122223333:vaults/own-a"]}"#,
    ),
    ("startInventoryRun", 403, 202, "{}"),
];

/// Everything that answers without a token.
const PUBLIC: [&str; 5] =
    ["/openapi.json", "/openapi.yaml", "/docs", "/docs/", "/docs/swagger-ui.css"];

#[tokio::test]
async fn every_operation_asks_who_is_calling_and_whether_they_may() {
    let rule = "[lifecycle.rules.own-a]\nteam = \"owner\"\nvaults = [\"own-a\"]\n\
                days_after_initiation = 1\nschedule = \"@yearly\"\n";
    let gateway = trail::recording(rule).patient();
    let read_audit = r#"{"Version": "2012-10-17", "Statement":
        {"Effect": "Allow", "Action": "gateway:*", "Resource": "*"}}"#;
    let folder = gateway.directory.path().join("policies/teams/owner");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("audit.json"), read_audit).unwrap();
    gateway.call("owner", Method::GET, "/v1/accounts/-/vaults").await;
    let event = &trail::entries_in_time(&gateway, 1).await[0]["eventID"];
    while gateway.call("owner", Method::GET, "/v1/audit-events").await.status() != 200 {}
    let upload = &gateway.simulator.seed("own-a", &["x"]).await[0];
    let jobs = format!("{}/v1/abort-jobs", gateway.rest);
    let job = json!({"target": {"vaults": ["own-a"]}, "select": {"all": true}});
    let request = client().post(jobs).bearer_auth(gateway.key.token("owner")).json(&job);
    let job: Value = request.send().await.unwrap().json().await.unwrap();
    let runs = format!("{}/v1/inventory-runs", gateway.rest);
    let request = client().post(runs).bearer_auth(gateway.key.token("owner")).json(&json!({}));
    let run: Value = request.send().await.unwrap().json().await.unwrap();
    let document: Value = client()
        .get(format!("{}/openapi.json", gateway.rest))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();

    let mut walked = BTreeMap::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            walked.insert(id, (method.to_uppercase(), path.clone()));
        }
    }
    let known: Vec<&str> = OPERATIONS.iter().map(|(id, ..)| *id).collect();
    assert_eq!(walked.keys().collect::<Vec<_>>(), known, "add a row for each new operation");

    // The abort goes last: the others read the upload.
    let order = OPERATIONS.iter().rev();
    for (id, stranger, owner, question) in order {
        let (method, path) = &walked[*id];
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let path = path
            .replace("{accountId}", "-")
            .replace("{vaultName}", "own-a")
            .replace("{uploadId}", upload)
            .replace("{jobId}", job["jobId"].as_str().unwrap())
            .replace("{runId}", run["runId"].as_str().unwrap())
            .replace("{ruleId}", "own-a")
            .replace("{eventId}", event.as_str().unwrap())
            .replace("{month}", "2026-11")
            .replace("{tile}", "0/000");

        let url = format!("{}{path}", gateway.rest);
        let anonymous = client().request(method.clone(), url).send().await.unwrap();
        assert_eq!(anonymous.headers()["cache-control"], "no-store", "{id}");
        let (status, body) = problem(anonymous).await;
        assert_eq!((status, &body["code"]), (401, &json!("token-missing")), "{id}");

        for (team, expected) in [("stranger", stranger), ("owner", owner)] {
            let url = format!("{}{path}", gateway.rest);
            let mut request = client().request(method.clone(), url);
            if !question.is_empty() {
                request = request.header("content-type", "application/json");
                request = request.body(question.replace("TEAM", team));
            }
            let reply = request.bearer_auth(gateway.key.token(team)).send().await.unwrap();
            assert_eq!(reply.status().as_u16(), *expected, "{id} {team}");
            assert_eq!(reply.headers()["cache-control"], "no-store", "{id} {team}");
            if *expected == 403 {
                let (_, body) = problem(reply).await;
                assert_eq!(body["code"], "not-authorized", "{id} {team}");
            }
        }
    }
}

#[tokio::test]
async fn nothing_else_answers_without_a_token() {
    let gateway = Gateway::start();
    for path in PUBLIC {
        let reply = client().get(format!("{}{path}", gateway.rest)).send().await.unwrap();
        assert!(reply.status().as_u16() < 400, "{path}: {}", reply.status());
    }
    for path in
        ["/", "/v1", "/v1/", "/metrics", "/livez", "/readyz", "/docs/../v1/accounts/-/vaults"]
    {
        let (status, _) = gateway.raw("GET", path).await;
        assert_eq!(status, 404, "{path}");
    }
    // An exemption by raw path would let these through.
    for path in [
        "/v1/accounts/-/vaults?/docs/",
        "/v1/accounts/-/vaults#/openapi.json",
        "//v1/accounts/-/vaults",
    ] {
        let url = format!("{}{path}", gateway.rest);
        let status = client().get(url).send().await.unwrap().status().as_u16();
        assert!(matches!(status, 401 | 404), "{path}: {status}");
    }
}

#[tokio::test]
async fn no_reply_of_the_api_may_be_stored_or_guessed_at_whatever_was_asked() {
    let gateway = Gateway::start();
    for (method, path, status) in [
        (Method::GET, "/v1/access", 200),
        (Method::GET, "/v1/access?x=1", 400),
        (Method::GET, "/v1/nonsense", 404),
        (Method::GET, "/v1/accounts/999999999999/vaults", 404),
        (Method::GET, "/v1/accounts/-/vaults/own-none", 404),
        (Method::PUT, "/v1/accounts/-/vaults", 405),
    ] {
        let reply = gateway.call("owner", method, path).await;
        assert_eq!(reply.status(), status, "{path}");
        assert_eq!(reply.headers()["cache-control"], "no-store", "{path}");
        assert_eq!(reply.headers()["x-content-type-options"], "nosniff", "{path}");
    }
    // What is the same for everybody may.
    let document = client().get(format!("{}/openapi.json", gateway.rest)).send().await.unwrap();
    assert_ne!(
        document.headers().get("cache-control").map(|v| v.as_bytes()),
        Some(&b"no-store"[..])
    );
}

#[tokio::test]
async fn a_method_that_a_path_lacks_is_refused_with_those_it_has() {
    let gateway = Gateway::start();
    for (method, path, allow) in [
        (Method::PUT, "/v1/accounts/-/vaults/own-a/multipart-uploads/x", "GET, DELETE"),
        (Method::DELETE, "/v1/accounts/-/vaults/own-a", "GET"),
        (Method::POST, "/v1/accounts/-/vaults/own-a/multipart-uploads", "GET"),
        (Method::POST, "/openapi.json", "GET"),
    ] {
        let reply = gateway.call("owner", method, path).await;
        assert_eq!(reply.headers()["allow"], allow);
        let (status, body) = problem(reply).await;
        assert_eq!((status, &body["code"]), (405, &json!("method-not-allowed")));
    }
    assert!(gateway.simulator.requests().await.is_empty());
}
