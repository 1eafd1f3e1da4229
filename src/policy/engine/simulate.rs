//! Simulations: what a policy set would decide, and what it says to a caller.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::context::{Context, Facts, Request};
use super::decision::{Denial, NearMiss, StatementId};
use super::resource::Resource;
use super::set::PolicySet;
use crate::domain::{GatewayAction, Operation, Principal};
use crate::policy::language::document::Effect;
use crate::policy::language::keys::ContextKey;

/// What a policy set would decide, in the manner of an `EvaluationResult` of
/// IAM's `SimulatePrincipalPolicy`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Simulation {
    /// The action.
    #[schema(example = "glacier:AbortMultipartUpload")]
    pub action: &'static str,
    /// The resource: a vault's ARN, or `*`.
    #[schema(example = "arn:aws:glacier:eu-central-1:123456789012:vaults/photos")]
    pub resource: String,
    /// The decision.
    pub decision: Decision,
    /// The statement that decided, if one did.
    pub matched: Option<Arc<StatementId>>,
    /// Statements that almost allowed the request.
    pub near_misses: Vec<NearMiss>,
    /// Whether a policy allows the request, but no guardrail does.
    pub limited_by_guardrails: bool,
    /// Context keys that policies about this request read, and that had no value.
    pub missing_context_keys: BTreeSet<String>,
}

impl Simulation {
    /// The decision without the reasons, for callers who must not learn about policies.
    pub fn without_reasons(self) -> Self {
        Self {
            matched: None,
            near_misses: Vec::new(),
            limited_by_guardrails: false,
            missing_context_keys: BTreeSet::new(),
            ..self
        }
    }
}

/// A decision, as IAM's simulator names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Decision {
    /// Allowed.
    Allowed,
    /// Denied by a statement.
    ExplicitDeny,
    /// Not allowed by any statement.
    ImplicitDeny,
}

/// A statement about a caller, for the caller to read.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// The statement's place in the policies.
    pub statement: Arc<StatementId>,
    /// The caller's team that it concerns.
    pub team: String,
    /// Whether the statement denies.
    pub denies: bool,
    /// The actions that the statement is about, of those that the gateway performs:
    /// Glacier's actions and its own.
    pub actions: Vec<String>,
    /// The patterns of the resources that the statement is about.
    pub resources: Vec<String>,
    /// Whether the statement is about all resources except these.
    pub all_but_these_resources: bool,
    /// The context keys that the statement's conditions read.
    pub conditions_on: BTreeSet<String>,
}

impl PolicySet {
    /// Says what would be decided; the context is best made with
    /// [`Context::simulate`].
    pub fn simulate(
        &self,
        principal: &Principal,
        operation: Operation,
        resource: Resource,
        context: &Context,
    ) -> Simulation {
        let missing_context_keys = self.missing_keys(principal, operation, &resource, context);
        let mut simulation = Simulation {
            action: operation.action(),
            resource: resource.to_string(),
            decision: Decision::ImplicitDeny,
            matched: None,
            near_misses: Vec::new(),
            limited_by_guardrails: false,
            missing_context_keys,
        };
        match self.decide(principal, operation, resource, context) {
            Ok(permit) => {
                simulation.decision = Decision::Allowed;
                simulation.matched = Some(Arc::clone(permit.statement()));
            }
            Err(Denial::ExplicitDeny { statement, .. }) => {
                simulation.decision = Decision::ExplicitDeny;
                simulation.matched = Some(statement);
            }
            Err(Denial::ImplicitDeny { limited_by_guardrails, near_misses }) => {
                simulation.near_misses = near_misses;
                simulation.limited_by_guardrails = limited_by_guardrails;
            }
        }
        simulation
    }

    /// The statements of the caller's teams, the guardrails and the vault
    /// policies that concern the caller, as far as the gateway's operations go.
    pub fn access(&self, principal: &Principal, context: &Context) -> Vec<Access> {
        let mut access = Vec::new();
        for team in &principal.teams {
            let facts = Request::new(principal, team, None, context);
            for stored in self.layers(team).flat_map(|layer| &layer.all) {
                let statement = &stored.statement;
                let glacier = Operation::ALL.into_iter().map(|o| o.action().to_owned());
                let own = GatewayAction::ALL.into_iter().map(|a| a.action().to_owned());
                let mut actions: Vec<_> = glacier.chain(own).collect();
                actions.retain(|action| statement.covers_action(&action.to_ascii_lowercase()));
                if actions.is_empty() || !statement.covers_principal(&facts) {
                    continue;
                }
                access.push(Access {
                    statement: Arc::clone(&stored.id),
                    team: team.clone(),
                    denies: statement.effect == Effect::Deny,
                    actions,
                    resources: statement.resources().collect(),
                    all_but_these_resources: statement.excludes_resources(),
                    conditions_on: names(statement.conditions.iter().map(|c| &c.key)),
                });
            }
        }
        access
    }

    fn missing_keys(
        &self,
        principal: &Principal,
        operation: Operation,
        resource: &Resource,
        context: &Context,
    ) -> BTreeSet<String> {
        let mut missing = Vec::new();
        for team in &principal.teams {
            let facts = Request::new(principal, team, Some(resource), context);
            let layers = self.layers(team);
            let stored = layers.flat_map(|layer| layer.candidates(operation, resource.as_str()));
            let keys = stored.flat_map(|stored| stored.statement.keys());
            missing.extend(keys.filter(|key| facts.get(key.lower()).is_none()));
        }
        names(missing)
    }
}

/// Keys as they are written, each once however often it is.
fn names<'a>(keys: impl IntoIterator<Item = &'a ContextKey>) -> BTreeSet<String> {
    BTreeSet::from_iter(keys).into_iter().map(ToString::to_string).collect()
}
