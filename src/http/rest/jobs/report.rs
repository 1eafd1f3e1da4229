//! What became of a job's items, all at once.

use actix_web::{
    HttpRequest, HttpResponse, get,
    http::header::ACCEPT,
    web::{Bytes, Data},
};
use futures_util::stream;
use serde::Deserialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use utoipa::{IntoParams, ToSchema};

use super::{
    super::{
        super::{parameters::Parameters, problem::Problem},
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
    let accepts = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let csv = accepts.is_some_and(|accepts| accepts.contains("text/csv"));
    let filter = ItemFilter { state: None, unsuccessful: unsuccessful.unwrap_or(false) };
    let first = if csv { HEADER.to_owned() } else { String::new() };
    let pages = stream::unfold(Some((first, 0)), move |rest| {
        let (jobs, job) = (jobs.clone(), job.clone());
        async move {
            let (mut text, from) = rest?;
            let page = match jobs.items(&job.job_id, filter, from, PAGE).await {
                Ok(page) => page,
                // The reply breaks off, so that nobody takes it for whole.
                Err(error) => {
                    tracing::warn!(%error, "a report breaks off");
                    return Some((Err(actix_web::error::ErrorInternalServerError("")), None));
                }
            };
            for item in &page.items {
                text += &if csv { csv_line(&job, item) } else { json_line(item) };
            }
            let next = page.marker.and_then(|marker| marker.parse().ok());
            Some((Ok::<_, actix_web::Error>(Bytes::from(text)), next.map(|n| (String::new(), n))))
        }
    });
    let media = if csv { "text/csv; charset=utf-8" } else { "application/jsonl" };
    Ok(HttpResponse::Ok().content_type(media).streaming(pages))
}

fn json_line(item: &Item) -> String {
    let json = serde_json::to_string(item).unwrap_or_default();
    json + "\n"
}

const HEADER: &str = "item,accountId,region,vaultName,uploadId,state,code,creationDate,\
    archiveDescription,parts,bytes,attempts,auditEventID,endedAt,jobId,team,createdBy,\
    confirmedBy,reason\r\n";

/// A line of CSV (RFC 4180).
fn csv_line(job: &AbortJob, item: &Item) -> String {
    let time = |time: Option<OffsetDateTime>| {
        time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
    };
    let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let fields = [
        item.item.to_string(),
        item.account_id.clone(),
        item.region.clone(),
        item.vault_name.clone(),
        item.upload_id.clone(),
        item.state.as_str().to_owned(),
        text(&item.code),
        time(item.creation_date),
        harmless(&text(&item.archive_description)),
        number(item.parts),
        number(item.bytes),
        item.attempts.to_string(),
        text(&item.audit_event_id),
        time(item.ended_at),
        job.job_id.clone(),
        job.team.clone(),
        harmless(&job.created_by.subject),
        job.confirmed_by.as_ref().map(|person| harmless(&person.subject)).unwrap_or_default(),
        harmless(&text(&job.request.reason)),
    ];
    fields.map(|field| quoted(&field)).join(",") + "\r\n"
}

/// A text that no spreadsheet takes for a formula.
fn harmless(text: &str) -> String {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}

fn quoted(field: &str) -> String {
    match field.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spreadsheet_finds_no_formula_and_no_broken_line() {
        for (text, written) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-x", "'-x"),
            ("@a", "'@a"),
            ("a=1", "a=1"),
            ("", ""),
            ("=\"a\",b", "\"'=\"\"a\"\",b\""),
            ("a\nb", "\"a\nb\""),
        ] {
            assert_eq!(quoted(&harmless(text)), written, "{text}");
        }
    }
}
