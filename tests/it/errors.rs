//! What callers see of Glacier's failures.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Gateway, problem, uploads};

async fn abort(gateway: &Gateway) -> (u16, Value) {
    let path = format!("{}/some-upload", uploads("own-a"));
    problem(gateway.call("owner", Method::DELETE, &path).await).await
}

fn error(status: u16, code: &str) -> Value {
    json!({"error": {"status": status, "code": code, "message": "internal-wording"}})
}

#[tokio::test]
async fn glaciers_errors_become_stable_codes() {
    // Time enough for every backoff.
    let gateway = Gateway::start().with_environment(&[("GATEWAY__AWS__OPERATION_TIMEOUT", "30s")]);
    gateway.simulator.seed("own-a", &[]).await;
    for (effect, status, code) in [
        (json!("throttle"), 429, "upstream-throttled"),
        (error(400, "LimitExceededException"), 429, "upstream-throttled"),
        (error(429, "TooManyRequests"), 429, "upstream-throttled"),
        (json!("unavailable"), 503, "glacier-unavailable"),
        (error(503, "ServiceUnavailableException"), 503, "glacier-unavailable"),
        (error(400, "InvalidParameterValueException"), 400, "invalid-parameter"),
        (error(400, "MissingParameterValueException"), 400, "missing-parameter"),
        (error(400, "NoLongerSupportedException"), 502, "glacier-not-available-for-account"),
        (error(403, "AccessDeniedException"), 502, "gateway-not-authorized-upstream"),
        (error(403, "ExpiredTokenException"), 502, "gateway-not-authorized-upstream"),
        (error(400, "UnrecognizedClientException"), 502, "gateway-not-authorized-upstream"),
        (error(403, "InvalidSignatureException"), 502, "gateway-not-authorized-upstream"),
        (json!({"notJson": {"status": 502}}), 503, "glacier-unavailable"),
        (json!({"notJson": {"status": 403}}), 502, "glacier-invalid-response"),
        (json!({"notJson": {"status": 429}}), 503, "glacier-unavailable"),
        (json!({"notJson": {"status": 404}}), 502, "glacier-invalid-response"),
        (json!("reset"), 502, "glacier-unreachable"),
        (json!("hang"), 504, "glacier-timeout"),
    ] {
        gateway.simulator.order(Method::DELETE, "/faults", &Value::Null).await;
        gateway.simulator.fault(json!({"effect": effect})).await;
        let (got, body) = abort(&gateway).await;
        assert_eq!((got, &body["code"]), (status, &json!(code)), "{effect}");
    }
}

#[tokio::test]
async fn only_the_success_that_glacier_answers_is_a_success() {
    let gateway = Gateway::start();
    let id = &gateway.simulator.seed("own-a", &["x"]).await[0];
    let upload = format!("{}/{id}", uploads("own-a"));
    let reads =
        [&uploads("own-a"), &upload, "/v1/accounts/-/vaults/own-a", "/v1/accounts/-/vaults"];
    // A gateway's first abort is the SDK's, all others begin with a direct one.
    let aborts = [&format!("{}/first", uploads("own-a")), &upload];
    let requests = reads.map(|path| (Method::GET, path)).into_iter();
    for (method, path) in requests.chain(aborts.map(|path| (Method::DELETE, path.as_str()))) {
        let genuine = if method == Method::DELETE { 204 } else { 200 };
        let mut statuses = vec![200, 201, 202, 204, 206, 301, 302, 304];
        statuses.retain(|status| (*status, genuine) != (204, 204));
        let pages = statuses.iter().map(|status| json!({"notJson": {"status": status}}));
        for effect in pages.chain([json!("bare")]) {
            gateway.simulator.fault(json!({"effect": effect})).await;
            let (status, body) = problem(gateway.call("owner", method.clone(), path).await).await;
            let expected = (502, &json!("glacier-invalid-response"));
            assert_eq!((status, &body["code"]), expected, "{method} {path} {effect}");
            gateway.simulator.order(Method::DELETE, "/faults", &Value::Null).await;
        }
        if !path.ends_with("first") {
            assert_eq!(gateway.call("owner", method, path).await.status(), genuine, "{path}");
        }
    }
    gateway.process.event(|e| e["outcome"] == "unknown" && e["upload_id"] == **id);
}

#[tokio::test]
async fn a_body_without_end_is_not_read_for_long() {
    let gateway = Gateway::start();
    gateway.simulator.seed("own-a", &[]).await;
    // Time enough to read on and on.
    let gateway = gateway.with_environment(&[
        ("GATEWAY__AWS__MAX_ATTEMPTS", "1"),
        ("GATEWAY__AWS__ATTEMPT_TIMEOUT", "10s"),
        ("GATEWAY__AWS__OPERATION_TIMEOUT", "10s"),
    ]);
    for status in [200, 403] {
        gateway.simulator.fault(json!({"effect": {"endless": {"status": status}}})).await;
        let reply = gateway.call("owner", Method::GET, &uploads("own-a")).await;
        let (got, body) = problem(reply).await;
        let expected = (502, &json!("glacier-invalid-response"));
        assert_eq!((got, &body["code"]), expected, "{status}");
        gateway.simulator.order(Method::DELETE, "/faults", &Value::Null).await;
    }
}

