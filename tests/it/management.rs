//! The management port: probes, metrics, and `healthcheck`, which asks there.

use std::{
    collections::BTreeMap,
    process::{Command, Output},
};

use reqwest::Method;
use serde_json::json;

use crate::support::{BINARY, Gateway, claims, client, now, problem, uploads};

/// The samples of `/metrics`, by name and labels.
pub async fn metrics(gateway: &Gateway) -> BTreeMap<String, f64> {
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
async fn metrics_hold_aborts_against_their_records_if_there_is_a_store() {
    let name = |end: &str| format!("glacier_gateway_audit_{end}");
    let without = Gateway::start();
    let samples = metrics(&without).await;
    for gauge in ["available{}", "log_sound{}"] {
        assert!(!samples.contains_key(&name(gauge)), "a 0 would mean trouble: {gauge}");
    }
    let gateway = Gateway::with("[store]\nurl = \"sqlite:DIRECTORY/store.db\"\n", &[]);
    let id = gateway.simulator.seed("own-a", &["x"]).await.remove(0);
    for upload in [id.as_str(), "unknown"] {
        gateway.call("owner", Method::DELETE, &format!("{}/{upload}", uploads("own-a"))).await;
        gateway.call("stranger", Method::DELETE, &format!("{}/{upload}", uploads("own-a"))).await;
    }
    let samples = metrics(&gateway).await;
    for (gauge, value) in [
        ("available{}", 1.0),
        ("log_sound{}", 1.0),
        ("intents_total", 2.0),
        ("changes_refused_total", 0.0),
    ] {
        assert_eq!(samples.get(&name(gauge)), Some(&value), "{gauge}");
    }
    let asked = |(name, _): &(&String, &f64)| {
        name.contains("upstream_requests_total{operation=\"AbortMultipartUpload\"")
    };
    assert_eq!(samples.iter().filter(asked).map(|(_, count)| count).sum::<f64>(), 2.0);
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
async fn the_documentation_lists_every_metric() {
    let gateway = Gateway::start();
    assert_eq!(gateway.call("owner", Method::GET, &uploads("own-a")).await.status(), 404);
    for sample in metrics(&gateway).await.keys() {
        let name = sample.split('{').next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let row = format!("| `{}` |", family.unwrap_or(name));
        assert!(include_str!("../../docs/deploy.md").contains(&row), "{row} is missing");
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
async fn the_gateway_is_alive_but_not_ready_while_no_caller_can_be_known() {
    let gateway = Gateway::start();
    let keys = gateway.directory.path().join("jwks.json");
    let published = std::fs::read(&keys).unwrap();
    std::fs::remove_file(&keys).unwrap();
    let gateway = gateway.restarted();
    for (path, status) in [("livez", 200), ("readyz", 503), ("startupz", 503)] {
        assert_eq!(probe(&gateway, path).await.0, status, "{path}");
    }
    assert!(healthcheck(&gateway, &[]).status.success());
    let output = healthcheck(&gateway, &["--ready"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("no issuer's keys are known"));

    std::fs::write(&keys, published).unwrap();
    let deadline = now() + 30;
    while probe(&gateway, "readyz").await.0 != 200 {
        assert!(now() < deadline, "never became ready");
    }
    assert_eq!(probe(&gateway, "readyz").await, (200, "ok\n".to_owned()));
    assert_eq!(probe(&gateway, "startupz").await.0, 200);
    assert!(healthcheck(&gateway, &["--ready"]).status.success());
}

#[tokio::test]
async fn a_broken_issuer_keeps_only_its_own_callers_out() {
    let gateway = Gateway::start();
    let gateway = gateway.with_environment(&[("GATEWAY__ISSUERS__OTHER", UNREACHABLE_ISSUER)]);
    assert_eq!(probe(&gateway, "startupz").await.0, 200);
    let (status, told) = probe(&gateway, "readyz").await;
    assert_eq!(status, 200);
    assert!(told.starts_with("ok\nissuer other: no usable keys"), "{told}");
    let metrics = metrics(&gateway).await;
    for (issuer, usable) in [("test", 1.0), ("other", 0.0)] {
        let name = format!("glacier_gateway_issuer_keys_usable{{issuer=\"{issuer}\"}}");
        assert_eq!(metrics.get(&name), Some(&usable), "{issuer}");
    }
    let path = "/v1/accounts/-/vaults";
    assert_eq!(gateway.call("owner", Method::GET, path).await.status(), 200);
    let mut claims = claims("owner");
    claims["iss"] = json!("https://other.example.com");
    let reply = gateway.call_with(&gateway.key.sign(&claims), Method::GET, path).await;
    let (status, body) = problem(reply).await;
    assert_eq!((status, &body["code"]), (503, &json!("issuer-unavailable")));
}

#[tokio::test]
async fn gateway_keys_make_ready_what_issuers_do_not() {
    let gateway = Gateway::with_master_keys(&[1], "");
    std::fs::remove_file(gateway.directory.path().join("jwks.json")).unwrap();
    let gateway = gateway.restarted();
    let (status, told) = probe(&gateway, "readyz").await;
    assert_eq!(status, 200);
    assert!(told.contains("issuer test: no usable keys"), "{told}");
}

#[tokio::test]
async fn refused_policies_are_told_where_the_old_ones_serve() {
    let gateway = Gateway::start();
    std::fs::write(gateway.directory.path().join("policies/teams/owner.json"), "{").unwrap();
    gateway.process.event(|event| event["level"] == "ERROR");
    let deadline = now() + 30;
    loop {
        let (status, told) = probe(&gateway, "readyz").await;
        assert_eq!(status, 200);
        if told.contains("policies: the new ones are refused") {
            assert!(told.contains("owner.json"), "{told}");
            break;
        }
        assert!(now() < deadline, "{told}");
    }
}

pub async fn probe(gateway: &Gateway, path: &str) -> (u16, String) {
    let url = format!("{}/{path}", gateway.management);
    let reply = client().get(url).send().await.unwrap();
    (reply.status().as_u16(), reply.text().await.unwrap())
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

#[tokio::test]
async fn connections_that_ask_nothing_do_not_keep_probes_waiting() {
    let gateway = Gateway::start();
    let address = gateway.management.strip_prefix("http://").unwrap();
    let idle: Vec<_> = (0..40).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    let reply = client().get(format!("{}/livez", gateway.management)).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    drop(idle);
}
