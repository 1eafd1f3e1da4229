//! An authenticated call on its way through the core. Whatever asks for it, a door or
//! a job, only a [`Call`] leads to a permit and to Glacier.

mod accounts;
mod audit;
mod held;
mod inventory;
mod jobs;
mod lifecycle;

use std::{future::Future, pin::pin, sync::Arc, time::Instant};

use time::OffsetDateTime;

pub use self::{
    accounts::SeenAccount,
    jobs::{AskedGlacier, Attempted, JobUpload, Look, SeenUpload},
};
use super::{
    Gateway,
    ceilings::{Slot, Took},
    record::{Forwarded, Recorder},
    refusal::Refusal,
    uploads::UploadFacts,
};
use crate::{
    audit::{Event, Intent, Unrecorded},
    config::{DenialDetail, Reads},
    domain::{
        GatewayAction, Operation, Principal, RegionalAccount, UploadId, VaultArn,
        action::{
            AbortMultipartUpload, Action, DescribeVault, ListMultipartUploads, ListParts,
            ListVaults,
        },
    },
    glacier::{
        Accounts, Page, PartPage, Reply, Route, UploadPage, UpstreamError, Vault, VaultPage,
    },
    policy::{
        Access, Asked, Context, Denial, InvalidContext, KeptContext, Permit, PolicySet, Reach,
        Resource, Simulation, StatementId,
    },
    telemetry::traces::{Span, Trace},
};

/// A call whose caller is known.
pub struct Call {
    /// The gateway that serves it.
    pub gateway: Arc<Gateway>,
    principal: Arc<Principal>,
    recorder: Recorder,
    /// Where its spans go out from.
    trace: Trace,
    context: Context,
    /// The policies that decide all of the call, even if others replace them meanwhile.
    policies: Arc<PolicySet>,
    /// The accounts that policies are asked about, and on whose roles the call goes its way.
    accounts: Arc<Accounts>,
    /// Whether nobody waits for the answer.
    in_background: bool,
}

impl Call {
    /// A call of `principal`'s. `context` holds what policies may ask about it, and
    /// `recorder` takes what is decided and what becomes of it.
    pub fn new(
        gateway: Arc<Gateway>,
        principal: Arc<Principal>,
        context: Context,
        recorder: Recorder,
    ) -> Self {
        let trace = {
            let mut record = recorder.edit();
            record.principal = Some(principal.clone());
            record.trace.clone()
        };
        let policies = Arc::clone(&gateway.policies.current());
        let accounts = gateway.upstream.accounts();
        let context = context.accounts(accounts.directory().clone());
        Self {
            gateway,
            principal,
            recorder,
            trace,
            context,
            policies,
            accounts,
            in_background: false,
        }
    }

    /// The same for a job, or whatever else nobody waits for: it leaves room to those who
    /// wait for an answer.
    pub fn in_background(mut self) -> Self {
        self.in_background = true;
        self
    }

    /// Aborts an upload.
    pub async fn abort_multipart_upload(
        &self,
        vault: VaultArn,
        upload: &UploadId,
    ) -> Result<(), Refusal> {
        let permit: Permit<AbortMultipartUpload> = self.authorize_upload(vault, upload).await?;
        let route = self.route(&permit).await?;
        // Before the intent, so that an abort that is refused for overload changes no record.
        let slot = self.slot(&permit).await?;
        let intent = self.intent().await?;
        // Whatever ends the wait for Glacier's answer, the abort may have happened.
        self.recorder.edit().outcome = Some("unknown");
        let upstream = &self.gateway.upstream;
        let result = {
            // Pinned, since it is large, and each future that it is handed to would copy it.
            let answer = pin!(upstream.abort_multipart_upload(&route, &intent, upload));
            self.forward(&route, slot, answer).await
        };
        let mut record = self.recorder.edit();
        let outcome = match &result {
            Ok(()) => "aborted",
            Err(error) => error.outcome(),
        };
        // The log names errors of which more is known by their codes.
        record.outcome = match outcome {
            "refused-by-glacier" | "failed" => None,
            known => Some(known),
        };
        record.result = Some(outcome);
        intent.settle(outcome, record.error_code, record.asked());
        drop(record);
        Ok(result?)
    }

    /// Lists a vault's uploads.
    pub async fn list_multipart_uploads(
        &self,
        vault: VaultArn,
        page: Page,
    ) -> Result<UploadPage, Refusal> {
        let permit: Permit<ListMultipartUploads> = self.authorize(vault)?;
        let route = self.route(&permit).await?;
        self.read(&route, self.gateway.upstream.list_multipart_uploads(&route, page)).await
    }