#[tokio::test]
async fn a_passing_failure_is_retried_and_the_caller_sees_success() {
    let gateway = Gateway::start().with_environment(&[("GATEWAY__AWS__OPERATION_TIMEOUT", "30s")]);
    for effect in ["throttle", "unavailable", "reset"] {
        let id = &gateway.simulator.seed("own-a", &["x"]).await[0];
        gateway.simulator.fault(json!({"effect": effect, "times": 2})).await;
        let path = format!("{}/{id}", uploads("own-a"));
        let reply = gateway.call("owner", Method::DELETE, &path).await;
        assert_eq!(reply.status(), 204, "{effect}");
        assert_eq!(gateway.simulator.status("own-a", id).await.unwrap(), "aborted");
    }
}

#[tokio::test]
async fn missing_upload_and_missing_vault_are_told_apart() {
    let gateway = Gateway::start();
    let (status, body) = abort(&gateway).await;
    assert_eq!((status, &body["code"]), (404, &json!("vault-not-found")));
    gateway.simulator.seed("own-a", &[]).await;
    let (status, body) = abort(&gateway).await;
    assert_eq!((status, &body["code"]), (404, &json!("upload-not-found")));
}

#[tokio::test]
async fn an_unanswered_abort_is_reported_as_unknown_not_as_failed() {
    let gateway = Gateway::start();
    let id = &gateway.simulator.seed("own-a", &["x"]).await[0];
    gateway.simulator.fault(json!({"effect": "hang", "carriedOut": true})).await;
    let path = format!("{}/{id}", uploads("own-a"));

    let (status, body) = problem(gateway.call("owner", Method::DELETE, &path).await).await;

    assert_eq!((status, &body["code"]), (504, &json!("glacier-timeout")));
    assert!(body["detail"].as_str().unwrap().contains("may have aborted"));
    assert_eq!(gateway.simulator.status("own-a", id).await.unwrap(), "aborted");
    let line = gateway.process.event(|e| e["outcome"] == "unknown" && e["upload_id"] == **id);
    assert_eq!(line["error_code"], "glacier-timeout");
}

/// A gateway whose policy looks each upload up before it is aborted.
fn asking_for_the_age() -> Gateway {
    let gateway = Gateway::start();
    let policy = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow",
        "Action": "glacier:AbortMultipartUpload", "Resource": "*", "Condition": {
            "NumericLessThan": {"gateway:UploadAgeInDays": "7"}}}}"#;
    std::fs::write(gateway.directory.path().join("policies/teams/owner.json"), policy).unwrap();
    gateway.restarted()
}

#[tokio::test]
async fn what_is_known_of_an_upload_is_not_taken_for_one_of_another_vault() {
    let gateway = asking_for_the_age();
    let id = &gateway.simulator.seed("own-a", &["x"]).await[0];
    gateway.simulator.seed("own-b", &[]).await;
    for (vault, status) in [("own-a", 204), ("own-b", 404), ("own-a", 204)] {
        let path = format!("{}/{id}", uploads(vault));
        let reply = gateway.call("owner", Method::DELETE, &path).await;
        assert_eq!(reply.status(), status, "{vault}");
    }
    // Each was looked up once, and only the one that is there was aborted.
    let requests = gateway.simulator.requests().await;
    let sent: Vec<_> = requests.iter().map(|r| r["method"].as_str().unwrap()).collect();
    assert_eq!(sent, ["GET", "DELETE", "GET", "DELETE"]);
}

#[tokio::test]
async fn a_look_up_without_an_answer_does_not_say_that_the_abort_may_have_happened() {
    let gateway = asking_for_the_age();
    let id = &gateway.simulator.seed("own-a", &["x"]).await[0];
    gateway.simulator.fault(json!({"effect": "hang", "operation": "ListParts"})).await;
    let path = format!("{}/{id}", uploads("own-a"));

    let (status, body) = problem(gateway.call("owner", Method::DELETE, &path).await).await;

    assert_eq!((status, &body["code"]), (504, &json!("glacier-timeout")));
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.contains("ListParts, which changes nothing"), "{detail}");
    assert!(!detail.contains("may have aborted"), "{detail}");
}

#[tokio::test]
async fn a_truncated_listing_is_an_error_not_an_empty_list() {
    let gateway = Gateway::start();
    gateway.simulator.seed("own-a", &["x"]).await;
    gateway.simulator.fault(json!({"effect": "truncate"})).await;
    let reply = gateway.call("owner", Method::GET, &uploads("own-a")).await;
    let (status, body) = problem(reply).await;
    assert_eq!(status, 502, "{body}");
}

#[tokio::test]
async fn a_gateway_with_a_wrong_secret_says_so_and_does_not_blame_the_caller() {
    let gateway = Gateway::start();
    gateway.simulator.seed("own-a", &[]).await;
    let gateway = gateway.with_environment(&[("AWS_SECRET_ACCESS_KEY", "wrong")]);
    let (status, body) = abort(&gateway).await;
    assert_eq!((status, &body["code"]), (502, &json!("gateway-not-authorized-upstream")));
}

#[tokio::test]
async fn a_gateway_without_credentials_says_so_too() {
    let gateway = Gateway::start();
    let gateway = gateway.with_environment(&[
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
        ("HOME", "/nonexistent"),
    ]);
    let (status, body) = abort(&gateway).await;
    assert_eq!((status, &body["code"]), (502, &json!("gateway-not-authorized-upstream")));
    assert!(gateway.simulator.requests().await.is_empty());
    // Nothing was sent, and nothing says that something was.
    assert!(!body["detail"].as_str().unwrap().contains("attempt"), "{body}");
    gateway.process.event(|event| event["outcome"] == "gateway-not-authorized-upstream");
}
