//! Vaults over the REST door.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Gateway, problem};

#[tokio::test]
async fn only_vaults_that_the_caller_may_describe_are_listed() {
    let gateway = Gateway::start();
    for vault in ["own-a", "other", "own-b"] {
        gateway.simulator.seed(vault, &[]).await;
    }

    let reply = gateway.call("owner", Method::GET, "/v1/accounts/-/vaults").await;

    let page: Value = reply.json().await.unwrap();
    let names: Vec<_> =
        page["vaults"].as_array().unwrap().iter().map(|v| v["vaultName"].clone()).collect();
    assert_eq!(names, [json!("own-a"), json!("own-b")]);
    assert_eq!(page["marker"], Value::Null);
}

#[tokio::test]
async fn vaults_are_listed_page_by_page() {
    let gateway = Gateway::start();
    for vault in ["own-a", "own-b", "own-c"] {
        gateway.simulator.seed(vault, &[]).await;
    }
    let mut path = "/v1/accounts/-/vaults?limit=2".to_owned();
    for (names, is_last) in [(json!(["own-a", "own-b"]), false), (json!(["own-c"]), true)] {
        let page: Value = gateway.call("owner", Method::GET, &path).await.json().await.unwrap();
        let listed = page["vaults"].as_array().unwrap().iter().map(|v| v["vaultName"].clone());
        assert_eq!(listed.collect::<Value>(), names);
        assert_eq!(page["marker"].is_null(), is_last, "{page}");
        path = format!("{path}&marker={}", page["marker"].as_str().unwrap_or_default());
    }
}

#[tokio::test]
async fn what_glacier_counted_in_a_vault_comes_through() {
    let gateway = Gateway::start();
    let upload = gateway.simulator.seed("own-a", &["x"]).await.remove(0);
    let completed = json!({"uploadId": upload, "activity": "completion"});
    gateway.simulator.order(Method::POST, "/activity", &completed).await;
    // Glacier counts about once a day.
    let later = json!({"advanceSeconds": 2 * 86_400});
    gateway.simulator.order(Method::PATCH, "/clock", &later).await;

    let path = "/v1/accounts/-/vaults";
    let vault = gateway.call("owner", Method::GET, &format!("{path}/own-a")).await;
    let vault: Value = vault.json().await.unwrap();
    assert_eq!(vault["numberOfArchives"], 1);
    assert!(vault["sizeInBytes"].as_u64() >= Some(2 << 20), "{vault}");
    assert!(vault["lastInventoryDate"].is_string(), "{vault}");
    let page: Value = gateway.call("owner", Method::GET, path).await.json().await.unwrap();
    assert_eq!(page["vaults"], json!([vault]));
}

#[tokio::test]
async fn listing_vaults_needs_a_statement_about_every_resource() {
    let gateway = Gateway::start();
    let narrow = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow",
        "Action": "glacier:*", "Resource": "arn:aws:glacier:*:*:vaults/*"}}"#;
    std::fs::write(gateway.directory.path().join("policies/teams/narrow.json"), narrow).unwrap();
    let gateway = gateway.restarted();

    let reply = gateway.call("narrow", Method::GET, "/v1/accounts/-/vaults").await;

    assert_eq!(problem(reply).await.0, 403);
}

#[tokio::test]
async fn a_vault_is_described_by_its_account_number_and_by_a_hyphen() {
    let gateway = Gateway::start();
    gateway.simulator.seed("own-a", &[]).await;
    for account in ["-", "111122223333"] {
        let path = format!("/v1/accounts/{account}/vaults/own-a");
        let vault: Value = gateway.call("owner", Method::GET, &path).await.json().await.unwrap();
        assert_eq!(vault["vaultArn"], "arn:aws:glacier:eu-central-1:111122223333:vaults/own-a");
        assert_eq!(vault["numberOfArchives"], 0);
    }
    // The policy saw the account's number, and so did Glacier.
    for request in gateway.simulator.requests().await {
        assert_eq!(request["target"], "/111122223333/vaults/own-a");
    }
}

#[tokio::test]
async fn a_configured_region_is_asked_and_judged() {
    let gateway = Gateway::start();
    let gateway = gateway.with_environment(&[("GATEWAY__AWS__REGIONS", "[\"us-east-1\"]")]);
    gateway.simulator.seed("own-a", &[]).await;

    // The policy allows eu-central-1 alone.
    let path = "/v1/accounts/-/vaults/own-a?region=us-east-1";
    let (status, body) = problem(gateway.call("owner", Method::GET, path).await).await;
    assert_eq!((status, &body["code"]), (403, &json!("not-authorized")));

    let reply = gateway.call("owner", Method::GET, "/v1/accounts/-/vaults?region=us-east-1").await;
    let page: Value = reply.json().await.unwrap();
    assert_eq!(page["vaults"], json!([]), "the seeded vault is in eu-central-1");
}
