//! Replies on their way out, genuine or spoiled by a fault.

use std::{
    any::Any,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use actix_web::{
    Error, HttpRequest, HttpResponse, HttpResponseBuilder,
    body::{BodySize, MessageBody},
    dev::Extensions,
    http::{
        StatusCode,
        header::{CONTENT_TYPE, DATE, HttpDate, LOCATION},
    },
    rt::net::TcpStream,
    web::Bytes,
};
use futures_util::stream;
use serde_json::{Value, json};
use socket2::{SockRef, Socket};

use super::{error::GlacierError, faults::Effect, state::Simulator, uploads::random_id};

/// A reply of Glacier's.
pub(super) struct Reply {
    status: StatusCode,
    headers: Vec<(&'static str, String)>,
    body: Option<Value>,
}

impl Reply {
    pub(super) fn json(body: Value) -> Self {
        Self { status: StatusCode::OK, headers: Vec::new(), body: Some(body) }
    }

    pub(super) fn created(location: String) -> Self {
        let headers = vec![(LOCATION.as_str(), location)];
        Self { status: StatusCode::CREATED, headers, body: None }
    }

    pub(super) fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, headers: Vec::new(), body: None }
    }

    pub(super) fn error(error: &GlacierError) -> Self {
        let status =
            StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, headers: Vec::new(), body: Some(error.body()) }
    }

    pub(super) fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(super) fn respond(self, simulator: &Simulator) -> HttpResponse {
        let mut response = self.head(simulator);
        match self.body {
            Some(body) => response.content_type("application/json").body(body.to_string()),
            None => response.finish(),
        }
    }

    /// The page of a list, with each of its entries twice.
    fn doubled(mut self) -> Self {
        let members = self.body.as_mut().and_then(Value::as_object_mut);
        for list in members.into_iter().flat_map(|members| members.values_mut()) {
            if let Some(entries) = list.as_array_mut() {
                *entries =
                    entries.iter().flat_map(|entry| [entry.clone(), entry.clone()]).collect();
            }
        }
        self
    }

    /// The page of a list, with another marker.
    fn leading_to(mut self, marker: String) -> Self {
        if let Some(members) = self.body.as_mut().and_then(Value::as_object_mut) {
            members.insert("Marker".to_owned(), marker.into());
        }
        self
    }

    /// The reply, broken off halfway through its body or, if it has none, through
    /// one that is made up.
    fn respond_truncated(mut self, simulator: &Simulator) -> HttpResponse {
        if self.status == StatusCode::NO_CONTENT {
            self.status = StatusCode::OK;
        }
        let body = self.body.take().unwrap_or_else(|| json!({ "cut": "short" }));
        let whole = Bytes::from(body.to_string());
        let sent = Some(whole.slice(..whole.len() / 2));
        let body = Broken { declared: whole.len() as u64, sent, flushed: false };
        self.head(simulator).content_type("application/json").body(body)
    }

    fn head(&self, simulator: &Simulator) -> HttpResponseBuilder {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((DATE, http_date(simulator)));
        response.insert_header(("x-amzn-RequestId", random_id(35)));
        for (name, value) in &self.headers {
            response.insert_header((*name, value.as_str()));
        }
        response
    }
}

/// What the simulator takes for the time of day.
pub(super) fn http_date(simulator: &Simulator) -> HttpDate {
    HttpDate::from(SystemTime::from(simulator.state().clock.wall()))
}

/// What the caller gets instead of the `genuine` reply when `effect` strikes.
pub(super) async fn spoil(
    effect: Effect,
    genuine: impl FnOnce() -> Reply,
    request: &HttpRequest,
    simulator: &Simulator,
) -> HttpResponse {
    let error = |error| Reply::error(&error).respond(simulator);
    match effect {
        Effect::Throttle | Effect::RateLimit { .. } => error(GlacierError::throttled()),
        Effect::Unavailable => error(GlacierError::unavailable()),
        Effect::Error { status, code, message } => error(GlacierError { status, code, message }),
        Effect::Hang => std::future::pending().await,
        Effect::Reset => {
            if let Some(connection) = request.conn_data::<Connection>() {
                // Closing a socket that lingers for no time sends RST.
                let _ = connection.0.set_linger(Some(Duration::ZERO));
            }
            HttpResponse::Ok().body(Broken { declared: 1, sent: None, flushed: true })
        }
        Effect::Truncate => genuine().respond_truncated(simulator),
        Effect::NotJson { status } => {
            let page = format!("<html><body><h1>{status}</h1></body></html>");
            of_status(status).insert_header((CONTENT_TYPE, "text/html")).body(page)
        }
        Effect::Bare => Reply::json(json!({})).respond(simulator),
        Effect::Endless { status } => {
            let blanks = Bytes::from(vec![b' '; 1 << 20]);
            of_status(status).streaming(stream::repeat_with(move || Ok::<_, Error>(blanks.clone())))
        }
        Effect::Doubled => genuine().doubled().respond(simulator),
        Effect::Marker { text } => genuine().leading_to(text).respond(simulator),
    }
}

/// A connection's socket, kept with its requests so that a fault can reset it.
struct Connection(Socket);

pub(super) fn keep_connection(stream: &dyn Any, data: &mut Extensions) {
    let stream = stream.downcast_ref::<TcpStream>();
    if let Some(Ok(socket)) = stream.map(|stream| SockRef::from(stream).try_clone()) {
        data.insert(Connection(socket));
    }
}

fn of_status(status: u16) -> HttpResponseBuilder {
    HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY))
}

/// A body that ends with an error, upon which the server drops the connection.
struct Broken {
    declared: u64,
    sent: Option<Bytes>,
    /// Whether the server had its chance to write what was sent.
    flushed: bool,
}

impl MessageBody for Broken {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.declared)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, io::Error>>> {
        if let Some(bytes) = self.sent.take() {
            return Poll::Ready(Some(Ok(bytes)));
        }
        if !self.flushed {
            self.flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::Error::other("a fault breaks the reply off"))))
    }
}
