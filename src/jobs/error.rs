//! Why something that was asked of jobs is not done.

use super::model::State;
use crate::{gateway::Refusal, store::StoreError};

/// Why something that was asked of jobs is not done.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The core refuses it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store cannot be used now.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The request breaks a rule; the message says which.
    #[error("{0}")]
    Invalid(String),
    /// There is no such job, or none that the caller may see.
    #[error("there is no such job")]
    NotFound,
    /// The job's state does not allow it.
    #[error("the job is {}", .0.as_str())]
    Conflict(State),
    /// The token is not that of the job's items.
    #[error("the token does not stand for the job's items")]
    WrongToken,
    /// The idempotency key came before, and that request is still under way.
    #[error("a request with this idempotency key is under way")]
    KeyInFlight,
    /// The team has as many jobs, or items, as it may.
    #[error("{0}")]
    Limit(String),
}

impl JobError {
    /// The stable code, as it stands in problem documents and in records.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Store(_) => "store-unavailable",
            Self::Invalid(_) => "invalid-parameter",
            Self::NotFound => "job-not-found",
            Self::Conflict(_) => "job-conflict",
            Self::WrongToken => "selection-changed",
            Self::KeyInFlight => "idempotency-key-in-use",
            Self::Limit(_) => "job-limit-reached",
        }
    }
}

impl From<sqlx::Error> for JobError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}
