//! The management port: probes, metrics, and `healthcheck`, which asks there.

use std::{
    collections::BTreeMap,
    process::{Command, Output},
};

use reqwest::Method;
use serde_json::json;

use crate::support::{BINARY, Gateway, client, problem, uploads};

/// The samples of `/metrics`, by name and labels.
async fn metrics(gateway: &Gateway) -> BTreeMap<String, f64> {
    let reply = client().get(format!("{}/metrics", gateway.management)).send().await.unwrap();
    let kind = reply.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    let text = reply.text().await.unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn metrics_count_requests_decisions_and_upstream_calls() {
    let gateway = Gateway::start();
    let id = gateway.simulator.seed("own-a", &["x"]).await.remove(0);
    let path = format!("{}/{id}", uploads("own-a"));
    let aborted = gateway.call("owner", Method::DELETE, &path).await;
    assert_eq!(aborted.status(), 204);
    problem(gateway.call("stranger", Method::DELETE, &path).await).await;
    problem(gateway.call("owner", Method::DELETE, &format!("{}/no", uploads("own-b"))).await).await;
    gateway.simulator.fault(json!({"effect": "throttle"})).await;
    problem(gateway.call("owner", Method::GET, &uploads("own-a")).await).await;
    problem(gateway.call("owner", Method::GET, "/nowhere").await).await;
    gateway.raw("BREW", "/nowhere").await;
    let door = format!("{}/glacier/-/vaults", gateway.rest);
    let request = client().get(door).header("x-amz-glacier-version", "2012-06-01");
    assert_eq!(request.bearer_auth(gateway.key.token("owner")).send().await.unwrap().status(), 400);

    let metrics = metrics(&gateway).await;

    let route = "/v1/accounts/{accountId}/vaults/{vaultName}/multipart-uploads/{uploadId}";
    let labels = format!("door=\"rest\",method=\"DELETE\",route=\"{route}\"");
    let abort = "glacier:AbortMultipartUpload";
    for (name, value) in [
        (format!("requests_total{{{labels},status=\"204\"}}"), 1.0),
        (format!("requests_total{{{labels},status=\"403\"}}"), 1.0),
        (format!("requests_total{{{labels},status=\"404\"}}"), 1.0),
        (format!("request_duration_seconds_count{{{labels}}}"), 3.0),
        (r#"requests_total{door="rest",method="GET",route="",status="404"}"#.into(), 1.0),
        (r#"requests_total{door="rest",method="other",route="",status="404"}"#.into(), 1.0),
        (
            r#"requests_total{door="glacier",method="GET",route="/glacier/{accountId}/vaults",status="400"}"#
                .into(),
            1.0,
        ),
        (format!("decisions_total{{action=\"{abort}\",outcome=\"allowed\"}}"), 2.0),
        (format!("decisions_total{{action=\"{abort}\",outcome=\"implicitDeny\"}}"), 1.0),
        (r#"upstream_requests_total{operation="AbortMultipartUpload",result="ok"}"#.into(), 1.0),
        (
            r#"upstream_requests_total{operation="AbortMultipartUpload",result="vault-not-found"}"#
                .into(),
            1.0,
        ),
        (
            r#"upstream_requests_total{operation="ListMultipartUploads",result="upstream-throttled"}"#
                .into(),
            1.0,
        ),
        (
            r#"upstream_request_duration_seconds_count{operation="AbortMultipartUpload"}"#.into(),
            2.0,
        ),
        (
            format!(
                "build_info{{version=\"{}\",revision=\"unknown\"}}",
                env!("CARGO_PKG_VERSION")
            ),
            1.0,
        ),
    ] {
        assert_eq!(metrics.get(&format!("glacier_gateway_{name}")), Some(&value), "{name}");
    }
    let spent: f64 = metrics[&format!("glacier_gateway_request_duration_seconds_sum{{{labels}}}")];
    assert!(spent > 0.0);
}

#[tokio::test]
async fn no_metric_names_a_caller_a_vault_or_an_upload() {
    let gateway = Gateway::start();
    let id = gateway.simulator.seed("own-a", &["x"]).await.remove(0);
    let path = format!("{}/{id}", uploads("own-a"));
    gateway.call("owner", Method::DELETE, &path).await;
    for name in metrics(&gateway).await.keys() {
        for particular in ["owner", "own-a", id.as_str()] {
            assert!(!name.contains(particular), "{name}");
        }
    }
}

#[tokio::test]
async fn neither_probes_nor_metrics_are_on_the_rest_port() {
    let gateway = Gateway::start();
    for path in ["/livez", "/readyz", "/startupz", "/metrics"] {
        let url = format!("{}{path}", gateway.management);
        assert_eq!(client().get(url).send().await.unwrap().status(), 200, "{path}");
        let url = format!("{}{path}", gateway.rest);
        assert_eq!(client().get(url).send().await.unwrap().status(), 404, "{path}");
    }
}

#[tokio::test]
async fn the_gateway_is_alive_but_not_ready_until_it_knows_its_issuers_keys() {
    let gateway = Gateway::start();
    let nowhere = [("GATEWAY__ISSUERS__OTHER", UNREACHABLE_ISSUER)];
    let gateway = gateway.with_environment(&nowhere);
    for (path, status) in [("livez", 200), ("readyz", 503), ("startupz", 503)] {
        let url = format!("{}/{path}", gateway.management);
        assert_eq!(client().get(url).send().await.unwrap().status(), status, "{path}");
    }
    assert!(healthcheck(&gateway, &[]).status.success());
    let output = healthcheck(&gateway, &["--ready"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("keys of an issuer"));
}

const UNREACHABLE_ISSUER: &str = r#"{
    issuer = "https://other.example.com", audiences = ["x"], jwks_url = "http://127.0.0.1:9/jwks"
}"#;

#[tokio::test]
async fn healthcheck_finds_the_gateway_by_its_configuration() {
    let gateway = Gateway::start();
    let port = gateway.management.rsplit_once(':').unwrap().1;
    let config = gateway.directory.path().join("gateway.toml");
    for listen in ["127.0.0.1", "0.0.0.0", "[::ffff:127.0.0.1]"] {
        let output = Command::new(BINARY)
            .arg("healthcheck")
            .env("GATEWAY_CONFIG", &config)
            .env("GATEWAY__SERVER__MANAGEMENT_LISTEN", format!("{listen}:{port}"))
            .env("HTTP_PROXY", "http://127.0.0.1:9")
            .output()
            .unwrap();
        assert!(output.status.success(), "{listen}: {output:?}");
    }
}

#[tokio::test]
async fn healthcheck_fails_where_nobody_listens() {
    let output =
        Command::new(BINARY).args(["healthcheck", "--address", "127.0.0.1:9"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("http://127.0.0.1:9/livez") && said.contains("refused"), "{said}");
}

fn healthcheck(gateway: &Gateway, options: &[&str]) -> Output {
    let address = gateway.management.strip_prefix("http://").unwrap();
    let mut command = Command::new(BINARY);
    command.args(["healthcheck", "--address", address]).args(options).output().unwrap()
}
