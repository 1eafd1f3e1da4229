//! The load generator of the benchmark: keep-alive connections on one thread, each with
//! one request under way. Unlike the usual tools it sends each request of a file exactly
//! once if told to, counts every status, and waits for what is under way at the end, so
//! that a server's CPU time can be divided by the requests that it was spent on.
//!
//! The file has a request a line: method, target and bearer token, separated by tabs.
//! Prints one JSON object.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::PathBuf,
    rc::Rc,
    time::{Duration, Instant},
};

use clap::Parser;
use hdrhistogram::Histogram;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::LocalSet,
};

#[derive(Parser)]
struct Arguments {
    /// The server's address.
    #[arg(long)]
    to: SocketAddr,
    /// The file of requests.
    #[arg(long)]
    requests: PathBuf,
    /// Connections, each with one request at a time.
    #[arg(long)]
    connections: usize,
    /// How long new requests are begun.
    #[arg(long)]
    seconds: f64,
    /// End when the file is through, instead of beginning anew.
    #[arg(long)]
    once: bool,
}

struct Run {
    to: SocketAddr,
    requests: Vec<Vec<u8>>,
    next: usize,
    once: bool,
    until: Instant,
    /// In nanoseconds.
    latencies: Histogram<u64>,
    statuses: BTreeMap<u16, u64>,
    broken: u64,
}

impl Run {
    fn next(&mut self) -> Option<usize> {
        if self.next == self.requests.len() && !self.once {
            self.next = 0;
        }
        let this = self.next;
        (this < self.requests.len() && Instant::now() < self.until).then(|| {
            self.next += 1;
            this
        })
    }
}

/// What is needed of a response to read the next one.
struct Response {
    status: u16,
    length: usize,
    last: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let Arguments { to, requests, connections, seconds, once } = Arguments::parse();
    let requests = std::fs::read_to_string(requests)?
        .lines()
        .map(|line| {
            let mut fields = line.split('\t');
            let [Some(method), Some(target), Some(token)] = [(); 3].map(|()| fields.next()) else {
                return Err(io::Error::other("a request is METHOD, TARGET and TOKEN"));
            };
            let head = format!(
                "{method} {target} HTTP/1.1\r\nHost: {to}\r\nAuthorization: Bearer {token}\r\n\r\n"
            );
            Ok(head.into_bytes())
        })
        .collect::<io::Result<Vec<_>>>()?;
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(connect(to).await?);
    }

    let start = Instant::now();
    let run = Rc::new(RefCell::new(Run {
        to,
        requests,
        next: 0,
        once,
        until: start + Duration::from_secs_f64(seconds),
        latencies: Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(io::Error::other)?,
        statuses: BTreeMap::new(),
        broken: 0,
    }));
    let tasks = LocalSet::new();
    for connection in open {
        tasks.spawn_local(work(connection, run.clone()));
    }
    tasks.await;
    let elapsed = start.elapsed().as_secs_f64();

    let run = run.borrow();
    let microseconds = |quantile| run.latencies.value_at_quantile(quantile) as f64 / 1000.0;
    println!(
        "{}",
        json!({
            "requests": run.latencies.len(),
            "elapsed": elapsed,
            "statuses": run.statuses,
            "broken": run.broken,
            "p50_us": microseconds(0.5),
            "p99_us": microseconds(0.99),
        })
    );
    Ok(())
}

async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let connection = TcpStream::connect(to).await?;
    connection.set_nodelay(true)?;
    Ok(connection)
}

/// Sends requests over one connection until there are none; a connection that breaks is
/// counted and replaced, and its request is not repeated.
async fn work(mut connection: TcpStream, run: Rc<RefCell<Run>>) {
    let mut request = Vec::new();
    let mut received = Vec::with_capacity(64 * 1024);
    loop {
        {
            let mut run = run.borrow_mut();
            let Some(number) = run.next() else { return };
            request.clear();
            request.extend_from_slice(&run.requests[number]);
        }
        let begun = Instant::now();
        let response = exchange(&mut connection, &request, &mut received).await;
        let nanoseconds = begun.elapsed().as_nanos() as u64;
        let reconnect = {
            let mut run = run.borrow_mut();
            match &response {
                Ok(response) => {
                    run.latencies.saturating_record(nanoseconds);
                    *run.statuses.entry(response.status).or_default() += 1;
                }
                Err(_) => run.broken += 1,
            }
            response.map_or(true, |response| response.last).then_some(run.to)
        };
        if let Some(to) = reconnect {
            match connect(to).await {
                Ok(new) => connection = new,
                Err(_) => return,
            }
        }
    }
}

async fn exchange(
    connection: &mut TcpStream,
    request: &[u8],
    received: &mut Vec<u8>,
) -> io::Result<Response> {
    connection.write_all(request).await?;
    received.clear();
    loop {
        if connection.read_buf(received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(response) = parse(received)?
            && received.len() >= response.length
        {
            return Ok(response);
        }
    }
}

/// The response that begins in `bytes`, once its head is there. Of a chunked one the
/// length is known at its end.
fn parse(bytes: &[u8]) -> io::Result<Option<Response>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let value = |name: &str| {
        let header = response.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name))?;
        str::from_utf8(header.value).ok()
    };
    let length = if value("transfer-encoding").is_some() {
        if bytes.ends_with(b"0\r\n\r\n") { bytes.len() } else { usize::MAX }
    } else {
        head + value("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)
    };
    Ok(Some(Response {
        status: response.code.unwrap_or_default(),
        length,
        last: value("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")),
    }))
}
