//! An authenticated request on its way through the core. Whatever the door, only
//! a [`Call`] leads to a permit and to Glacier.

use std::{future::Future, pin::Pin, sync::Arc, time::Instant};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::header::{AUTHORIZATION, USER_AGENT},
    web::Data,
};

use time::OffsetDateTime;

use super::{
    peer::Peer,
    problem::{Code, Problem},
    record::Recorder,
};
use crate::{
    authn::{CertificateError, ClientCertificate},
    config::DenialDetail,
    domain::{AccountId, Operation, Region, UploadId, VaultArn},
    domain::{Principal, TEAM_ARN},
    gateway::Gateway,
    glacier::{
        Page, PartPage, Reply, UploadFacts, UploadPage, UpstreamError, UpstreamErrorKind, Vault,
        VaultPage,
    },
    policy::{Access, Context, Denial, InvalidContext, Permit, PolicySet, Resource, Simulation},
};

/// A request whose caller is known.
pub struct Call {
    /// The gateway that serves it.
    pub gateway: Data<Gateway>,
    principal: Arc<Principal>,
    recorder: Recorder,
    context: Context,
    /// The policies that decide all of the call, even if others replace them meanwhile.
    policies: Arc<PolicySet>,
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
            let principal = match certified(&request, &gateway)? {
                Some(principal) => principal,
                None => {
                    let certificate = request.conn_data::<ClientCertificate>();
                    gateway.authenticator.authenticate(bearer(&request)?, certificate).await?
                }
            };
            Ok(Self::new(&request, gateway, recorder, principal))
        })
    }
}

impl Call {
    /// The call that `request` makes, now that it has proven to be `principal`'s.
    pub fn new(
        request: &HttpRequest,
        gateway: Data<Gateway>,
        recorder: Recorder,
        principal: Arc<Principal>,
    ) -> Self {
        let mut record = recorder.edit();
        record.principal = Some(principal.clone());
        let context = context(request, record.peer);
        drop(record);
        let policies = Arc::clone(&gateway.policies.load());
        Self { gateway, principal, recorder, context, policies }
    }

    /// Aborts an upload.
    pub async fn abort_multipart_upload(
        &self,
        vault: VaultArn,
        upload: &UploadId,
    ) -> Result<(), Problem> {
        let permit = self.authorize_upload(Operation::AbortMultipartUpload, vault, upload).await?;
        self.forward(self.gateway.upstream.abort_multipart_upload(&permit, upload)).await?;
        self.outcome("aborted");
        Ok(())
    }

    /// Lists a vault's uploads.
    pub async fn list_multipart_uploads(
        &self,
        vault: VaultArn,
        page: Page,
    ) -> Result<UploadPage, Problem> {
        let permit = self.authorize(Operation::ListMultipartUploads, Resource::vault(vault))?;
        self.forward(self.gateway.upstream.list_multipart_uploads(&permit, page)).await
    }

    /// Lists an upload's parts.
    pub async fn list_parts(
        &self,
        vault: VaultArn,
        upload: &UploadId,
        page: Page,
    ) -> Result<PartPage, Problem> {
        let permit = self.authorize_upload(Operation::ListParts, vault, upload).await?;
        self.forward(self.gateway.upstream.list_parts(&permit, upload, page)).await
    }

    /// Describes a vault.
    pub async fn describe_vault(&self, vault: VaultArn) -> Result<Vault, Problem> {
        let permit = self.authorize(Operation::DescribeVault, Resource::vault(vault))?;
        self.forward(self.gateway.upstream.describe_vault(&permit)).await
    }

    /// Lists an account's vaults, leaving out those that the caller may not describe.
    pub async fn list_vaults(
        &self,
        region: Region,
        account: AccountId,
        page: Page,
    ) -> Result<VaultPage, Problem> {
        let resource = Resource::account(region.clone(), account.clone());
        let permit = self.authorize(Operation::ListVaults, resource)?;
        let mut page = self.forward(self.gateway.upstream.list_vaults(&permit, page)).await?;
        page.vaults.retain(|listed| {
            listed.vault_name.parse().is_ok_and(|vault| {
                let arn = VaultArn { region: region.clone(), account: account.clone(), vault };
                self.decide(Operation::DescribeVault, Resource::vault(arn)).is_ok()
            })
        });
        Ok(page)
    }

    /// Who is calling.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The statements that concern the caller.
    pub fn access(&self) -> Vec<Access> {
        if !self.tells_reasons() {
            return Vec::new();
        }
        self.policies.access(&self.principal, &self.context)
    }

    /// Whether the caller may simulate a team's access.
    ///
    /// # Errors
    /// It may not.
    pub fn may_simulate(&self, team: &str) -> Result<(), Problem> {
        let resource = format!("{TEAM_ARN}{team}");
        let (policies, action) = (&self.policies, "SimulateAccess");
        policies
            .decide_own(&self.principal, action, &resource, &self.context)
            .map_err(|denial| self.not_authorized(&format!("gateway:{action}"), denial))
    }

    /// What would be decided for `principal`.
    ///
    /// # Errors
    /// Context keys that cannot be taken.
    pub fn simulate(
        &self,
        principal: &Principal,
        questions: Vec<(Operation, Resource)>,
        keys: impl IntoIterator<Item = (String, serde_json::Value)>,
    ) -> Result<Vec<Simulation>, InvalidContext> {
        let context = self.context.clone().simulate(keys)?;
        let tells_reasons = self.tells_reasons();
        let simulate = |(operation, resource)| {
            let simulation = self.policies.simulate(principal, operation, resource, &context);
            if tells_reasons { simulation } else { simulation.without_reasons() }
        };
        Ok(questions.into_iter().map(simulate).collect())
    }

