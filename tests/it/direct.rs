//! After the SDK's first abort the gateway sends aborts itself, and leaves to the
//! SDK what Glacier does not answer with 204.

use std::{
    fs,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use glacier_gateway::authn::sigv4::{Authorization, SignedRequest};
use reqwest::Method;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::watch,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;

use crate::{
    support::{ACCOUNT, Gateway, REGION, client, problem, uploads},
    tls::Ca,
};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const NO_PAYLOAD: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// Only the SDK's own requests carry this header.
const FROM_SDK: &str = "amz-sdk-invocation-id";

const ABORTED: &str = "HTTP/1.1 204 No Content\r\nx-amzn-RequestId: recorded\r\n\r\n";

const CLOSING: &str =
    "HTTP/1.1 204 No Content\r\nx-amzn-RequestId: recorded\r\nConnection: close\r\n\r\n";

/// A request as it was on the wire; headers' names in lower case, in order.
#[derive(Clone, Debug)]
struct Wire {
    /// The connection's number.
    connection: usize,
    at: Instant,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
}

impl Wire {
    fn parse(connection: usize, head: &str) -> Self {
        let mut lines = head.trim_end().split("\r\n");
        let mut request = lines.next().unwrap().split(' ').map(str::to_owned);
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_lowercase(), value.to_owned())
        });
        let (method, target) = (request.next().unwrap(), request.next().unwrap());
        Self { connection, at: Instant::now(), method, target, headers: headers.collect() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn signed_headers(&self) -> &str {
        let fields = self.header("authorization").unwrap().split(", ");
        fields.filter_map(|field| field.strip_prefix("SignedHeaders=")).next().unwrap()
    }

    /// What is the same in any abort of the same upload.
    fn lasting(&self) -> (&str, &str, &str, Vec<(&str, &str)>) {
        let made_anew = ["authorization", "x-amz-date", FROM_SDK, "amz-sdk-request"];
        let mut headers: Vec<_> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        headers.retain(|(name, _)| !made_anew.contains(name));
        headers.sort_unstable();
        (&self.method, &self.target, self.signed_headers(), headers)
    }

    /// Checks the signature with the verifier of the gateway's own Glacier door,
    /// which computes signatures with AWS's library.
    fn verify(&self) {
        let headers: Vec<_> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let (method, target) = (self.method.as_str(), self.target.as_str());
        let request =
            SignedRequest { method, target, headers: &headers, payload_sha256: NO_PAYLOAD };
        let (now, tolerance) = (OffsetDateTime::now_utc(), time::Duration::minutes(1));
        let region =
            Authorization::of(&request).unwrap().verify(&request, &SECRET.into(), now, tolerance);
        assert_eq!(region.unwrap().as_str(), REGION, "{self:?}");
    }
}

/// A server that notes what it gets and answers all of it alike.
struct Recording {
    url: String,
    requests: Arc<Mutex<Vec<Wire>>>,
    /// How many connections the server has closed.
    closed: watch::Receiver<usize>,
}

impl Recording {
    async fn start() -> Self {
        Self::answering(ABORTED, false, None).await
    }

    /// Answers `reply`, over TLS if so told; if it `closes`, each connection once only.
    async fn answering(reply: &'static str, closes: bool, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let requests: Arc<Mutex<Vec<Wire>>> = Arc::default();
        let noted = Arc::clone(&requests);
        let (closing, closed) = watch::channel(0);
        tokio::spawn(async move {
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else { break };
                let (requests, closing) = (Arc::clone(&noted), closing.clone());
                let tls = tls.clone();
                tokio::spawn(async move {
                    let mut stream = match tls {
                        None => Either::Left(stream),
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => Either::Right(stream),
                            Err(_) => return,
                        },
                    };
                    while let Some(head) = read_head(&mut stream).await {
                        requests.lock().unwrap().push(Wire::parse(connection, &head));
                        // Who has read enough hangs up.
                        let _ = stream.write_all(reply.as_bytes()).await;
                        if closes {
                            drop(stream);
                            closing.send_modify(|closed| *closed += 1);
                            break;
                        }
                    }
                });
            }
        });
        Self { url, requests, closed }
    }

    fn take(&self) -> Vec<Wire> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?.into());
    }
    Some(head)
}

