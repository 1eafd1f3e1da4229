//! Looking at an upload's parts. Parts carry no times, so whether somebody still sends some
//! shows only if two looks differ.

use crate::{
    domain::{Operation, UploadId, VaultArn},
    gateway::{Call, Refusal},
    glacier::{Upload, UpstreamError, sum_of_parts},
    store::micros,
};

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
    id: &UploadId,
    turn: impl Fn() -> F,
) -> Result<Observation, Refusal> {
    let (upload, parts) = call.list_all_parts(vault.clone(), id, turn).await?;
    let (bytes, digest) = sum_of_parts(&parts).ok_or_else(|| {
        UpstreamError::invalid_response(Operation::ListParts, "a part's range is not one")
    })?;
    let created = micros(upload.created(Operation::ListParts)?);
    let parts = i64::try_from(parts.len()).unwrap_or(i64::MAX);
    Ok(Observation { upload, created, parts, bytes, digest })
}
