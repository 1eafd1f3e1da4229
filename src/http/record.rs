//! One log line for each request: who, what, the decision and its statement, the
//! outcome, AWS's request ID, and how long it took. The metrics count the same.

use std::{
    cell::{RefCell, RefMut},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{HttpMessage, HttpRequest, dev::ServiceRequest, http::Method, web::Data};

use super::peer::Peer;
use crate::{
    domain::Principal,
    domain::UploadId,
    gateway::Gateway,
    metrics::{Metrics, Route},
    policy::{Resource, StatementId},
};

/// What is known of a request so far. Written as one event when dropped, so that
/// a request whose client went away leaves its line as well.
#[derive(Debug)]
pub struct Record {
    /// The request's ID: the caller's `X-Request-Id` or one of ours.
    pub request_id: String,
    /// Through which door it came: `rest` or `glacier`.
    pub door: &'static str,
    /// The HTTP method.
    pub method: Method,
    /// The route's pattern; never the raw path, which may hold anything.
    pub route: String,
    /// The caller's side of the connection.
    pub peer: Option<Peer>,
    /// The caller, once proven.
    pub principal: Option<Arc<Principal>>,
    /// The gateway key that signed the request.
    pub access_key_id: Option<String>,
    /// The IAM action asked for.
    pub action: Option<&'static str>,
    /// What is asked for.
    pub resource: Option<Resource>,
    /// The upload asked for.
    pub upload_id: Option<UploadId>,
    /// `allowed`, `explicitDeny` or `implicitDeny`.
    pub decision: Option<&'static str>,
    /// The policy and statement that decided.
    pub statement: Option<Arc<StatementId>>,
    /// What became of it: `aborted`, `already-gone`, `unknown`, `ok`, or the
    /// problem's or Glacier's code.
    pub outcome: Option<&'static str>,
    /// AWS's ID of the forwarded request.
    pub upstream_request_id: Option<String>,
    /// `ok` or the code of the problem, where Glacier was asked.
    pub upstream_result: Option<&'static str>,
    /// The upstream error's whole story.
    pub upstream_error: Option<String>,
    /// How long Glacier took, retries included.
    pub upstream_time: Option<Duration>,
    /// The reply's status, and how long it took to make.
    answer: Option<(u16, Duration)>,
    started: Instant,
    metrics: Option<Arc<Metrics>>,
}

/// A handle to the request's record.
#[derive(Clone)]
pub struct Recorder(Rc<RefCell<Record>>);

impl Recorder {
    /// Begins the record of `request`.
    pub fn begin(request: &ServiceRequest, request_id: String) -> Self {
        let gateway = request.app_data::<Data<Gateway>>();
        let peer = request.peer_addr().map(|connected| {
            let proxies = gateway.map_or(&[][..], |g| &g.settings.server.trusted_proxies);
            let tls = request.app_config().secure();
            Peer::new(connected.ip(), tls, request.headers(), proxies)
        });
        let record = Record {
            request_id,
            door: "rest",
            method: request.method().clone(),
            route: String::new(),
            peer,
            principal: None,
            access_key_id: None,
            action: None,
            resource: None,
            upload_id: None,
            decision: None,
            statement: None,
            outcome: None,
            upstream_request_id: None,
            upstream_result: None,
            upstream_error: None,
            upstream_time: None,
            answer: None,
            started: Instant::now(),
            metrics: gateway.map(|gateway| gateway.metrics.clone()),
        };
        let recorder = Self(Rc::new(RefCell::new(record)));
        request.extensions_mut().insert(recorder.clone());
        recorder
    }

    /// The record that the middleware began, if it did.
    pub fn of(request: &HttpRequest) -> Option<Self> {
        request.extensions().get::<Recorder>().cloned()
    }

    /// Adds to the record.
    pub fn edit(&self) -> RefMut<'_, Record> {
        self.0.borrow_mut()
    }
}

impl Record {
    /// Notes that the request is answered now.
    pub fn answered(&mut self, status: u16) {
        self.answer = Some((status, self.started.elapsed()));
    }

    fn count(&mut self, status: Option<u16>, duration: Duration) {
        let Some(metrics) = &self.metrics else { return };
        let route = std::mem::take(&mut self.route);
        let route = Route { door: self.door, method: known(self.method.as_str()), route };
        metrics.request(route, status.unwrap_or(CLIENT_LEFT), duration);
        let Some(action) = self.action else { return };
        if let Some(decision) = self.decision {
            metrics.decision(action, decision);
        }
        if let (Some(result), Some(duration)) = (self.upstream_result, self.upstream_time) {
            let operation = action.strip_prefix("glacier:").unwrap_or(action);
            metrics.upstream(operation, result, duration);
        }
    }
}

/// The status that is counted where the client closed the connection before there
/// was an answer; nginx's.
const CLIENT_LEFT: u16 = 499;

/// `method` if it is one of HTTP's own: callers can invent others without end.
fn known(method: &str) -> &'static str {
    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    METHODS.into_iter().find(|known| *known == method).unwrap_or("other")
}

impl Drop for Record {
    fn drop(&mut self) {
        let (status, duration) = match self.answer {
            Some((status, duration)) => (Some(status), duration),
            None => (None, self.started.elapsed()),
        };
        let caller = self.principal.as_deref();
        tracing::info!(
            target: "glacier_gateway::request",
            request_id = self.request_id,
            method = self.method.as_str(),
            route = self.route,
            source_ip = self.peer.and_then(|peer| peer.address).map(tracing::field::display),
            issuer = caller.map(|caller| caller.issuer.as_str()),
            subject = caller.map(|caller| caller.subject.as_str()),
            teams = caller.map(|caller| caller.teams.join(",")),
            access_key_id = self.access_key_id,
            action = self.action,
            resource = self.resource.as_ref().map(Resource::as_str),
            upload_id = self.upload_id.as_ref().map(UploadId::as_str),
            decision = self.decision,
            statement = self.statement.as_deref().map(tracing::field::display),
            outcome = self.outcome.unwrap_or(match status {
                Some(_) => "ok",
                // The client closed the connection before there was an answer.
                None => "unknown",
            }),
            upstream_request_id = self.upstream_request_id,
            upstream_error = self.upstream_error,
            upstream_ms = self.upstream_time.map(milliseconds),
            status,
            duration_ms = milliseconds(duration),
            "request"
        );
        self.count(status, duration);
    }
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
