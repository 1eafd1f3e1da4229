//! What the domain's errors become: the one place where they get HTTP's words.

use super::{Code, Problem};
use crate::{
    audit::Unrecorded,
    authn::{CertificateError, TokenError},
    domain::Operation,
    gateway::{Excess, Refusal},
    glacier::{ROLE_CAUSES, UpstreamError, UpstreamErrorKind},
    jobs::JobError,
    lifecycle::LifecycleError,
};

/// What to do about `log-not-found`.
pub const NO_LOG: &str = "Ask for a month such as 2026-11, and for tiles up to the size in its \
                          checkpoint. Without a key (audit.key_files) there is no checkpoint.";

/// What to do about `account-not-served`.
pub const NOT_SERVED: &str = "This gateway does not serve this account: write \"-\" for its \
                              default account, or ask its operators to configure this one.";

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        let code = match error {
            TokenError::Expired => Code::TokenExpired,
            TokenError::Revoked => Code::TokenRevoked,
            TokenError::Bound => Code::TokenBound,
            TokenError::NotYetValid => Code::TokenNotYetValid,
            TokenError::NoTeam => Code::TokenWithoutTeam,
            TokenError::KeysUnavailable => Code::IssuerUnavailable,
            _ => Code::TokenInvalid,
        };
        Self::new(code, error.to_string())
    }
}

impl From<CertificateError> for Problem {
    fn from(error: CertificateError) -> Self {
        let code = match error {
            CertificateError::NotMapped(_) => Code::CertificateNotMapped,
            CertificateError::Invalid => Code::CertificateInvalid,
            CertificateError::Revoked => Code::CertificateRevoked,
        };
        Self::new(code, error.to_string())
    }
}

impl From<Excess> for Problem {
    fn from(Excess { team, limit, retry_after, standings }: Excess) -> Self {
        let (code, each) = match limit.is_rate() {
            true => (Code::RateLimited, " a second"),
            false => (Code::TooManyInFlight, " at once"),
        };
        let most = standings.last().map_or(0, |standing| standing.most);
        let detail = format!(
            "In team {team} there may be {most} requests{each} ({}); send fewer, or ask the gateway's operators for more.",
            limit.name()
        );
        Self { retry_after: Some(retry_after), ..Self::new(code, detail) }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotAuthorized { action, denial } => {
                let detail = match &denial {
                    Some(denial) => format!("{action} is not authorized: {denial}."),
                    None => format!(
                        "{action} is not authorized; ask the gateway's operators for leave."
                    ),
                };
                Self { denial, ..Self::new(Code::NotAuthorized, detail) }
            }
            Refusal::Unrecorded(Unrecorded::RolledBack) => Self::new(
                Code::AuditRolledBack,
                "The store is behind a checkpoint of its audit trail, as an old backup would be, so nothing was forwarded; tell the gateway's operators.",
            ),
            Refusal::Unrecorded(Unrecorded::Unavailable(_)) => Self::new(
                Code::AuditUnavailable,
                "The record of the request could not be made durable in time, so nothing was forwarded; try again later.",
            ),
            Refusal::Unreadable(error) => {
                tracing::error!(%error, "the audit trail cannot be read");
                Self::new(
                    Code::AuditUnavailable,
                    "What the store holds cannot be read now; try again later.",
                )
            }
            Refusal::StoreRequired => Self::new(
                Code::StoreRequired,
                "This gateway has no store, in which this would be kept; its operators can set store.url.",
            ),
            Refusal::EventNotFound => Self::new(
                Code::EventNotFound,
                "The audit trail has no event with this ID. A record may take a moment to get there, and old months are dropped.",
            ),
            Refusal::LogNotFound => Self::new(Code::LogNotFound, NO_LOG),
            Refusal::InventoryRunNotFound => Self::new(
                Code::InventoryRunNotFound,
                "There is no inventory run with this ID that is about an account of yours. What became of old ones is dropped (inventory.keep).",
            ),
            Refusal::TooManyInventoryRuns => Self::new(
                Code::TooManyInventoryRuns,
                "Wait until some of the inventory runs are done: GET /v1/inventory-runs lists them.",
            ),
            Refusal::IdempotencyKeyReused => Self::new(
                Code::IdempotencyKeyReused,
                "This Idempotency-Key came with another request before; use a new one.",
            ),
            Refusal::Upstream(error) => Self::from(&error),
        }
    }
}

