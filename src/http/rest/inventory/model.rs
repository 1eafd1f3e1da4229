//! What the API shows of the inventory.

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};
use utoipa::ToSchema;

use super::csv::{Cell, line};
use crate::{
    config,
    domain::{AccountId, VaultArn},
    gateway::Gateway,
    inventory::{
        run::{Lane, Run},
        summary::{Levels, Row},
        target::Target,
        uploads::{Seen, State},
    },
};

/// RFC 3339 in UTC, to the millisecond, so that texts are in the order of their times.
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// A time as text.
fn rfc3339(micros: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000);
    time.ok().and_then(|time| time.format(TIME).ok()).unwrap_or_default()
}

/// The name that the operators gave an account.
fn account_name(gateway: &Gateway, id: &AccountId) -> String {
    let accounts = gateway.upstream.accounts();
    accounts.get(id).map(|account| accounts.name(account).to_owned()).unwrap_or_default()
}

/// How many uploads are at least so old.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UploadAges {
    /// A day.
    #[schema(minimum = 0)]
    days1: i64,
    /// A week.
    #[schema(minimum = 0)]
    days7: i64,
    /// 30 days.
    #[schema(minimum = 0)]
    days30: i64,
    /// 90 days.
    #[schema(minimum = 0)]
    days90: i64,
    /// 365 days.
    #[schema(minimum = 0)]
    days365: i64,
}

impl From<[i64; 5]> for UploadAges {
    fn from([days1, days7, days30, days90, days365]: [i64; 5]) -> Self {
        Self { days1, days7, days30, days90, days365 }
    }
}

/// Uploads that disappeared without an abort of this gateway's. Somebody completed or aborted
/// them, or Glacier dropped them; Glacier does not say which.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GoneUploads {
    /// How many, as long as that is kept (`inventory.keep`).
    #[schema(minimum = 0)]
    uploads: i64,
    /// How old they were when they were last seen.
    at_least: UploadAges,
}

/// How many uploads are in progress, and how old.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryLevels {
    /// When this was so; of several vaults, the earliest.
    #[schema(format = DateTime)]
    as_of: String,
    /// How many uploads are in progress.
    #[schema(minimum = 0)]
    uploads: i64,
    /// How old they are.
    at_least: UploadAges,
    /// When the oldest was initiated.
    #[schema(required, format = DateTime)]
    oldest: Option<String>,
    /// Of how many the parts were looked at, where the caller may list them.
    #[schema(minimum = 0)]
    sized_uploads: i64,
    /// What those have received; `null` if there are none.
    #[schema(required, minimum = 0)]
    bytes: Option<i64>,
    /// Those that disappeared by themselves.
    gone: GoneUploads,
}

impl From<&Levels> for InventoryLevels {
    fn from(levels: &Levels) -> Self {
        Self {
            as_of: rfc3339(levels.as_of),
            uploads: levels.uploads,
            at_least: levels.older.into(),
            oldest: levels.oldest.map(rfc3339),
            sized_uploads: levels.sized,
            bytes: (levels.sized > 0).then_some(levels.bytes),
            gone: GoneUploads { uploads: levels.gone, at_least: levels.gone_older.into() },
        }
    }
}

/// What is in a vault, or in all of an account's or a region's that the caller may see.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryRow {
    /// The account's number.
    #[schema(pattern = "^[0-9]{12}$")]
    account_id: String,
    /// The account's name at this gateway.
    account_name: String,
    /// The region.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    region: Option<String>,
    /// The vault.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    vault_name: Option<String>,
    /// What is in it.
    #[serde(flatten)]
    levels: InventoryLevels,
}

/// Some of what was asked for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryPage {
    /// By account, region and vault.
    rows: Vec<InventoryRow>,
    /// All of these rows together; `null` if there are none.
    #[schema(required)]
    totals: Option<InventoryLevels>,
    /// Send this as `marker` for the next page; `null` on the last page.
    #[schema(required)]
    marker: Option<String>,
}

impl InventoryPage {
    pub(super) fn new(gateway: &Gateway, rows: &[Row], marker: Option<String>) -> Self {
        let totals = Row::total(rows).as_ref().map(InventoryLevels::from);
        let row = |row: &Row| InventoryRow {
            account_id: row.account.to_string(),
            account_name: account_name(gateway, &row.account),
            region: row.region.as_ref().map(ToString::to_string),
            vault_name: row.vault.as_ref().map(ToString::to_string),
            levels: InventoryLevels::from(&row.levels),
        };
        Self { rows: rows.iter().map(row).collect(), totals, marker }
    }

