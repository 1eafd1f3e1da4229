//! The published specification.

use serde_json::Value;

use crate::support::{Gateway, client};

#[test]
fn the_committed_specification_is_the_one_that_is_served() {
    let output =
        std::process::Command::new(crate::support::BINARY).arg("openapi").output().unwrap();
    let generated = String::from_utf8(output.stdout).unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/glacier-gateway.yaml");
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(committed == generated, "run `make openapi` and commit openapi/glacier-gateway.yaml");
}

#[tokio::test]
async fn json_and_yaml_are_served_and_documented_statuses_cover_every_code() {
    let gateway = Gateway::start();
    let get =
        async |path: &str| client().get(format!("{}{path}", gateway.rest)).send().await.unwrap();
    let yaml = get("/openapi.yaml").await;
    assert_eq!(yaml.headers()["content-type"], "application/yaml");
    assert!(yaml.text().await.unwrap().starts_with("openapi: 3.1"));

    let document: Value = get("/openapi.json").await.json().await.unwrap();
    for (path, operations) in document["paths"].as_object().unwrap() {
        // What asks nothing of Glacier cannot fail as Glacier does.
        let local = path.starts_with("/v1/access")
            || path.starts_with("/v1/audit")
            || path.starts_with("/v1/abort-jobs")
            || path.starts_with("/v1/inventory")
            || path.starts_with("/v1/lifecycle-rules")
            || path == "/v1/accounts";
        let upstream: &[&str] = if local { &[] } else { &["404", "429", "502", "504"] };
        for operation in operations.as_object().unwrap().values() {
            for status in ["400", "401", "403", "500", "503"].iter().chain(upstream) {
                let name = operation["responses"][status]["$ref"].as_str().unwrap();
                let reply = document.pointer(name.trim_start_matches('#')).unwrap();
                let content = &reply["content"]["application/problem+json"];
                assert!(content["schema"].is_object(), "{path} {status}");
                assert!(!content["examples"].as_object().unwrap().is_empty(), "{path} {status}");
            }
        }
    }
}

#[tokio::test]
async fn the_page_of_docs_is_shown_in_no_frame_and_calls_only_the_gateway_and_the_issuer() {
    let sign_in = r#"
        [swagger_ui]
        client_id = "docs"
        authorization_url = "https://login.example.com/authorize"
        token_url = "https://tokens.example.com/token"
    "#;
    let kept = format!("{sign_in}persist_authorization = true");
    let issuer = " https://tokens.example.com";
    for (settings, issuer, keeps) in
        [("", "", false), (sign_in, issuer, false), (kept.as_str(), issuer, true)]
    {
        let gateway = Gateway::with(settings, &[]);
        let get = async |path: &str| {
            client().get(format!("{}{path}", gateway.rest)).send().await.unwrap()
        };
        for page in ["/docs", "/docs/", "/docs/oauth2-redirect.html", "/docs/none"] {
            let reply = get(page).await;
            assert_eq!(reply.headers()["referrer-policy"], "no-referrer", "{page}");
            let policy = reply.headers()["content-security-policy"].to_str().unwrap();
            let directives: Vec<_> = policy.split("; ").collect();
            let calls = format!("connect-src 'self'{issuer}");
            for directive in ["script-src 'self'", "frame-ancestors 'none'", calls.as_str()] {
                assert!(directives.contains(&directive), "{page}: {policy}");
            }
        }
        let page = get("/docs/swagger-initializer.js").await.text().await.unwrap();
        assert!(page.contains(&format!("\"persistAuthorization\": {keeps}")), "{page}");
    }
}
