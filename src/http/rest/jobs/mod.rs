//! Jobs: uploads aborted in bulk.

mod change;
mod events;
mod lists;
mod manifest;
mod report;

use std::time::{Duration, Instant};

use actix_web::{
    HttpRequest, HttpResponse, get,
    http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, LOCATION},
    post, rt,
    web::{Data, Json, Payload, block},
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};
use utoipa::IntoParams;
use uuid::Uuid;

use self::manifest::{Manifest, ManifestParameters};
pub use self::{
    change::{cancel, confirm, pause, resume, retry_failed},
    events::follow,
    lists::{items, list},
    report::download,
};
use super::{
    super::{
        body,
        parameters::Parameters,
        problem::{Code, Problem},
    },
    idempotency::{self, KeyHeader},
    openapi::{JobProblems, NewJobProblems},
};
use crate::{
    domain::GatewayAction,
    gateway::{Actor, Call, IdempotencyKey},
    jobs::{
        Created, ItemFilter, JobError, Jobs,
        model::{AbortJob, Confirm, NewAbortJob},
    },
    policy::Reach,
};

/// How long a request may wait for its job, in seconds, and of how many uploads.
const LONGEST_WAIT: u64 = 60;
const MOST_AWAITED: usize = 100;
/// How often it is looked whether a job has ended that a request waits for.
const AWAITING: Duration = Duration::from_millis(50);

/// The longest body that asks for a job, in bytes: 100,000 uploads with their places.
const LONGEST: usize = 32 << 20;
/// Up to how many bytes a body counts as short, and how many that are longer are read at once.
const SHORT: usize = 256 << 10;
const MOST_LONG: usize = 2;

/// `Prefer`
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code)]
struct PreferHeader {
    /// `wait=10`: for a job of at most 100 `uploadIds` that needs no confirmation, wait up to
    /// so many seconds (at most 60) for its end, and answer with its items (200).
    #[param(rename = "Prefer", nullable = false, example = "wait=10")]
    prefer: Option<String>,
}

/// `jobId`
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code)]
struct JobPath {
    /// The job's ID.
    #[param(rename = "jobId", format = "uuid")]
    job_id: String,
}

/// Abort uploads in bulk
///
/// The job first looks for what it would abort, and aborts nothing before somebody has
/// confirmed that (`confirm`). It is durable when this is answered. An upload that somebody
/// still sends parts to is left alone: see `quietFor`.
///
/// A list of uploads may also come as CSV (`Content-Type: text/csv`): upload IDs alone, or with
/// a first line that names the columns `uploadId` and, if wanted, `accountId`, `region` and
/// `vaultName`. Further columns are left out, so that a job's report is such a list as well.
/// Query parameters say what else the body of JSON would.
///
/// **Permissions**: `gateway:CreateAbortJob` on `arn:aws:glacier-gateway:::job/TEAM/*`, and
/// `gateway:ConfirmOwnAbortJob` for `"confirm": "auto"`. What the job does needs the
/// creator's permissions, and the confirmer's, at the time when it does it:
/// `glacier:ListVaults` (if a name of a vault has wildcards) and
/// `glacier:ListMultipartUploads` to find uploads, `glacier:AbortMultipartUpload` to look at
/// one and to abort it.
#[utoipa::path(
    tag = "abort-jobs",
    operation_id = "createAbortJob",
    params(KeyHeader, PreferHeader, ManifestParameters),
    request_body = NewAbortJob,
    responses(
        (status = 200, description = "The job has ended; it comes with its items.",
         body = AbortJob),
        (status = 202, description = "The job.", body = AbortJob,
         headers(("Location" = String, description = "The job's path."))),
        NewJobProblems,
    )
)]
#[post("/v1/abort-jobs")]
pub async fn create(
    call: Call,
    jobs: Data<Jobs>,
    parameters: Parameters,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    // Before a long body is read: whoever may not ask for any job gets no further.
    call.may(GatewayAction::CreateAbortJob, Reach::Any)?;
    let given = idempotency::given(&request)?;
    let turn = turn(&request).await?;
    let longest = LONGEST.min(call.gateway.settings.limits.server.body_size);
    let body = body::read(&request, payload, longest).await?;
    let manifest = match manifest::is_csv(&request) {
        true => Some(Manifest::of(&parameters)?),
        false => parameters.only(&[]).map(|()| None)?,
    };
    let text = body.clone();
    // A long list takes longer than other requests of this thread may wait.
    let new = block(move || match manifest {
        Some(manifest) => manifest.read(&text),
        None => serde_json::from_slice(&text).map_err(|error| {
            let detail = format!("Send a body as JSON that the operation knows: {error}.");
            Problem::new(Code::MalformedRequest, detail)
        }),
    });
    let new: NewAbortJob =
        new.await.map_err(|_| Problem::new(Code::InternalError, "Try again."))??;
    let wait = wait(&request).filter(|_| {
        let named = new.select.upload_ids.as_ref();
        new.confirm == Confirm::Auto && named.is_some_and(|ids| ids.len() <= MOST_AWAITED)
    });
    // The first of several teams, if the request lacks one: it is refused for that below.
    let team = new.team.clone().or_else(|| call.principal().teams.first().cloned());
    let team = team.unwrap_or_default();
    let all = format!("{team}/*");
    call.may(GatewayAction::CreateAbortJob, Reach::Team(&all))?;
    if new.confirm == Confirm::Auto
        && !call.may_with_job(GatewayAction::ConfirmOwnAbortJob, &team, "*")
    {
        call.may(GatewayAction::ConfirmOwnAbortJob, Reach::Team(&all))?;
    }
    let actor = Actor::from(&call);
    let asked: [&[u8]; 3] = [request.query_string().as_bytes(), &body, team.as_bytes()];
    let key = given.map(|given| IdempotencyKey::new(&actor, "POST /v1/abort-jobs", &given, &asked));
    drop(body);
    // Whoever leaves meanwhile leaves a whole job behind, and its key is no longer in use.
    let maker = jobs.clone();
    let made = rt::spawn(async move {
        let _turn = turn;
        let made = async {
            let Created { job, .. } = maker.create(&actor, new, key.as_ref()).await?;
            maker.get(&job).await
        };
        noted(&call, made.await, None).await
    });
    let job = made.await.map_err(|_| Problem::new(Code::InternalError, "Try again."))??;
    match wait {
        Some(wait) => Ok(ended(&jobs, job, wait).await?),
        None => Ok(accepted(&job)),
    }
}

