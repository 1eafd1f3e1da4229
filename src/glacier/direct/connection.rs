//! Connections to one endpoint, and as much of HTTP/1.1 (RFC 9112) as an abort
//! takes: a request without a body is written, a reply's head is read. A general
//! client does this in tasks and channels that cost more than the abort itself.

use std::{
    collections::VecDeque,
    io::{Error, ErrorKind},
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use http::uri::{Authority, Scheme};
use httparse::{EMPTY_HEADER, Header, Response, Status};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;

/// A connection that was idle for longer is closed rather than used again.
const IDLE: Duration = Duration::from_secs(60);
/// A longer reply is not read to its end.
const MAX_LENGTH: usize = 64 * 1024;
/// A reply with more header fields is not understood.
const MAX_FIELDS: usize = 64;
/// Room for the reply to an abort.
const USUAL_LENGTH: usize = 1024;
pub(super) const NO_CONTENT: u16 = 204;

/// How to reach an endpoint.
pub(super) struct Endpoint {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// A connection without a request under way.
pub(super) struct Connection {
    stream: Either<TcpStream, Box<TlsStream<TcpStream>>>,
    used: Instant,
}

/// Idle connections, the one used last at the end.
#[derive(Default)]
pub(super) struct Pool(VecDeque<Connection>);

/// What an endpoint answered.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) request_id: Option<String>,
    /// `x-amz-retry-after`: how long the service asks to wait.
    pub(super) retry_after: Option<Duration>,
    /// The body; nothing if its length is not known beforehand.
    pub(super) body: Vec<u8>,
    head: usize,
    /// Where the body ends, if that is known.
    end: Option<usize>,
    /// Whether another reply can follow on the connection.
    persistent: bool,
}

/// What to trust: the system's root certificates, as the SDK does. `None` where
/// there are none.
pub(in crate::glacier) fn tls() -> Option<TlsConnector> {
    let mut roots = RootCertStore::empty();
    let (trusted, _) =
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    (trusted > 0).then(|| TlsConnector::from(Arc::new(config)))
}

impl Endpoint {
    /// `None` if there must be TLS and cannot be.
    pub(super) fn new(
        scheme: &Scheme,
        authority: &Authority,
        tls: Option<&TlsConnector>,
    ) -> Option<Self> {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let (port, tls) = if *scheme == Scheme::HTTPS {
            (443, Some((tls?.clone(), ServerName::try_from(host.clone()).ok()?)))
        } else {
            (80, None)
        };
        Some(Self { host, port: authority.port_u16().unwrap_or(port), tls })
    }

    /// Opens a connection.
    pub(super) async fn connect(&self) -> Result<Connection, Error> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        let stream = match &self.tls {
            Some((tls, name)) => Either::Right(Box::new(tls.connect(name.clone(), stream).await?)),
            None => Either::Left(stream),
        };
        Ok(Connection { stream, used: Instant::now() })
    }
}

