//! One log line for each request: who, what, the decision and its statement, the
//! outcome, AWS's request ID, and how long it took.

use std::{
    cell::{RefCell, RefMut},
    rc::Rc,
    time::{Duration, Instant},
};

use actix_web::{HttpMessage, HttpRequest, dev::ServiceRequest};

/// What is known of a request so far. Written as one event when dropped, so that
/// a request whose client went away leaves its line as well.
#[derive(Debug)]
pub struct Record {
    /// The request's ID: the caller's `X-Request-Id` or one of ours.
    pub request_id: String,
    /// The HTTP method.
    pub method: String,
    /// The route's pattern; never the raw path, which may hold anything.
    pub route: String,
    /// The peer's address.
    pub source_ip: String,
    /// The caller's subject and teams, once proven.
    pub principal: Option<(String, Vec<String>)>,
    /// The IAM action asked for.
    pub action: Option<&'static str>,
    /// The ARN asked for.
    pub resource: Option<String>,
    /// The upload asked for.
    pub upload_id: Option<String>,
    /// `allowed`, `explicitDeny` or `implicitDeny`.
    pub decision: Option<&'static str>,
    /// The policy and statement that decided.
    pub statement: Option<String>,
    /// What became of it: `aborted`, `already-gone`, `unknown`, `ok`, or the
    /// problem's code.
    pub outcome: Option<&'static str>,
    /// AWS's ID of the forwarded request.
    pub upstream_request_id: Option<String>,
    /// The upstream error's whole story.
    pub upstream_error: Option<String>,
    /// How long Glacier took, retries included.
    pub upstream_time: Option<Duration>,
    /// The reply's status.
    pub status: Option<u16>,
    started: Instant,
}

/// A handle to the request's record.
#[derive(Clone)]
pub struct Recorder(Rc<RefCell<Record>>);

impl Recorder {
    /// Begins the record of `request`.
    pub fn begin(request: &ServiceRequest, request_id: String) -> Self {
        let record = Record {
            request_id,
            method: request.method().to_string(),
            route: String::new(),
            source_ip: request.peer_addr().map(|a| a.ip().to_string()).unwrap_or_default(),
            principal: None,
            action: None,
            resource: None,
            upload_id: None,
            decision: None,
            statement: None,
            outcome: None,
            upstream_request_id: None,
            upstream_error: None,
            upstream_time: None,
            status: None,
            started: Instant::now(),
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

impl Drop for Record {
    fn drop(&mut self) {
        let (subject, teams) = match &self.principal {
            Some((subject, teams)) => (Some(subject.as_str()), Some(teams.join(","))),
            None => (None, None),
        };
        tracing::info!(
            target: "glacier_gateway::request",
            request_id = self.request_id,
            method = self.method,
            route = self.route,
            source_ip = self.source_ip,
            subject,
            teams,
            action = self.action,
            resource = self.resource,
            upload_id = self.upload_id,
            decision = self.decision,
            statement = self.statement,
            outcome = self.outcome.unwrap_or(match self.status {
                Some(_) => "ok",
                // The client closed the connection before there was an answer.
                None => "unknown",
            }),
            upstream_request_id = self.upstream_request_id,
            upstream_error = self.upstream_error,
            upstream_ms = self.upstream_time.map(milliseconds),
            status = self.status,
            duration_ms = milliseconds(self.started.elapsed()),
            "request"
        );
    }
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
