//! What the core refuses, and what Glacier does. Each door says it in its own words.

use crate::{audit::Unrecorded, glacier::UpstreamError, policy::Denial};

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The policies do not allow it.
    #[error("{action} is not authorized")]
    NotAuthorized {
        /// What was asked for: an operation of Glacier's, or an action of the gateway's
        /// own such as `gateway:SimulateAccess`.
        action: &'static str,
        /// The reason, as far as the caller may know it (`policy.denial_detail`).
        denial: Option<Box<Denial>>,
    },
    /// The record of a change, or of a read that must be recorded, is not durable.
    #[error(transparent)]
    Unrecorded(#[from] Unrecorded),
    /// Glacier did not answer with success.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}
