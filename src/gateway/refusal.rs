//! What the core refuses, and what Glacier does. Each door says it in its own words.

use crate::{
    audit::{StoreError, Unrecorded},
    glacier::UpstreamError,
    policy::Denial,
};

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
    /// The audit trail cannot be read now.
    #[error(transparent)]
    Unreadable(#[from] StoreError),
    /// What is asked for is kept in a store, and the settings name none.
    #[error("there is no store")]
    StoreRequired,
    /// The audit trail has no such event.
    #[error("there is no such event")]
    EventNotFound,
    /// There is no such log, or no such part of it.
    #[error("there is no such log")]
    LogNotFound,
    /// There is no such inventory run, or none that the caller may see.
    #[error("there is no such inventory run")]
    InventoryRunNotFound,
    /// Too many inventory runs are not done yet.
    #[error("too many inventory runs are not done yet")]
    TooManyInventoryRuns,
    /// The idempotency key came before, with another request.
    #[error("the idempotency key was used for another request")]
    IdempotencyKeyReused,
    /// Glacier did not answer with success.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

impl Refusal {
    /// The stable code, as it stands in problem documents and in records.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotAuthorized { .. } => "not-authorized",
            Self::Unrecorded(unrecorded) => unrecorded.code(),
            Self::Unreadable(_) => "audit-unavailable",
            Self::StoreRequired => "store-required",
            Self::EventNotFound => "event-not-found",
            Self::LogNotFound => "log-not-found",
            Self::InventoryRunNotFound => "inventory-run-not-found",
            Self::TooManyInventoryRuns => "too-many-inventory-runs",
            Self::IdempotencyKeyReused => "idempotency-key-reused",
            Self::Upstream(error) => error.kind.code(),
        }
    }
}
