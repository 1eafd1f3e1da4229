//! The inventory: what was seen in the vaults, and when.

mod lines;
mod model;
mod run;
pub mod runs;

use std::collections::BTreeSet;

use actix_web::{
    HttpRequest, HttpResponse, get,
    http::header::{LINK, VARY},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use utoipa::IntoParams;

use self::model::{InventoryPage, SeenUploadPage};
use super::{
    super::{parameters::Parameters, problem::Problem},
    csv,
    openapi::TrailProblems,
};
use crate::{
    domain::{AccountId, GatewayAction::GetInventory, RegionalAccount},
    gateway::{Call, Refusal},
    inventory::{
        summary::{self, Group, Marker},
        target::Target,
        uploads::{self, Filter, State},
    },
};

/// The most rows of a page.
const PAGE: i32 = 1_000;
/// How many rows a page has if the request does not say.
const USUAL_PAGE: i32 = 100;
/// The longest text of a filter, in bytes.
const LONGEST: usize = 1_024;

/// Which vaults.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
struct Places {
    /// Accounts by their number or name, in which `*` and `?` are wildcards; `-` is the
    /// gateway's default account.
    #[param(min_length = 1, max_length = 255, example = "media-*")]
    account: Option<String>,
    /// Regions by their code, with wildcards.
    #[param(min_length = 1, max_length = 255, example = "eu-central-1")]
    region: Option<String>,
    /// Vaults by their name, with wildcards.
    #[param(min_length = 1, max_length = 255, example = "tmp-*")]
    vault: Option<String>,
    /// At most this many rows; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i32>,
    /// The `marker` of the page before.
    #[param(pattern = r"^[A-Za-z0-9_\-]{1,1024}$")]
    marker: Option<String>,
}

/// How the rows are summed up.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
struct Grouping {
    /// What a row is about: a `vault` (by default), an account's `region`, or an `account`.
    #[param(rename = "groupBy", pattern = "^(vault|region|account)$")]
    group_by: Option<String>,
}

/// Which uploads.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
struct UploadFilter {
    /// What is known of them: `present` (by default), `missing`, `gone` or `any`.
    #[param(pattern = "^(present|missing|gone|any)$")]
    state: Option<String>,
    /// Uploads that were initiated earlier (RFC 3339).
    #[param(rename = "initiatedBefore", format = DateTime, example = "2026-11-01T00:00:00Z")]
    initiated_before: Option<String>,
    /// Uploads that have received at least so many bytes, as far as that is known.
    #[param(rename = "minBytes", minimum = 0)]
    min_bytes: Option<i64>,
    /// Uploads whose description fits, with wildcards.
    #[param(rename = "descriptionMatches", min_length = 1, max_length = 1024, example = "tmp-*")]
    description_matches: Option<String>,
}

/// See how many uploads are in progress, and how old they are
///
/// The answer is what was seen when each vault was last looked through (`asOf`). It does not
/// ask Glacier: ask for a run to have it looked at now. `gone` counts uploads that
/// disappeared without an abort of this gateway's, by their age: it shows how long uploads
/// that nobody works on live in these vaults, which AWS does not document.
///
/// A request looks at a bounded number of vaults: a page may have fewer rows than `limit`,
/// or none, and yet not be the last. The last page has no `marker`. With `Accept: text/csv`
/// the rows come as CSV, and the next page is in a `Link` header.
///
/// **Permissions**: `gateway:GetInventory` on `arn:aws:glacier-gateway:::account/ACCOUNT`.
/// A vault is shown only to who may `glacier:ListMultipartUploads` on it, and sizes in it
/// only to who may `glacier:ListParts`. Totals are those of the rows that are shown.
#[utoipa::path(
    tag = "inventory",
    operation_id = "getInventory",
    params(Places, Grouping),
    responses(
        (status = 200, description = "A page of rows.", content(
            (InventoryPage = "application/json"),
            (String = "text/csv"),
        )),
        TrailProblems,
    )
)]
#[get("/v1/inventory")]
pub async fn show(
    call: Call,
    parameters: Parameters,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    parameters.only(&["account", "region", "vault", "groupBy", "limit", "marker"])?;
    let Asked { target, marker, limit } = Asked::read(&parameters)?;
    let group = parameters.given("groupBy", group)?.unwrap_or_default();
    let places = places(&call, &target)?;
    let found = async {
        let store = call.store()?;
        let _turn = store.reader().await?;
        let meant = |vault: &str| target.covers(vault);
        let after = marker.as_ref();
        Ok(summary::list(&call, store, &places, meant, group, after, limit).await?)
    };
    let (rows, marker) = call.looked_up(found.await).await?;
    let marker = marker.map(|marker| marker.to_string());
    let page = InventoryPage::new(&call.gateway, &rows, marker.clone());
    Ok(match csv::is_wanted(&request) {
        true => csv_reply(&request, page.csv(), marker),
        false => json_reply(&page),
    })
}

