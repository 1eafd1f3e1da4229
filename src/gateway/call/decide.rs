//! What the policies say of a call, and the note of that.

use std::sync::Arc;

use time::OffsetDateTime;

use super::{
    super::{refusal::Refusal, uploads::UploadFacts},
    Call,
};
use crate::{
    config::DenialDetail,
    domain::{GatewayAction, Operation, Principal, UploadId, VaultArn, action::Action},
    policy::{
        Access, Asked, Context, Denial, InvalidContext, Permit, Reach, Resource, Simulation,
        StatementId,
    },
    telemetry::traces::Span,
};

impl Call {
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
    pub(super) fn may_in(
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
            // For teams of their own, callers need no permission, so nothing is decided.
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
    pub(super) fn authorize<A>(&self, resource: A::ResourceType) -> Result<Permit<A>, Refusal>
    where
        A: Action<ResourceType: Into<Resource>>,
    {
        let asked = Asked::new(resource);
        self.asks(A::OPERATION.action(), asked.seen().text());
        self.concerns(asked.seen());
        self.decide(&asked, &self.context)
    }

    /// The same for an upload, whose age and description policies may ask for.
    pub(super) async fn authorize_upload<A>(
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
            return self.decide(&asked, context);
        };
        let facts = match gateway.uploads.remembered(lookup.resource(), upload) {
            Some(facts) => facts,
            // In a box, since it is large and few requests need it.
            None => Box::pin(self.look_up(&lookup, upload)).await?,
        };
        let UploadFacts { created, description } = facts;
        let age = OffsetDateTime::now_utc() - created;
        let context = context.clone().upload(age, description.as_deref());
        self.decide(&asked, &context)
    }

    /// Notes what is asked for.
    pub(super) fn asks(&self, action: &'static str, resource: Arc<str>) {
        let mut record = self.recorder.edit();
        record.action = Some(action);
        record.resource = Some(resource);
    }

    /// Notes where the resource is that is asked for.
    pub(super) fn concerns(&self, resource: &Resource) {
        let mut record = self.recorder.edit();
        record.account = Some(resource.owner().clone());
        record.region = Some(resource.region().clone());
    }

    /// Decides about an operation of Glacier's, and notes the decision.
    pub(super) fn decide<A>(
        &self,
        asked: &Asked<A::ResourceType>,
        context: &Context,
    ) -> Result<Permit<A>, Refusal>
    where
        A: Action,
    {
        let span = self.trace.span("decide");
        let decision = self.policies.authorize(&self.principal, asked, context);
        self.note(span, A::OPERATION.action(), decision.as_ref().map(Permit::statement));
        if let Ok(permit) = &decision {
            self.recorder.edit().team = Some(permit.team().to_owned());
        }
        decision.map_err(|denial| self.not_authorized(A::OPERATION.name(), denial))
    }

    /// Notes a decision, and counts it.
    pub(super) fn note(
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
    pub(super) fn tells_reasons(&self) -> bool {
        self.gateway.settings.policy.denial_detail == DenialDetail::Full
    }

    /// Tells the caller as much of the reason as is configured.
    pub(super) fn not_authorized(&self, action: &'static str, denial: Denial) -> Refusal {
        let denial = self.tells_reasons().then(|| Box::new(denial));
        let refusal = Refusal::NotAuthorized { action, denial };
        self.recorder.edit().error_code = Some(refusal.code());
        refusal
    }
}
