//! The audit trail: what was decided and done, and the log that proves it.

mod model;

use actix_web::{
    HttpResponse, get,
    http::header::{CACHE_CONTROL, ContentType},
    web::Json,
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use utoipa::IntoParams;
use uuid::Uuid;

use self::model::{EventDetails, EventPage};
use super::{
    super::{
        parameters::Parameters,
        problem::{Code, NO_LOG, Problem},
    },
    openapi::{EventProblems, LogProblems, TrailProblems},
};
use crate::{
    audit::{
        log::{LogName, LogPath},
        query::{Filter, Marker},
    },
    domain::{UploadId, VaultName, check_team},
    gateway::Call,
};

/// The most events of a page.
const EVENTS_PAGE: i32 = 1_000;
/// How many events a page has if the request does not say.
const USUAL_PAGE: i32 = 100;
/// The longest text of a filter, in characters.
const LONGEST: usize = 1_024;
/// A full tile never changes (tlog-tiles, "Tiles"). The answer is for the caller alone.
const IMMUTABLE: &str = "private, max-age=31536000, immutable";

/// Which events.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
struct EventParameters {
    /// Events that began at this time or later (RFC 3339).
    #[param(format = DateTime, example = "2026-11-01T00:00:00Z")]
    from: Option<String>,
    /// Events that began earlier than this (RFC 3339).
    #[param(format = DateTime, example = "2026-12-01T00:00:00Z")]
    to: Option<String>,
    /// Events of this team.
    #[param(pattern = r"^[A-Za-z0-9_+=,@:\-][A-Za-z0-9_+=,.@:\-]{0,127}$", example = "media")]
    team: Option<String>,
    /// Events of callers with this name at their issuer.
    #[param(min_length = 1, max_length = 1024)]
    subject: Option<String>,
    /// Events about a vault of this name, in any region.
    #[param(pattern = r"^(?!\.{1,2}$)[A-Za-z0-9_.\-]{1,255}$", example = "photos")]
    vault: Option<String>,
    /// Events about this upload.
    #[param(pattern = r"^[A-Za-z0-9_\-]{1,256}$")]
    upload: Option<String>,
    /// Events of this action, with its service's prefix or without.
    #[param(pattern = "^[A-Za-z:]{1,64}$", example = "glacier:AbortMultipartUpload")]
    action: Option<String>,
    /// Events that the policies decided so.
    #[param(pattern = "^(allowed|explicitDeny|implicitDeny)$", example = "explicitDeny")]
    decision: Option<String>,
    /// Events with this outcome: `aborted`, `gone`, `refused-by-glacier`, `failed`,
    /// `not-attempted`, `unknown`; of reads also `ok` and `client-left`.
    #[param(pattern = r"^[a-z\-]{1,64}$", example = "unknown")]
    outcome: Option<String>,
    /// Events of requests with this `X-Request-Id`.
    #[param(rename = "requestId", pattern = r"^[A-Za-z0-9\-_.:/=+]{1,128}$")]
    request_id: Option<String>,
    /// At most this many events; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i32>,
    /// The `marker` of the page before.
    #[param(pattern = r"^[A-Za-z0-9_\-]{11}$")]
    marker: Option<String>,
}

/// `eventId`
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code)]
struct EventPath {
    /// The gateway's own ID of the event.
    #[param(rename = "eventId", format = "uuid", example = "019aae2e-1f5d-7c3e-9d56-0f8d1f6f2b1a")]
    event_id: String,
}

/// `month`
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code)]
struct MonthPath {
    /// The month, in UTC; `2026-11.2` is a second log of the month, which there is only if
    /// the first was abandoned or a clock was set back.
    #[param(
        pattern = r"^[0-9]{4}-(0[1-9]|1[0-2])(\.([2-9]|[1-9][0-9]{1,8}))?$",
        example = "2026-11"
    )]
    month: String,
}