impl Pool {
    /// A connection to use again.
    pub(super) fn take(&mut self) -> Option<Connection> {
        while let Some(mut connection) = self.0.pop_back() {
            if connection.used.elapsed() < IDLE && connection.is_silent() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection, and closes those that have been idle for too long.
    pub(super) fn put(&mut self, connection: Connection) {
        while self.0.front().is_some_and(|oldest| oldest.used.elapsed() >= IDLE) {
            self.0.pop_front();
        }
        self.0.push_back(connection);
    }
}

impl Connection {
    /// Whether nothing came since the last reply: neither its end nor what nobody
    /// asked for.
    fn is_silent(&mut self) -> bool {
        let mut byte = [0];
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(&mut self.stream)
            .poll_read(&mut context, &mut ReadBuf::new(&mut byte))
            .is_pending()
    }

    /// Sends a request that has no body. Returns the connection as well, if it can
    /// be used again.
    pub(super) async fn send(mut self, head: &[u8]) -> Result<(Answer, Option<Self>), Error> {
        self.stream.write_all(head).await?;
        self.stream.flush().await?;
        let mut reply = Vec::with_capacity(USUAL_LENGTH);
        let mut answer = loop {
            self.read(&mut reply).await?;
            if let Some(answer) = Answer::read(&reply)? {
                break answer;
            }
        };
        let Some(end) = answer.end else { return Ok((answer, None)) };
        while reply.len() < end {
            self.read(&mut reply).await?;
        }
        answer.body.extend_from_slice(&reply[answer.head..end]);
        self.used = Instant::now();
        let reusable = answer.persistent && reply.len() == end;
        Ok((answer, reusable.then_some(self)))
    }

    async fn read(&mut self, reply: &mut Vec<u8>) -> Result<(), Error> {
        if reply.len() >= MAX_LENGTH {
            return Err(Error::new(ErrorKind::InvalidData, "the reply is too long"));
        }
        reply.reserve(USUAL_LENGTH);
        match self.stream.read_buf(reply).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

impl Answer {
    /// Reads a reply's head; `None` if it is not all there yet.
    fn read(reply: &[u8]) -> Result<Option<Self>, Error> {
        let mut fields = [EMPTY_HEADER; MAX_FIELDS];
        let mut response = Response::new(&mut fields);
        let parsed = response.parse(reply);
        let head = match parsed.map_err(|error| Error::new(ErrorKind::InvalidData, error))? {
            Status::Complete(length) => length,
            Status::Partial => return Ok(None),
        };
        let status = response.code.unwrap_or_default();
        let persistent = response.version == Some(1) && !closes(response.headers);
        let length = if status == NO_CONTENT { Some(0) } else { body_length(response.headers) };
        let request_id = field(response.headers, "x-amzn-requestid");
        let retry_after =
            field(response.headers, "x-amz-retry-after").and_then(|millis| millis.parse().ok());
        Ok(Some(Self {
            status,
            request_id: request_id.map(str::to_owned),
            retry_after: retry_after.map(Duration::from_millis),
            body: Vec::new(),
            head,
            end: length.map(|length| head + length),
            persistent,
        }))
    }
}

/// A field's value, if there is one such field and its value is text.
fn field<'a>(fields: &[Header<'a>], name: &str) -> Option<&'a str> {
    let mut named = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
    let value = std::str::from_utf8(named.next()?.value).ok()?;
    named.next().is_none().then_some(value)
}

/// Whether the server closes the connection after the reply (RFC 9112, section 9.6).
fn closes(fields: &[Header<'_>]) -> bool {
    let connection = fields.iter().filter(|field| field.name.eq_ignore_ascii_case("connection"));
    let mut options = connection.flat_map(|field| field.value.split(|byte| *byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// The length of a body that is framed by it (RFC 9112, section 6.3), if that is
/// short enough to be read.
fn body_length(fields: &[Header<'_>]) -> Option<usize> {
    let chunked = fields.iter().any(|field| field.name.eq_ignore_ascii_case("transfer-encoding"));
    let length = field(fields, "content-length")?.parse().ok()?;
    (!chunked && length < MAX_LENGTH).then_some(length)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(reply: &str) -> Option<Answer> {
        Answer::read(reply.as_bytes()).unwrap()
    }

    /// Where the next reply would begin.
    fn next(reply: &str) -> Option<usize> {
        let answer = read(reply).unwrap();
        answer.end.filter(|_| answer.persistent)
    }

    #[test]
    fn a_reply_is_read_once_its_head_is_whole() {
        let reply = "HTTP/1.1 204 No Content\r\nX-AMZN-RequestId: AAAb-_1\r\nDate: now\r\n\r\n";
        for length in 0..reply.len() {
            assert_eq!(read(&reply[..length]), None);
        }
        let answer = read(reply).unwrap();
        assert_eq!((answer.status, answer.request_id.as_deref()), (204, Some("AAAb-_1")));
        assert_eq!((answer.head, answer.end), (reply.len(), Some(reply.len())));
        for odd in ["SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 2O4 \r\n\r\n", "HTTP/1.1 204\r\nx\r\n\r\n"]
        {
            assert!(Answer::read(odd.as_bytes()).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_connection_is_used_again_only_where_the_replys_end_is_certain() {
        let head = |status: &str, fields: &str| format!("HTTP/1.1 {status}\r\n{fields}\r\n");
        for (status, fields, body) in [
            ("204 No Content", "", 0),
            // Whatever its fields say, a 204 has no body.
            ("204 No Content", "Content-Length: 5\r\n", 0),
            ("404 Not Found", "Content-Length: 17\r\n", 17),
            ("404 Not Found", "Content-Length: 65535\r\n", 65_535),
            ("503 Busy", "connection: keep-alive\r\ncontent-length: 0\r\n", 0),
        ] {
            let head = head(status, fields);
            assert_eq!(next(&head), Some(head.len() + body), "{head}");
        }
        for (status, fields) in [
            ("100 Continue", ""),
            ("200 OK", ""),
            ("204 No Content", "Connection: close\r\n"),
            ("204 No Content", "connection: x, Close\r\n"),
            ("404 Not Found", "Content-Length: 17\r\nTransfer-Encoding: chunked\r\n"),
            ("404 Not Found", "Content-Length: 17\r\nContent-Length: 18\r\n"),
            ("404 Not Found", "Content-Length: -1\r\n"),
            ("404 Not Found", "Content-Length: 65536\r\n"),
        ] {
            assert_eq!(next(&head(status, fields)), None, "{status} {fields}");
        }
        assert_eq!(next("HTTP/1.0 204 No Content\r\n\r\n"), None);
    }

    #[tokio::test]
    async fn idle_connections_are_kept_for_a_minute() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let idle_for = async |time: Duration| {
            let stream = Either::Left(TcpStream::connect(address).await.unwrap());
            Connection { stream, used: Instant::now() - time }
        };
        let mut pool = Pool::default();
        for time in [IDLE, IDLE, Duration::ZERO, Duration::ZERO] {
            pool.put(idle_for(time).await);
        }
        assert_eq!(pool.0.len(), 2, "those that were idle for longer are closed");
        assert!(pool.take().is_some() && pool.take().is_some());
        pool.put(idle_for(IDLE).await);
        assert!(pool.take().is_none());
    }
}
