//! Access: who the caller is, what policies say to them, and what they would
//! decide.

use std::collections::BTreeMap;

use actix_web::{get, post, web::Json};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    super::{
        body::JsonBody,
        parameters::Parameters,
        problem::{Code, Problem},
    },
    openapi::{BodyProblems, LocalProblems},
};
use crate::{
    domain::{GatewayAction, Operation, Principal, check_team},
    gateway::Call,
    policy::{Access, Reach, Resource, Simulation},
};

/// The most questions one simulation answers.
const MAX_QUESTIONS: usize = 200;

/// The caller, and the statements that concern them.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Caller {
    /// The issuer that vouches for the caller.
    issuer: String,
    /// The caller's name at that issuer.
    subject: String,
    /// The caller's teams.
    teams: Vec<String>,
    /// The caller's ARN as a member of each team, for vault policies.
    principal_arns: Vec<String>,
    /// The statements of the teams' policies, the guardrails and the vault
    /// policies that concern the caller.
    statements: Vec<Access>,
}

/// Who am I, and what may I do?
///
/// Answers with the statements as they are written; a request is allowed if one
/// of them allows it, none denies it, and the guardrails, where there are any,
/// allow it too. To ask about one vault, simulate.
///
/// **Permissions**: none beyond a token.
#[utoipa::path(
    tag = "access",
    operation_id = "getAccess",
    responses((status = 200, description = "The caller.", body = Caller), LocalProblems)
)]
#[get("/v1/access")]
pub async fn show(call: Call, parameters: Parameters) -> Result<Json<Caller>, Problem> {
    parameters.only(&[])?;
    let Principal { issuer, subject, teams, .. } = call.principal();
    Ok(Json(Caller {
        issuer: issuer.clone(),
        subject: subject.clone(),
        teams: teams.clone(),
        principal_arns: teams.iter().map(|team| call.principal().arn(team)).collect(),
        statements: call.access(),
    }))
}

/// What to simulate.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Question {
    /// The team whose member is simulated; the caller with all teams by default.
    team: Option<String>,
    /// The simulated member's name; the caller's by default.
    subject: Option<String>,
    /// The actions, such as `glacier:AbortMultipartUpload`; all five by default.
    #[serde(default)]
    #[schema(max_items = 5)]
    actions: Vec<String>,
    /// The vaults' ARNs. `ListVaults` is asked of their accounts.
    #[schema(min_items = 1, max_items = 40)]
    resources: Vec<String>,
    /// Context keys and their values: a string, number, boolean or list of
    /// these, or `null` for a request without the key. They go before what the
    /// gateway knows of this request.
    #[serde(default, with = "serde_with::rust::maps_duplicate_key_is_error")]
    context: BTreeMap<String, Value>,
}

/// What the policies would decide.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// One for each action and resource.
    results: Vec<Simulation>,
}

/// Ask what the policies would decide, as with IAM's SimulatePrincipalPolicy
///
/// Nothing is forwarded to Glacier. Keys that policies read and that have no
/// value, such as an upload's age, are listed as missing.
///
/// **Permissions**: none for the caller's own teams; for another team
/// `gateway:SimulateAccess` on `arn:aws:glacier-gateway:::team/TEAM`.
#[utoipa::path(
    tag = "access",
    operation_id = "simulateAccess",
    request_body = Question,
    responses((status = 200, description = "The decisions.", body = Answer), BodyProblems)
)]
#[post("/v1/access/simulate")]
pub async fn simulate(
    call: Call,
    parameters: Parameters,
    JsonBody(question): JsonBody<Question>,
) -> Result<Json<Answer>, Problem> {
    parameters.only(&[])?;
    let Question { team, subject, actions, resources, context } = question;
    let operations = operations(&actions)?;
    if resources.is_empty() || operations.len() * resources.len() > MAX_QUESTIONS {
        let detail = format!("Ask about 1 to {MAX_QUESTIONS} pairs of an action and a resource.");
        return Err(Problem::new(Code::InvalidParameter, detail));
    }
    let mut questions = Vec::new();
    for text in &resources {
        let vault: Resource = text.parse().map_err(|error| {
            Problem::new(Code::InvalidParameter, format!("\"resources\": {error}."))
        })?;
        for operation in &operations {
            questions.push((*operation, vault.for_operation(*operation)));
        }
    }
    let principal = simulated(&call, team, subject)?;
    let results = call
        .simulate(&principal, questions, context)
        .map_err(|error| Problem::new(Code::InvalidParameter, format!("\"context\": {error}.")))?;
    Ok(Json(Answer { results }))
}

fn operations(actions: &[String]) -> Result<Vec<Operation>, Problem> {
    if actions.is_empty() {
        return Ok(Operation::ALL.to_vec());
    }
    let find = |action: &String| {
        let named = |operation: &Operation| operation.action().eq_ignore_ascii_case(action);
        Operation::ALL.into_iter().find(named)
    };
    actions.iter().map(find).collect::<Option<_>>().ok_or_else(|| {
        let known = Operation::ALL.map(Operation::action).join(", ");
        Problem::new(Code::InvalidParameter, format!("\"actions\" may hold {known}."))
    })
}

/// The principal of a simulation: the caller, or another of whom only the team and
/// the name are known, no tags and no claims.
fn simulated(
    call: &Call,
    team: Option<String>,
    subject: Option<String>,
) -> Result<Principal, Problem> {
    let caller = call.principal();
    let mut principal = caller.clone();
    let mut other = false;
    if let Some(team) = team {
        check_team(&team)
            .map_err(|error| Problem::new(Code::InvalidParameter, format!("\"team\": {error}.")))?;
        other = !caller.teams.contains(&team);
        if other {
            call.may(GatewayAction::SimulateAccess, Reach::Team(&team))?;
        }
        principal.teams = vec![team];
    }
    if let Some(subject) = subject {
        other |= subject != caller.subject;
        principal.subject = subject;
    }
    if other {
        principal.tags.clear();
        principal.claims.clear();
    }
    Ok(principal)
}