/// Waits for a turn to send a long list, since each takes much memory.
async fn turn(request: &HttpRequest) -> Result<Option<SemaphorePermit<'static>>, Problem> {
    static LONG: Semaphore = Semaphore::const_new(MOST_LONG);
    let length = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if length.and_then(|text| text.parse().ok()).is_some_and(|length: usize| length <= SHORT) {
        return Ok(None);
    }
    match timeout(body::time_limit(request), LONG.acquire()).await {
        Ok(Ok(turn)) => Ok(Some(turn)),
        _ => Err(Problem::new(
            Code::RequestTimeout,
            "Others send long lists of uploads just now: send yours again.",
        )),
    }
}

/// Waits for the end of a job, and gives it with its items. If it takes too long, it goes on.
async fn ended(jobs: &Jobs, mut job: AbortJob, wait: Duration) -> Result<HttpResponse, Problem> {
    let deadline = Instant::now() + wait;
    let mut response = loop {
        if job.state.is_final() {
            let page = jobs.items(&job.job_id, ItemFilter::default(), 0, MOST_AWAITED).await?;
            job.items = Some(page.items);
            break HttpResponse::Ok().json(&job);
        }
        if Instant::now() >= deadline {
            break accepted(&job);
        }
        tokio::time::sleep(AWAITING).await;
        job = jobs.get(&job.job_id).await?;
    };
    if let Ok(applied) = HeaderValue::try_from(format!("wait={}", wait.as_secs())) {
        response.headers_mut().insert(HeaderName::from_static("preference-applied"), applied);
    }
    Ok(response)
}

/// How long the request prefers to wait (RFC 7240, section 4.3).
fn wait(request: &HttpRequest) -> Option<Duration> {
    let prefer = request.headers().get_all("prefer").filter_map(|value| value.to_str().ok());
    let seconds = prefer
        .flat_map(|value| value.split([',', ';']))
        .find_map(|preference| preference.trim().strip_prefix("wait=")?.parse::<u64>().ok())?;
    Some(Duration::from_secs(seconds.min(LONGEST_WAIT)))
}

/// The job as an answer that says that it goes on.
fn accepted(job: &AbortJob) -> HttpResponse {
    let location = format!("/v1/abort-jobs/{}", job.job_id);
    HttpResponse::Accepted().insert_header((LOCATION, location)).json(job)
}

/// Show a job
///
/// **Permissions**: `gateway:GetAbortJob` on `arn:aws:glacier-gateway:::job/TEAM/ID`.
#[utoipa::path(
    tag = "abort-jobs",
    operation_id = "getAbortJob",
    params(JobPath),
    responses((status = 200, description = "The job.", body = AbortJob), JobProblems)
)]
#[get("/v1/abort-jobs/{jobId}")]
pub async fn show(
    call: Call,
    jobs: Data<Jobs>,
    parameters: Parameters,
) -> Result<Json<AbortJob>, Problem> {
    parameters.only(&[])?;
    let job = seen(&call, &jobs, &parameters).await?;
    Ok(Json(noted(&call, Ok(job), None).await?))
}

/// The job that the path names, if the caller may see it. Whoever may not does not learn that
/// there is one.
async fn seen(call: &Call, jobs: &Jobs, parameters: &Parameters) -> Result<AbortJob, Problem> {
    found(call, jobs, parameters, |_| GatewayAction::GetAbortJob).await
}

/// The job that the path names, if the caller may do `action` with it.
async fn found(
    call: &Call,
    jobs: &Jobs,
    parameters: &Parameters,
    action: impl Fn(&AbortJob) -> GatewayAction,
) -> Result<AbortJob, Problem> {
    call.may(GatewayAction::GetAbortJob, Reach::Any)?;
    let id = parameters.named("jobId").and_then(|text| Uuid::try_parse(text).ok());
    let id = id.ok_or_else(|| Problem::new(Code::InvalidParameter, "jobId: write a UUID."))?;
    let job = match jobs.get(&id.to_string()).await {
        Ok(job) => job,
        Err(error) => return noted(call, Err(error), Some(&id.to_string())).await,
    };
    let action = action(&job);
    let one = format!("{}/{}", job.team, job.job_id);
    if let Err(refusal) = call.may(action, Reach::Team(&one)) {
        return if call.may_with_job(GatewayAction::GetAbortJob, &job.team, &job.job_id) {
            Err(refusal.into())
        } else {
            noted(call, Err(JobError::NotFound), Some(&job.job_id)).await
        };
    }
    Ok(job)
}

/// Puts what became of a request on record.
async fn noted(
    call: &Call,
    result: Result<AbortJob, JobError>,
    about: Option<&str>,
) -> Result<AbortJob, Problem> {
    let about = about.or(result.as_ref().ok().map(|job| job.job_id.as_str()));
    call.asked_of_jobs(about, result.as_ref().err().map(JobError::code)).await?;
    Ok(result?)
}