async fn abort(gateway: &Gateway, vault: &str, upload: &str) {
    let path = format!("{}/{upload}", uploads(vault));
    let reply = gateway.call("owner", Method::DELETE, &path).await;
    assert_eq!(reply.status(), 204, "{path}");
    assert_eq!(reply.headers()["x-amzn-requestid"], "recorded");
}

#[tokio::test]
async fn a_direct_abort_is_on_the_wire_what_the_sdks_is() {
    let long = "x".repeat(251);
    let vaults =
        ["own-a", "own-.", "own-..", "own-._-._-", "own--", "own-A1", &format!("own-{long}")];
    let ids = ["u", "-", "_", "--help", "-_-", &"Zz9-_".repeat(18), &"i".repeat(256)];
    for token in ["", "a/session+token=="] {
        for path in ["", "/a/prefix~of.its-own"] {
            let glacier = Recording::start().await;
            let endpoint = format!("{}{path}", glacier.url);
            let environment =
                [("GATEWAY__AWS__ENDPOINT_URL", endpoint.as_str()), ("AWS_SESSION_TOKEN", token)];
            // With a single attempt, all are the SDK's.
            let once = [&environment[..], &[("GATEWAY__AWS__MAX_ATTEMPTS", "1")]].concat();
            let sdk = Gateway::start().with_environment(&once);
            let direct = Gateway::start().with_environment(&environment);
            abort(&direct, "own-first", "first").await;
            glacier.take();

            for (vault, id) in vaults.iter().zip(ids) {
                abort(&sdk, vault, id).await;
                abort(&direct, vault, id).await;
                let [by_sdk, direct] = &glacier.take()[..] else { panic!("{vault} {id}") };
                assert!(by_sdk.header(FROM_SDK).is_some());
                assert!(direct.header(FROM_SDK).is_none());
                assert_eq!(by_sdk.lasting(), direct.lasting());
                assert_eq!(direct.header("x-amz-security-token").unwrap_or(""), token);
                by_sdk.verify();
                direct.verify();
            }
        }
    }
}

#[tokio::test]
async fn connections_are_used_again_where_glacier_keeps_them() {
    const AND_MORE: &str = "HTTP/1.1 204 No Content\r\nx-amzn-RequestId: recorded\r\n\r\nmore";
    const ALIKE: [usize; 3] = [1, 1, 1];
    const NEW: [usize; 3] = [1, 2, 3];
    for (reply, closes, expected) in [
        (ABORTED, false, ALIKE),
        // Closed without a word, it is found closed before it is used again.
        (ABORTED, true, NEW),
        (CLOSING, false, NEW),
        // What nobody asked for would be taken for the next reply.
        (AND_MORE, false, NEW),
    ] {
        let mut glacier = Recording::answering(reply, closes, None).await;
        let gateway = Gateway::start().with_environment(&[
            ("GATEWAY__AWS__ENDPOINT_URL", &glacier.url),
            ("GATEWAY__SERVER__WORKERS", "1"),
        ]);
        for (nth, id) in ["first", "second", "third", "fourth"].iter().enumerate() {
            abort(&gateway, "own-a", id).await;
            if closes {
                glacier.closed.wait_for(|closed| *closed > nth).await.unwrap();
            }
        }
        let received = glacier.take();
        // The first is the SDK's, on a connection of its own.
        assert!(received[0].header(FROM_SDK).is_some());
        let direct = &received[1..];
        assert!(direct.iter().all(|wire| wire.header(FROM_SDK).is_none()), "{direct:?}");
        let connections: Vec<_> = direct.iter().map(|wire| wire.connection).collect();
        assert_eq!(connections, expected, "{reply}");
    }
}