/// `tile`
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code)]
struct TilePath {
    /// A level from 0 to 63, or `entries`; the index, in groups of three digits, each but
    /// the last after an `x`; and `.p/WIDTH` of a partial tile. Its slashes may be encoded.
    #[param(
        pattern = r"^([0-9]{1,2}|entries)/(x[0-9]{3}/){0,6}[0-9]{3}(\.p/[0-9]{1,3})?$",
        example = "0/x001/234.p/17"
    )]
    tile: String,
}

/// List events of the audit trail
///
/// In the order in which they were recorded, which is nearly that of time. A change
/// comes with its outcome if there is one. A request reads a bounded part of the trail:
/// a page may have fewer events than `limit`, or none, and yet not be the last. The last
/// page has no `marker`. Each request is itself recorded, so give `to` if a listing
/// shall end.
///
/// **Permissions**: `gateway:ReadAudit` on `arn:aws:glacier-gateway:::audit/TEAM` for
/// the `team` asked for. Without `team`, the events of all teams are listed for which
/// the caller has that permission. Events of no team, such as the beginning of a log,
/// need it on `audit/*`.
#[utoipa::path(
    tag = "audit",
    operation_id = "listAuditEvents",
    params(EventParameters),
    responses((status = 200, description = "A page of events.", body = EventPage), TrailProblems)
)]
#[get("/v1/audit-events")]
pub async fn list(call: Call, parameters: Parameters) -> Result<Json<EventPage>, Problem> {
    parameters.only(&[
        "from",
        "to",
        "team",
        "subject",
        "vault",
        "upload",
        "action",
        "decision",
        "outcome",
        "requestId",
        "limit",
        "marker",
    ])?;
    let filter = filter(&parameters)?;
    let marker = parameters.given("marker", str::parse::<Marker>)?;
    let limit = parameters.page(EVENTS_PAGE)?.limit.unwrap_or(USUAL_PAGE);
    let page = call.list_events(&filter, marker, usize::try_from(limit).unwrap_or(0)).await?;
    Ok(Json(page.into()))
}

/// Read an event of the audit trail, with the proof that the log holds it
///
/// An entry younger than the log's last checkpoint has no proof yet; checkpoints are
/// signed once a second.
///
/// **Permissions**: `gateway:ReadAudit` on `arn:aws:glacier-gateway:::audit/TEAM` for
/// one of the event's teams: the one decided for or, for a denial, any of the caller's.
/// For whoever lacks it for the event, though not for all others, there is no such event.
#[utoipa::path(
    tag = "audit",
    operation_id = "getAuditEvent",
    params(EventPath),
    responses((status = 200, description = "The event.", body = EventDetails), EventProblems)
)]
#[get("/v1/audit-events/{eventId}")]
pub async fn event(call: Call, parameters: Parameters) -> Result<Json<EventDetails>, Problem> {
    parameters.only(&[])?;
    let id = parameters.named("eventId").and_then(|text| Uuid::try_parse(text).ok());
    let id = id.ok_or_else(|| Problem::new(Code::InvalidParameter, "eventId: write a UUID."))?;
    Ok(Json(call.read_event(id).await?.into()))
}

/// Read the last checkpoint of a month's log
///
/// A signed note (C2SP `tlog-checkpoint`) that vouches for all entries up to a size.
///
/// **Permissions**: `gateway:ReadAudit` on `arn:aws:glacier-gateway:::audit/TEAM` for
/// any team.
#[utoipa::path(
    tag = "audit",
    operation_id = "getAuditCheckpoint",
    params(MonthPath),
    responses(
        (status = 200, description = "The signed note.", body = String, content_type = "text/plain"),
        LogProblems,
    )
)]
#[get("/v1/audit/logs/{month}/checkpoint")]
pub async fn checkpoint(call: Call, parameters: Parameters) -> Result<HttpResponse, Problem> {
    parameters.only(&[])?;
    let note = call.read_log(month(&parameters)?, LogPath::Checkpoint).await?;
    Ok(HttpResponse::Ok().content_type(ContentType::plaintext()).body(note))
}

