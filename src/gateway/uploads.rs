//! What policies may ask of an upload: its age and description.

use std::time::Duration;

use moka::sync::Cache;
use time::OffsetDateTime;

use crate::{
    domain::{Operation, UploadId, VaultArn, action::ListParts},
    glacier::{Page, Reply, Route, Upstream, UpstreamError},
};

/// How long an upload's facts are remembered. They never change; this only bounds
/// for how long one that is gone still counts as there.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How many uploads' facts are remembered.
const MOST: u64 = 10_000;

/// The facts of one upload.
#[derive(Clone, Debug)]
pub struct UploadFacts {
    /// When it was initiated.
    pub created: OffsetDateTime,
    /// What its uploader wrote about the archive.
    pub description: Option<String>,
}

/// Looks uploads up and remembers what it found for a minute.
#[derive(Debug)]
pub struct UploadLookup(Cache<(VaultArn, UploadId), UploadFacts>);

impl Default for UploadLookup {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(MOST).time_to_live(REMEMBERED).build())
    }
}

impl UploadLookup {
    /// The facts of an upload, if they are remembered.
    pub fn remembered(&self, vault: &VaultArn, upload: &UploadId) -> Option<UploadFacts> {
        self.0.get(&(vault.clone(), upload.clone()))
    }

    /// Asks Glacier for the facts of an upload, and remembers them.
    ///
    /// # Errors
    /// As Glacier answers ListParts; see [`UpstreamError`].
    pub async fn facts(
        &self,
        upstream: &Upstream,
        route: &Route<'_, ListParts>,
        upload: &UploadId,
    ) -> Result<Reply<UploadFacts>, UpstreamError> {
        let page = Page { marker: None, limit: Some(1) };
        let Reply { value, request_id, attempts, throttled } =
            upstream.list_parts(route, upload, page).await?;
        let created = value.upload.created(Operation::ListParts)?;
        let facts = UploadFacts { created, description: value.upload.archive_description };
        self.0.insert((route.permit().resource().clone(), upload.clone()), facts.clone());
        Ok(Reply { value: facts, request_id, attempts, throttled })
    }
}