#[tokio::test]
async fn a_gateway_out_of_descriptors_does_not_blame_glacier() {
    let glacier = Recording::answering(CLOSING, true, None).await;
    let gateway = Gateway::start().with_environment(&[
        ("GATEWAY__AWS__ENDPOINT_URL", &glacier.url),
        ("GATEWAY__AWS__OPERATION_TIMEOUT", "30s"),
    ]);
    // One connection, which is there before the descriptors are gone.
    let client = client();
    let call = async |method, path: &str| {
        let token = gateway.key.token("owner");
        let url = format!("{}{path}", gateway.rest);
        client.request(method, url).bearer_auth(token).send().await.unwrap()
    };
    call(Method::GET, "/v1/access").await.bytes().await.unwrap();
    let process = Pid::from_raw(gateway.process.child.id().try_into().unwrap());
    let maximum = getrlimit(Resource::Nofile).maximum;

    let path = format!("{}/an-upload", uploads("own-a"));
    for direct in [false, true] {
        let none = Rlimit { current: Some(0), maximum };
        let before = prlimit(process, Resource::Nofile, none).unwrap();
        let (status, body) = problem(call(Method::DELETE, &path).await).await;
        let expected = (503, &json!("gateway-out-of-descriptors"));
        assert_eq!((status, &body["code"]), expected, "direct: {direct}");
        assert!(body["detail"].as_str().unwrap().ends_with("Nothing was aborted."), "{body}");
        let line = gateway.process.event(|event| event["request_id"] == body["requestId"]);
        assert_eq!(line["outcome"], "gateway-out-of-descriptors", "direct: {direct}");
        prlimit(process, Resource::Nofile, before).unwrap();
        assert_eq!(call(Method::DELETE, &path).await.status(), 204);
    }
    assert_eq!(glacier.take().len(), 2);
}

#[tokio::test]
async fn over_tls_a_server_must_show_a_certificate_of_the_systems() {
    let (ours, foreign) = (Ca::new(), Ca::new());
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), ours.certificate()).unwrap();
    for (ca, expected) in [(ours, 204), (foreign, 502)] {
        let glacier = Recording::answering(ABORTED, false, Some(ca.acceptor())).await;
        let gateway = Gateway::start().with_environment(&[
            ("GATEWAY__AWS__ENDPOINT_URL", &glacier.url),
            ("GATEWAY__SERVER__WORKERS", "1"),
            ("SSL_CERT_FILE", file.path().to_str().unwrap()),
        ]);
        for id in ["first", "second", "third"] {
            let path = format!("{}/{id}", uploads("own-a"));
            let reply = gateway.call("owner", Method::DELETE, &path).await;
            assert_eq!(reply.status(), expected);
        }
        let received: Vec<_> =
            glacier.take().iter().map(|w| (w.connection, w.header(FROM_SDK).is_some())).collect();
        match expected {
            204 => assert_eq!(received, [(0, true), (1, false), (1, false)]),
            _ => assert_eq!(received, []),
        }
    }
}

#[tokio::test]
async fn after_a_refused_attempt_the_sdk_waits_for_as_long_as_it_is_asked_to() {
    const BUSY: &str = "HTTP/1.1 503 Busy\r\nx-amz-retry-after: 300\r\ncontent-length: 0\r\n\r\n";
    let glacier = Recording::answering(BUSY, false, None).await;
    let gateway = Gateway::start().with_environment(&[
        ("GATEWAY__AWS__ENDPOINT_URL", &glacier.url),
        ("GATEWAY__AWS__MAX_ATTEMPTS", "2"),
    ]);
    for direct in [false, true] {
        let path = format!("{}/an-upload", uploads("own-a"));
        let (status, body) = problem(gateway.call("owner", Method::DELETE, &path).await).await;
        assert_eq!((status, &body["code"]), (503, &json!("glacier-unavailable")));
        let [first, second] = &glacier.take()[..] else { panic!("two attempts") };
        assert_eq!(first.header(FROM_SDK).is_none(), direct);
        assert!(second.header(FROM_SDK).is_some());
        assert!(second.at - first.at >= Duration::from_millis(300));
    }
}

#[tokio::test]
async fn a_refused_attempt_is_not_repeated_if_the_time_would_not_do() {
    const THROTTLED: &str = "HTTP/1.1 400 Bad Request\r\nx-amz-retry-after: 20000\r\n\
        Content-Length: 55\r\nConnection: close\r\n\r\n\
        {\"code\": \"ThrottlingException\", \"message\": \"Slow down\"}";
    let glacier = Recording::answering(THROTTLED, true, None).await;
    let gateway = Gateway::start().with_environment(&[
        ("GATEWAY__AWS__ENDPOINT_URL", &glacier.url),
        ("GATEWAY__AWS__OPERATION_TIMEOUT", "1s"),
    ]);
    let path = format!("{}/an-upload", uploads("own-a"));
    assert_eq!(gateway.call("owner", Method::DELETE, &path).await.status(), 504);
    glacier.take();

    let (status, body) = problem(gateway.call("owner", Method::DELETE, &path).await).await;

    assert_eq!((status, &body["code"]), (429, &json!("upstream-throttled")));
    let [only] = &glacier.take()[..] else { panic!("one attempt") };
    assert!(only.header(FROM_SDK).is_none());
}

