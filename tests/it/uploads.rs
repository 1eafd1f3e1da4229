//! Multipart uploads over the REST door.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Gateway, client, problem, uploads};

#[tokio::test]
async fn an_aborted_upload_is_gone_from_glacier() {
    let gateway = Gateway::start();
    let ids = gateway.simulator.seed("own-photos", &["first", "second"]).await;
    let path = format!("{}/{}", uploads("own-photos"), ids[0]);

    let reply = gateway.call("owner", Method::DELETE, &path).await;

    assert_eq!(reply.status(), StatusCode::NO_CONTENT);
    assert!(reply.headers().contains_key("x-amzn-requestid"));
    assert_eq!(reply.text().await.unwrap(), "");
    assert_eq!(gateway.simulator.status("own-photos", &ids[0]).await.unwrap(), "aborted");
    assert_eq!(gateway.simulator.status("own-photos", &ids[1]).await.unwrap(), "in-progress");
    let left: Value =
        gateway.call("owner", Method::GET, &uploads("own-photos")).await.json().await.unwrap();
    assert_eq!(left["uploads"].as_array().unwrap().len(), 1);
    assert_eq!(left["uploads"][0]["uploadId"], ids[1]);
}

#[tokio::test]
async fn aborting_again_succeeds_as_glacier_does_and_then_is_not_found() {
    let gateway = Gateway::with("", &["--abort-grace", "1h"]);
    let ids = gateway.simulator.seed("own-photos", &["x"]).await;
    let path = format!("{}/{}", uploads("own-photos"), ids[0]);
    for _ in 0..2 {
        let reply = gateway.call("owner", Method::DELETE, &path).await;
        assert_eq!(reply.status(), StatusCode::NO_CONTENT);
    }

    let later = json!({"advanceSeconds": 7200});
    gateway.simulator.order(Method::PATCH, "/clock", &later).await;
    gateway.simulator.order(Method::PATCH, "/clock", &json!({"skewSeconds": 0})).await;
    let (status, body) = problem(gateway.call("owner", Method::DELETE, &path).await).await;

    assert_eq!((status, &body["code"]), (404, &json!("upload-not-found")));
    let line = gateway.process.event(|e| e["outcome"] == "gone");
    assert_eq!(line["upload_id"], ids[0]);
}

