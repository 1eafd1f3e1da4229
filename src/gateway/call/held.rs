//! Room for a call of Glacier, and what is said if there is none.

use std::time::Instant;

use time::format_description::well_known::Rfc3339;

use super::{
    super::ceilings::{Caller, Held, OpenSince, Slot, Took},
    Call,
};
use crate::{
    domain::{Operation, action::Action},
    glacier::{Reply, UpstreamError, UpstreamErrorKind},
    policy::Permit,
};

impl Call {
    /// Waits for room to do what `permit` permits. Without it nothing is asked of Glacier.
    pub(super) async fn slot<A: Action>(&self, permit: &Permit<A>) -> Result<Slot, UpstreamError> {
        let ceiling = self.gateway.ceilings.of(permit.account(), permit.region());
        let caller = match self.in_background {
            true => Caller::Background,
            false => Caller::Team(permit.team()),
        };
        let slot = ceiling.enter(caller).await;
        slot.map_err(|held| {
            let error = held.error(A::OPERATION);
            let mut record = self.recorder.edit();
            (record.result, record.error_code) = (Some(error.outcome()), Some(error.kind.code()));
            error
        })
    }
}

impl Held {
    /// The same as an error of `operation`.
    pub(in crate::gateway) fn error(self, operation: Operation) -> UpstreamError {
        match self {
            Self::Overloaded(retry_after) => {
                let cause = "too many calls are under way".to_owned();
                UpstreamError::held(UpstreamErrorKind::Overloaded, operation, cause, retry_after)
            }
            Self::Open(OpenSince { since, next }) => {
                let retry_after = next.saturating_duration_since(Instant::now());
                let since = since.format(&Rfc3339).unwrap_or_default();
                let cause = format!("all calls have failed since {since}");
                UpstreamError::held(UpstreamErrorKind::CircuitOpen, operation, cause, retry_after)
            }
        }
    }
}

impl<T> From<&Result<Reply<T>, UpstreamError>> for Took {
    fn from(result: &Result<Reply<T>, UpstreamError>) -> Self {
        use UpstreamErrorKind::*;
        let error = match result {
            Ok(Reply { throttled: true, .. }) => return Self::Throttled,
            Ok(_) => return Self::Answered,
            Err(error) => error,
        };
        match error.kind {
            Unavailable | Timeout | Unreachable => Self::Failed,
            _ if error.throttled => Self::Throttled,
            VaultNotFound
            | UploadNotFound
            | InvalidParameter
            | MissingParameter
            | Throttled
            | NotAvailableForAccount => Self::Answered,
            // Without credentials nothing is sent.
            NotAuthorized if error.attempts > 0 => Self::Answered,
            NotAuthorized | AccountRoleUnusable | AccountNotServed | OutOfDescriptors
            | InvalidResponse | Overloaded | CircuitOpen | Internal => Self::Unclear,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{UpstreamErrorKind::*, *};

    fn took(kind: UpstreamErrorKind, attempts: u32, throttled: bool) -> Took {
        let operation = Operation::ListParts;
        let error = UpstreamError::held(kind, operation, String::new(), Duration::ZERO);
        Took::from(&Err::<Reply<()>, _>(UpstreamError { attempts, throttled, ..error }))
    }

    #[test]
    fn an_answer_is_glaciers_unless_it_failed_and_throttles_if_one_attempt_was_throttled() {
        for throttled in [false, true] {
            let reply = Reply { value: (), request_id: None, attempts: 1, throttled };
            let wanted = if throttled { Took::Throttled } else { Took::Answered };
            assert_eq!(Took::from(&Ok(reply)), wanted);
            assert_eq!(took(VaultNotFound, 1, throttled), wanted);
            assert_eq!(took(NotAuthorized, 1, throttled), wanted);
            assert_eq!(took(Unavailable, 1, throttled), Took::Failed);
        }
        assert_eq!(took(NotAuthorized, 0, false), Took::Unclear, "it was not sent");
        assert_eq!(took(InvalidResponse, 1, false), Took::Unclear, "it was not Glacier's");
        assert_eq!(took(Internal, 0, false), Took::Unclear);
    }
}
