//! Connections, sizes and times of requests, and callers that leave.

use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    jobs::{self, Kind},
    limits::{heal, limited, list, places, wait_for},
    management::probe,
    support::{Gateway, client, problem, uploads},
    trail::entries_in_time,
};

async fn connect(gateway: &Gateway) -> TcpStream {
    TcpStream::connect(gateway.rest.strip_prefix("http://").unwrap()).await.unwrap()
}

/// All that is still sent on a connection.
async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset ends it as well.
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn an_abort_whose_caller_leaves_while_it_waits_is_not_sent() {
    let gateway = limited("concurrency = 1\nqueue_timeout = \"60s\"");
    gateway.simulator.seed("own-a", &[]).await;
    let id = gateway.simulator.seed("own-b", &["x"]).await.remove(0);
    gateway.simulator.fault(json!({"effect": "hang", "vaultName": "own-a"})).await;
    let hanging = list(&gateway, "owner", "own-a");
    wait_for(&gateway, "upstream_calls_under_way", 1.0).await;

    let mut leaving = connect(&gateway).await;
    let token = gateway.key.token("owner");
    let head = format!(
        "DELETE {}/{id} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n",
        uploads("own-b")
    );
    leaving.write_all(head.as_bytes()).await.unwrap();
    wait_for(&gateway, "upstream_calls_waiting", 1.0).await;
    // As a polite client does, and not with a reset.
    leaving.shutdown().await.unwrap();
    wait_for(&gateway, "upstream_calls_waiting", 0.0).await;
    assert_eq!(rest(leaving).await, "");
    let entries = entries_in_time(&gateway, 1).await;
    assert_eq!(entries[0]["outcome"], "client-left", "{entries:#?}");
    assert_ne!(entries[0]["eventType"], "Intent");

    heal(&gateway).await;
    hanging.abort();
    assert_eq!(list(&gateway, "owner", "own-a").await.unwrap().status(), 200);
    assert_eq!(places(&gateway, "own-b").await, [0; 0]);
    assert_eq!(gateway.simulator.status("own-b", &id).await.unwrap(), "in-progress");
}

#[tokio::test]
async fn what_is_too_long_is_refused_with_the_setting_that_says_so() {
    let limits = "[limits.server]\nurl_size = 1024\nhead_size = 4096\nbody_size = 65536\n";
    let gateway = jobs::gateway(Kind::Sqlite, limits).await;
    gateway.simulator.seed("own-a", &[]).await;
    let path = uploads("own-a");
    let long = |size: usize| format!("{path}?marker={}", "x".repeat(size));
    let fits = gateway.call("owner", Method::GET, &long(900)).await.status();
    assert_ne!(fits, 414);
    let (status, body) = problem(gateway.call("owner", Method::GET, &long(1024)).await).await;
    assert_eq!((status, &body["code"]), (414, &json!("url-too-long")));
    assert!(body["detail"].as_str().unwrap().contains("limits.server.url_size"), "{body}");

    let with = |size: usize| {
        let request = client().get(format!("{}{path}", gateway.rest));
        request.bearer_auth(gateway.key.token("owner")).header("x-long", "x".repeat(size)).send()
    };
    assert_eq!(with(2_000).await.unwrap().status(), 200);
    let (status, body) = problem(with(4_000).await.unwrap()).await;
    assert_eq!((status, &body["code"]), (431, &json!("head-too-long")));

    for (path, content) in
        [("/v1/abort-jobs?team=owner", "text/csv"), ("/v1/access/simulate", "application/json")]
    {
        let request = client().post(format!("{}{path}", gateway.rest));
        let request = request.bearer_auth(gateway.key.token("owner"));
        let body = "x".repeat(65_537);
        let reply = request.header("content-type", content).body(body).send().await.unwrap();
        let (status, body) = problem(reply).await;
        assert_eq!((status, &body["code"]), (413, &json!("body-too-long")), "{path}");
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_and_slow_ones_are_closed() {
    let gateway = Gateway::with(
        "[limits.server]\nconnections = 1\nhead_timeout = \"1s\"\nbody_timeout = \"1s\"\n",
        &[],
    );
    // It has its answer, and is kept.
    let mut kept = connect(&gateway).await;
    kept.write_all(b"GET /v1/accounts HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    kept.read_exact(&mut [0; 12]).await.unwrap();
    let (_, text) = probe(&gateway, "readyz").await;
    assert!(text.contains("connections: all 1 are taken"), "{text}");
    // Half a head, half a body: each then holds the only connection until its time is over.
    let mut slow = connect(&gateway).await;
    slow.write_all(b"GET /v1/acc").await.unwrap();
    let mut waiting = connect(&gateway).await;
    let token = gateway.key.token("owner");
    let head = format!(
        "POST /v1/access/simulate HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
    );
    waiting.write_all(head.as_bytes()).await.unwrap();
    drop(kept);
    assert!(rest(slow).await.starts_with("HTTP/1.1 408 "));
    let answer = rest(waiting).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("request-timeout"), "{answer}");
    assert!(answer.contains("within 1s"), "{answer}");
}

#[test]
fn limits_that_cannot_be_kept_are_refused() {
    let gateway = Gateway::start();
    for (key, value, told) in [
        ("HEAD_TIMEOUT", "0s", "from \\\"1s\\\" to \\\"1h\\\""),
        ("URL_SIZE", "100", "from 1024 to 64000"),
        ("HEAD_SIZE", "1000000", "from 4096 to 131072"),
        ("BODY_SIZE", "1", "from 65536 to 67108864"),
    ] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_glacier-gateway"));
        command.env(format!("GATEWAY__LIMITS__SERVER__{key}"), value);
        command.arg("check-config").arg("--config");
        let output = command.arg(gateway.directory.path().join("gateway.toml")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).replace('"', "\\\"");
        assert!(!output.status.success() && said.contains(told), "{key}: {said}");
        assert!(said.contains(&format!("limits.server.{}", key.to_lowercase())), "{said}");
    }
}