/// Read a tile or an entry bundle of a month's log
///
/// As C2SP `tlog-tiles` has them, up to the last checkpoint. An entry bundle holds the
/// entries themselves, each after its length in two bytes.
///
/// **Permissions**: `gateway:ReadAudit` on `arn:aws:glacier-gateway:::audit/*`, since
/// they are about every team; a Deny about one team's records denies them.
#[utoipa::path(
    tag = "audit",
    operation_id = "getAuditTile",
    params(MonthPath, TilePath),
    responses(
        (status = 200, description = "The hashes or the entries.", body = Vec<u8>,
         content_type = "application/octet-stream"),
        LogProblems,
    )
)]
#[get("/v1/audit/logs/{month}/tile/{tile:.*}")]
pub async fn tile(call: Call, parameters: Parameters) -> Result<HttpResponse, Problem> {
    parameters.only(&[])?;
    // Clients that were made from the specification encode the slashes of a parameter.
    let tile = parameters.named("tile").unwrap_or_default().replace("%2F", "/");
    let path: LogPath = format!("tile/{tile}").parse().map_err(|_| no_log())?;
    let bytes = call.read_log(month(&parameters)?, path).await?;
    let mut response = HttpResponse::Ok();
    if path.is_full() {
        response.insert_header((CACHE_CONTROL, IMMUTABLE));
    }
    Ok(response.content_type(ContentType::octet_stream()).body(bytes))
}

fn month(parameters: &Parameters) -> Result<LogName, Problem> {
    let name = parameters.named("month").and_then(|text| text.parse().ok());
    name.ok_or_else(no_log)
}

fn no_log() -> Problem {
    Problem::new(Code::LogNotFound, NO_LOG)
}

fn filter(parameters: &Parameters) -> Result<Filter, Problem> {
    let given = |name, most, holds: fn(u8) -> bool| {
        parameters.given(name, |value| plain(value, most, holds))
    };
    Ok(Filter {
        from: parameters.given("from", time)?,
        to: parameters.given("to", time)?,
        team: parameters.given("team", |team| check_team(team).map(|()| team.to_owned()))?,
        subject: parameters.given("subject", text)?,
        vault: parameters.given("vault", str::parse::<VaultName>)?.map(|name| name.to_string()),
        upload: parameters.given("upload", str::parse::<UploadId>)?.map(|id| id.to_string()),
        action: given("action", 64, |b| b.is_ascii_alphabetic() || b == b':')?,
        decision: parameters.given("decision", decision)?,
        outcome: given("outcome", 64, |b| b.is_ascii_lowercase() || b == b'-')?,
        request_id: given("requestId", 128, |b| {
            b.is_ascii_alphanumeric() || b"-_.:/=+".contains(&b)
        })?,
    })
}

/// A time in microseconds since 1970.
fn time(text: &str) -> Result<i64, &'static str> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok();
    let micros = time.and_then(|time| i64::try_from(time.unix_timestamp_nanos() / 1000).ok());
    micros.ok_or("write a time such as 2026-11-01T00:00:00Z, with \"+\" as %2B")
}

fn decision(text: &str) -> Result<String, &'static str> {
    match text {
        "allowed" | "explicitDeny" | "implicitDeny" => Ok(text.to_owned()),
        _ => Err("write allowed, explicitDeny or implicitDeny"),
    }
}

/// A text that can stand in a record: of 1 to `most` bytes that `holds` holds for.
fn plain(text: &str, most: usize, holds: fn(u8) -> bool) -> Result<String, &'static str> {
    let fits = (1..=most).contains(&text.len()) && text.bytes().all(holds);
    if fits { Ok(text.to_owned()) } else { Err("write it as it stands in a record") }
}

fn text(text: &str) -> Result<String, &'static str> {
    let fits = (1..=LONGEST).contains(&text.chars().count());
    if fits { Ok(text.to_owned()) } else { Err("write 1 to 1,024 characters") }
}