#[tokio::test]
async fn an_abort_that_may_be_attempted_once_is_left_to_the_sdk() {
    let gateway = Gateway::start().with_environment(&[("GATEWAY__AWS__MAX_ATTEMPTS", "1")]);
    let ids = gateway.simulator.seed("own-a", &["x", "y"]).await;
    gateway.simulator.fault(json!({"effect": "unavailable"})).await;
    for id in &ids {
        let path = format!("{}/{id}", uploads("own-a"));
        assert_eq!(gateway.call("owner", Method::DELETE, &path).await.status(), 503);
    }
    let received = gateway.simulator.requests().await;
    let from_sdk: Vec<bool> = received.iter().map(|r| !r["headers"][FROM_SDK].is_null()).collect();
    assert_eq!(from_sdk, [true, true]);
}

#[tokio::test]
async fn a_reply_with_a_head_that_is_too_long_is_not_an_abort() {
    let padding = "x".repeat(1 << 20);
    let reply = format!("HTTP/1.1 204 No Content\r\nx-padding: {padding}\r\n\r\n");
    let glacier = Recording::answering(reply.leak(), true, None).await;
    let gateway = Gateway::start().with_environment(&[
        ("GATEWAY__AWS__ENDPOINT_URL", &glacier.url),
        ("GATEWAY__AWS__MAX_ATTEMPTS", "2"),
    ]);
    let path = format!("{}/an-upload", uploads("own-a"));
    for direct in [false, true] {
        assert_eq!(gateway.call("owner", Method::DELETE, &path).await.status(), 502);
        assert_eq!(glacier.take()[0].header(FROM_SDK).is_none(), direct);
    }
}

#[tokio::test]
async fn what_glacier_does_not_answer_with_204_is_left_to_the_sdk() {
    // Time enough for every backoff.
    let gateway = Gateway::start().with_environment(&[("GATEWAY__AWS__OPERATION_TIMEOUT", "30s")]);
    let first = &gateway.simulator.seed("own-a", &["x"]).await[0];
    let path = format!("{}/{first}", uploads("own-a"));
    assert_eq!(gateway.call("owner", Method::DELETE, &path).await.status(), 204);
    for (effect, status, requests) in [
        (json!("throttle"), 204, 2),
        (json!("unavailable"), 204, 2),
        (json!("reset"), 204, 2),
        (json!("hang"), 204, 2),
        (json!({"error": {"status": 403, "code": "ExpiredTokenException", "message": ""}}), 204, 2),
        (json!({"notJson": {"status": 200}}), 204, 2),
        // Three attempts in all, of which the SDK makes two.
        (json!("unavailable"), 503, 3),
    ] {
        let id = &gateway.simulator.seed("own-a", &["x"]).await[0];
        let path = format!("{}/{id}", uploads("own-a"));
        let times = if status == 204 { 1 } else { 9 };
        gateway.simulator.fault(json!({"effect": effect, "times": times})).await;
        let reply = gateway.call("owner", Method::DELETE, &path).await;
        assert_eq!(reply.status(), status, "{effect}");
        let received = gateway.simulator.requests().await;
        let of_it =
            received.iter().filter(|request| request["target"].as_str().unwrap().ends_with(id));
        let from_sdk: Vec<bool> = of_it.map(|r| !r["headers"][FROM_SDK].is_null()).collect();
        let expected: Vec<bool> = (0..requests).map(|attempt| attempt > 0).collect();
        assert_eq!(from_sdk, expected, "{effect}");
        gateway.simulator.order(Method::DELETE, "/faults", &Value::Null).await;
    }

    let (status, body) =
        problem(gateway.call("owner", Method::DELETE, &format!("{}/gone", uploads("own-a"))).await)
            .await;
    assert_eq!((status, &body["code"]), (404, &json!("upload-not-found")));
}

