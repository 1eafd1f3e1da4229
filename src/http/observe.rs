//! What surrounds every request: its IDs, its record and log line, and the headers of
//! its reply.

use std::{
    cell::OnceCell,
    rc::Rc,
    time::{Duration, Instant},
};

use actix_web::{
    Error, HttpMessage, HttpRequest, ResponseError,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{CACHE_CONTROL, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS},
    },
    middleware::Next,
    rt::spawn,
    web::Data,
};

use time::OffsetDateTime;

use super::{
    docs, head, limits,
    peer::Peer,
    problem::{Code, Problem},
};
use crate::{
    config::ProxyHeader,
    domain::{AccountId, Principal, UploadId},
    gateway::{Gateway, Record, Recorder, Standing},
    metrics::Route,
    telemetry::traces::{Span, Trace},
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Under which AWS returns a request's ID.
pub const AWS_REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
/// The status that is counted if the client closed the connection before there was an
/// answer; nginx's.
const CLIENT_LEFT: u16 = 499;

/// A request as it arrived, for whoever makes a call of it.
#[derive(Clone)]
pub struct Arrival {
    /// The caller's side of the connection.
    pub peer: Option<Peer>,
    /// The record that this request began.
    pub recorder: Recorder,
    /// Where spans of this request go out from.
    pub trace: Trace,
    /// The route's pattern, once it is found.
    route: Rc<OnceCell<String>>,
    /// What the reply says of the caller's limits.
    limits: Rc<OnceCell<limits::Fields>>,
}

impl Arrival {
    /// Has the reply say how it stands with the caller's limits.
    pub fn note_limits(&self, standings: &[Standing]) {
        if let Some(fields) = limits::Fields::of(standings) {
            let _ = self.limits.set(fields);
        }
    }

    /// The arrival that [`observe`] noted, if it did.
    pub fn of(request: &HttpRequest) -> Option<Self> {
        let arrival = request.extensions().get::<Arrival>().cloned()?;
        // For the line of a request whose client leaves before the reply.
        arrival.route.get_or_init(|| request.match_pattern().unwrap_or_default());
        Some(arrival)
    }
}

/// Gives every request an ID and a log line, and every failure a problem document.
pub async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let mut observed = Observed::begin(&request);
    let limits = observed.gateway.as_ref().map(|gateway| &gateway.settings.limits.server);
    let mut response = match limits.map_or(Ok(()), |limits| head::check(&request, limits)) {
        Ok(()) => next.call(request).await?.map_into_boxed_body(),
        Err(problem) => request.error_response(problem),
    };
    let route =
        observed.route.get_or_init(|| response.request().match_pattern().unwrap_or_default());
    if !route.is_empty() {
        observed.span.text("url.path", Some(response.request().path()));
    }
    let mut record = observed.recorder.edit();
    if let Some(error) = response.response().error() {
        let problem = match error.as_error::<Problem>() {
            Some(problem) => problem,
            None => &foreign(error.as_response_error()),
        };
        record.outcome.get_or_insert(problem.code.as_str());
        let body = problem.response(&record.request_id, response.request().path());
        response = response.into_response(body);
    }
    observed.answer = Some((response.status().as_u16(), observed.started.elapsed()));
    docs::protect(&mut response);
    let api = response.request().path().starts_with("/v1/");
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::try_from(record.request_id.as_str()) {
        headers.insert(REQUEST_ID, value);
    }
    if let Some(Ok(value)) = aws_request_id(&record).map(HeaderValue::try_from) {
        headers.insert(AWS_REQUEST_ID, value);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(limits) = observed.limits.get() {
        limits.add_to(headers);
    }
    if api && !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    drop(record);
    // The line is written when the reply is on its way: callers need not wait for it.
    spawn(async move { drop(observed) });
    Ok(response)
}

/// AWS's ID of the last call that the request led to.
fn aws_request_id(record: &Record) -> Option<&str> {
    let last = record.upstream.as_ref().or(record.lookup.as_ref())?;
    last.request_id.as_deref()
}

/// A request under way. Its line is written when this is dropped, so that a request
/// whose client went away leaves its line as well.
struct Observed {
    recorder: Recorder,
    span: Span,
    method: Method,
    /// The route's pattern; never the raw path, which may hold anything.
    route: Rc<OnceCell<String>>,
    limits: Rc<OnceCell<limits::Fields>>,
    gateway: Option<Data<Gateway>>,
    started: Instant,
    /// The reply's status, and how long it took to make.
    answer: Option<(u16, Duration)>,
}

impl Observed {
    fn begin(request: &ServiceRequest) -> Self {
        let started = Instant::now();
        let gateway = request.app_data::<Data<Gateway>>().cloned();
        let peer = request.peer_addr().map(|connected| {
            let server = gateway.as_ref().map(|gateway| &gateway.settings.server);
            let proxies = server.map_or(&[][..], |server| &server.trusted_proxies);
            let header = server.map_or(ProxyHeader::XForwardedFor, |server| server.proxy_header);
            let tls = request.app_config().secure();
            Peer::new(connected.ip(), tls, request.headers(), proxies, header)
        });
        let mut span = Span::server(|name| request.headers().get(name)?.to_str().ok());
        if span.is_kept() {
            describe(&mut span, request, peer);
        }
        let trace = span.trace();
        let event_id = uuid::Uuid::now_v7();
        let request_id = given_id(request).map_or_else(|| event_id.to_string(), ToOwned::to_owned);
        let recorder = Recorder::new(Record {
            event_id,
            request_id,
            time: Some(OffsetDateTime::now_utc()),
            trace: trace.clone(),
            door: "rest",
            source_ip: peer.and_then(|peer| peer.address),
            ..Record::default()
        });
        let route = Rc::<OnceCell<String>>::default();
        let limits = Rc::<OnceCell<limits::Fields>>::default();
        let arrival = Arrival {
            peer,
            recorder: recorder.clone(),
            trace,
            route: route.clone(),
            limits: limits.clone(),
        };
        request.extensions_mut().insert(arrival);
        let method = request.method().clone();
        Self { recorder, span, method, route, limits, gateway, started, answer: None }
    }
}

/// The caller's `X-Request-Id`, if there is one and it is harmless.
fn given_id(request: &ServiceRequest) -> Option<&str> {
    let mut all = request.headers().get_all(REQUEST_ID);
    let given = all.next().filter(|_| all.next().is_none())?.to_str().ok()?;
    let harmless = (1..=128).contains(&given.len())
        && given.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:/=+".contains(&b));
    harmless.then_some(given)
}

/// A failure that the framework found.
fn foreign(error: &dyn ResponseError) -> Problem {
    if error.status_code().is_client_error() {
        Problem::new(Code::MalformedRequest, format!("The request cannot be read: {error}."))
    } else {
        tracing::error!(%error, "a request failed inside the gateway");
        Problem::new(Code::InternalError, "Tell the gateway's operators the request ID.")
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        let (status, duration) = match self.answer {
            Some((status, duration)) => (Some(status), duration),
            None => (None, self.started.elapsed()),
        };
        let record = self.recorder.edit();
        let route = self.route.get().map_or("", String::as_str);
        let caller = record.principal.as_deref();
        let (lookup, upstream) = (record.lookup.as_ref(), record.upstream.as_ref());
        let session = record.session.as_deref();
        tracing::info!(
            target: "glacier_gateway::request",
            event_id = event_id(&record, &mut uuid::Uuid::encode_buffer()),
            request_id = record.request_id,
            trace_id = record.trace.id(),
            method = self.method.as_str(),
            route,
            source_ip = record.source_ip.map(tracing::field::display),
            issuer = caller.map(|caller| caller.issuer.as_str()),
            subject = caller.map(|caller| caller.subject.as_str()),
            teams = caller.map(|caller| caller.teams.join(",")),
            actors = caller.and_then(actors),
            access_key_id = record.access_key_id,
            action = record.action,
            resource = record.resource.as_deref(),
            account = record.account.as_ref().map(AccountId::as_str),
            upload_id = record.upload_id.as_ref().map(UploadId::as_str),
            decision = record.decision,
            statement = record.statement.as_deref().map(tracing::field::display),
            outcome = record.outcome.unwrap_or(match status {
                Some(_) => "ok",
                None => "client-left",
            }),
            error_code = record.error_code,
            lookup_request_id = lookup.and_then(|lookup| lookup.request_id.as_deref()),
            lookup_error = lookup.and_then(|lookup| lookup.error.as_deref()),
            lookup_ms = lookup.map(|lookup| milliseconds(lookup.time)),
            upstream_request_id = upstream.and_then(|upstream| upstream.request_id.as_deref()),
            upstream_error = upstream.and_then(|upstream| upstream.error.as_deref()),
            role_session_name = session.map(|session| session.role_session_name()),
            source_identity = session.map(|session| session.source_identity()),
            session_access_key_id = session.map(|session| session.access_key_id()),
            session_error = record.route_error,
            upstream_ms = upstream.map(|upstream| milliseconds(upstream.time)),
            status,
            duration_ms = milliseconds(duration),
            "request"
        );
        if self.span.is_kept() {
            let method = known(self.method.as_str());
            let method = if method == "other" { "HTTP" } else { method };
            match route {
                "" => self.span.rename(&[method]),
                route => self.span.rename(&[method, " ", route]),
            }
            self.span.text("http.route", Some(route).filter(|route| !route.is_empty()));
            self.span.set("http.response.status_code", i64::from(status.unwrap_or(CLIENT_LEFT)));
            told(&mut self.span, &record);
            match (status, record.outcome) {
                (Some(500..), code) => self.span.fail(code.unwrap_or("internal-error")),
                (None, _) => self.span.fail("client-left"),
                _ => {}
            }
        }
        if let Some(gateway) = &self.gateway {
            let (door, method) = (record.door, known(self.method.as_str()));
            let route = Route { door, method, route: route.to_owned() };
            let (status, trace) = (status.unwrap_or(CLIENT_LEFT), record.trace.id());
            gateway.metrics.request(route, status, duration, trace);
        }
    }
}

/// What a span says of a request as it arrives. A query may hold a signature.
fn describe(span: &mut Span, request: &ServiceRequest, peer: Option<Peer>) {
    let method = known(request.method().as_str());
    span.set("http.request.method", if method == "other" { "_OTHER" } else { method });
    let secure = peer.is_some_and(|peer| peer.secure);
    span.set("url.scheme", if secure { "https" } else { "http" });
    span.set("network.protocol.version", "1.1");
}

/// What a span says of what became of a call.
fn told(span: &mut Span, record: &Record) {
    span.set("glacier_gateway.event_id", record.event_id.to_string());
    span.set("glacier_gateway.request_id", record.request_id.clone());
    span.set("glacier_gateway.door", record.door);
    for (key, text) in [
        ("glacier_gateway.action", record.action),
        ("glacier_gateway.team", record.team.as_deref()),
        ("glacier_gateway.outcome", record.outcome),
        ("aws.request_id", aws_request_id(record)),
    ] {
        span.text(key, text);
    }
}

fn event_id<'b>(record: &Record, buffer: &'b mut [u8]) -> &'b str {
    record.event_id.hyphenated().encode_lower(buffer)
}

/// `method` if it is one of HTTP's own: callers can invent others without end.
fn known(method: &str) -> &'static str {
    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    METHODS.into_iter().find(|known| *known == method).unwrap_or("other")
}

/// Who acts for the caller, the last of them first.
fn actors(caller: &Principal) -> Option<String> {
    let actors: Vec<&str> = caller.actors().collect();
    (!actors.is_empty()).then(|| actors.join(","))
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