    /// The rows as CSV.
    pub(super) fn csv(&self) -> String {
        let mut csv = "accountId,accountName,region,vaultName,asOf,uploads,uploads1Day,\
            uploads7Days,uploads30Days,uploads90Days,uploads365Days,oldest,sizedUploads,bytes,\
            gone,gone1Day,gone7Days,gone30Days,gone90Days,gone365Days\r\n"
            .to_owned();
        for InventoryRow { account_id, account_name, region, vault_name, levels } in &self.rows {
            let ages = |ages: &UploadAges| {
                let UploadAges { days1, days7, days30, days90, days365 } = ages;
                [*days1, *days7, *days30, *days90, *days365].map(Cell::Number)
            };
            let names = [
                Cell::Plain(account_id),
                Cell::Foreign(account_name),
                region.as_deref().into(),
                vault_name.as_deref().into(),
                Cell::Plain(&levels.as_of),
                Cell::Number(levels.uploads),
            ];
            let sizes = [
                levels.oldest.as_deref().into(),
                Cell::Number(levels.sized_uploads),
                levels.bytes.into(),
                Cell::Number(levels.gone.uploads),
            ];
            let cells = names.into_iter().chain(ages(&levels.at_least)).chain(sizes);
            line(&mut csv, cells.chain(ages(&levels.gone.at_least)));
        }
        csv
    }
}

/// What is known of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum UploadState {
    /// It was there the last time.
    Present,
    /// It was not there the last time, and may be the next.
    Missing,
    /// It was not there twice, or Glacier said that it does not know it.
    Gone,
}

impl From<State> for UploadState {
    fn from(state: State) -> Self {
        match state {
            State::Present => Self::Present,
            State::Missing => Self::Missing,
            State::Gone => Self::Gone,
        }
    }
}

/// An upload that was seen.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeenUpload {
    /// The account's number.
    #[schema(pattern = "^[0-9]{12}$")]
    account_id: String,
    /// The account's name at this gateway.
    account_name: String,
    /// The region.
    region: String,
    /// The vault.
    vault_name: String,
    /// The upload's ID.
    upload_id: String,
    /// What is known of it.
    state: UploadState,
    /// When this was so.
    #[schema(format = DateTime)]
    as_of: String,
    /// When it was initiated.
    #[schema(format = DateTime)]
    creation_date: String,
    /// What its uploader wrote about the archive.
    #[schema(required)]
    archive_description: Option<String>,
    /// The size of every part but the last, in bytes.
    part_size_in_bytes: i64,
    /// How many parts it had received when these were last looked at; `null` if they were
    /// not, or the caller may not know.
    #[schema(required, minimum = 0)]
    parts: Option<i64>,
    /// What these have.
    #[schema(required, minimum = 0)]
    bytes: Option<i64>,
    /// When its parts were last looked at.
    #[schema(required, format = DateTime)]
    observed: Option<String>,
    /// When they were first found to be these. Parts have no times of their own: the last
    /// one may have come earlier.
    #[schema(required, format = DateTime)]
    changed: Option<String>,
    /// When it was first seen.
    #[schema(format = DateTime)]
    first_seen: String,
    /// When it was last seen.
    #[schema(format = DateTime)]
    last_seen: String,
    /// Since when it is known to be gone.
    #[schema(required, format = DateTime)]
    gone: Option<String>,
    /// When this gateway asked Glacier to abort it.
    #[schema(required, format = DateTime)]
    abort_asked: Option<String>,
}

/// Some of the uploads that were asked for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeenUploadPage {
    /// By account, region, vault and ID.
    uploads: Vec<SeenUpload>,
    /// Send this as `marker` for the next page; `null` on the last page.
    #[schema(required)]
    marker: Option<String>,
}

