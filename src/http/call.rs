//! An authenticated request on its way through the core: every handler takes a
//! [`Call`], and only a call leads to a permit and to Glacier.

use std::{future::Future, pin::Pin, sync::Arc, time::Instant};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::header::{AUTHORIZATION, USER_AGENT},
    web::Data,
};

use time::OffsetDateTime;

use super::{
    problem::{Code, Problem},
    record::Recorder,
};
use crate::{
    authn::Principal,
    config::DenialDetail,
    gateway::Gateway,
    glacier::{Operation, Reply, UpstreamError, UpstreamErrorKind},
    policy::{Context, Denial, Permit, Resource},
};

/// A request whose caller is known.
pub struct Call {
    /// The gateway that serves it.
    pub gateway: Data<Gateway>,
    /// Who is calling.
    pub principal: Arc<Principal>,
    recorder: Recorder,
    context: Context,
}

impl FromRequest for Call {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let (Some(gateway), Some(recorder)) =
                (request.app_data::<Data<Gateway>>().cloned(), Recorder::of(&request))
            else {
                return Err(Problem::new(Code::InternalError, "The gateway is not set up."));
            };
            let principal = gateway.authenticator.authenticate(bearer(&request)?).await?;
            recorder.edit().principal = Some((principal.subject.clone(), principal.teams.clone()));
            let context = context(&request);
            Ok(Self { gateway, principal, recorder, context })
        })
    }
}

impl Call {
    /// Decides whether the caller may perform `operation` on `resource`.
    pub fn authorize(&self, operation: Operation, resource: Resource) -> Result<Permit, Problem> {
        let mut record = self.recorder.edit();
        record.action = Some(operation.action());
        record.resource = Some(resource.to_string());
        match self.decide(operation, resource) {
            Ok(permit) => {
                record.decision = Some("allowed");
                record.statement = Some(permit.statement().to_string());
                Ok(permit)
            }
            Err(denial) => {
                record.decision = Some(denial.reason());
                record.statement = denial.statement().map(ToString::to_string);
                Err(self.not_authorized(operation, denial))
            }
        }
    }

    /// Whether the caller might perform `operation`; nothing is recorded.
    pub fn may(&self, operation: Operation, resource: Resource) -> bool {
        self.decide(operation, resource).is_ok()
    }

    fn decide(&self, operation: Operation, resource: Resource) -> Result<Permit, Denial> {
        let policies = self.gateway.policies.load();
        policies.decide(&self.principal, operation, resource, &self.context)
    }

    /// Tells the caller as much of the reason as is configured.
    fn not_authorized(&self, operation: Operation, denial: Denial) -> Problem {
        let policy = &self.gateway.settings.policy;
        let (detail, denial) = match policy.denial_detail {
            DenialDetail::Full => {
                (format!("{operation} is not authorized: {denial}."), Some(Box::new(denial)))
            }
            DenialDetail::Code => (
                format!("{operation} is not authorized; ask the gateway's operators for leave."),
                None,
            ),
        };
        Problem { denial, ..Problem::new(Code::NotAuthorized, detail) }
    }

    /// Waits for Glacier's answer and notes it in the record.
    pub async fn forward<T>(
        &self,
        answer: impl Future<Output = Result<Reply<T>, UpstreamError>>,
    ) -> Result<Reply<T>, Problem> {
        let started = Instant::now();
        let result = answer.await;
        let mut record = self.recorder.edit();
        record.upstream_time = Some(started.elapsed());
        match result {
            Ok(reply) => {
                record.upstream_request_id.clone_from(&reply.request_id);
                Ok(reply)
            }
            Err(error) => {
                record.upstream_request_id.clone_from(&error.request_id);
                record.upstream_error = Some(error.cause.clone());
                if error.kind == UpstreamErrorKind::UploadNotFound {
                    record.outcome = Some("already-gone");
                } else if error.outcome_is_unknown() {
                    record.outcome = Some("unknown");
                }
                Err(Problem::from(&error))
            }
        }
    }

    /// Notes what became of the request.
    pub fn outcome(&self, outcome: &'static str) {
        self.recorder.edit().outcome = Some(outcome);
    }

    /// Notes the upload that is spoken of.
    pub fn upload(&self, upload_id: &str) {
        self.recorder.edit().upload_id = Some(upload_id.to_owned());
    }
}

/// What policies can ask about the request itself.
fn context(request: &HttpRequest) -> Context {
    let mut context = Context::new(OffsetDateTime::now_utc(), request.app_config().secure());
    if let Some(address) = request.peer_addr() {
        context = context.source_ip(address.ip());
    }
    match request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok()) {
        Some(user_agent) => context.user_agent(user_agent),
        None => context,
    }
}

/// The token of `Authorization: Bearer` (RFC 6750, section 2.1).
fn bearer(request: &HttpRequest) -> Result<&str, Problem> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let missing = || {
        Problem::new(
            Code::TokenMissing,
            "Send your token in the header \"Authorization: Bearer TOKEN\".",
        )
    };
    let header = headers.next().ok_or_else(missing)?;
    if headers.next().is_some() {
        return Err(Problem::new(Code::TokenInvalid, "The request has two Authorization headers."));
    }
    let text = header.to_str().map_err(|_| {
        Problem::new(Code::TokenInvalid, "The Authorization header is not plain ASCII.")
    })?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(missing()),
    }
}