#[tokio::test]
async fn an_abort_ends_within_the_time_for_all_attempts_even_after_a_direct_one() {
    let gateway = Gateway::start().with_environment(&[
        ("GATEWAY__AWS__OPERATION_TIMEOUT", "1500ms"),
        ("GATEWAY__AWS__MAX_ATTEMPTS", "9"),
    ]);
    let ids = gateway.simulator.seed("own-a", &["x", "y"]).await;
    let path = |id: &String| format!("{}/{id}", uploads("own-a"));
    assert_eq!(gateway.call("owner", Method::DELETE, &path(&ids[0])).await.status(), 204);
    gateway.simulator.fault(json!({"effect": "hang"})).await;

    let reply = gateway.call("owner", Method::DELETE, &path(&ids[1])).await;

    let (status, body) = problem(reply).await;
    assert_eq!((status, &body["code"]), (504, &json!("glacier-timeout")));
    // The second is cut short: were the limits added up, there would be a third.
    let received = gateway.simulator.requests().await;
    let of_it = received.iter().filter(|r| r["target"].as_str().unwrap().ends_with(&ids[1]));
    assert_eq!(of_it.count(), 2);
}

#[tokio::test]
async fn aborts_go_through_the_proxy_that_the_environment_names() {
    let proxy = Recording::start().await;
    let gateway = Gateway::start().with_environment(&[
        ("GATEWAY__AWS__ENDPOINT_URL", "http://glacier.test"),
        ("HTTP_PROXY", &proxy.url),
    ]);
    for id in ["first", "second", "third"] {
        abort(&gateway, "own-a", id).await;
    }
    for request in proxy.take() {
        assert!(request.target.starts_with("http://glacier.test/"), "{request:?}");
        assert!(request.header(FROM_SDK).is_some(), "{request:?}");
    }
}

#[tokio::test]
async fn credentials_that_are_replaced_are_not_used_again() {
    let old = format!("{ACCOUNT}:AKIAold:old-secret:old-token");
    let new = format!("{ACCOUNT}:AKIAnew:new-secret:new-token");
    let gateway = Gateway::with("", &["--credentials", &old, "--credentials", &new]);
    let file = |name: &str| gateway.directory.path().join(name);
    let profile = format!("[default]\ncredential_process = cat {}\n", file("now.json").display());
    fs::write(file("aws-config"), profile).unwrap();
    fs::write(file("now.json"), credentials("old", 15)).unwrap();
    let config = file("aws-config").display().to_string();
    let now = file("now.json");
    let gateway = gateway.with_environment(&[
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
        ("AWS_CONFIG_FILE", &config),
    ]);
    let ids = gateway.simulator.seed("own-a", &["x"]).await;
    let path = format!("{}/{}", uploads("own-a"), ids[0]);

    // Access key and whether the abort was direct, of each request so far.
    let mut sent: Vec<(String, bool)> = Vec::new();
    let begun = Instant::now();
    while sent.iter().filter(|(key, _)| key == "AKIAnew").count() < 3 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{sent:?}");
        assert_eq!(gateway.call("owner", Method::DELETE, &path).await.status(), 204);
        let received = gateway.simulator.requests().await;
        let facts = received.iter().map(|request| {
            let authorization = request["headers"]["authorization"].as_str().unwrap();
            let (_, credential) = authorization.split_once("Credential=").unwrap();
            let (key, _) = credential.split_once('/').unwrap();
            (key.to_owned(), request["headers"][FROM_SDK].is_null())
        });
        sent = facts.collect();
        if sent.len() == 3 {
            fs::write(&now, credentials("new", 3600)).unwrap();
        }
    }

    let (old, new) = sent.split_at(sent.iter().position(|(key, _)| key == "AKIAnew").unwrap());
    assert!(new.iter().all(|(key, _)| key == "AKIAnew"), "{sent:?}");
    for keys in [old, new] {
        assert!(keys.iter().any(|(_, direct)| *direct), "{sent:?}");
    }
}

/// What a credential process prints for credentials that expire after `seconds`.
fn credentials(name: &str, seconds: i64) -> String {
    let expiration = OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
    json!({
        "Version": 1,
        "AccessKeyId": format!("AKIA{name}"),
        "SecretAccessKey": format!("{name}-secret"),
        "SessionToken": format!("{name}-token"),
        "Expiration": expiration.format(&Rfc3339).unwrap(),
    })
    .to_string()
}