impl SeenUploadPage {
    pub(super) fn new(
        gateway: &Gateway,
        found: Vec<(VaultArn, Seen)>,
        marker: Option<String>,
    ) -> Self {
        let upload = |(vault, seen): (VaultArn, Seen)| SeenUpload {
            account_id: vault.account.to_string(),
            account_name: account_name(gateway, &vault.account),
            region: vault.region.to_string(),
            vault_name: vault.vault.to_string(),
            state: seen.state().into(),
            as_of: rfc3339(seen.gone.or(seen.missing).unwrap_or(seen.last_seen)),
            creation_date: rfc3339(seen.created),
            archive_description: seen.description,
            part_size_in_bytes: seen.part_size,
            parts: seen.parts,
            bytes: seen.bytes,
            observed: seen.observed.map(rfc3339),
            changed: seen.changed.map(rfc3339),
            first_seen: rfc3339(seen.first_seen),
            last_seen: rfc3339(seen.last_seen),
            gone: seen.gone.map(rfc3339),
            abort_asked: seen.abort_asked.map(rfc3339),
            upload_id: seen.upload,
        };
        Self { uploads: found.into_iter().map(upload).collect(), marker }
    }

    /// The uploads as CSV.
    pub(super) fn csv(&self) -> String {
        let mut csv = "accountId,accountName,region,vaultName,uploadId,state,asOf,creationDate,\
            archiveDescription,partSizeInBytes,parts,bytes,observed,changed,firstSeen,lastSeen,\
            gone,abortAsked\r\n"
            .to_owned();
        for upload in &self.uploads {
            let state = match upload.state {
                UploadState::Present => "present",
                UploadState::Missing => "missing",
                UploadState::Gone => "gone",
            };
            line(
                &mut csv,
                [
                    Cell::Plain(&upload.account_id),
                    Cell::Foreign(&upload.account_name),
                    Cell::Plain(&upload.region),
                    Cell::Plain(&upload.vault_name),
                    Cell::Plain(&upload.upload_id),
                    Cell::Plain(state),
                    Cell::Plain(&upload.as_of),
                    Cell::Plain(&upload.creation_date),
                    upload.archive_description.as_deref().map_or(Cell::Empty, Cell::Foreign),
                    Cell::Number(upload.part_size_in_bytes),
                    upload.parts.into(),
                    upload.bytes.into(),
                    upload.observed.as_deref().into(),
                    upload.changed.as_deref().into(),
                    Cell::Plain(&upload.first_seen),
                    Cell::Plain(&upload.last_seen),
                    upload.gone.as_deref().into(),
                    upload.abort_asked.as_deref().into(),
                ],
            );
        }
        csv
    }
}

/// How closely vaults are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum InventoryDetail {
    /// Which uploads there are.
    #[default]
    Uploads,
    /// And which parts these have: a request to Glacier, or more, for each.
    Sizes,
}

impl From<InventoryDetail> for config::Detail {
    fn from(detail: InventoryDetail) -> Self {
        match detail {
            InventoryDetail::Uploads => Self::Uploads,
            InventoryDetail::Sizes => Self::Sizes,
        }
    }
}

/// Which vaults to look through, and how closely. A list that is left out fits all.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NewInventoryRun {
    /// Accounts by their numbers or names, in which `*` and `?` are wildcards; `-` is the
    /// gateway's default account.
    #[schema(example = json!(["media-*"]), max_items = 1000)]
    accounts: Vec<String>,
    /// Regions by their codes, with wildcards.
    #[schema(example = json!(["eu-central-1"]), max_items = 1000)]
    regions: Vec<String>,
    /// Vaults by their names, with wildcards.
    #[schema(example = json!(["photos", "tmp-*"]), max_items = 1000)]
    vaults: Vec<String>,
    /// How closely; `uploads` by default.
    #[schema(inline = false)]
    pub detail: InventoryDetail,
}

impl NewInventoryRun {
    /// Which vaults.
    pub(super) fn target(&self) -> Target {
        let Self { accounts, regions, vaults, .. } = self;
        let (accounts, regions, vaults) = (accounts.clone(), regions.clone(), vaults.clone());
        Target { accounts, regions, vaults }
    }
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum InventoryRunState {
    /// Nothing has begun.
    Waiting,
    /// Vaults are looked through.
    Running,
    /// All vaults were looked through.
    Completed,
    /// It is done, and some vaults could not be looked through, or were not to be.
    Incomplete,
}

/// How many vaults, and what became of them.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryRunCounts {
    /// Vaults that were looked through.
    #[schema(minimum = 0)]
    crawled: i64,
    /// Vaults whose uploads the policies did not let the run list.
    #[schema(minimum = 0)]
    denied: i64,
    /// Vaults that could not be looked through.
    #[schema(minimum = 0)]
    failed: i64,
    /// Uploads in those that were.
    #[schema(minimum = 0)]
    uploads: i64,
}

