//! Lifecycle rules: what they say, when they run, and what they found and did.

use actix_web::{
    HttpResponse, get,
    http::header::LOCATION,
    post,
    web::{Data, Json},
};
use utoipa::IntoParams;

use super::{
    super::{parameters::Parameters, problem::Problem},
    openapi::{LifecycleProblems, LifecycleRunProblems, TrailProblems},
};
use crate::{
    domain::GatewayAction,
    gateway::Call,
    jobs::model::Person,
    lifecycle::{
        Lifecycle, LifecycleError,
        model::{LifecycleRule, LifecycleRuleList, LifecycleRun},
    },
    policy::Reach,
};

/// `ruleId`
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code)]
struct RulePath {
    /// The rule's ID.
    #[param(
        rename = "ruleId",
        pattern = r"^[A-Za-z0-9_\-]{1,64}$",
        min_length = 1,
        max_length = 64,
        example = "stale-media"
    )]
    rule_id: String,
}

/// List the lifecycle rules
///
/// Each with its newest run. The rules stand in the gateway's settings; the answer holds those
/// that the caller may see.
///
/// **Permissions**: `gateway:GetLifecycleRule` on
/// `arn:aws:glacier-gateway:::lifecycle-rule/ID` of each rule that shall be listed.
#[utoipa::path(
    tag = "lifecycle-rules",
    operation_id = "listLifecycleRules",
    responses((status = 200, description = "The rules.", body = LifecycleRuleList), TrailProblems)
)]
#[get("/v1/lifecycle-rules")]
pub async fn list(
    call: Call,
    lifecycle: Data<Lifecycle>,
    parameters: Parameters,
) -> Result<Json<LifecycleRuleList>, Problem> {
    parameters.only(&[])?;
    let ids = call.rules_to_see(lifecycle.ids())?;
    let rules = noted(&call, lifecycle.list(&ids).await).await?;
    Ok(Json(LifecycleRuleList { rules }))
}

/// Show a lifecycle rule: what it says, its next run, and what the last ones found and did
///
/// **Permissions**: `gateway:GetLifecycleRule` on
/// `arn:aws:glacier-gateway:::lifecycle-rule/ID`.
#[utoipa::path(
    tag = "lifecycle-rules",
    operation_id = "getLifecycleRule",
    params(RulePath),
    responses((status = 200, description = "The rule.", body = LifecycleRule), LifecycleProblems)
)]
#[get("/v1/lifecycle-rules/{ruleId}")]
pub async fn show(
    call: Call,
    lifecycle: Data<Lifecycle>,
    parameters: Parameters,
) -> Result<Json<LifecycleRule>, Problem> {
    parameters.only(&[])?;
    let id = parameters.named("ruleId").unwrap_or_default();
    call.may(GatewayAction::GetLifecycleRule, Reach::Team(id))?;
    Ok(Json(noted(&call, lifecycle.get(id).await).await?))
}

/// Have a lifecycle rule run now
///
/// The run is one job, which acts as the gateway's own service and not as the caller. The
/// first run of a new or changed rule reports, whatever the rule's mode is. A run that succeeds
/// ends the pause of a rule.
///
/// **Permissions**: `gateway:RunLifecycleRule` on
/// `arn:aws:glacier-gateway:::lifecycle-rule/ID`.
#[utoipa::path(
    tag = "lifecycle-rules",
    operation_id = "runLifecycleRule",
    params(RulePath),
    responses(
        (status = 202, description = "The run.", body = LifecycleRun, headers(
            ("Location" = String, description = "The run's job, or the rule if it has none."),
        )),
        LifecycleRunProblems,
    )
)]
#[post("/v1/lifecycle-rules/{ruleId}/runs")]
pub async fn run(
    call: Call,
    lifecycle: Data<Lifecycle>,
    parameters: Parameters,
) -> Result<HttpResponse, Problem> {
    parameters.only(&[])?;
    let id = parameters.named("ruleId").unwrap_or_default();
    call.may(GatewayAction::RunLifecycleRule, Reach::Team(id))?;
    let principal = call.principal();
    let asked = Person { issuer: principal.issuer.clone(), subject: principal.subject.clone() };
    let run = noted(&call, lifecycle.run_now(id, asked).await).await?;
    let location = match &run.job_id {
        Some(job) => format!("/v1/abort-jobs/{job}"),
        None => format!("/v1/lifecycle-rules/{id}"),
    };
    Ok(HttpResponse::Accepted().insert_header((LOCATION, location)).json(run))
}

/// Puts what became of a request on record.
async fn noted<T>(call: &Call, result: Result<T, LifecycleError>) -> Result<T, Problem> {
    call.asked_of_jobs(None, result.as_ref().err().map(LifecycleError::code)).await?;
    Ok(result?)
}