    /// Lists an upload's parts.
    pub async fn list_parts(
        &self,
        vault: VaultArn,
        upload: &UploadId,
        page: Page,
    ) -> Result<PartPage, Refusal> {
        let permit: Permit<ListParts> = self.authorize_upload(vault, upload).await?;
        let route = self.route(&permit).await?;
        self.read(&route, self.gateway.upstream.list_parts(&route, upload, page)).await
    }

    /// Describes a vault.
    pub async fn describe_vault(&self, vault: VaultArn) -> Result<Vault, Refusal> {
        let permit: Permit<DescribeVault> = self.authorize(vault)?;
        let route = self.route(&permit).await?;
        self.read(&route, self.gateway.upstream.describe_vault(&route)).await
    }

    /// Lists an account's vaults, leaving out those that the caller may not describe.
    pub async fn list_vaults(
        &self,
        account: RegionalAccount,
        page: Page,
    ) -> Result<VaultPage, Refusal> {
        let permit: Permit<ListVaults> = self.authorize(account)?;
        let route = self.route(&permit).await?;
        let RegionalAccount { region, account } = permit.resource();
        let mut page = self.read(&route, self.gateway.upstream.list_vaults(&route, page)).await?;
        page.vaults.retain(|listed| {
            listed.vault_name.parse().is_ok_and(|vault| {
                let arn = VaultArn { region: region.clone(), account: account.clone(), vault };
                let (resource, operation) = (Resource::vault(arn), Operation::DescribeVault);
                self.policies.decide(&self.principal, operation, resource, &self.context).is_ok()
            })
        });
        Ok(page)
    }

    /// Who is calling.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Who is calling, and in which context, for what goes on when the request has ended.
    pub fn kept(&self) -> (Arc<Principal>, KeptContext) {
        (self.principal.clone(), self.context.kept())
    }

    /// The statements that concern the caller.
    pub fn access(&self) -> Vec<Access> {
        if !self.tells_reasons() {
            return Vec::new();
        }
        self.policies.access(&self.principal, &self.context)
    }

    /// Whether the caller may do one of the gateway's own actions.
    ///
    /// # Errors
    /// It may not.
    pub fn may(&self, action: GatewayAction, reach: Reach<'_>) -> Result<(), Refusal> {
        self.may_in(action, reach, &self.context)
    }

    /// The same in another context.
    fn may_in(
        &self,
        action: GatewayAction,
        reach: Reach<'_>,
        context: &Context,
    ) -> Result<(), Refusal> {
        let span = self.trace.span("decide");
        let decision = self.policies.decide_own(&self.principal, action, reach, context);
        self.asks(action.action(), reach.resource(action).into());
        self.note(span, action.action(), decision.as_ref().map(|grant| &grant.statement));
        // A call may ask several times. A denial belongs to all of the caller's teams.
        let team = decision.as_ref().ok().and_then(|grant| self.principal.teams.get(grant.team));
        self.recorder.edit().team = team.cloned();
        decision.map(drop).map_err(|denial| self.not_authorized(action.action(), denial))
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
        if self.recorder.edit().action.is_none() {
            // For teams of their own, callers need no permission.
            let team = principal.teams.first().map_or("", String::as_str);
            let action = GatewayAction::SimulateAccess;
            self.asks(action.action(), action.resource(team).into());
        }
        let context = self.context.clone().simulate(keys)?;
        let tells_reasons = self.tells_reasons();
        let simulate = |(operation, resource)| {
            let simulation = self.policies.simulate(principal, operation, resource, &context);
            if tells_reasons { simulation } else { simulation.without_reasons() }
        };
        self.recorder.edit().result = Some("ok");
        Ok(questions.into_iter().map(simulate).collect())
    }

    /// Decides whether the caller may perform `A` on `resource`.
    fn authorize<A>(&self, resource: A::ResourceType) -> Result<Permit<A>, Refusal>
    where
        A: Action<ResourceType: Into<Resource>>,
    {
        let asked = Asked::new(resource);
        self.asks(A::OPERATION.action(), asked.seen().text());
        self.concerns(asked.seen());
        let span = self.trace.span("decide");
        self.decided(span, self.policies.authorize(&self.principal, &asked, &self.context))
    }