#[tokio::test]
async fn a_stranger_cannot_abort_and_nothing_reaches_glacier() {
    let gateway = Gateway::start();
    let ids = gateway.simulator.seed("own-photos", &["x"]).await;
    let path = format!("{}/{}", uploads("own-photos"), ids[0]);

    let (status, body) = problem(gateway.call("stranger", Method::DELETE, &path).await).await;

    assert_eq!((status, &body["code"]), (403, &json!("not-authorized")));
    assert_eq!(body["reason"], "implicitDeny");
    assert_eq!(gateway.simulator.status("own-photos", &ids[0]).await.unwrap(), "in-progress");
    assert_eq!(gateway.simulator.requests().await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_explicit_deny_wins_and_names_its_statement() {
    let gateway = Gateway::start();
    let deny = r#"{"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Sid": "Frozen", "Effect": "Deny", "Action": "glacier:abort*", "Resource": "*"}]}"#;
    std::fs::write(gateway.directory.path().join("policies/teams/frozen.json"), deny).unwrap();
    let gateway = gateway.restarted();
    let ids = gateway.simulator.seed("own-photos", &["x"]).await;
    let path = format!("{}/{}", uploads("own-photos"), ids[0]);

    let (status, body) = problem(gateway.call("frozen", Method::DELETE, &path).await).await;

    assert_eq!((status, &body["reason"]), (403, &json!("explicitDeny")));
    assert_eq!(body["statement"]["sid"], "Frozen");
    assert_eq!(body["statement"]["policy"], "teams/frozen.json");
    gateway.process.event(|event| event["statement"] == "teams/frozen.json (Frozen)");
    assert_eq!(gateway.call("frozen", Method::GET, &path).await.status(), 200);
}

#[tokio::test]
async fn the_reason_is_kept_back_where_the_operator_says_so() {
    let gateway = Gateway::start();
    let gateway = gateway.with_environment(&[("GATEWAY__POLICY__DENIAL_DETAIL", "code")]);

    let reply = gateway.call("owner", Method::GET, &uploads("other-vault")).await;
    let (status, body) = problem(reply).await;

    assert_eq!(status, 403);
    for key in ["reason", "nearMisses", "statement"] {
        assert!(body.get(key).is_none(), "{body}");
    }
    assert!(!body["detail"].as_str().unwrap().contains("teams/"), "{body}");

    let simulated = client()
        .post(format!("{}/v1/access/simulate", gateway.rest))
        .bearer_auth(gateway.key.token("owner"))
        .json(&json!({"resources": ["arn:aws:glacier:eu-central-1:111122223333:vaults/own-a"]}));
    let simulated = simulated.send().await.unwrap().text().await.unwrap();
    assert!(simulated.contains("allowed") && !simulated.contains("teams/"), "{simulated}");
}

#[tokio::test]
async fn an_upload_id_may_begin_with_a_hyphen() {
    let gateway = Gateway::start();
    gateway.simulator.seed("own-photos", &[]).await;
    let path = format!("{}/-abc_DEF", uploads("own-photos"));

    let (status, body) = problem(gateway.call("owner", Method::DELETE, &path).await).await;

    assert_eq!((status, &body["code"]), (404, &json!("upload-not-found")));
    let requests = gateway.simulator.requests().await;
    assert_eq!(requests[0]["target"], "/111122223333/vaults/own-photos/multipart-uploads/-abc_DEF");
}

#[tokio::test]
async fn uploads_and_parts_are_listed_page_by_page() {
    let gateway = Gateway::start();
    let ids = gateway.simulator.seed("own-photos", &["a", "b", "c"]).await;
    let mut seen = Vec::new();
    let mut marker = String::new();
    loop {
        let path = format!("{}?limit=2{marker}", uploads("own-photos"));
        let page: Value = gateway.call("owner", Method::GET, &path).await.json().await.unwrap();
        let page_ids = page["uploads"].as_array().unwrap();
        assert!(page_ids.len() <= 2);
        assert!(page_ids.iter().all(|upload| upload["partSizeInBytes"] == 1 << 20), "{page}");
        seen.extend(page_ids.iter().map(|u| u["uploadId"].as_str().unwrap().to_owned()));
        match page["marker"].as_str() {
            Some(next) => marker = format!("&marker={next}"),
            None => break,
        }
    }
    seen.sort();
    let mut all = ids.clone();
    all.sort();
    assert_eq!(seen, all);

    let path = format!("{}/{}?limit=1", uploads("own-photos"), ids[0]);
    let page: Value = gateway.call("owner", Method::GET, &path).await.json().await.unwrap();
    assert_eq!(page["uploadId"], ids[0]);
    assert_eq!(page["archiveDescription"], "a");
    assert_eq!(page["partSizeInBytes"], 1 << 20);
    assert_eq!(page["parts"][0]["rangeInBytes"], "0-1048575");
    let marker = page["marker"].as_str().unwrap();
    let path = format!("{path}&marker={marker}");
    let page: Value = gateway.call("owner", Method::GET, &path).await.json().await.unwrap();
    assert_eq!(page["parts"][0]["rangeInBytes"], "1048576-2097151");
    assert_eq!(page["marker"], Value::Null);
}

#[tokio::test]
async fn a_policy_may_ask_for_an_uploads_age_and_description() {
    let gateway = Gateway::start();
    let policy = r#"{"Version": "2012-10-17", "Statement": {"Sid": "OldTests", "Effect": "Allow",
        "Action": "glacier:AbortMultipartUpload", "Resource": "*", "Condition": {
            "NumericGreaterThanEquals": {"gateway:UploadAgeInDays": "7"},
            "StringLike": {"gateway:UploadDescription": "test *"}}}}"#;
    std::fs::write(gateway.directory.path().join("policies/teams/tidy.json"), policy).unwrap();
    let gateway = gateway.restarted();
    let day = 86_400;
    let seed = json!({"accountId": "111122223333", "region": "eu-central-1", "vaultName": "own-a",
    "uploads": [
        {"archiveDescription": "test run", "ageSeconds": 8 * day},
        {"archiveDescription": "test run", "ageSeconds": 6 * day},
        {"archiveDescription": "the crown jewels", "ageSeconds": 8 * day},
    ]});
    let reply = gateway.simulator.order(Method::POST, "/vaults", &seed).await;
    let ids = reply.json::<Value>().await.unwrap()["uploadIds"].clone();
    let abort = async |id: &Value| {
        let path = format!("{}/{}", uploads("own-a"), id.as_str().unwrap());
        gateway.call("tidy", Method::DELETE, &path).await
    };

    assert_eq!(abort(&ids[0]).await.status(), 204);
    for id in [&ids[1], &ids[2]] {
        let (status, body) = problem(abort(id).await).await;
        assert_eq!((status, &body["reason"]), (403, &json!("implicitDeny")), "{body}");
    }
    // What cannot be known is not decided, and says why.
    let (status, body) = problem(abort(&json!("no-such-upload")).await).await;
    assert_eq!((status, &body["code"]), (404, &json!("upload-not-found")), "{body}");
    gateway.simulator.fault(json!({"effect": "unavailable"})).await;
    let (status, body) = problem(abort(&json!("another-upload")).await).await;
    assert_eq!((status, &body["code"]), (503, &json!("glacier-unavailable")), "{body}");
    gateway.simulator.order(Method::DELETE, "/faults", &Value::Null).await;
    // A team whose policies do not ask costs Glacier no look-up.
    let before = gateway.simulator.requests().await.len();
    gateway.call("owner", Method::DELETE, &format!("{}/x", uploads("own-a"))).await;
    let requests = gateway.simulator.requests().await.split_off(before);
    assert!(!requests.is_empty() && requests.iter().all(|r| r["method"] == "DELETE"));
}

