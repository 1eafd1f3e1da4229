//! Callers that mean harm: connections that ask nothing, heads and bodies that trickle, and what is
//! not HTTP. Others are served meanwhile.

use std::time::{Duration, Instant};

use rand::Rng as _;
use rustix::process::{Resource, getrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    evidence::Place,
    run::Run,
    support::{Gateway, claims, uploads},
    times,
};

/// So that the tests take no longer than they must.
const SHORT: &str =
    "[limits.server]\nkeep_alive = \"2s\"\nhead_timeout = \"1s\"\nbody_timeout = \"1s\"";
/// Much longer than that.
const LONG: Duration = Duration::from_secs(60);

async fn connect(gateway: &Gateway) -> TcpStream {
    TcpStream::connect(gateway.rest.strip_prefix("http://").unwrap()).await.unwrap()
}

/// Reads until the gateway closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut reply = Vec::new();
    let closed = timeout(LONG, stream.read_to_end(&mut reply)).await;
    assert!(closed.is_ok(), "the gateway keeps a connection on which nothing comes");
    String::from_utf8_lossy(&reply).into_owned()
}

/// A request of a caller that may do nothing, for an upload that nobody else aborts.
fn request(gateway: &Gateway, upload: &str) -> String {
    let token = gateway.key.sign(&claims("stranger"));
    format!(
        "DELETE {}/{upload} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {token}\r\n\
         X-Request-Id: hostile\r\nConnection: close\r\n\r\n",
        uploads("own-hostile")
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_ask_nothing_keep_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::in_folder("idle connections", folder.path()).await;
    run.aborts(100).await;
    let idle = run.memory();
    // Two descriptors each, here and in the gateway, which keeps half of its own.
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let most = usize::try_from(limit / 2).unwrap().saturating_sub(200);
    let mut open = Vec::new();
    for _ in 0..times(1_000, 10_000).min(most) {
        let mut stream = connect(&run.gateway).await;
        // After an answer a connection is kept.
        stream.write_all(b"GET /v1/accounts HTTP/1.1\r\nHost: gateway\r\n\r\n").await.unwrap();
        open.push(stream);
    }
    let before = Instant::now();
    run.aborts(200).await;
    run.probes_are_green().await;
    let memory = run.memory();
    println!(
        "{} idle connections: {} MiB, idle {}, 200 aborts in {:.1?}",
        open.len(),
        memory >> 20,
        idle >> 20,
        before.elapsed()
    );
    drop(open);
    run.aborts(50).await;
    run.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_and_bodies_that_trickle_are_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::File(folder.path().join("store.db"));
    let mut run = Run::start("slow callers", place, SHORT, 0.0).await;
    let token = run.gateway.key.sign(&claims("owner"));
    let body = format!(
        "POST /v1/access/simulate HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: 5000\r\n\r\n"
    );
    let starts = ["GET /v1/accounts HTTP/1.1\r\nX-Slow: ".to_owned(), body];
    let mut slow = JoinSet::new();
    for n in 0..times(100, 2_000) {
        let mut stream = connect(&run.gateway).await;
        let start = starts[n % 2].clone();
        slow.spawn(async move {
            stream.write_all(start.as_bytes()).await.unwrap();
            let (mut from, mut to) = stream.split();
            let trickle = async {
                while to.write_all(b"x").await.is_ok() {
                    sleep(Duration::from_millis(100)).await;
                }
            };
            let mut reply = Vec::new();
            let answered = timeout(LONG, async {
                tokio::select! {
                    () = trickle => {}
                    _ = from.read_to_end(&mut reply) => {}
                }
            });
            assert!(answered.await.is_ok(), "a caller that trickles is not cut off");
            String::from_utf8_lossy(&reply).into_owned()
        });
    }
    run.aborts(200).await;
    run.probes_are_green().await;
    while let Some(reply) = slow.join_next().await {
        let reply = reply.unwrap();
        assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 408 "), "{reply}");
    }
    run.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_http_is_answered_or_cut_off_and_aborts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::File(folder.path().join("store.db"));
    let mut run = Run::start("not http", place, SHORT, 0.0).await;
    let hostile = run.gateway.simulator.seed("own-hostile", &["kept"]).await.remove(0);
    let sound = request(&run.gateway, &hostile);
    run.aborts(50).await;
    let idle = run.memory();
    let mut senders = JoinSet::new();
    for _ in 0..times(600, 50_000) {
        if senders.len() == 64 {
            senders.join_next().await.unwrap().unwrap();
        }
        let bytes = mutated(sound.clone().into_bytes());
        let mut stream = connect(&run.gateway).await;
        senders.spawn(async move {
            // The gateway may have closed it before the end.
            let _ = stream.write_all(&bytes).await;
            let reply = rest(&mut stream).await;
            let sent = String::from_utf8_lossy(&bytes);
            assert!(!reply.contains("HTTP/1.1 20"), "{sent:?}: {reply}");
        });
    }
    while let Some(sender) = senders.join_next().await {
        sender.unwrap();
    }
    run.aborts(50).await;
    run.probes_are_green().await;
    let memory = run.memory();
    assert!(memory <= 3 * idle, "{memory} bytes, idle {idle}");
    let status = run.gateway.simulator.status("own-hostile", &hostile).await;
    assert_eq!(status.as_deref(), Some("in-progress"));
    run.finish().await;
}

/// The bytes with a few mistakes.
fn mutated(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut random = rand::rng();
    for _ in 0..random.random_range(1..12) {
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..5) {
            0 => bytes[at] = random.random(),
            1 => bytes.insert(at, random.random()),
            2 => drop(bytes.remove(at)),
            3 => bytes.splice(at..at, *b"\r\n").for_each(drop),
            // All from there on twice.
            _ => bytes.extend_from_within(at..),
        }
    }
    bytes
}