    /// The same for an upload, whose age and description policies may ask for.
    async fn authorize_upload<A>(
        &self,
        vault: VaultArn,
        upload: &UploadId,
    ) -> Result<Permit<A>, Refusal>
    where
        A: Action<ResourceType = VaultArn>,
    {
        self.recorder.edit().upload_id = Some(upload.clone());
        let Self { gateway, principal, context, policies, .. } = self;
        let asked = Asked::new(vault);
        self.asks(A::OPERATION.action(), asked.seen().text());
        self.concerns(asked.seen());
        let lookup = policies.authorize_lookup(principal, A::OPERATION, &asked, context);
        let Some(lookup) = lookup else {
            let span = self.trace.span("decide");
            return self.decided(span, policies.authorize(principal, &asked, context));
        };
        let facts = match gateway.uploads.remembered(lookup.resource(), upload) {
            Some(facts) => facts,
            // In a box, since it is large and few requests need it.
            None => Box::pin(self.look_up(&lookup, upload)).await?,
        };
        let UploadFacts { created, description } = facts;
        let age = OffsetDateTime::now_utc() - created;
        let context = context.clone().upload(age, description.as_deref());
        let span = self.trace.span("decide");
        self.decided(span, policies.authorize(principal, &asked, &context))
    }

    /// Notes what is asked for.
    fn asks(&self, action: &'static str, resource: Arc<str>) {
        let mut record = self.recorder.edit();
        record.action = Some(action);
        record.resource = Some(resource);
    }

    /// Notes where the resource is that is asked for.
    fn concerns(&self, resource: &Resource) {
        let mut record = self.recorder.edit();
        record.account = Some(resource.owner().clone());
        record.region = Some(resource.region().clone());
    }

    /// Notes the decision about an operation of Glacier's; a denial becomes a refusal.
    fn decided<A>(
        &self,
        span: Span,
        decision: Result<Permit<A>, Denial>,
    ) -> Result<Permit<A>, Refusal>
    where
        A: Action,
    {
        self.note(span, A::OPERATION.action(), decision.as_ref().map(Permit::statement));
        if let Ok(permit) = &decision {
            self.recorder.edit().team = Some(permit.team().to_owned());
        }
        decision.map_err(|denial| self.not_authorized(A::OPERATION.name(), denial))
    }

    /// Notes a decision, and counts it.
    fn note(
        &self,
        mut span: Span,
        action: &'static str,
        decision: Result<&Arc<StatementId>, &Denial>,
    ) {
        let (outcome, statement) = match decision {
            Ok(statement) => ("allowed", Some(statement)),
            Err(denial) => (denial.reason(), denial.statement()),
        };
        let mut record = self.recorder.edit();
        record.decision = Some(outcome);
        record.statement = statement.cloned();
        if span.is_kept() {
            span.set("glacier_gateway.action", action);
            span.set("glacier_gateway.decision", outcome);
            span.text("aws.resource", record.resource.as_deref());
            span.text("glacier_gateway.statement", statement.map(|id| id.to_string()).as_deref());
        }
        drop(record);
        self.gateway.metrics.decision(action, outcome);
    }

    /// Whether callers are told of policies, or only what is decided.
    fn tells_reasons(&self) -> bool {
        self.gateway.settings.policy.denial_detail == DenialDetail::Full
    }

    /// Tells the caller as much of the reason as is configured.
    fn not_authorized(&self, action: &'static str, denial: Denial) -> Refusal {
        let denial = self.tells_reasons().then(|| Box::new(denial));
        let refusal = Refusal::NotAuthorized { action, denial };
        self.recorder.edit().error_code = Some(refusal.code());
        refusal
    }

    /// Puts a change on record before it is forwarded.
    async fn intent(&self) -> Result<Intent, Refusal> {
        let durable = {
            let mut record = self.recorder.edit();
            record.on_record = true;
            if let Some(intent) = self.gateway.trail.unrecorded() {
                return Ok(intent);
            }
            // What was asked before is not the change.
            self.gateway.trail.intent(&Event { upstream: None, ..record.event() })
        };
        self.recorded(durable).await
    }

    /// Waits until something is durable on record.
    async fn recorded<T>(
        &self,
        durable: impl Future<Output = Result<T, Unrecorded>>,
    ) -> Result<T, Refusal> {
        let mut span = self.trace.span("audit commit");
        let durable = durable.await;
        if let Err(unrecorded) = &durable {
            span.fail(unrecorded.code());
        }
        Ok(durable?)
    }

