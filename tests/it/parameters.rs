//! Parameters that break a rule are refused with a code and never forwarded.

use reqwest::Method;
use serde_json::json;

use crate::support::{Gateway, problem, uploads};

#[tokio::test]
async fn poisonous_paths_are_refused_and_never_forwarded() {
    let gateway = Gateway::start();
    let long = "v".repeat(256);
    let long_id = "u".repeat(257);
    let vault = |name: &str| format!("/v1/accounts/-/vaults/{name}/multipart-uploads/x");
    let upload = |id: &str| format!("/v1/accounts/-/vaults/own-a/multipart-uploads/{id}");
    let mut paths = vec![
        "/v1/accounts/1234/vaults/own-a".to_owned(),
        "/v1/accounts/1111-2222-3333/vaults/own-a".to_owned(),
        "/v1/accounts/%2D%2D/vaults/own-a".to_owned(),
    ];
    for name in [
        ".", "..", "%2e%2e", "%2E", "a%2Fb", "a%2fb", "..%2f..", "a%00", "a%20b", "%c3%bc", "%ff",
        "a%25b", "a%5Cb", "a;b", &long,
    ] {
        paths.push(vault(name));
    }
    for id in [".", "..", "%2e%2e", "a%2Fb", "a%00b", "a.b", "a%2Bb", "a=", "%0d%0aX", &long_id] {
        paths.push(upload(id));
    }
    for path in paths {
        let (status, body) = gateway.raw("DELETE", &path).await;
        // A path without a DELETE says so first.
        if path.contains("multipart-uploads") {
            assert_eq!((status, &body["code"]), (400, &json!("invalid-parameter")), "{path}");
        }
        let (status, body) = gateway.raw("GET", &path).await;
        assert_eq!((status, &body["code"]), (400, &json!("invalid-parameter")), "{path}");
    }
    assert!(gateway.simulator.requests().await.is_empty());
}

#[tokio::test]
async fn encoded_letters_are_the_letters() {
    let gateway = Gateway::start();
    gateway.simulator.seed("own-a", &[]).await;
    let (status, body) = gateway.raw("GET", "/v1/accounts/%2D/vaults/%6fwn-a").await;
    assert_eq!((status, &body["vaultName"]), (200, &json!("own-a")));
}

#[tokio::test]
async fn query_parameters_are_known_unique_and_in_range() {
    let gateway = Gateway::start();
    let uploads = uploads("own-a");
    for (query, status, code) in [
        ("limit=0", 400, "invalid-parameter"),
        ("limit=51", 400, "invalid-parameter"),
        ("limit=-1", 400, "invalid-parameter"),
        ("limit=ten", 400, "invalid-parameter"),
        ("limit=", 400, "invalid-parameter"),
        ("limit=1&limit=1", 400, "duplicate-parameter"),
        ("region=eu-central-1&region=us-east-1", 400, "duplicate-parameter"),
        ("limt=1", 400, "unknown-parameter"),
        ("Limit=1", 400, "unknown-parameter"),
        ("marker=", 400, "invalid-parameter"),
        ("marker=a%20b", 400, "invalid-parameter"),
        ("marker=a%0d%0ab", 400, "invalid-parameter"),
        ("region=moon", 400, "invalid-parameter"),
        ("region=eu-central-1.evil.example", 400, "invalid-parameter"),
        ("region=", 400, "invalid-parameter"),
        ("region=us-west-2", 404, "region-not-served"),
    ] {
        let path = format!("{uploads}?{query}");
        let reply = gateway.call("owner", Method::GET, &path).await;
        let (got, body) = problem(reply).await;
        assert_eq!((got, &body["code"]), (status, &json!(code)), "{query}");
    }
    let reply = gateway.call("owner", Method::GET, "/v1/accounts/999988887777/vaults").await;
    let (status, body) = problem(reply).await;
    assert_eq!((status, &body["code"]), (404, &json!("account-not-served")));
    assert!(gateway.simulator.requests().await.is_empty());
}

#[tokio::test]
async fn a_refusal_names_the_query_parameter_without_its_control_characters() {
    let gateway = Gateway::start();
    for (query, said) in [
        ("lim%0d%0at=1", "\"limt\" is no query parameter"),
        ("a%00b=1&a%00b=2", "the query parameter \"ab\" once"),
    ] {
        let path = format!("{}?{query}", uploads("own-a"));
        let (_, body) = problem(gateway.call("owner", Method::GET, &path).await).await;
        assert!(body["detail"].as_str().unwrap().contains(said), "{body}");
    }
}

#[tokio::test]
async fn a_harmless_request_id_is_echoed_and_a_strange_one_replaced() {
    let gateway = Gateway::start();
    for (given, echoed) in [("req-1:a/b.c", true), ("has space", false), (&"x".repeat(129), false)]
    {
        let reply = crate::support::client()
            .get(format!("{}/v1/accounts/-/vaults", gateway.rest))
            .header("x-request-id", given)
            .send()
            .await
            .unwrap();
        assert_eq!(reply.headers()["x-request-id"] == given, echoed, "{given}");
        assert!(!reply.headers()["x-request-id"].is_empty());
    }
}
