//! The record says what was sent and what became of it, and nothing else.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Gateway, client, problem, uploads};

/// A team whose aborts hang on the upload's age, so that each is looked up first.
pub const OLD_ONLY: &str = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow",
    "Action": ["glacier:AbortMultipartUpload", "glacier:ListParts"],
    "Resource": "arn:aws:glacier:*:*:vaults/own-*",
    "Condition": {"NumericGreaterThanEquals": {"gateway:UploadAgeInDays": "7"}}}}"#;

async fn metrics(gateway: &Gateway) -> String {
    let reply = client().get(format!("{}/metrics", gateway.management)).send().await.unwrap();
    reply.text().await.unwrap()
}

async fn looked_up_first() -> (Gateway, String) {
    let gateway = Gateway::start();
    std::fs::write(gateway.directory.path().join("policies/teams/owner.json"), OLD_ONLY).unwrap();
    let gateway = gateway.restarted();
    let id = gateway.simulator.seed("own-a", &["x"]).await.remove(0);
    (gateway, id)
}

#[tokio::test]
async fn a_denied_abort_whose_upload_was_looked_up_counts_no_abort() {
    let (gateway, id) = looked_up_first().await;
    let path = format!("{}/{id}", uploads("own-a"));

    let reply = gateway.call("owner", Method::DELETE, &path).await;

    assert_eq!(reply.status(), 403);
    let line = gateway.process.event(|event| event["upload_id"] == *id);
    assert_eq!(line["outcome"], "not-authorized");
    assert_eq!(line["lookup_request_id"], reply.headers()["x-amzn-requestid"].to_str().unwrap());
    assert!(line["lookup_ms"].is_number(), "{line}");
    assert_eq!((&line["upstream_request_id"], &line["upstream_ms"]), (&Value::Null, &Value::Null));
    let metrics = metrics(&gateway).await;
    let calls = |operation| format!("upstream_requests_total{{operation=\"{operation}\"");
    assert!(metrics.contains(&calls("ListParts")), "{metrics}");
    assert!(!metrics.contains(&calls("AbortMultipartUpload")), "{metrics}");
}

#[tokio::test]
async fn a_look_up_that_times_out_claims_no_abort() {
    let (gateway, id) = looked_up_first().await;
    gateway.simulator.fault(json!({"effect": "hang", "operation": "ListParts"})).await;
    let path = format!("{}/{id}", uploads("own-a"));

    let (status, body) = problem(gateway.call("owner", Method::DELETE, &path).await).await;

    assert_eq!((status, &body["code"]), (504, &json!("glacier-timeout")));
    assert!(!body["detail"].as_str().unwrap().contains("abort"), "{body}");
    let line = gateway.process.event(|event| event["upload_id"] == *id);
    assert_eq!(line["outcome"], "glacier-timeout");
    assert!(line["lookup_error"].as_str().unwrap().contains("timeout"), "{line}");
}

#[tokio::test]
async fn a_read_without_an_answer_is_a_failure_and_not_unknown() {
    let gateway = Gateway::start();
    gateway.simulator.seed("own-a", &[]).await;
    gateway.simulator.fault(json!({"effect": "hang"})).await;

    gateway.call("owner", Method::GET, &uploads("own-a")).await;

    let line = gateway.process.event(|event| event["action"] == "glacier:ListMultipartUploads");
    assert_eq!(line["outcome"], "glacier-timeout");
    assert!(line["upstream_error"].as_str().unwrap().contains("timeout"), "{line}");
}

#[tokio::test]
async fn a_simulation_for_another_team_is_recorded_with_its_decision() {
    let gateway = Gateway::start();
    let policy = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow",
        "Action": "gateway:SimulateAccess", "Resource": "arn:aws:glacier-gateway:::team/*"}}"#;
    std::fs::write(gateway.directory.path().join("policies/teams/lead.json"), policy).unwrap();
    let gateway = gateway.restarted();
    let resource = "arn:aws:glacier:eu-central-1:111122223333:vaults/own-a";
    for (team, decision) in [("lead", "allowed"), ("stranger", "implicitDeny")] {
        client()
            .post(format!("{}/v1/access/simulate", gateway.rest))
            .bearer_auth(gateway.key.token(team))
            .json(&json!({ "team": "owner", "resources": [resource] }))
            .send()
            .await
            .unwrap();
        let line = gateway.process.event(|event| event["teams"] == team);
        assert_eq!(line["action"], "gateway:SimulateAccess", "{line}");
        assert_eq!(line["resource"], "arn:aws:glacier-gateway:::team/owner", "{line}");
        assert_eq!(line["decision"], decision, "{line}");
    }
}

