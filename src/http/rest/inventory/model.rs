//! What the API shows of vaults and uploads.

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};
use utoipa::ToSchema;

use crate::{
    domain::{AccountId, VaultArn},
    gateway::Gateway,
    inventory::{
        summary::{Levels, Row},
        uploads::{Seen, State},
    },
};

/// RFC 3339 in UTC, to the millisecond, so that texts are in the order of their times.
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// A time as text.
pub(super) fn rfc3339(micros: i64) -> String {
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
    pub(super) days1: i64,
    /// A week.
    #[schema(minimum = 0)]
    pub(super) days7: i64,
    /// 30 days.
    #[schema(minimum = 0)]
    pub(super) days30: i64,
    /// 90 days.
    #[schema(minimum = 0)]
    pub(super) days90: i64,
    /// 365 days.
    #[schema(minimum = 0)]
    pub(super) days365: i64,
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
    pub(super) uploads: i64,
    /// How old they were when they were last seen.
    pub(super) at_least: UploadAges,
}

/// How many uploads are in progress, and how old.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryLevels {
    /// When this was so; of several vaults, the earliest.
    #[schema(format = DateTime)]
    pub(super) as_of: String,
    /// How many uploads are in progress.
    #[schema(minimum = 0)]
    pub(super) uploads: i64,
    /// How old they are.
    pub(super) at_least: UploadAges,
    /// When the oldest was initiated.
    #[schema(required, format = DateTime)]
    pub(super) oldest: Option<String>,
    /// Of how many the parts were looked at, where the caller may list them.
    #[schema(minimum = 0)]
    pub(super) sized_uploads: i64,
    /// What those have received; `null` if there are none.
    #[schema(required, minimum = 0)]
    pub(super) bytes: Option<i64>,
    /// Those that disappeared by themselves.
    pub(super) gone: GoneUploads,
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
    pub(super) account_id: String,
    /// The account's name at this gateway.
    pub(super) account_name: String,
    /// The region.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) region: Option<String>,
    /// The vault.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) vault_name: Option<String>,
    /// What is in it.
    #[serde(flatten)]
    pub(super) levels: InventoryLevels,
}

/// Some of what was asked for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryPage {
    /// By account, region and vault.
    pub(super) rows: Vec<InventoryRow>,
    /// All of these rows together; `null` if there are none.
    #[schema(required)]
    pub(super) totals: Option<InventoryLevels>,
    /// Send this as `marker` for the next page; `null` on the last page.
    #[schema(required)]
    pub(super) marker: Option<String>,
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
    pub(super) account_id: String,
    /// The account's name at this gateway.
    pub(super) account_name: String,
    /// The region.
    pub(super) region: String,
    /// The vault.
    pub(super) vault_name: String,
    /// The upload's ID.
    pub(super) upload_id: String,
    /// What is known of it.
    pub(super) state: UploadState,
    /// When this was so.
    #[schema(format = DateTime)]
    pub(super) as_of: String,
    /// When it was initiated.
    #[schema(format = DateTime)]
    pub(super) creation_date: String,
    /// What its uploader wrote about the archive.
    #[schema(required)]
    pub(super) archive_description: Option<String>,
    /// The size of every part but the last, in bytes.
    pub(super) part_size_in_bytes: i64,
    /// How many parts it had received when these were last looked at; `null` if they were
    /// not, or the caller may not know.
    #[schema(required, minimum = 0)]
    pub(super) parts: Option<i64>,
    /// What these have.
    #[schema(required, minimum = 0)]
    pub(super) bytes: Option<i64>,
    /// When its parts were last looked at.
    #[schema(required, format = DateTime)]
    pub(super) observed: Option<String>,
    /// When they were first found to be these. Parts have no times of their own: the last
    /// one may have come earlier.
    #[schema(required, format = DateTime)]
    pub(super) changed: Option<String>,
    /// When it was first seen.
    #[schema(format = DateTime)]
    pub(super) first_seen: String,
    /// When it was last seen.
    #[schema(format = DateTime)]
    pub(super) last_seen: String,
    /// Since when it is known to be gone.
    #[schema(required, format = DateTime)]
    pub(super) gone: Option<String>,
    /// When this gateway asked Glacier to abort it.
    #[schema(required, format = DateTime)]
    pub(super) abort_asked: Option<String>,
}

/// Some of the uploads that were asked for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeenUploadPage {
    /// By account, region, vault and ID.
    pub(super) uploads: Vec<SeenUpload>,
    /// Send this as `marker` for the next page; `null` on the last page.
    #[schema(required)]
    pub(super) marker: Option<String>,
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
}
