//! What became of a job's items, all at once.

use actix_web::{
    HttpRequest, HttpResponse, get,
    web::{Bytes, Data},
};
use futures_util::stream;
use serde::Deserialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use utoipa::{IntoParams, ToSchema};

use super::{
    super::{
        super::{parameters::Parameters, problem::Problem},
        csv::{self, Cell, Lines},
        openapi::JobProblems,
    },
    JobPath, noted, seen,
};
use crate::{
    gateway::Call,
    jobs::{
        ItemFilter, Jobs,
        model::{AbortJob, Item},
    },
};

/// How many items are read at once.
const PAGE: usize = 500;

/// Which items a report has.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = AbortJobReportItems)]
#[allow(dead_code)]
enum Which {
    All,
    Failed,
}

/// Which items.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
struct ReportParameters {
    /// `failed`: only those that failed, were skipped, or are unknown.
    #[param(inline)]
    items: Option<Which>,
}

/// Report what became of a job's items
///
/// A line for each item: JSON or, with `Accept: text/csv`, CSV. Each names the event of the
/// audit trail that proves it. In CSV a description, a subject or a reason that a spreadsheet
/// would take for a formula begins with an apostrophe.
///
/// **Permissions**: `gateway:GetAbortJob` on `arn:aws:glacier-gateway:::job/TEAM/ID`.
#[utoipa::path(
    tag = "abort-jobs",
    operation_id = "reportAbortJob",
    params(JobPath, ReportParameters),
    responses(
        (status = 200, description = "The items.",
         content((Item = "application/jsonl"), (String = "text/csv"))),
        JobProblems,
    )
)]
#[get("/v1/abort-jobs/{jobId}/report")]
pub async fn download(
    call: Call,
    jobs: Data<Jobs>,
    parameters: Parameters,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    parameters.only(&["items"])?;
    let unsuccessful = parameters.given("items", |text| match text {
        "all" => Ok(false),
        "failed" => Ok(true),
        _ => Err("write all or failed"),
    })?;
    let job = seen(&call, &jobs, &parameters).await?;
    let job = noted(&call, Ok(job), None).await?;
    let csv = csv::is_wanted(&request);
    let filter = ItemFilter { state: None, unsuccessful: unsuccessful.unwrap_or(false) };
    let pages = stream::unfold(Some(0), move |from| {
        let (jobs, job) = (jobs.clone(), job.clone());
        async move {
            let from = from?;
            let page = match jobs.items(&job.job_id, filter, from, PAGE).await {
                Ok(page) => page,
                // The reply breaks off, so that nobody takes it for whole.
                Err(error) => {
                    tracing::warn!(%error, "a report breaks off");
                    return Some((Err(actix_web::error::ErrorInternalServerError("")), None));
                }
            };
            let text = match csv {
                true => csv_lines(&job, &page.items, from == 0),
                false => page.items.iter().flat_map(json_line).collect(),
            };
            let next = page.marker.and_then(|marker| marker.parse().ok());
            Some((Ok::<_, actix_web::Error>(Bytes::from(text)), next))
        }
    });
    let media = if csv { "text/csv; charset=utf-8" } else { "application/jsonl" };
    Ok(HttpResponse::Ok().content_type(media).streaming(pages))
}

fn json_line(item: &Item) -> Vec<u8> {
    let mut json = serde_json::to_vec(item).unwrap_or_default();
    json.push(b'\n');
    json
}

const COLUMNS: [&str; 19] = [
    "item",
    "accountId",
    "region",
    "vaultName",
    "uploadId",
    "state",
    "code",
    "creationDate",
    "archiveDescription",
    "parts",
    "bytes",
    "attempts",
    "auditEventID",
    "endedAt",
    "jobId",
    "team",
    "createdBy",
    "confirmedBy",
    "reason",
];

/// Items as lines of CSV, the first of them after a line that names the columns.
fn csv_lines(job: &AbortJob, items: &[Item], first: bool) -> Vec<u8> {
    let mut lines = if first { Lines::of(&COLUMNS) } else { Lines::new() };
    let time = |time: Option<OffsetDateTime>| time.and_then(|time| time.format(&Rfc3339).ok());
    let confirmed_by = job.confirmed_by.as_ref().map(|person| person.subject.as_str());
    for item in items {
        let (created, ended) = (time(item.creation_date), time(item.ended_at));
        lines.add([
            Cell::Number(item.item),
            Cell::Plain(&item.account_id),
            Cell::Plain(&item.region),
            Cell::Plain(&item.vault_name),
            Cell::Plain(&item.upload_id),
            Cell::Plain(item.state.as_str()),
            item.code.as_deref().into(),
            created.as_deref().into(),
            Cell::foreign(item.archive_description.as_deref()),
            item.parts.into(),
            item.bytes.into(),
            Cell::Number(item.attempts),
            item.audit_event_id.as_deref().into(),
            ended.as_deref().into(),
            Cell::Plain(&job.job_id),
            Cell::Plain(&job.team),
            Cell::Foreign(&job.created_by.subject),
            Cell::foreign(confirmed_by),
            Cell::foreign(job.request.reason.as_deref()),
        ]);
    }
    lines.into_bytes()
}
