//! A job's changes as they happen: server-sent events (WHATWG HTML, section 9.2).

use std::time::{Duration, Instant};

use actix_web::{
    HttpRequest, HttpResponse, get,
    http::header::{CACHE_CONTROL, ContentType},
    web::{Bytes, Data},
};
use futures_util::stream;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use super::{
    super::{
        super::{parameters::Parameters, problem::Problem},
        openapi::JobProblems,
    },
    JobPath, noted, seen,
};
use crate::{
    domain::{GatewayAction, Principal},
    gateway::Call,
    jobs::{Jobs, model::AbortJob},
};

/// How often it is looked for a change. The store is asked, so that it does not matter which
/// replica works for the job.
const LOOK: Duration = Duration::from_millis(500);
/// How long a connection is silent at most: shorter than proxies wait.
const SILENCE: Duration = Duration::from_secs(15);
/// How long a client waits before it comes again, in milliseconds.
const RETRY: u32 = 2000;

/// `Last-Event-ID`
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code)]
struct LastEvent {
    /// The revision of the job that the client has seen.
    #[param(rename = "Last-Event-ID", nullable = false, example = "17")]
    last_event_id: Option<String>,
}

/// An event of a stream.
#[derive(ToSchema)]
#[schema(as = AbortJobEvent)]
#[allow(dead_code)]
struct JobEvent {
    /// The job's revision.
    #[schema(nullable = false)]
    id: Option<String>,
    /// `job`.
    #[schema(nullable = false)]
    event: Option<String>,
    /// The job, as JSON.
    data: String,
}

/// Follow a job
///
/// Server-sent events of the type `job`, each with the job as JSON and its `revision` as ID.
/// The stream ends when the job has ended, when the caller's token ends or is revoked, or
/// when the gateway stops; a client may then come again with `Last-Event-ID`, to any replica.
/// If there is nothing more to tell, the answer is 204.
///
/// **Permissions**: `gateway:GetAbortJob` on `arn:aws:glacier-gateway:::job/TEAM/ID`.
#[utoipa::path(
    tag = "abort-jobs",
    operation_id = "followAbortJob",
    params(JobPath, LastEvent),
    responses(
        (status = 200, description = "The job's changes.", body = JobEvent,
         content_type = "text/event-stream"),
        (status = 204, description = "The job has ended, and the client knows."),
        JobProblems,
    )
)]
#[get("/v1/abort-jobs/{jobId}/events")]
pub async fn follow(
    call: Call,
    jobs: Data<Jobs>,
    parameters: Parameters,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    parameters.only(&[])?;
    let known = request.headers().get("last-event-id");
    let known = known.and_then(|id| id.to_str().ok()?.parse::<i64>().ok());
    let job = seen(&call, &jobs, &parameters).await?;
    let job = noted(&call, Ok(job), None).await?;
    if job.state.is_final() && known == Some(job.revision) {
        return Ok(HttpResponse::NoContent().finish());
    }
    let principal = call.principal();
    let ends = principal.claims.get("exp").and_then(serde_json::Value::as_f64);
    let follower = Follower {
        call,
        jobs,
        id: job.job_id.clone(),
        team: job.team.clone(),
        ends,
        known,
        next: Some(job),
        told: Instant::now(),
        is_first: true,
    };
    let stream = stream::unfold(Some(follower), |follower| async {
        let (bytes, follower) = follower?.tell().await?;
        Some((Ok::<_, actix_web::Error>(bytes), follower))
    });
    Ok(HttpResponse::Ok()
        .content_type(ContentType(mime()))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(stream))
}

fn mime() -> actix_web::mime::Mime {
    actix_web::mime::TEXT_EVENT_STREAM
}

/// A client that follows a job.
struct Follower {
    call: Call,
    jobs: Data<Jobs>,
    id: String,
    team: String,
    /// When the caller's token ends, in seconds since 1970.
    ends: Option<f64>,
    /// The revision that the client knows.
    known: Option<i64>,
    /// What was read and not told.
    next: Option<AbortJob>,
    told: Instant,
    is_first: bool,
}

impl Follower {
    /// What is to be told next, and who goes on; `None` at the end.
    async fn tell(mut self) -> Option<(Bytes, Option<Self>)> {
        if std::mem::take(&mut self.is_first) {
            return Some((format!("retry: {RETRY}\n\n").into(), Some(self)));
        }
        loop {
            if !self.may_go_on() {
                return None;
            }
            if let Some(job) = self.next.take()
                && self.known != Some(job.revision)
            {
                self.known = Some(job.revision);
                self.told = Instant::now();
                let json = serde_json::to_string(&job).ok()?;
                let event = format!("id: {}\nevent: job\ndata: {json}\n\n", job.revision);
                return Some((event.into(), (!job.state.is_final()).then_some(self)));
            }
            if self.told.elapsed() >= SILENCE {
                self.told = Instant::now();
                return Some((": \n\n".into(), Some(self)));
            }
            tokio::time::sleep(LOOK).await;
            // A store that does not answer now may do so later.
            self.next = self.jobs.get(&self.id).await.ok();
        }
    }

    fn may_go_on(&self) -> bool {
        let gateway = &self.call.gateway;
        let principal: &Principal = self.call.principal();
        let now = OffsetDateTime::now_utc().unix_timestamp_nanos() as f64 / 1e9;
        self.ends.is_none_or(|ends| now < ends)
            && gateway.readiness().is_ok()
            && gateway.authenticator.renewed(principal).is_ok()
            && self.call.may_still_with_job(GatewayAction::GetAbortJob, &self.team, &self.id)
    }
}
