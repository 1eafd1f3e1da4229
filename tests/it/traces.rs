//! Traces over OTLP: what a collector gets, and that a collector that takes nothing costs no
//! request.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value as Any,
};
use prost::Message;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    jobs::{self, Kind, confirmed, created, in_state, seed},
    management::metrics,
    support::{Gateway, client, uploads},
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
const ROUTE: &str = "/v1/accounts/{accountId}/vaults/{vaultName}/multipart-uploads/{uploadId}";

/// A span as a collector got it; IDs in hexadecimal digits.
#[derive(Clone, Debug)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    links: Vec<String>,
    name: String,
    kind: i32,
    /// Whether its status is an error.
    failed: bool,
    attributes: BTreeMap<String, String>,
}

impl Span {
    fn get(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }
}

#[derive(Default)]
struct Taken {
    spans: Vec<Span>,
    /// The service's names, one for each request.
    services: Vec<String>,
    heads: Vec<String>,
}

/// A collector.
struct Collector {
    endpoint: String,
    taken: Arc<(Mutex<Taken>, Condvar)>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let taken = Arc::<(Mutex<Taken>, Condvar)>::default();
        let shared = taken.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = shared.clone();
                thread::spawn(move || while take(&stream, &shared).is_some() {});
            }
        });
        Self { endpoint, taken }
    }

    /// Waits until what was taken is enough; gives it.
    fn wait<T>(&self, enough: impl Fn(&[Span]) -> Option<T>) -> T {
        let (taken, changed) = &*self.taken;
        let mut taken = taken.lock().unwrap();
        loop {
            if let Some(enough) = enough(&taken.spans) {
                return enough;
            }
            let (guard, waited) = changed.wait_timeout(taken, Duration::from_secs(30)).unwrap();
            taken = guard;
            assert!(!waited.timed_out(), "never came true: {:#?}", taken.spans);
        }
    }

    fn settings(&self, ratio: &str) -> String {
        otlp(&self.endpoint, ratio)
    }
}

/// Takes a request from a connection.
fn take(mut stream: &TcpStream, shared: &(Mutex<Taken>, Condvar)) -> Option<()> {
    let mut reader = BufReader::with_capacity(1, stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        (reader.read_line(&mut head).ok()? > 0).then_some(())?;
    }
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).ok()?;
    let request = ExportTraceServiceRequest::decode(&*body).unwrap();
    let mut taken = shared.0.lock().unwrap();
    taken.heads.push(head);
    for of_resource in request.resource_spans {
        let resource = attributes(of_resource.resource.unwrap().attributes);
        taken.services.push(resource["service.name"].clone());
        let spans = of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans);
        taken.spans.extend(spans.map(|span| Span {
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            links: span.links.iter().map(|link| hex(&link.trace_id)).collect(),
            failed: span.status.as_ref().is_some_and(|status| status.code == 2),
            name: span.name,
            kind: span.kind,
            attributes: attributes(span.attributes),
        }));
    }
    shared.1.notify_all();
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok()
}

