//! The batch form of a simulation: one case of documents and a request a line.
//!
//! Documents are held to IAM's grammar only, not to what the gateway asks at
//! load, and the context is taken as given. The form is stable: other programs
//! hold the engine against theirs with it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use serde_with::rust::maps_duplicate_key_is_error;

use super::context::{GivenKeys, Simulated};
use super::decision::Layer;
use super::rule::{self, Found, Verdict};
use super::simulate::Decision;
use super::statement::Statement;
use crate::policy::language::document::Effect;
use crate::policy::language::reader;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    policies: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    guardrails: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    vault_policies: Option<Vec<&'a RawValue>>,
    request: CaseRequest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseRequest {
    principal: String,
    action: String,
    resource: String,
    context: Option<CaseContext>,
}

#[derive(Clone, Deserialize)]
struct CaseContext(#[serde(with = "maps_duplicate_key_is_error")] BTreeMap<String, Value>);

/// What is told of a line that is no case otherwise.
#[derive(Default, Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Answer<'a> {
    id: Option<&'a RawValue>,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Decided { decision: Decision, matched: Vec<MatchedStatement> },
    Refused { error: String },
}

/// A statement that decided: every Deny that applies, or every Allow that does
/// when the request is allowed.
#[derive(Clone, Serialize)]
struct MatchedStatement {
    layer: Layer,
    document: usize,
    statement: usize,
    sid: Option<String>,
}

/// Answers one line, `{"id", "policies", "guardrails"?, "vaultPolicies"?,
/// "request": {"principal", "action", "resource", "context"}}`, with `{"id",
/// "decision", "matched"}`, or `{"id", "error"}` where a document breaks IAM's
/// grammar or the line is no case. Lists that are absent are empty, and no
/// guardrails at all limit nothing. Any other member is an error.
pub fn simulate_line(line: &[u8]) -> String {
    let (id, outcome) = match serde_json::from_slice::<Case<'_>>(line) {
        Ok(case) => {
            let outcome = simulate(&case).unwrap_or_else(|error| Outcome::Refused { error });
            (case.id, outcome)
        }
        Err(error) => {
            let Named { id } = serde_json::from_slice(line).unwrap_or_default();
            let error = format!("this line is no case: {error}");
            (id, Outcome::Refused { error })
        }
    };
    // A value of strings and JSON values always serialises.
    serde_json::to_string(&Answer { id, outcome }).unwrap_or_default()
}

fn simulate(case: &Case<'_>) -> Result<Outcome, String> {
    let request = &case.request;
    let action = request.action.to_ascii_lowercase();
    let facts = Simulated {
        caller: request.principal.clone(),
        keys: GivenKeys::new(request.context.clone().map(|given| given.0).unwrap_or_default())
            .map_err(|error| format!("context: {error}"))?,
    };
    let (mut allows, mut denies) = (Vec::new(), Vec::new());
    let mut find = |layer: Layer,
                    documents: &Option<Vec<&RawValue>>|
     -> Result<Found<()>, String> {
        let (allows_before, denies_before) = (allows.len(), denies.len());
        for (document, text) in documents.iter().flatten().enumerate() {
            for (index, statement) in compile(layer, text.get())
                .map_err(|error| format!("{} {document}: {error}", name(layer)))?
                .into_iter()
                .enumerate()
            {
                if statement.covers_action(&action) && statement.applies(&request.resource, &facts)
                {
                    let sid = statement.sid.as_deref().map(str::to_owned);
                    let matched = MatchedStatement { layer, document, statement: index, sid };
                    match statement.effect {
                        Effect::Allow => allows.push(matched),
                        Effect::Deny => denies.push(matched),
                    }
                }
            }
        }
        Ok(match (denies.len() > denies_before, allows.len() > allows_before) {
            (true, _) => Found::Deny(()),
            (_, true) => Found::Allow(()),
            _ => Found::Nothing,
        })
    };
    let own = find(Layer::Policies, &case.policies)?;
    let guardrails = find(Layer::Guardrails, &case.guardrails)?;
    let guardrails =
        case.guardrails.as_ref().filter(|documents| !documents.is_empty()).map(|_| guardrails);
    let vaults = find(Layer::VaultPolicies, &case.vault_policies)?;
    let (decision, matched) = match rule::judge(own, guardrails, vaults) {
        Verdict::Deny(()) => (Decision::ExplicitDeny, denies),
        Verdict::Allow(()) => (Decision::Allowed, allows),
        Verdict::Limited | Verdict::Nothing => (Decision::ImplicitDeny, Vec::new()),
    };
    Ok(Outcome::Decided { decision, matched })
}

fn compile(layer: Layer, text: &str) -> Result<Vec<Statement>, String> {
    reader::parse(text, layer.kind())
        .and_then(|document| Statement::compile(&document))
        .map_err(|findings| findings.first().map(|p| p.message.clone()).unwrap_or_default())
}

fn name(layer: Layer) -> &'static str {
    match layer {
        Layer::Policies => "policies",
        Layer::Guardrails => "guardrails",
        Layer::VaultPolicies => "vaultPolicies",
    }
}