/// List uploads that were seen
///
/// In progress, or gone since. The answer is what was seen when each vault was last looked
/// through, or the upload itself. A request looks at a bounded number of uploads: a page may
/// have fewer than `limit`, or none, and yet not be the last. The last page has no `marker`.
/// With `Accept: text/csv` the uploads come as CSV, and the next page is in a `Link` header; a
/// `'` goes before a description that begins with `=`, `+`, `-` or `@`.
///
/// **Permissions**: `gateway:GetInventory` on `arn:aws:glacier-gateway:::account/ACCOUNT`,
/// and `glacier:ListMultipartUploads` on the vault; for what is known of an upload's parts,
/// `glacier:ListParts`.
#[utoipa::path(
    tag = "inventory",
    operation_id = "listSeenUploads",
    params(Places, UploadFilter),
    responses(
        (status = 200, description = "A page of uploads.", content(
            (SeenUploadPage = "application/json"),
            (String = "text/csv"),
        )),
        TrailProblems,
    )
)]
#[get("/v1/inventory/uploads")]
pub async fn list(
    call: Call,
    parameters: Parameters,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    parameters.only(&[
        "account",
        "region",
        "vault",
        "state",
        "initiatedBefore",
        "minBytes",
        "descriptionMatches",
        "limit",
        "marker",
    ])?;
    let Asked { target, marker, limit } = Asked::read(&parameters)?;
    let filter = Filter {
        state: parameters.given("state", state)?.unwrap_or(Some(State::Present)),
        initiated_before: parameters.given("initiatedBefore", time)?,
        min_bytes: parameters.given("minBytes", bytes)?,
        description: parameters.given("descriptionMatches", text)?,
    };
    let places = places(&call, &target)?;
    let found = async {
        let store = call.store()?;
        let _turn = store.reader().await?;
        let meant = |vault: &str| target.covers(vault);
        let after = marker.as_ref();
        Ok(uploads::list(&call, store, &places, meant, &filter, after, limit).await?)
    };
    let (found, marker) = call.looked_up(found.await).await?;
    let marker = marker.map(|marker| marker.to_string());
    let page = SeenUploadPage::new(&call.gateway, found, marker.clone());
    Ok(match csv::is_wanted(&request) {
        true => csv_reply(&request, page.csv(), marker),
        false => json_reply(&page),
    })
}

/// What all lists of the inventory take.
struct Asked {
    target: Target,
    marker: Option<Marker>,
    limit: usize,
}

impl Asked {
    fn read(parameters: &Parameters) -> Result<Self, Problem> {
        let pattern = |name| -> Result<Vec<String>, Problem> {
            Ok(parameters.given(name, text)?.into_iter().collect())
        };
        let (accounts, regions) = (pattern("account")?, pattern("region")?);
        let target = Target { accounts, regions, vaults: pattern("vault")? };
        let marker = parameters.given("marker", str::parse)?;
        let limit = parameters.page(PAGE)?.limit.unwrap_or(USUAL_PAGE);
        Ok(Self { target, marker, limit: usize::try_from(limit).unwrap_or(1) })
    }
}

/// The accounts and regions that are meant and that the caller may see.
fn places(call: &Call, target: &Target) -> Result<Vec<RegionalAccount>, Refusal> {
    let mut places = target.places(&call.gateway.upstream);
    let accounts = accounts(&places);
    let allowed = call.allowed_accounts(GetInventory, &accounts)?;
    places.retain(|place| allowed.contains(&place.account));
    Ok(places)
}

/// The accounts of places, each once.
fn accounts(places: &[RegionalAccount]) -> Vec<AccountId> {
    let accounts: BTreeSet<_> = places.iter().map(|place| place.account.clone()).collect();
    accounts.into_iter().collect()
}

fn json_reply(page: &impl serde::Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header((VARY, "Accept")).json(page)
}

fn csv_reply(request: &HttpRequest, csv: Vec<u8>, marker: Option<String>) -> HttpResponse {
    let mut reply = HttpResponse::Ok();
    reply.insert_header((VARY, "Accept")).content_type("text/csv; charset=utf-8; header=present");
    if let Some(marker) = marker {
        let others = request.query_string().split('&');
        let mut query: Vec<&str> =
            others.filter(|pair| !pair.is_empty() && !pair.starts_with("marker=")).collect();
        let marker = format!("marker={marker}");
        query.push(&marker);
        let next = format!("<{}?{}>; rel=\"next\"", request.path(), query.join("&"));
        reply.insert_header((LINK, next));
    }
    reply.body(csv)
}

fn group(text: &str) -> Result<Group, &'static str> {
    match text {
        "vault" => Ok(Group::Vault),
        "region" => Ok(Group::Region),
        "account" => Ok(Group::Account),
        _ => Err("write vault, region or account"),
    }
}

fn state(text: &str) -> Result<Option<State>, &'static str> {
    match text {
        "present" => Ok(Some(State::Present)),
        "missing" => Ok(Some(State::Missing)),
        "gone" => Ok(Some(State::Gone)),
        "any" => Ok(None),
        _ => Err("write present, missing, gone or any"),
    }
}

fn text(text: &str) -> Result<String, &'static str> {
    let fits = (1..=LONGEST).contains(&text.len());
    if fits { Ok(text.to_owned()) } else { Err("write 1 to 1,024 bytes") }
}

fn bytes(text: &str) -> Result<i64, &'static str> {
    text.parse().ok().filter(|bytes| *bytes >= 0).ok_or("write a number of bytes")
}

/// A time in microseconds since 1970.
fn time(text: &str) -> Result<i64, &'static str> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok();
    let micros = time.and_then(|time| i64::try_from(time.unix_timestamp_nanos() / 1000).ok());
    micros.ok_or("write a time such as 2026-11-01T00:00:00Z, with \"+\" as %2B")
}
