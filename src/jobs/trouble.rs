//! What keeps jobs from moving on.

use super::error::JobError;
use crate::gateway::Refusal;

/// Tells of what keeps jobs from moving on. Of a store that does not answer others tell.
pub(super) fn tell(error: &JobError, what: &'static str) {
    match error {
        JobError::Store(store) if store.is_unavailable() => tracing::debug!(%error, "{what}"),
        JobError::Refused(Refusal::Upstream(upstream)) => {
            tracing::warn!(error = upstream.cause, "{what}");
        }
        _ => tracing::warn!(%error, "{what}"),
    }
}
