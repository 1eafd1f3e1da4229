//! Each request leaves one structured line, and no secret.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Gateway, claims, client, uploads};

#[tokio::test]
async fn each_request_leaves_one_line_with_who_what_why_and_what_became_of_it() {
    let gateway = Gateway::start();
    let id = &gateway.simulator.seed("own-a", &["x"]).await[0];
    let path = format!("{}/{id}", uploads("own-a"));
    let token = gateway.key.token("owner");

    let reply = client()
        .delete(format!("{}{path}", gateway.rest))
        .bearer_auth(&token)
        .header("x-request-id", "the-abort")
        .send()
        .await
        .unwrap();

    let aws_id = reply.headers()["x-amzn-requestid"].to_str().unwrap();
    let line = gateway.process.event(|event| event["request_id"] == "the-abort");
    for (key, value) in [
        ("method", "DELETE"),
        ("route", "/v1/accounts/{accountId}/vaults/{vaultName}/multipart-uploads/{uploadId}"),
        ("source_ip", "127.0.0.1"),
        ("issuer", "test"),
        ("subject", "owner-service"),
        ("teams", "owner"),
        ("action", "glacier:AbortMultipartUpload"),
        ("resource", "arn:aws:glacier:eu-central-1:111122223333:vaults/own-a"),
        ("account", "111122223333"),
        ("upload_id", id),
        ("decision", "allowed"),
        ("statement", "teams/owner.json (Own)"),
        ("outcome", "aborted"),
        ("upstream_request_id", aws_id),
    ] {
        assert_eq!(line[key], value, "{line}");
    }
    assert_eq!(line["status"], 204);
    assert!(line["duration_ms"].as_f64() >= line["upstream_ms"].as_f64(), "{line}");

    gateway.call("stranger", Method::DELETE, &path).await;
    let line = gateway.process.event(|event| event["decision"] == "implicitDeny");
    assert_eq!((&line["outcome"], &line["status"]), (&"not-authorized".into(), &403.into()));

    let lines = gateway.process.all_lines();
    let of_the_abort = lines.iter().filter(|line| line.contains("the-abort")).count();
    assert_eq!(of_the_abort, 1);
}

#[tokio::test]
async fn a_line_tells_in_milliseconds_how_long_glacier_took_and_the_whole_request() {
    let gateway = Gateway::start();
    gateway.simulator.seed("own-a", &[]).await;
    gateway.simulator.fault(json!({ "latencyMillis": 300 })).await;
    gateway.call("owner", Method::GET, &uploads("own-a")).await;
    let line = gateway.process.event(|event| event["action"] == "glacier:ListMultipartUploads");
    let [upstream, whole] = ["upstream_ms", "duration_ms"].map(|name| line[name].as_f64().unwrap());
    assert!((300.0..30_000.0).contains(&upstream), "{line}");
    assert!(upstream < whole && whole < 30_000.0, "{line}");
}

#[tokio::test]
async fn a_line_names_those_who_act_for_the_caller_the_last_of_them_first() {
    let gateway = Gateway::start();
    let mut claims = claims("owner");
    claims["act"] = json!({ "sub": "console", "act": { "sub": "robot" } });
    gateway.call_with(&gateway.key.sign(&claims), Method::GET, "/v1/access").await;
    gateway.process.event(|event| event["actors"] == "console,robot");
    gateway.call("owner", Method::GET, "/v1/access").await;
    gateway.process.event(|event| event["subject"] == "owner-service" && event["actors"].is_null());
}

#[tokio::test]
async fn of_two_request_ids_neither_is_taken() {
    let gateway = Gateway::start();
    let request = client().get(format!("{}/v1/access", gateway.rest));
    let request = request.header("x-request-id", "first").header("x-request-id", "second");
    let reply = request.send().await.unwrap();
    let id = reply.headers()["x-request-id"].to_str().unwrap();
    let line = gateway.process.event(|event| event["request_id"] == id);
    assert_eq!(line["event_id"], id);
}

#[tokio::test]
async fn a_request_that_is_not_http_is_no_error_of_ours() {
    let gateway = Gateway::start();
    let (status, _) = gateway.raw("GET /\0", "/").await;
    assert_eq!(status, 400);
    let is_told =
        |event: &Value| event["message"].as_str().unwrap_or_default().contains("request parse");
    assert_eq!(gateway.process.event(is_told)["level"], "INFO");
}

#[tokio::test]
async fn neither_tokens_nor_signatures_nor_secrets_are_logged_even_in_detail() {
    let gateway = Gateway::start().with_environment(&[(
        "GATEWAY__LOG__FILTER",
        "debug,glacier_gateway=trace,actix_web=trace",
    )]);
    let token = gateway.key.token("owner");
    let broken = format!("{token}x");
    for token in [&token, &broken] {
        gateway.call_with(token, Method::GET, "/v1/accounts/-/vaults").await;
    }
    gateway.process.event(|event| event["outcome"] == "token-invalid");

    let log = gateway.process.all_lines().join("\n");
    let signature = token.rsplit('.').next().unwrap();
    for secret in [signature, token.as_str(), "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
}
