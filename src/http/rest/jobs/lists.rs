//! Lists of jobs and of their items.

use actix_web::{
    get,
    web::{Data, Json},
};
use utoipa::IntoParams;
use uuid::Uuid;

use super::{
    super::{
        super::{parameters::Parameters, problem::Problem},
        openapi::{JobProblems, TrailProblems},
    },
    JobPath, seen,
};
use crate::{
    domain::{GatewayAction, check_team},
    gateway::Call,
    jobs::{
        ItemFilter, JobError, Jobs, ListFilter,
        model::{ItemPage, ItemState, JobPage, State},
    },
    policy::Reach,
};

/// The most jobs of a page, and how many one has if the request does not say.
const JOBS_PAGE: i32 = 100;
const USUAL_JOBS: i32 = 20;
/// The most items of a page, and how many one has if the request does not say.
const ITEMS_PAGE: i32 = 1_000;
const USUAL_ITEMS: i32 = 100;

/// Which jobs.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
struct ListParameters {
    /// Jobs of this team.
    #[param(pattern = r"^[A-Za-z0-9_+=,@:\-][A-Za-z0-9_+=,.@:\-]{0,127}$", example = "media")]
    team: Option<String>,
    /// Jobs in this state.
    state: Option<State>,
    /// At most this many jobs.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<i32>,
    /// The `marker` of the page before.
    #[param(format = "uuid")]
    marker: Option<String>,
}

/// Which items.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
struct ItemParameters {
    /// Items in this state.
    state: Option<ItemState>,
    /// At most this many items.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i32>,
    /// The `marker` of the page before.
    #[param(pattern = "^[0-9]{1,7}$")]
    marker: Option<String>,
}

/// List jobs, the newest first
///
/// **Permissions**: `gateway:ListAbortJobs` on `arn:aws:glacier-gateway:::job/TEAM/*`.
/// Without `team`, the jobs of all teams are listed for which the caller has that permission.
#[utoipa::path(
    tag = "abort-jobs",
    operation_id = "listAbortJobs",
    params(ListParameters),
    responses((status = 200, description = "A page of jobs.", body = JobPage), TrailProblems)
)]
#[get("/v1/abort-jobs")]
pub async fn list(
    call: Call,
    jobs: Data<Jobs>,
    parameters: Parameters,
) -> Result<Json<JobPage>, Problem> {
    parameters.only(&["team", "state", "limit", "marker"])?;
    let team = parameters.given("team", |team| check_team(team).map(|()| team.to_owned()))?;
    let state =
        parameters.given("state", |name| State::named(name).ok_or("write a job's state"))?;
    let marker = parameters.given("marker", Uuid::try_parse)?.map(|id| id.to_string());
    let limit = parameters.page(JOBS_PAGE)?.limit.unwrap_or(USUAL_JOBS);
    let action = GatewayAction::ListAbortJobs;
    match &team {
        Some(team) => call.may(action, Reach::Team(&format!("{team}/*")))?,
        None => call.may(action, Reach::Any)?,
    }
    let listed = async {
        let teams = match team {
            Some(team) => vec![team],
            None => {
                let mut teams = jobs.teams().await?;
                teams.retain(|team| call.may_with_job(action, team, "*"));
                teams
            }
        };
        let filter = ListFilter { teams, state };
        jobs.list(&filter, marker.as_deref(), usize::try_from(limit).unwrap_or(1)).await
    };
    let listed = listed.await;
    call.asked_of_jobs(None, listed.as_ref().err().map(JobError::code)).await?;
    Ok(Json(listed?))
}

/// List a job's items
///
/// **Permissions**: `gateway:GetAbortJob` on `arn:aws:glacier-gateway:::job/TEAM/ID`.
#[utoipa::path(
    tag = "abort-jobs",
    operation_id = "listAbortJobItems",
    params(JobPath, ItemParameters),
    responses((status = 200, description = "A page of items.", body = ItemPage), JobProblems)
)]
#[get("/v1/abort-jobs/{jobId}/items")]
pub async fn items(
    call: Call,
    jobs: Data<Jobs>,
    parameters: Parameters,
) -> Result<Json<ItemPage>, Problem> {
    parameters.only(&["state", "limit", "marker"])?;
    let state =
        parameters.given("state", |name| ItemState::named(name).ok_or("write an item's state"))?;
    let from = parameters.given("marker", |text| {
        text.parse::<u32>().map_err(|_| "send the marker of the page before as it was")
    })?;
    let limit = parameters.page(ITEMS_PAGE)?.limit.unwrap_or(USUAL_ITEMS);
    let job = seen(&call, &jobs, &parameters).await?;
    let filter = ItemFilter { state, unsuccessful: false };
    let (from, limit) = (from.unwrap_or(0).into(), usize::try_from(limit).unwrap_or(1));
    let listed = jobs.items(&job.job_id, filter, from, limit).await;
    call.asked_of_jobs(Some(&job.job_id), listed.as_ref().err().map(JobError::code)).await?;
    Ok(Json(listed?))
}