    /// Decides whether the caller may perform `operation` on `resource`.
    fn authorize(&self, operation: Operation, resource: Resource) -> Result<Permit, Problem> {
        self.asks(operation, &resource);
        self.note(operation, self.decide(operation, resource))
    }

    /// The same for an upload, whose age and description policies may ask for.
    async fn authorize_upload(
        &self,
        operation: Operation,
        vault: VaultArn,
        upload: &UploadId,
    ) -> Result<Permit, Problem> {
        self.recorder.edit().upload_id = Some(upload.clone());
        let Self { gateway, principal, context, policies, .. } = self;
        let resource = Resource::vault(vault);
        self.asks(operation, &resource);
        let lookup = policies.upload_lookup(principal, operation, &resource, context);
        let decision = match lookup {
            None => policies.decide(principal, operation, resource, context),
            Some(permit) => {
                // In a box, since it is large and few requests need it.
                let facts = Box::pin(gateway.uploads.facts(&gateway.upstream, &permit, upload));
                let UploadFacts { created, description } = self.forward(facts).await?;
                let age = OffsetDateTime::now_utc() - created;
                let context = context.clone().upload(age, description.as_deref());
                policies.decide(principal, operation, resource, &context)
            }
        };
        self.note(operation, decision)
    }

    fn decide(&self, operation: Operation, resource: Resource) -> Result<Permit, Denial> {
        self.policies.decide(&self.principal, operation, resource, &self.context)
    }

    /// Notes what is asked for.
    fn asks(&self, operation: Operation, resource: &Resource) {
        let mut record = self.recorder.edit();
        record.action = Some(operation.action());
        record.resource = Some(resource.clone());
    }

    /// Notes the decision in the record; a denial becomes the caller's problem.
    fn note(
        &self,
        operation: Operation,
        decision: Result<Permit, Denial>,
    ) -> Result<Permit, Problem> {
        let mut record = self.recorder.edit();
        match decision {
            Ok(permit) => {
                record.decision = Some("allowed");
                record.statement = Some(Arc::clone(permit.statement()));
                Ok(permit)
            }
            Err(denial) => {
                record.decision = Some(denial.reason());
                record.statement = denial.statement().cloned();
                Err(self.not_authorized(operation.name(), denial))
            }
        }
    }

    /// Whether callers are told of policies, or only what is decided.
    fn tells_reasons(&self) -> bool {
        self.gateway.settings.policy.denial_detail == DenialDetail::Full
    }

    /// Tells the caller as much of the reason as is configured.
    fn not_authorized(&self, action: &str, denial: Denial) -> Problem {
        let (detail, denial) = if self.tells_reasons() {
            (format!("{action} is not authorized: {denial}."), Some(Box::new(denial)))
        } else {
            (format!("{action} is not authorized; ask the gateway's operators for leave."), None)
        };
        Problem { denial, ..Problem::new(Code::NotAuthorized, detail) }
    }

    /// Waits for Glacier's answer and notes it in the record.
    async fn forward<T>(
        &self,
        answer: impl Future<Output = Result<Reply<T>, UpstreamError>>,
    ) -> Result<T, Problem> {
        let started = Instant::now();
        let result = answer.await;
        let mut record = self.recorder.edit();
        record.upstream_time = Some(started.elapsed());
        match result {
            Ok(reply) => {
                record.upstream_request_id = reply.request_id;
                record.upstream_result = Some("ok");
                Ok(reply.value)
            }
            Err(error) => {
                record.upstream_request_id.clone_from(&error.request_id);
                record.upstream_error = Some(error.cause.clone());
                if error.kind == UpstreamErrorKind::UploadNotFound {
                    record.outcome = Some("already-gone");
                } else if error.outcome_is_unknown() {
                    record.outcome = Some("unknown");
                }
                let problem = Problem::from(&error);
                record.upstream_result = Some(problem.code.as_str());
                Err(problem)
            }
        }
    }

    /// Notes what became of the request.
    fn outcome(&self, outcome: &'static str) {
        self.recorder.edit().outcome = Some(outcome);
    }
}

/// What policies can ask about the request itself.
fn context(request: &HttpRequest, peer: Option<Peer>) -> Context {
    let secure = peer.is_some_and(|peer| peer.secure);
    let mut context = Context::new(OffsetDateTime::now_utc(), secure);
    if let Some(address) = peer.and_then(|peer| peer.address) {
        context = context.source_ip(address);
    }
    match request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok()) {
        Some(user_agent) => context.user_agent(user_agent),
        None => context,
    }
}

/// The caller by its certificate, where it has one and no token says who is calling.
fn certified(
    request: &HttpRequest,
    gateway: &Gateway,
) -> Result<Option<Arc<Principal>>, CertificateError> {
    match request.conn_data::<ClientCertificate>() {
        Some(certificate) if !request.headers().contains_key(AUTHORIZATION) => {
            gateway.authenticator.identify(certificate.names()?).map(Some)
        }
        _ => Ok(None),
    }
}

/// The token of `Authorization: Bearer` (RFC 6750, section 2.1).
pub fn bearer(request: &HttpRequest) -> Result<&str, Problem> {
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
    let text = std::str::from_utf8(header.as_bytes()).ok().filter(|text| text.is_ascii());
    let text = text.ok_or_else(|| {
        Problem::new(Code::TokenInvalid, "The Authorization header is not plain ASCII.")
    })?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(missing()),
    }
}