fn attributes(
    all: Vec<opentelemetry_proto::tonic::common::v1::KeyValue>,
) -> BTreeMap<String, String> {
    let text = |value| match value {
        Any::StringValue(text) => text,
        Any::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    all.into_iter().map(|one| (one.key, text(one.value.unwrap().value.unwrap()))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn otlp(endpoint: &str, ratio: &str) -> String {
    format!("[telemetry.otlp]\nendpoint = {endpoint:?}\nsample_ratio = {ratio}\ntimeout = \"1s\"\n")
}

async fn with_store(telemetry: &str) -> Gateway {
    jobs::gateway(Kind::Sqlite, telemetry).await
}

/// A request of team `owner` with an ID and, if wanted, in a trace.
async fn send(gateway: &Gateway, method: Method, path: &str, id: &str, parent: Option<&str>) {
    let mut request = client()
        .request(method, format!("{}{path}", gateway.rest))
        .bearer_auth(gateway.key.token("owner"))
        .header("x-request-id", id);
    if let Some(parent) = parent {
        request = request.header("traceparent", parent);
    }
    request.send().await.unwrap();
}

fn line(gateway: &Gateway, id: &str) -> Value {
    gateway.process.event(|event| event["request_id"] == id)
}

#[tokio::test]
async fn an_abort_is_a_trace_of_its_parts_in_the_callers_trace() {
    let collector = Collector::start();
    // Without the caller's decision, nothing would be kept.
    let gateway = with_store(&collector.settings("0.0")).await;
    // The second abort does not go through the SDK.
    let ids = gateway.simulator.seed("own-a", &["x", "a description", "y"]).await;
    let parent = format!("00-{TRACE}-{PARENT}-01");
    for (number, id) in ids[..2].iter().enumerate() {
        let path = format!("{}/{id}", uploads("own-a"));
        send(&gateway, Method::DELETE, &path, &format!("abort-{number}"), Some(&parent)).await;
    }
    let path = format!("{}/{}?secret=in-a-query", uploads("own-a"), ids[2]);
    send(&gateway, Method::DELETE, &path, "unsampled", Some(&parent.replace("-01", "-00"))).await;
    assert_eq!(line(&gateway, "unsampled")["trace_id"], Value::Null);

    for (number, id) in ids[..2].iter().enumerate() {
        let request = format!("abort-{number}");
        let (server, parts) = collector.wait(|spans| {
            let server = spans.iter().find(|s| s.get("glacier_gateway.request_id") == request)?;
            let parts = spans.iter().filter(|span| span.parent == server.id);
            Some((server.clone(), parts.cloned().collect::<Vec<_>>()))
        });
        let line = line(&gateway, &request);
        assert_eq!((&*server.trace, &*server.parent, server.kind), (TRACE, PARENT, 2));
        assert_eq!(server.name, format!("DELETE {ROUTE}"));
        assert_eq!(line["trace_id"], TRACE);
        for (key, value) in [
            ("http.request.method", "DELETE"),
            ("http.route", ROUTE),
            ("http.response.status_code", "204"),
            ("url.path", &format!("{}/{}", uploads("own-a"), id)),
            ("url.scheme", "http"),
            ("network.protocol.version", "1.1"),
            ("glacier_gateway.door", "rest"),
            ("glacier_gateway.action", "glacier:AbortMultipartUpload"),
            ("glacier_gateway.outcome", "aborted"),
            ("glacier_gateway.team", "owner"),
            ("glacier_gateway.event_id", line["event_id"].as_str().unwrap()),
            ("aws.request_id", line["upstream_request_id"].as_str().unwrap()),
        ] {
            assert_eq!(server.get(key), value, "{key} {server:#?}");
        }
        let names: Vec<_> = parts.iter().map(|span| span.name.as_str()).collect();
        let attempt = "Glacier.AbortMultipartUpload";
        assert_eq!(names, ["authenticate", "decide", "audit commit", attempt], "{parts:#?}");
        assert!(parts.iter().all(|span| span.trace == TRACE && !span.failed), "{parts:#?}");
        assert_eq!(parts[1].get("glacier_gateway.action"), "glacier:AbortMultipartUpload");
        assert_eq!(parts[1].get("aws.resource"), line["resource"].as_str().unwrap());
        assert_eq!(parts[1].get("glacier_gateway.decision"), "allowed");
        assert_eq!(parts[1].get("glacier_gateway.statement"), "teams/owner.json (Own)");
        let attempt = &parts[3];
        assert_eq!(attempt.kind, 3);
        for (key, value) in [
            ("rpc.system", "aws-api"),
            ("rpc.method", "AbortMultipartUpload"),
            ("cloud.region", "eu-central-1"),
            ("server.address", "127.0.0.1"),
            ("http.response.status_code", "204"),
            ("aws.request_id", line["upstream_request_id"].as_str().unwrap()),
        ] {
            assert_eq!(attempt.get(key), value, "{key} {attempt:#?}");
        }
        let path = format!("/v1/audit-events/{}", line["event_id"].as_str().unwrap());
        let record = gateway.call("owner", Method::GET, &path).await.text().await.unwrap();
        assert!(record.contains(&format!("\"traceId\":\"{TRACE}\"")), "{record}");
    }

    let taken = collector.taken.0.lock().unwrap();
    assert!(taken.services.iter().all(|name| name == "glacier-gateway"));
    for head in &taken.heads {
        assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
        assert!(head.contains("content-type: application/x-protobuf\r\n"), "{head}");
    }
    assert!(taken.spans.iter().all(|span| span.trace == TRACE), "{:#?}", taken.spans);
    let all = format!("{:?}", taken.spans);
    for secret in ["eyJ", "in-a-query", "a description", "Credential="] {
        assert!(!all.contains(secret), "{secret}: {all}");
    }
}

#[tokio::test]
async fn each_attempt_is_a_span_and_tells_how_it_ended() {
    let collector = Collector::start();
    let gateway = Gateway::with(&collector.settings("1.0"), &[]);
    gateway.simulator.seed("own-a", &[]).await;
    gateway.simulator.fault(json!({"effect": "throttle", "times": 1})).await;
    send(&gateway, Method::GET, &uploads("own-a"), "a-listing", None).await;

    let trace = line(&gateway, "a-listing")["trace_id"].as_str().unwrap().to_owned();
    let attempts = collector.wait(|spans| {
        let of_trace = || spans.iter().filter(|span| span.trace == trace);
        let server = of_trace().find(|span| span.kind == 2)?;
        assert_eq!(server.parent, "", "nobody called in a trace");
        Some(of_trace().filter(|span| span.kind == 3).cloned().collect::<Vec<_>>())
    });
    let [first, second] = &attempts[..] else { panic!("{attempts:#?}") };
    assert_eq!((first.failed, first.get("error.type")), (true, "refused"), "{first:#?}");
    assert_eq!((second.failed, second.get("http.request.resend_count")), (false, "1"));
    assert_ne!(first.get("aws.request_id"), second.get("aws.request_id"));

    // Who stands in Glacier's place learns of the trace, and of which of its spans.
    let seen = gateway.simulator.requests().await;
    let told = seen.last().unwrap()["headers"]["traceparent"].as_str().unwrap();
    assert_eq!(told, format!("00-{trace}-{}-01", second.id), "{seen:#?}");

    // Of a path that is not the gateway's, which may hold anything, nothing is told.
    send(&gateway, Method::GET, "/v1/a-secret", "not-found", None).await;
    let lost = collector.wait(|spans| {
        spans.iter().find(|s| s.get("glacier_gateway.request_id") == "not-found").cloned()
    });
    assert!(!format!("{lost:?}").contains("a-secret"), "{lost:#?}");
    let url = format!("{}/metrics", gateway.management);
    let metrics = client().get(url).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains(&format!("# {{trace_id=\"{trace}\"}}")), "{metrics}");
    assert!(metrics.contains("glacier_gateway_trace_spans_lost_total 0\n"), "{metrics}");
}

#[tokio::test]
async fn a_request_that_the_gateway_could_not_answer_is_a_failed_span() {
    let collector = Collector::start();
    let gateway = Gateway::with(&collector.settings("1.0"), &[]);
    let upload = gateway.simulator.seed("own-a", &["x"]).await.remove(0);
    let span = |id: &str| {
        collector.wait(|spans| {
            spans.iter().find(|span| span.get("glacier_gateway.request_id") == id).cloned()
        })
    };
    gateway.simulator.fault(json!({"effect": "unavailable"})).await;
    send(&gateway, Method::GET, &uploads("own-a"), "failed", None).await;
    let failed = span("failed");
    assert_eq!((failed.failed, failed.get("error.type")), (true, "glacier-unavailable"));

    gateway.simulator.order(Method::DELETE, "/faults", &Value::Null).await;
    gateway.simulator.fault(json!({"effect": "hang"})).await;
    let path = uploads("own-a");
    let host = gateway.rest.strip_prefix("http://").unwrap();
    let token = gateway.key.token("owner");
    let request = format!(
        "DELETE {path}/{upload} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
         X-Request-Id: left\r\n\r\n"
    );
    let leaves = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    leaves.connect(&host.parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    leaves.send(request.as_bytes()).unwrap();
    let is_under_way = |(name, number): (&String, &f64)| {
        name.starts_with("glacier_gateway_upstream_calls_under_way{") && *number == 1.0
    };
    while !metrics(&gateway).await.iter().any(is_under_way) {}
    leaves.set_linger(Some(Duration::ZERO)).unwrap();
    drop(leaves);
    let left = span("left");
    assert_eq!((left.failed, left.get("error.type")), (true, "client-left"), "{left:#?}");
    assert_eq!(left.get("http.response.status_code"), "499");
    assert_eq!(left.get("glacier_gateway.outcome"), "unknown", "it may have been carried out");
    assert_eq!(left.name, format!("DELETE {ROUTE}"));

    // Callers invent methods without end.
    let brew = Method::from_bytes(b"BREW").unwrap();
    send(&gateway, brew, &path, "brewed", None).await;
    let brewed = span("brewed");
    assert_eq!(brewed.get("http.request.method"), "_OTHER", "{brewed:#?}");
    assert!(brewed.name.starts_with("HTTP") && !brewed.failed, "{brewed:#?}");
}

#[actix_web::test]
async fn a_job_its_batches_and_its_items_are_spans() {
    let collector = Collector::start();
    let gateway = with_store(&collector.settings("1.0")).await;
    seed(&gateway, "own-a", 3, 10).await;
    let now = json!({"target": {"vaults": ["own-a"]}, "select": {"all": true, "quietFor": "PT0S"}});
    let job = created(&gateway, &now).await;
    confirmed(&gateway, &job).await;
    in_state(&gateway, &job, &["completed"]).await;
    let id = job["jobId"].as_str().unwrap();
    let (whole, spans) = collector.wait(|spans| {
        let of_job = spans.iter().filter(|span| span.get("glacier_gateway.job.id") == id);
        let of_job: Vec<_> = of_job.cloned().collect();
        let whole = of_job.iter().find(|span| span.name == "job")?.clone();
        let items = of_job.iter().filter(|span| span.name == "job item").count();
        let batches = of_job.iter().filter(|span| span.name == "job batch").count();
        (items == 3 && batches > 0).then_some((whole, of_job))
    });
    assert_eq!((whole.get("glacier_gateway.job.state"), &*whole.parent), ("completed", ""));
    for span in spans.iter().filter(|span| matches!(&*span.name, "job batch" | "job listing")) {
        assert_eq!((&span.trace, &span.parent), (&whole.trace, &whole.id), "{span:#?}");
    }
    assert!(spans.iter().any(|span| span.name == "job listing"), "{spans:#?}");
    for item in spans.iter().filter(|span| span.name == "job item") {
        assert_eq!(item.links, std::slice::from_ref(&whole.trace));
        assert_eq!(item.get("glacier_gateway.outcome"), "aborted", "{item:#?}");
        collector.wait(|spans| {
            let mut parts = spans.iter().filter(|span| span.parent == item.id);
            parts.find(|span| span.name == "Glacier.AbortMultipartUpload")?;
            Some(())
        });
    }
}

/// Aborts with a collector that takes nothing; then ends the gateway.
async fn a_useless_collector_costs_nothing(endpoint: &str) {
    let mut gateway = with_store(&otlp(endpoint, "1.0")).await;
    let ids = gateway.simulator.seed("own-a", &["x"; 3]).await;
    for id in &ids {
        let path = format!("{}/{id}", uploads("own-a"));
        assert_eq!(gateway.call("owner", Method::DELETE, &path).await.status(), 204);
    }
    gateway.process.event(|event| event["message"] == "traces cannot be sent");
    let url = format!("{}/metrics", gateway.management);
    loop {
        let page = client().get(&url).send().await.unwrap().text().await.unwrap();
        let lost =
            page.lines().find_map(|l| l.strip_prefix("glacier_gateway_trace_spans_lost_total "));
        if lost.unwrap().parse::<u64>().unwrap() > 0 {
            break;
        }
    }
    gateway.call("owner", Method::GET, &uploads("own-a")).await;
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.child.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_collector_that_is_not_there_costs_nothing() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    a_useless_collector_costs_nothing(&format!("http://{closed}")).await;
}

#[tokio::test]
async fn a_collector_that_never_answers_costs_nothing() {
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", hanging.local_addr().unwrap());
    a_useless_collector_costs_nothing(&endpoint).await;
}

#[tokio::test]
async fn the_settings_of_traces_are_checked() {
    let gateway = Gateway::start();
    let config = gateway.directory.path().join("gateway.toml");
    let sound = std::fs::read_to_string(&config).unwrap();
    let headers = gateway.directory.path().join("headers");
    std::fs::write(&headers, "not a header but a secret\n").unwrap();
    for (setting, code, told) in [
        ("endpoint = \"http://u:p@collector\"", 64, "telemetry.otlp.endpoint"),
        (
            "endpoint = \"http://collector\"\nheaders_file = HEADERS",
            64,
            "headers_file holds secrets",
        ),
        ("endpoint = \"https://collector\"\nsample_ratio = 2.0", 64, "sample_ratio"),
        (
            "endpoint = \"https://collector\"\nheaders_file = HEADERS",
            64,
            "line 1 of telemetry.otlp",
        ),
    ] {
        let setting = setting.replace("HEADERS", &format!("{headers:?}"));
        std::fs::write(&config, format!("{sound}\n[telemetry.otlp]\n{setting}\n")).unwrap();
        let output = gateway.command(&["check-config"], true);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(told) && !said.contains("but a secret"), "{said}");
        assert_eq!(output.status.code(), Some(code), "{said}");
    }
}
