//! What is done with a job: confirm it, pause it, cancel it.

use actix_web::{
    HttpRequest, HttpResponse, post,
    web::{Data, Payload},
};
use serde::de::DeserializeOwned;

use super::{
    super::{
        super::{
            body,
            parameters::Parameters,
            problem::{Code, Problem},
        },
        openapi::JobChangeProblems,
    },
    JobPath, accepted, found, noted,
};
use crate::{
    domain::GatewayAction,
    gateway::{Actor, Call},
    jobs::{
        Control, Jobs,
        model::{AbortJob, ConfirmAbortJob, PauseAbortJob},
    },
};

/// The longest body, in bytes.
const LONGEST: usize = 4096;

/// Let a job abort what it has found
///
/// The token stands for exactly the uploads that the job has found. Of those the job aborts
/// what creator and confirmer may abort, and nothing that has come since.
///
/// **Permissions**: `gateway:ConfirmAbortJob` on `arn:aws:glacier-gateway:::job/TEAM/ID`, or
/// `gateway:ConfirmOwnAbortJob` if the caller has asked for the job.
#[utoipa::path(
    tag = "abort-jobs",
    operation_id = "confirmAbortJob",
    params(JobPath),
    request_body = ConfirmAbortJob,
    responses((status = 202, description = "The job.", body = AbortJob), JobChangeProblems)
)]
#[post("/v1/abort-jobs/{jobId}/confirm")]
pub async fn confirm(
    call: Call,
    jobs: Data<Jobs>,
    parameters: Parameters,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    parameters.only(&[])?;
    let ConfirmAbortJob { selection_token } = json(&request, payload).await?;
    let principal = call.principal();
    let action = |job: &AbortJob| {
        let creator = &job.created_by;
        match creator.issuer == principal.issuer && creator.subject == principal.subject {
            true => GatewayAction::ConfirmOwnAbortJob,
            false => GatewayAction::ConfirmAbortJob,
        }
    };
    let job = found(&call, &jobs, &parameters, action).await?;
    let confirmer = Actor::from(&call);
    done(&call, &jobs, job, Control::Confirm { token: selection_token, confirmer }).await
}

/// Pause a job
///
/// Calls of Glacier that are under way end; the job is `pausing` until then. A job that is
/// paused already gets another `until`.
///
/// **Permissions**: `gateway:ControlAbortJob` on `arn:aws:glacier-gateway:::job/TEAM/ID`.
#[utoipa::path(
    tag = "abort-jobs",
    operation_id = "pauseAbortJob",
    params(JobPath),
    request_body = Option<PauseAbortJob>,
    responses((status = 202, description = "The job.", body = AbortJob), JobChangeProblems)
)]
#[post("/v1/abort-jobs/{jobId}/pause")]
pub async fn pause(
    call: Call,
    jobs: Data<Jobs>,
    parameters: Parameters,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    parameters.only(&[])?;
    let PauseAbortJob { until } = json(&request, payload).await?;
    control(&call, &jobs, &parameters, Control::Pause(until)).await
}

/// Let a paused job go on
///
/// **Permissions**: `gateway:ControlAbortJob` on `arn:aws:glacier-gateway:::job/TEAM/ID`.
#[utoipa::path(
    tag = "abort-jobs",
    operation_id = "resumeAbortJob",
    params(JobPath),
    responses((status = 202, description = "The job.", body = AbortJob), JobChangeProblems)
)]
#[post("/v1/abort-jobs/{jobId}/resume")]
pub async fn resume(
    call: Call,
    jobs: Data<Jobs>,
    parameters: Parameters,
) -> Result<HttpResponse, Problem> {
    parameters.only(&[])?;
    control(&call, &jobs, &parameters, Control::Resume).await
}

/// End a job before its items have ended
///
/// Calls of Glacier that are under way end; the job is `cancelling` until then.
///
/// **Permissions**: `gateway:ControlAbortJob` on `arn:aws:glacier-gateway:::job/TEAM/ID`.
#[utoipa::path(
    tag = "abort-jobs",
    operation_id = "cancelAbortJob",
    params(JobPath),
    responses((status = 202, description = "The job.", body = AbortJob), JobChangeProblems)
)]
#[post("/v1/abort-jobs/{jobId}/cancel")]
pub async fn cancel(
    call: Call,
    jobs: Data<Jobs>,
    parameters: Parameters,
) -> Result<HttpResponse, Problem> {
    parameters.only(&[])?;
    control(&call, &jobs, &parameters, Control::Cancel).await
}

/// Try again what has failed
///
/// Of a job that is completed, has failed or is paused: items that failed or whose outcome is
/// unknown are tried again, and the job goes on.
///
/// **Permissions**: `gateway:ControlAbortJob` on `arn:aws:glacier-gateway:::job/TEAM/ID`.
#[utoipa::path(
    tag = "abort-jobs",
    operation_id = "retryFailedAbortJob",
    params(JobPath),
    responses((status = 202, description = "The job.", body = AbortJob), JobChangeProblems)
)]
#[post("/v1/abort-jobs/{jobId}/retry-failed")]
pub async fn retry_failed(
    call: Call,
    jobs: Data<Jobs>,
    parameters: Parameters,
) -> Result<HttpResponse, Problem> {
    parameters.only(&[])?;
    control(&call, &jobs, &parameters, Control::RetryFailed).await
}

async fn control(
    call: &Call,
    jobs: &Jobs,
    parameters: &Parameters,
    control: Control,
) -> Result<HttpResponse, Problem> {
    let job = found(call, jobs, parameters, |_| GatewayAction::ControlAbortJob).await?;
    done(call, jobs, job, control).await
}

async fn done(
    call: &Call,
    jobs: &Jobs,
    job: AbortJob,
    control: Control,
) -> Result<HttpResponse, Problem> {
    let changed = jobs.control(&job.job_id, control).await;
    Ok(accepted(&noted(call, changed, Some(&job.job_id)).await?))
}

/// Reads a body; an empty one is an empty object.
async fn json<T: DeserializeOwned>(request: &HttpRequest, payload: Payload) -> Result<T, Problem> {
    let body = body::read(request, payload, LONGEST).await?;
    let body = if body.is_empty() { b"{}" } else { &body[..] };
    serde_json::from_slice(body).map_err(|error| {
        let detail = format!("Send a body as JSON that the operation knows: {error}.");
        Problem::new(Code::MalformedRequest, detail)
    })
}
