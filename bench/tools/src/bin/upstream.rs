//! The Glacier of the benchmark: it accepts every abort after a fixed delay and lists
//! the uploads of any vault, on one thread, for as little CPU time as it can. It checks
//! nothing; `GET /last-request` shows the last request that it got, for others to check.

use std::{
    cell::RefCell,
    io::{self, Write},
    rc::Rc,
    time::{Duration, SystemTime},
};

use clap::Parser;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

#[derive(Parser)]
struct Arguments {
    /// The port on the loopback address.
    #[arg(long)]
    port: u16,
    /// Milliseconds between a request and its answer.
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
    /// How many uploads every vault has.
    #[arg(long, default_value_t = 1000)]
    uploads: usize,
}

struct Upstream {
    delay: Duration,
    uploads: Vec<String>,
    last_request: Vec<u8>,
    answered: u64,
    /// The second that `date` is about.
    second: u64,
    date: String,
}

/// What a request asks for, and how long it is.
struct Request {
    method: String,
    target: String,
    length: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let upstream = Rc::new(RefCell::new(Upstream {
        // Tokio's timer rounds up twice, by half a millisecond each on average.
        delay: Duration::from_millis(arguments.delay_ms).saturating_sub(Duration::from_millis(1)),
        uploads: (0..arguments.uploads).map(upload).collect(),
        last_request: Vec::new(),
        answered: 0,
        second: 0,
        date: String::new(),
    }));
    let listener = TcpListener::bind(("127.0.0.1", arguments.port)).await?;
    tokio::task::LocalSet::new()
        .run_until(async {
            loop {
                let (connection, _) = listener.accept().await?;
                let upstream = upstream.clone();
                // A connection that breaks is its client's affair.
                tokio::task::spawn_local(async move { serve(connection, &upstream).await.ok() });
            }
        })
        .await
}

async fn serve(mut connection: TcpStream, upstream: &RefCell<Upstream>) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let delay = upstream.borrow().delay;
    let mut received = Vec::with_capacity(8192);
    let mut reply = Vec::new();
    loop {
        while let Some(request) = parse(&received)? {
            if !delay.is_zero() && request.target != "/last-request" {
                tokio::time::sleep(delay).await;
            }
            reply.clear();
            upstream.borrow_mut().answer(&request, &received[..request.length], &mut reply)?;
            received.drain(..request.length);
            connection.write_all(&reply).await?;
        }
        if connection.read_buf(&mut received).await? == 0 {
            return Ok(());
        }
    }
}

/// The first request in `bytes`, once all of it is there.
fn parse(bytes: &[u8]) -> io::Result<Option<Request>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = request.parse(bytes).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let body = request
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| str::from_utf8(header.value).ok()?.parse().ok())
        .unwrap_or(0);
    Ok((bytes.len() >= head + body).then(|| Request {
        method: request.method.unwrap_or_default().to_owned(),
        target: request.path.unwrap_or_default().to_owned(),
        length: head + body,
    }))
}

impl Upstream {
    fn answer(&mut self, request: &Request, raw: &[u8], reply: &mut Vec<u8>) -> io::Result<()> {
        // The gateway's SDK corrects its clock by this header, so it must be right.
        let now = SystemTime::now();
        let second = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        if second != self.second {
            self.second = second;
            self.date = httpdate::fmt_http_date(now);
        }
        self.answered += 1;
        let fields = format_args!(
            "x-amzn-RequestId: bench-{:016x}\r\nDate: {}\r\n",
            self.answered, self.date
        );
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let (kind, body) = match request.method.as_str() {
            "DELETE" => {
                self.last_request.clear();
                self.last_request.extend_from_slice(raw);
                return write!(reply, "HTTP/1.1 204 No Content\r\n{fields}\r\n");
            }
            "GET" if path == "/last-request" => {
                ("text/plain", String::from_utf8_lossy(&self.last_request).into_owned())
            }
            _ => ("application/json", self.page(query)),
        };
        write!(
            reply,
            "HTTP/1.1 200 OK\r\n{fields}Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// A page of ListMultipartUploads. Markers are numbers of uploads.
    fn page(&self, query: &str) -> String {
        let number = |name: &str| {
            query
                .split('&')
                .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
        };
        let start = number("marker").unwrap_or(0).min(self.uploads.len());
        let end = (start + number("limit").unwrap_or(50).min(50)).min(self.uploads.len());
        let marker = if end < self.uploads.len() { format!("\"{end}\"") } else { "null".into() };
        format!("{{\"Marker\":{marker},\"UploadsList\":[{}]}}", self.uploads[start..end].join(","))
    }
}

/// An entry of the list, with an ID of Glacier's length: 92 characters.
fn upload(number: usize) -> String {
    format!(
        "{{\"MultipartUploadId\":\"{number:0>92}\",\
         \"VaultARN\":\"arn:aws:glacier:eu-central-1:111122223333:vaults/media-photos\",\
         \"ArchiveDescription\":\"photos, part {number}\",\"PartSizeInBytes\":4194304,\
         \"CreationDate\":\"2026-11-01T12:00:00.000Z\"}}"
    )
}