impl From<JobError> for Problem {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Refused(Refusal::StoreRequired) => Self::new(
                Code::StoreRequired,
                "Jobs need a store, and this gateway has none; its operators can set store.url.",
            ),
            JobError::Refused(refusal) => refusal.into(),
            JobError::Store(error) => {
                tracing::error!(%error, "the jobs' store cannot be used");
                Self::new(Code::StoreUnavailable, "The store cannot be used now; try again later.")
            }
            JobError::Invalid(what) => Self::new(Code::InvalidParameter, format!("{what}.")),
            JobError::NotFound => Self::new(
                Code::JobNotFound,
                "There is no job with this ID, or none that you may see. Jobs are dropped a while after they have ended.",
            ),
            JobError::Conflict(state) => Self::new(
                Code::JobConflict,
                format!("The job is {}, which does not allow this.", state.as_str()),
            ),
            JobError::WrongToken => Self::new(
                Code::SelectionChanged,
                "Look at what the job has found, and send the selectionToken that it shows.",
            ),
            JobError::KeyInFlight => Self::new(
                Code::IdempotencyKeyInUse,
                "A request with this Idempotency-Key is under way; send it again later.",
            ),
            JobError::Limit(what) => Self::new(Code::JobLimitReached, format!("{what}.")),
        }
    }
}

impl From<LifecycleError> for Problem {
    fn from(error: LifecycleError) -> Self {
        match error {
            LifecycleError::Refused(refusal) => JobError::from(refusal).into(),
            LifecycleError::Store(error) => JobError::Store(error).into(),
            LifecycleError::NotFound => Self::new(
                Code::LifecycleRuleNotFound,
                "No lifecycle rule of this gateway has this ID; rules stand in its settings (lifecycle).",
            ),
            LifecycleError::Running => Self::new(
                Code::LifecycleRuleRunning,
                "A run of this lifecycle rule has not ended: wait for it, or cancel its job.",
            ),
        }
    }
}

