//! Looking at an upload's parts. Parts carry no times, so whether somebody still sends some
//! shows only if two looks differ.

use aws_lc_rs::digest::{SHA256, digest};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    domain::{Operation, UploadId, VaultArn},
    gateway::{Call, Refusal},
    glacier::{Page, Part, Upload, UpstreamError},
};

/// Glacier's most for a page of parts.
const PAGE: i32 = 50;
/// How many pages are read at most. An upload has at most 10,000 parts (Glacier Developer
/// Guide, "Uploading Large Archives in Parts").
const MOST_PAGES: usize = 400;

/// What one look at an upload found.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The upload itself.
    pub upload: Upload,
    /// When it was initiated.
    pub created: i64,
    /// How many parts it has received.
    pub parts: i64,
    /// How many bytes these have.
    pub bytes: i64,
    /// SHA-256 over the ranges and tree hashes of the parts, in the order of the ranges. Two
    /// looks that give the same found the same parts.
    pub digest: [u8; 32],
}

/// Lists all parts of an upload. `turn` is waited for before each request to Glacier.
///
/// # Errors
/// What the policies refuse, and whatever Glacier answers but parts.
pub async fn observe<F: Future<Output = ()>>(
    call: &Call,
    vault: &VaultArn,
    upload: &UploadId,
    turn: impl Fn() -> F,
) -> Result<Observation, Refusal> {
    let invalid = |cause| UpstreamError::invalid_response(Operation::ListParts, cause);
    let mut parts = Vec::new();
    let mut marker = None;
    for _ in 0..MOST_PAGES {
        turn().await;
        let page = Page { marker, limit: Some(PAGE) };
        let page = call.list_parts(vault.clone(), upload, page).await?;
        parts.extend(page.parts);
        marker = page.marker;
        if marker.is_none() {
            let (bytes, digest) =
                sum(&parts).ok_or_else(|| invalid("a part's range is not one"))?;
            let parts = i64::try_from(parts.len()).unwrap_or(i64::MAX);
            let (upload, created) = (page.upload.clone(), created(&page.upload)?);
            return Ok(Observation { upload, created, parts, bytes, digest });
        }
    }
    Err(invalid("the list of the upload's parts does not end").into())
}

/// When an upload was initiated.
///
/// # Errors
/// When what Glacier says is not a date.
pub fn created(upload: &Upload) -> Result<i64, UpstreamError> {
    let date = OffsetDateTime::parse(&upload.creation_date, &Rfc3339).ok();
    let micros = date.and_then(|date| i64::try_from(date.unix_timestamp_nanos() / 1000).ok());
    micros.ok_or_else(|| {
        let cause = "the upload's creation date is not a date";
        UpstreamError::invalid_response(Operation::ListMultipartUploads, cause)
    })
}

/// The bytes of all parts, and the digest of the set.
fn sum(parts: &[Part]) -> Option<(i64, [u8; 32])> {
    let mut ranges = Vec::with_capacity(parts.len());
    let mut bytes: i64 = 0;
    for part in parts {
        let (first, last) = part.range_in_bytes.split_once('-')?;
        let (first, last): (i64, i64) = (first.parse().ok()?, last.parse().ok()?);
        let size = last.checked_sub(first)?.checked_add(1).filter(|size| *size > 0)?;
        bytes = bytes.checked_add(size)?;
        ranges.push((first, last, part.sha256_tree_hash.as_str()));
    }
    ranges.sort_unstable();
    let mut text = String::new();
    for (first, last, hash) in ranges {
        text.push_str(&format!("{first}-{last} {hash}\n"));
    }
    let mut sum = [0; 32];
    sum.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    Some((bytes, sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(range: &str, hash: &str) -> Part {
        Part { range_in_bytes: range.to_owned(), sha256_tree_hash: hash.to_owned() }
    }

    #[test]
    fn the_same_parts_have_the_same_digest_in_any_order() {
        let (one, two) = (part("0-1048575", "aa"), part("1048576-1572863", "bb"));
        let both = sum(&[one.clone(), two.clone()]);
        assert_eq!(both.map(|(bytes, _)| bytes), Some(1_572_864));
        assert_eq!(sum(&[two.clone(), one.clone()]), both);
        // Sent again with other bytes, or not there yet.
        assert_ne!(sum(&[one.clone(), part("1048576-1572863", "cc")]), both);
        assert_ne!(sum(&[one]), both);
        assert_eq!(sum(&[]).map(|(bytes, _)| bytes), Some(0));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for range in ["", "5", "5-4", "a-b", "-1-5", "0-9223372036854775807"] {
            assert_eq!(sum(&[part(range, "aa")]), None, "{range}");
        }
    }
}