#[tokio::test]
async fn who_is_denied_anyway_learns_nothing_of_an_upload() {
    let gateway = Gateway::start();
    let guardrails = gateway.directory.path().join("policies/guardrails");
    std::fs::create_dir_all(&guardrails).unwrap();
    let guardrail = r#"{"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "glacier:AbortMultipartUpload", "Resource": "*",
         "Condition": {"NumericLessThan": {"gateway:UploadAgeInDays": "1"}}}]}"#;
    std::fs::write(guardrails.join("young.json"), guardrail).unwrap();
    let gateway = gateway.restarted();
    let id = &gateway.simulator.seed("theirs", &["x"]).await[0];
    for upload in [id.as_str(), "no-such-upload"] {
        let path = format!("{}/{upload}", uploads("theirs"));
        let (status, body) = problem(gateway.call("owner", Method::DELETE, &path).await).await;
        assert_eq!((status, &body["reason"]), (403, &json!("implicitDeny")), "{body}");
    }
    assert_eq!(gateway.simulator.requests().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_policy_sees_the_callers_address_as_trusted_proxies_tell_it() {
    let gateway = Gateway::start();
    let policy = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow",
        "Action": "glacier:ListVaults", "Resource": "*", "Condition": {
            "IpAddress": {"aws:SourceIp": "198.51.100.0/24"},
            "Bool": {"aws:SecureTransport": "true"}}}}"#;
    std::fs::write(gateway.directory.path().join("policies/teams/office.json"), policy).unwrap();
    let call = async |gateway: &Gateway, from: &str| {
        crate::support::client()
            .get(format!("{}/v1/accounts/-/vaults", gateway.rest))
            .bearer_auth(gateway.key.token("office"))
            .header("x-forwarded-for", from)
            .header("x-forwarded-proto", "https")
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    let gateway = gateway.restarted();
    assert_eq!(call(&gateway, "198.51.100.7").await, 403, "nobody is trusted by default");
    let gateway =
        gateway.with_environment(&[("GATEWAY__SERVER__TRUSTED_PROXIES", "[\"127.0.0.0/8\"]")]);
    assert_eq!(call(&gateway, "198.51.100.7").await, 200);
    assert_eq!(call(&gateway, "198.51.100.7, 203.0.113.1").await, 403);
    gateway.process.event(|event| event["source_ip"] == "203.0.113.1");
}