#[tokio::test]
async fn requests_that_share_the_callers_id_have_ids_of_the_gateways_own() {
    let gateway = Gateway::start();
    for _ in 0..2 {
        client()
            .get(format!("{}/v1/access", gateway.rest))
            .bearer_auth(gateway.key.token("owner"))
            .header("x-request-id", "the-same")
            .send()
            .await
            .unwrap();
    }
    let same = |lines: &[String]| lines.iter().filter(|line| line.contains("the-same")).count();
    gateway.process.wait_until(|lines| same(lines) == 2);
    let lines = gateway.process.all_lines();
    let events = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ids: Vec<_> = events
        .filter(|event| event["request_id"] == "the-same")
        .map(|event| event["event_id"].as_str().unwrap().to_owned())
        .collect();
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn a_refused_attempt_after_one_that_may_have_been_carried_out_is_unknown() {
    let gateway = Gateway::start();
    let ids = gateway.simulator.seed("own-a", &["x"; 3]).await;
    let abort = "AbortMultipartUpload";
    // The first attempts of the second and the third do not go through the SDK.
    for (id, effect) in ids.iter().zip(["reset", "reset", "unavailable"]) {
        let lost = json!({"effect": effect, "operation": abort, "times": 1, "carriedOut": true});
        gateway.simulator.fault(lost).await;
        gateway.simulator.fault(json!({"effect": "throttle", "operation": abort})).await;

        let path = format!("{}/{id}", uploads("own-a"));
        let (status, body) = problem(gateway.call("owner", Method::DELETE, &path).await).await;

        assert_eq!((status, &body["code"]), (429, &json!("upstream-throttled")), "{body}");
        assert!(body["detail"].as_str().unwrap().contains("may have aborted"), "{body}");
        assert_eq!(gateway.simulator.status("own-a", id).await.unwrap(), "aborted");
        gateway.process.event(|event| event["upload_id"] == **id && event["outcome"] == "unknown");
        gateway.simulator.order(Method::DELETE, "/faults", &Value::Null).await;
    }
}

#[tokio::test]
async fn an_abort_that_no_connection_took_to_glacier_is_not_unknown() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Gateway::start()
        .with_environment(&[("GATEWAY__AWS__ENDPOINT_URL", &format!("http://{closed}"))]);
    // A gateway's first abort is the SDK's, all others begin with a direct one.
    for _ in 0..2 {
        let path = format!("{}/an-upload", uploads("own-a"));
        let (status, body) = problem(gateway.call("owner", Method::DELETE, &path).await).await;
        assert_eq!((status, &body["code"]), (502, &json!("glacier-unreachable")), "{body}");
        assert!(body["detail"].as_str().unwrap().ends_with("Nothing was aborted."), "{body}");
        let line = gateway.process.event(|event| event["request_id"] == body["requestId"]);
        assert_eq!(line["outcome"], "glacier-unreachable");
    }
}

#[tokio::test]
async fn a_remembered_look_up_is_not_counted_as_a_call_of_glacier() {
    let (gateway, id) = looked_up_first().await;
    let path = format!("{}/{id}", uploads("own-a"));
    for _ in 0..3 {
        gateway.call("owner", Method::DELETE, &path).await;
    }
    let metrics = metrics(&gateway).await;
    let calls = "upstream_requests_total{operation=\"ListParts\",result=\"ok\"} 1\n";
    assert!(metrics.contains(calls), "{metrics}");
}

#[tokio::test]
async fn a_long_message_of_glaciers_does_not_cost_the_record() {
    let gateway = Gateway::start();
    let id = &gateway.simulator.seed("own-a", &["x"]).await[0];
    let message = "x".repeat(100_000);
    let error = json!({"error": {"status": 400, "code": "InvalidParameterValueException", "message": message}});
    gateway.simulator.fault(json!({"effect": error})).await;

    let path = format!("{}/{id}", uploads("own-a"));
    let (status, body) = problem(gateway.call("owner", Method::DELETE, &path).await).await;

    assert_eq!(status, 400);
    assert!(body["detail"].as_str().unwrap().len() < 2048);
    let line = gateway.process.event(|event| event["upload_id"] == **id);
    assert!(line.to_string().len() < 8192, "{line}");
}
