//! The simulator under the Rust SDK, and under requests that no SDK would send.
//! What other SDKs do with it is tested in `tests/clients`.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use aws_sdk_glacier::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    error::ProvideErrorMetadata,
};
use glacier_gateway::{
    domain::UploadId,
    simulator::{Account, Config, Effect, Fault, Rules, Running, SeedUpload, SeedVault, Simulator},
};

const ACCOUNT: &str = "111122223333";
const KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

fn start(faults: Vec<Fault>) -> Running {
    Simulator::start(Config {
        bind: ([127, 0, 0, 1], 0).into(),
        control_bind: ([127, 0, 0, 1], 0).into(),
        accounts: vec![Account {
            account_id: ACCOUNT.parse().unwrap(),
            access_key_id: KEY_ID.to_owned(),
            secret_access_key: SECRET.into(),
            session_token: None,
        }],
        roles: Vec::new(),
        rules: Rules::default(),
        faults,
        clock_skew: time::Duration::ZERO,
    })
    .unwrap()
}

fn seed(running: &Running, uploads: usize) -> Vec<UploadId> {
    let upload = SeedUpload {
        archive_description: Some("a trip".to_owned()),
        part_size_in_bytes: 4 << 20,
        parts: 3,
        age_seconds: 3_600,
    };
    let vault = SeedVault {
        account_id: ACCOUNT.parse().unwrap(),
        region: "eu-central-1".parse().unwrap(),
        vault_name: "photos".parse().unwrap(),
        uploads: vec![upload; uploads],
    };
    running.simulator.seed(&vault).unwrap()
}

fn client(running: &Running) -> Client {
    let config = aws_sdk_glacier::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(&running.endpoint)
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new(KEY_ID, SECRET, None, None, "test"));
    Client::from_conf(config.build())
}

fn effect(effect: Effect) -> Vec<Fault> {
    vec![Fault { effect: Some(effect), ..Fault::default() }]
}

/// Sends a request as it stands and reads until the connection ends.
async fn send(running: &Running, request: &str) -> std::io::Result<String> {
    let (mut stream, request) = (connect(running), request.to_owned());
    let exchange = move || {
        stream.write_all(request.as_bytes())?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        Ok(reply)
    };
    tokio::task::spawn_blocking(exchange).await.unwrap()
}

fn connect(running: &Running) -> TcpStream {
    let stream = TcpStream::connect(running.endpoint.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

#[tokio::test]
async fn the_rust_sdk_lists_and_aborts_uploads() {
    let running = start(Vec::new());
    let ids = seed(&running, 51);
    let client = client(&running);

    let pages = client.list_multipart_uploads().vault_name("photos").into_paginator();
    let listed: Vec<_> = pages.items().send().try_collect().await.unwrap();
    assert_eq!(listed.len(), 51);
    assert_eq!(listed[0].archive_description(), Some("a trip"));

    let id = ids[0].as_str();
    let parts = client.list_parts().vault_name("photos").upload_id(id).send().await.unwrap();
    let last = parts.parts().last().unwrap();
    assert_eq!(last.range_in_bytes(), Some("8388608-12582911"));

    let abort = || client.abort_multipart_upload().vault_name("photos").upload_id(id).send();
    abort().await.unwrap();
    abort().await.unwrap();
    let gone = client.list_parts().vault_name("photos").upload_id(id).send().await;
    assert!(gone.unwrap_err().into_service_error().is_resource_not_found_exception());
    running.stop().await;
}

#[tokio::test]
async fn throttling_reaches_the_rust_sdk_as_a_code() {
    let running = start(effect(Effect::Throttle));
    let refused = client(&running).list_vaults().send().await.unwrap_err();
    assert_eq!(refused.code(), Some("ThrottlingException"));
    running.stop().await;
}

#[tokio::test]
async fn authorization_that_is_no_sigv4_is_an_incomplete_signature() {
    let running = start(Vec::new());
    let good = format!("Credential={KEY_ID}/20261123/eu-central-1/glacier/aws4_request");
    for (host, authorization) in [
        ("Host: glacier\r\n", "Bearer token".to_owned()),
        ("Host: glacier\r\n", "AWS4-HMAC-SHA256 ".to_owned()),
        ("Host: glacier\r\n", format!("AWS4-HMAC-SHA256 {good}, SignedHeaders=host")),
        (
            "Host: glacier\r\n",
            "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0".into(),
        ),
        ("Host: glacier\r\n", format!("AWS4-HMAC-SHA256 {good}, SignedHeaders=host, Signature=0")),
        ("", format!("AWS4-HMAC-SHA256 {good}, SignedHeaders=host, Signature=0")),
    ] {
        let request =
            format!("GET /-/vaults HTTP/1.0\r\n{host}Authorization: {authorization}\r\n\r\n");
        let reply = send(&running, &request).await.unwrap();
        assert!(reply.starts_with("HTTP/1.0 400 "), "{authorization}: {reply}");
        assert!(reply.contains(r#""code":"IncompleteSignatureException""#), "{reply}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_reset_is_one_on_the_wire() {
    let running = start(effect(Effect::Reset));
    let error =
        send(&running, "GET /-/vaults HTTP/1.1\r\nHost: glacier\r\n\r\n").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    running.stop().await;
}

#[tokio::test]
async fn a_truncated_reply_is_shorter_than_it_says() {
    let running = start(effect(Effect::Truncate));
    let reply = send(&running, "GET /-/vaults HTTP/1.1\r\nHost: glacier\r\n\r\n").await.unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert!(body.starts_with('{'));
    assert!(body.len() < length.parse::<usize>().unwrap());
    running.stop().await;
}

#[tokio::test]
async fn stopping_ends_requests_that_hang() {
    let running = start(effect(Effect::Hang));
    let mut stream = connect(&running);
    stream.write_all(b"GET /-/vaults HTTP/1.1\r\nHost: glacier\r\n\r\n").unwrap();
    let received = format!("{}/requests", running.control);
    while reqwest::get(&received).await.unwrap().text().await.unwrap() == "[]" {}
    running.stop().await;
    assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
}
