//! What a process does when its log cannot be written, or when it runs out of descriptors.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStderr, Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use crate::support::{BINARY, Gateway, client, now};

/// More requests than the log's pipe and a short backlog hold lines.
const REQUESTS: usize = 2000;

/// A second gateway with the same configuration, whose log is read as far as the line
/// that says where it listens.
struct Second {
    child: Child,
    log: Option<BufReader<ChildStderr>>,
    rest: String,
    management: String,
}

/// `command`, a line of shell, with the configuration of `gateway`.
fn serve(gateway: &Gateway, command: &str, shutdown_timeout: &str) -> Command {
    let mut serve = Command::new("sh");
    serve
        .args(["-c", command, BINARY])
        .arg(gateway.directory.path().join("gateway.toml"))
        .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("GATEWAY__SERVER__SHUTDOWN_TIMEOUT", shutdown_timeout)
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    serve
}

impl Second {
    fn start(gateway: &Gateway, command: &str, shutdown_timeout: &str) -> Self {
        let mut child = serve(gateway, command, shutdown_timeout).spawn().unwrap();
        let mut log = BufReader::with_capacity(1, child.stderr.take().unwrap());
        let listening = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "it has ended");
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["message"] == "listening" {
                break event;
            }
        };
        let url = |name: &str| format!("http://{}", listening[name].as_str().unwrap());
        Self { child, log: Some(log), rest: url("rest"), management: url("management") }
    }

    async fn send_requests(&self) {
        let http = client();
        for _ in 0..REQUESTS {
            let request = http.get(format!("{}/v1/access", self.rest));
            assert_eq!(request.send().await.unwrap().status(), 401);
        }
    }

    /// Waits until a page of the management port says something.
    async fn told(&self, page: &str, says: impl Fn(&str) -> bool) {
        let deadline = now() + 30;
        loop {
            let request = client().get(format!("{}/{page}", self.management));
            let reply = request.timeout(Duration::from_secs(30)).send().await.unwrap();
            assert_eq!(reply.status(), 200);
            let text = reply.text().await.unwrap();
            if says(&text) {
                return;
            }
            assert!(now() < deadline, "{text}");
        }
    }

    fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const SERVE: &str = "exec \"$0\" serve --config \"$1\"";

/// The value of a metric without labels.
fn metric(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(&format!("{name} "))?.parse().ok())
}

#[tokio::test]
async fn a_log_that_nobody_reads_blocks_no_request_and_the_exit_code_says_that_it_is_lost() {
    let gateway = Gateway::start();
    let mut second = Second::start(&gateway, SERVE, "1s");
    second.send_requests().await;
    let waiting = |page: &str| metric(page, "glacier_gateway_log_lines_waiting");
    second.told("metrics", |page| waiting(page) > Some(1000.0)).await;
    second.told("readyz", |page| page.contains("log: nothing could be written for")).await;
    second.terminate();
    assert_eq!(second.child.wait().unwrap().code(), Some(1));
}

#[tokio::test]
async fn a_log_that_is_read_late_is_written_whole_before_the_process_ends() {
    let gateway = Gateway::start();
    let mut second = Second::start(&gateway, SERVE, "20s");
    second.send_requests().await;
    second.terminate();
    // Nobody listens any longer: what is left to do is the log.
    while client().get(format!("{}/livez", second.management)).send().await.is_ok() {}
    let mut log = String::new();
    second.log.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(second.child.wait().unwrap().success());
    let requests = log.lines().filter(|line| line.contains("\"status\":401")).count();
    assert_eq!(requests, REQUESTS);
}

#[tokio::test]
async fn a_log_whose_reader_is_gone_is_told_and_ends_in_failure() {
    let gateway = Gateway::start();
    let mut second = Second::start(&gateway, SERVE, "1s");
    second.log = None;
    let request = client().get(format!("{}/v1/access", second.rest));
    assert_eq!(request.send().await.unwrap().status(), 401);
    let lost = |page: &str| metric(page, "glacier_gateway_log_lines_lost_total");
    second.told("metrics", |page| lost(page) > Some(0.0)).await;
    second.told("readyz", |page| page.contains("(Broken pipe") && page.contains("are lost")).await;
    second.terminate();
    assert_eq!(second.child.wait().unwrap().code(), Some(1));
}

#[tokio::test]
async fn more_connections_than_descriptors_leave_some_for_probes_and_for_glacier() {
    let gateway = Gateway::start();
    let second = Second::start(&gateway, &format!("ulimit -n 64; {SERVE}"), "1s");
    let address = second.rest.strip_prefix("http://").unwrap();
    let served = client();
    let list = async || {
        let url = format!("{}/v1/accounts/-/vaults", second.rest);
        served.get(url).bearer_auth(gateway.key.token("owner")).send().await.unwrap().status()
    };
    second.told("livez", |page| page == "ok\n").await;
    // This connection is kept, and is one of those that are served.
    let stands = served.get(format!("{}/v1/access", second.rest)).send().await.unwrap();
    assert_eq!(stands.status(), 401);
    stands.bytes().await.unwrap();
    let kept: Vec<_> = (0..100)
        .map(|_| {
            let mut connection = std::net::TcpStream::connect(address).unwrap();
            connection.write_all(b"GET /v1/access HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            connection
        })
        .collect();
    for _ in 0..50 {
        second.told("livez", |page| page == "ok\n").await;
    }
    assert_eq!(list().await, 200);
    // The others wait, and operators can see why.
    second.told("readyz", |page| page.starts_with("ok\nconnections: all ")).await;
    let gauge = |page: &str, name: &str| metric(page, &format!("glacier_gateway_{name}"));
    let limit = |page: &str| gauge(page, "rest_connections_limit").filter(|limit| *limit > 1.0);
    let open = |page: &str| gauge(page, "rest_connections");
    second.told("metrics", |page| limit(page).is_some() && open(page) == limit(page)).await;
    drop(kept);
    second.told("readyz", |page| page == "ok\n").await;
    second.told("metrics", |page| open(page) < limit(page)).await;
}

#[test]
fn a_limit_on_open_files_that_leaves_no_connection_is_refused_at_start() {
    let gateway = Gateway::start();
    let mut command = serve(&gateway, &format!("ulimit -n 40; {SERVE}"), "1s");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("(ulimit -n) is 40") && said.contains("server.workers"), "{said}");
}