impl From<&UpstreamError> for Problem {
    fn from(error: &UpstreamError) -> Self {
        let own = |sentence: &str| match &error.message {
            Some(message) => format!("{sentence} Glacier says: {message}"),
            None => sentence.to_owned(),
        };
        let unknown = error.outcome_is_unknown();
        // A look-up for a policy's sake may fail before the abort that was asked for.
        let again = |sentence: &str| match error.operation {
            Operation::AbortMultipartUpload if unknown => sentence.to_owned(),
            Operation::AbortMultipartUpload => format!("{sentence} Nothing was aborted."),
            read => {
                format!("{sentence} The request to Glacier was {read}, which changes nothing.")
            }
        };
        let (code, detail) = match error.kind {
            UpstreamErrorKind::VaultNotFound => (
                Code::VaultNotFound,
                own("Check the vault's name, the account and the region."),
            ),
            UpstreamErrorKind::UploadNotFound => (
                Code::UploadNotFound,
                own("The upload was completed, aborted or never begun."),
            ),
            UpstreamErrorKind::InvalidParameter => {
                (Code::InvalidParameter, own("Glacier refuses a parameter."))
            }
            UpstreamErrorKind::MissingParameter => {
                (Code::MissingParameter, own("Glacier misses a parameter."))
            }
            UpstreamErrorKind::Throttled => (
                Code::UpstreamThrottled,
                "Too many requests to Glacier from this account; try again later.".to_owned(),
            ),
            UpstreamErrorKind::Unavailable => (
                Code::GlacierUnavailable,
                again("Glacier failed repeatedly; try again later."),
            ),
            UpstreamErrorKind::NotAvailableForAccount => (
                Code::GlacierNotAvailableForAccount,
                "AWS closed this service to accounts without Glacier storage on 2025-12-15; the gateway's account is one.".to_owned(),
            ),
            UpstreamErrorKind::NotAuthorized => (
                Code::GatewayNotAuthorizedUpstream,
                "The gateway's AWS role lacks the action, or its credentials are missing or expired; tell its operators.".to_owned(),
            ),
            UpstreamErrorKind::AccountRoleUnusable => (
                Code::AccountRoleUnusable,
                format!(
                    "The request was not forwarded; tell the gateway's operators. {ROLE_CAUSES} \
                     AWS STS answered: {}.",
                    error.message.as_deref().unwrap_or("nothing")
                ),
            ),
            UpstreamErrorKind::AccountNotServed => (Code::AccountNotServed, NOT_SERVED.to_owned()),
            UpstreamErrorKind::Timeout => (
                Code::GlacierTimeout,
                again("Glacier did not answer in time; try again later."),
            ),
            UpstreamErrorKind::Unreachable => (
                Code::GlacierUnreachable,
                again("The connection to Glacier failed; try again later."),
            ),
            UpstreamErrorKind::OutOfDescriptors => (
                Code::GatewayOutOfDescriptors,
                again("The gateway had no file descriptor left for a connection to Glacier; try again later, and tell its operators."),
            ),
            UpstreamErrorKind::InvalidResponse => (
                Code::GlacierInvalidResponse,
                "The answer is not one that Glacier gives, or it broke off: something between the gateway and Glacier may have answered in its place. Tell the gateway's operators.".to_owned(),
            ),
            UpstreamErrorKind::Overloaded => (
                Code::Overloaded,
                "Too many requests to this account and region are under way, so this one was not forwarded; try again later.".to_owned(),
            ),
            UpstreamErrorKind::CircuitOpen => (
                Code::CircuitOpen,
                format!(
                    "Glacier does not answer in this account and region, so the request was not forwarded: {}. Try again later; the gateway tries once in a while.",
                    error.cause
                ),
            ),
            UpstreamErrorKind::Internal => (
                Code::InternalError,
                "The request was not forwarded; tell the gateway's operators the request ID.".to_owned(),
            ),
        };
        if unknown {
            let again = "Glacier may have aborted the upload; repeat the abort without harm.";
            return Self::new(code, format!("{detail} {again}"));
        }
        Self { retry_after: error.retry_after, ..Self::new(code, detail) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{StoreError, Unavailable};

    #[test]
    fn a_refusal_has_the_same_code_in_replies_and_in_records() {
        let upstream = UpstreamErrorKind::ALL.map(|kind| UpstreamError {
            kind,
            operation: Operation::ListParts,
            unsettled: false,
            attempts: 1,
            throttled: false,
            retry_after: None,
            request_id: None,
            message: None,
            cause: String::new(),
        });
        let own = [
            Refusal::NotAuthorized { action: "ListParts", denial: None },
            Refusal::Unrecorded(Unrecorded::Unavailable(Unavailable)),
            Refusal::Unrecorded(Unrecorded::RolledBack),
            Refusal::Unreadable(StoreError::Unusable(String::new())),
            Refusal::StoreRequired,
            Refusal::EventNotFound,
            Refusal::LogNotFound,
            Refusal::InventoryRunNotFound,
            Refusal::TooManyInventoryRuns,
            Refusal::IdempotencyKeyReused,
        ];
        for refusal in upstream.into_iter().map(Refusal::Upstream).chain(own) {
            let code = refusal.code();
            assert_eq!(Problem::from(refusal).code.as_str(), code);
        }
    }
}