    /// Waits for Glacier's answer to a read. If the settings want it, the answer waits
    /// until it is on record.
    async fn read<A: Action, T>(
        &self,
        route: &Route<'_, A>,
        answer: impl Future<Output = Result<Reply<T>, UpstreamError>>,
    ) -> Result<T, Refusal> {
        let answer = pin!(answer);
        let result = match self.slot(route.permit()).await {
            Ok(slot) => self.forward(route, slot, answer).await,
            Err(error) => Err(error),
        };
        self.answered(result.as_ref().map_or_else(UpstreamError::outcome, |_| "ok")).await?;
        Ok(result?)
    }

    /// Notes what became of a read. If the settings want it, waits until that is on record.
    async fn answered(&self, result: &'static str) -> Result<(), Refusal> {
        let durable = {
            let mut record = self.recorder.edit();
            record.result = Some(result);
            record.on_record = self.gateway.settings.audit.reads == Reads::Require;
            record.on_record.then(|| self.gateway.trail.record_durably(&record.event()))
        };
        match durable {
            Some(durable) => self.recorded(durable).await,
            None => Ok(()),
        }
    }

    /// The way to what `permit` permits, whose session is noted. Without one nothing is asked
    /// of Glacier.
    async fn route<'p, A: Action>(
        &self,
        permit: &'p Permit<A>,
    ) -> Result<Route<'p, A>, UpstreamError> {
        let route = self.gateway.upstream.route(&self.accounts, permit, &self.trace).await;
        let mut record = self.recorder.edit();
        match &route {
            Ok(route) => record.session = route.session().cloned(),
            Err(error) => {
                record.result = Some(error.outcome());
                record.error_code = Some(error.kind.code());
                record.route_error = Some(error.cause.clone());
            }
        }
        route
    }

    /// Waits for Glacier's answer to what may go on `_route`, and notes it.
    async fn forward<A: Action, T>(
        &self,
        _route: &Route<'_, A>,
        slot: Slot,
        answer: impl Future<Output = Result<Reply<T>, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        let (result, forwarded) = self.ask(A::OPERATION, slot, answer).await;
        let mut record = self.recorder.edit();
        record.error_code = result.as_ref().err().map(|error| error.kind.code());
        record.upstream = Some(forwarded);
        result
    }

    /// Looks up an upload for the policies, which is not what the caller asked for.
    async fn look_up(
        &self,
        permit: &Permit<ListParts>,
        upload: &UploadId,
    ) -> Result<UploadFacts, UpstreamError> {
        let route = self.route(permit).await?;
        let slot = self.slot(permit).await?;
        let Gateway { upstream, uploads, .. } = self.gateway.as_ref();
        let (result, forwarded) =
            self.ask(Operation::ListParts, slot, uploads.facts(upstream, &route, upload)).await;
        let mut record = self.recorder.edit();
        if let Err(error) = &result {
            (record.result, record.error_code) = (Some("not-attempted"), Some(error.kind.code()));
        }
        record.lookup = Some(forwarded);
        result
    }

    async fn ask<T>(
        &self,
        operation: Operation,
        mut slot: Slot,
        answer: impl Future<Output = Result<Reply<T>, UpstreamError>>,
    ) -> (Result<T, UpstreamError>, Forwarded) {
        let started = Instant::now();
        let result = answer.await;
        let time = started.elapsed();
        slot.took = Took::from(&result);
        drop(slot);
        let label = result.as_ref().map_or_else(|error| error.kind.code(), |_| "ok");
        self.gateway.metrics.upstream(operation.name(), label, time);
        match result {
            Ok(Reply { value, request_id, attempts, .. }) => {
                let request_id = request_id.filter(|id| is_request_id(id));
                (Ok(value), Forwarded { request_id, error: None, attempts, time })
            }
            Err(error) => {
                let request_id = error.request_id.clone().filter(|id| is_request_id(id));
                let cause = error.cause.clone();
                let attempts = error.attempts;
                (Err(error), Forwarded { request_id, error: Some(cause), attempts, time })
            }
        }
    }
}

/// Whether it can be an ID of AWS's. What stands in Glacier's place may send anything, of any
/// length, and records have a limit.
fn is_request_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
}

/// Whatever asks for something is recorded when it ends, also if the client left before.
/// A change is on record already.
impl Drop for Call {
    fn drop(&mut self) {
        let mut record = self.recorder.edit();
        if record.on_record || record.action.is_none() {
            return;
        }
        record.on_record = true;
        if record.decision == Some("allowed") {
            record.result.get_or_insert("client-left");
        }
        self.gateway.trail.record(&record.event());
    }
}