/// An account and region of a run.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryLane {
    /// The account's number.
    #[schema(pattern = "^[0-9]{12}$")]
    account_id: String,
    /// The region.
    region: String,
    /// `waiting`, `listing` (of vaults), `crawling`, `completed`, or `failed` if the vaults
    /// could not be listed.
    #[schema(example = "completed")]
    state: String,
    /// Why the vaults could not be listed: the code of a problem.
    #[schema(required)]
    error: Option<String>,
    /// When it began.
    #[schema(required, format = DateTime)]
    started: Option<String>,
    /// When it was done.
    #[schema(required, format = DateTime)]
    finished: Option<String>,
    /// What became of its vaults so far.
    counts: InventoryRunCounts,
}

/// A vault that could not be looked through. What was known of it stays.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedVault {
    /// The account's number.
    #[schema(pattern = "^[0-9]{12}$")]
    pub(super) account_id: String,
    /// The region.
    pub(super) region: String,
    /// The vault.
    pub(super) vault_name: String,
    /// Why: the code of a problem.
    pub(super) error: String,
}

/// A run, as far as it is about accounts that the caller may see.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryRun {
    /// Its ID.
    #[schema(format = "uuid")]
    run_id: String,
    /// Where it is.
    state: InventoryRunState,
    /// When it was asked for.
    #[schema(format = DateTime)]
    created: String,
    /// When it was done.
    #[schema(required, format = DateTime)]
    finished: Option<String>,
    /// The time of the schedule that it is for.
    #[schema(required, format = DateTime)]
    scheduled: Option<String>,
    /// Who asked for it: the issuer and the caller's name there. `gateway-services` is the
    /// gateway itself.
    issuer: String,
    /// The caller's name.
    subject: String,
    /// Which vaults.
    target: Target,
    /// How closely.
    detail: InventoryDetail,
    /// What became of its vaults so far.
    counts: InventoryRunCounts,
    /// Its accounts and regions.
    lanes: Vec<InventoryLane>,
    /// Vaults that could not be looked through and that the caller may see: the first hundred.
    /// Only of a single run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) failed_vaults: Option<Vec<FailedVault>>,
}

/// Some of the runs.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryRunPage {
    /// The newest first.
    pub(super) runs: Vec<InventoryRun>,
    /// Send this as `marker` for the next page; `null` on the last page.
    #[schema(required)]
    pub(super) marker: Option<String>,
}

impl From<Run> for InventoryRun {
    fn from(run: Run) -> Self {
        let counts =
            run.lanes.iter().fold(InventoryRunCounts::default(), |sum, lane| InventoryRunCounts {
                crawled: sum.crawled + lane.crawled,
                denied: sum.denied + lane.denied,
                failed: sum.failed + lane.failed,
                uploads: sum.uploads.saturating_add(lane.uploads),
            });
        let unlisted = run.lanes.iter().any(|lane| lane.state == "failed");
        let state = match run.finished {
            Some(_) if counts.denied + counts.failed > 0 || unlisted => {
                InventoryRunState::Incomplete
            }
            Some(_) => InventoryRunState::Completed,
            None if run.lanes.iter().any(|lane| lane.started.is_some()) => {
                InventoryRunState::Running
            }
            None => InventoryRunState::Waiting,
        };
        let principal = &run.order.actor.principal;
        Self {
            run_id: run.id,
            state,
            created: rfc3339(run.created),
            finished: run.finished.map(rfc3339),
            scheduled: run.tick.map(rfc3339),
            issuer: principal.issuer.clone(),
            subject: principal.subject.clone(),
            target: run.order.target.clone(),
            detail: match run.order.sizes {
                true => InventoryDetail::Sizes,
                false => InventoryDetail::Uploads,
            },
            counts,
            lanes: run.lanes.into_iter().map(InventoryLane::from).collect(),
            failed_vaults: None,
        }
    }
}

impl From<Lane> for InventoryLane {
    fn from(lane: Lane) -> Self {
        let Lane { account, region, state, error, crawled, denied, failed, uploads, .. } = lane;
        Self {
            account_id: account,
            region,
            state,
            error,
            started: lane.started.map(rfc3339),
            finished: lane.finished.map(rfc3339),
            counts: InventoryRunCounts { crawled, denied, failed, uploads },
        }
    }
}
