//! What Glacier answers, as the gateway passes it on.

use serde::Serialize;
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};
use utoipa::ToSchema;

use super::UpstreamError;
use crate::domain::Operation;

/// What Glacier answered, with the ID under which AWS knows the request.
#[derive(Debug)]
pub struct Reply<T> {
    /// The answer itself.
    pub value: T,
    /// `x-amzn-RequestId`.
    pub request_id: Option<String>,
    /// How often Glacier was asked.
    pub attempts: u32,
    /// Whether it throttled one of the attempts before.
    pub throttled: bool,
}

/// A page's place in a list: where it begins, and how many entries it may have.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The marker of the page before.
    pub marker: Option<String>,
    /// At most this many entries.
    pub limit: Option<i32>,
}

/// A multipart upload in progress.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Upload {
    /// The upload's ID, base64url characters. May begin with `-`.
    #[schema(
        example = "OW2fM5iVylEpFEMM9_HpKowRapC3vn5sSL39_396UW9zLFUWVrnRHaPjUJddQ5OxSHVXjYtrN47NBZ-khxOjyEXAMPLE"
    )]
    pub upload_id: String,
    /// The vault's ARN.
    #[schema(example = "arn:aws:glacier:eu-central-1:111122223333:vaults/photos")]
    pub vault_arn: String,
    /// What the uploader wrote about the archive.
    #[schema(example = "photos 2026-11, part 2 of 3")]
    pub archive_description: Option<String>,
    /// The size of every part but the last, in bytes.
    #[schema(example = 4194304)]
    pub part_size_in_bytes: i64,
    /// When the upload was initiated (UTC).
    #[schema(format = DateTime, example = "2026-11-20T08:15:30.000Z")]
    pub creation_date: String,
}

impl Upload {
    /// When the upload was initiated (UTC), by an answer to `operation`.
    ///
    /// # Errors
    /// When Glacier's answer has no date there, or one that in UTC is not of these ten thousand
    /// years.
    pub fn created(&self, operation: Operation) -> Result<OffsetDateTime, UpstreamError> {
        let date = OffsetDateTime::parse(&self.creation_date, &Rfc3339).ok();
        date.and_then(|date| date.checked_to_offset(UtcOffset::UTC)).ok_or_else(|| {
            let cause = "the upload's creation date is not a date";
            UpstreamError::invalid_response(operation, cause)
        })
    }
}

/// One page of a vault's uploads.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UploadPage {
    /// The uploads, in no promised order.
    pub uploads: Vec<Upload>,
    /// Send it as `marker` for the next page; `null` on the last.
    #[schema(required, example = json!(null))]
    pub marker: Option<String>,
}

/// A part that an upload has received.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// First and last byte of the part in the archive.
    #[schema(example = "0-4194303")]
    pub range_in_bytes: String,
    /// The part's SHA-256 tree hash, in hexadecimal.
    #[schema(example = "01d34dabf7be316472c93b1ef80721f5d4e6a3c4d7a2f1b0c9e8d7f6a5b4c3d2")]
    pub sha256_tree_hash: String,
}

/// An upload with one page of its parts.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartPage {
    /// The upload.
    #[serde(flatten)]
    pub upload: Upload,
    /// The parts, by their place in the archive.
    pub parts: Vec<Part>,
    /// Send it as `marker` for the next page; `null` on the last.
    #[schema(required, example = json!(null))]
    pub marker: Option<String>,
}

/// A vault.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Vault {
    /// The vault's ARN.
    #[schema(example = "arn:aws:glacier:eu-central-1:111122223333:vaults/photos")]
    pub vault_arn: String,
    /// The vault's name.
    #[schema(example = "photos")]
    pub vault_name: String,
    /// When the vault was created (UTC).
    #[schema(format = DateTime, example = "2024-03-20T17:03:43.221Z")]
    pub creation_date: String,
    /// When Glacier last took the vault's inventory (UTC); `null` before the first.
    #[schema(format = DateTime, example = "2026-11-22T03:12:00.000Z")]
    pub last_inventory_date: Option<String>,
    /// Archives as of the last inventory.
    #[schema(example = 192)]
    pub number_of_archives: i64,
    /// Bytes as of the last inventory.
    #[schema(example = 78088912)]
    pub size_in_bytes: i64,
}

/// One page of an account's vaults.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultPage {
    /// The vaults that the caller may describe. A page may be empty and yet not
    /// be the last.
    pub vaults: Vec<Vault>,
    /// Send it as `marker` for the next page; `null` on the last.
    #[schema(required, example = json!(null))]
    pub marker: Option<String>,
}
