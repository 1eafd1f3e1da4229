//! What can go wrong between the gateway and Glacier.

use std::{error::Error, time::Duration};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_glacier::{
    config::http::HttpResponse,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    operation::RequestId,
};
use hyper_util::client::legacy as client;
use rustix::io::Errno;
use serde::Deserialize;

use crate::domain::Operation;

/// Why a role may be unusable: STS does not say which it is.
pub const ROLE_CAUSES: &str = "Possible causes: the role does not exist; its trust policy or the \
                               gateway's own policy does not allow sts:AssumeRole, \
                               sts:SetSourceIdentity and sts:TagSession; the external ID is \
                               another; the gateway's own session has another source identity \
                               already, or a transitive tag of the name team, issuer or subject; \
                               the gateway's own AWS credentials are missing or have expired; \
                               STS is throttled or cannot be reached.";

/// A call that Glacier did not answer with success, after the SDK's retries.
#[derive(Debug, thiserror::Error)]
#[error("{}", .kind.meaning())]
pub struct UpstreamError {
    /// What it means to the caller.
    pub kind: UpstreamErrorKind,
    /// What Glacier was asked for: for a look-up not the operation that the caller
    /// asked for.
    pub operation: Operation,
    /// Whether an attempt was sent and ended without a refusal, so that it may have been
    /// carried out whatever the last attempt says.
    pub unsettled: bool,
    /// How often a request was sent to Glacier.
    pub attempts: u32,
    /// Whether Glacier throttled one of these.
    pub throttled: bool,
    /// After how long the caller may try again, if that is known.
    pub retry_after: Option<Duration>,
    /// What AWS calls the request, where it answered at all.
    pub request_id: Option<String>,
    /// Glacier's own sentence, where it wrote one for the caller.
    pub message: Option<String>,
    /// The whole story, for the log alone.
    pub cause: String,
}

/// Why a call failed, as far as a caller of the gateway can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamErrorKind {
    /// The vault does not exist.
    VaultNotFound,
    /// The upload does not exist: finished, aborted or never begun.
    UploadNotFound,
    /// Glacier refuses a parameter.
    InvalidParameter,
    /// Glacier misses a parameter.
    MissingParameter,
    /// Too many requests for the account.
    Throttled,
    /// Glacier itself failed.
    Unavailable,
    /// AWS no longer offers Glacier to this account.
    NotAvailableForAccount,
    /// The gateway's own AWS credentials are missing, wrong, expired or lack the
    /// action.
    NotAuthorized,
    /// The account's role cannot be assumed.
    AccountRoleUnusable,
    /// The account, or the region of it, is no longer served.
    AccountNotServed,
    /// No answer in time: the request may have been carried out.
    Timeout,
    /// No connection.
    Unreachable,
    /// No connection, for the gateway's process or its machine has too many files
    /// open.
    OutOfDescriptors,
    /// An answer that is not Glacier's.
    InvalidResponse,
    /// Too many calls are under way, so that this one was not made.
    Overloaded,
    /// Calls only fail, so that this one was not made.
    CircuitOpen,
    /// The gateway's own fault.
    Internal,
}

impl UpstreamError {
    /// What became of the operation, in the trail's words: `gone`, `unknown`,
    /// `refused-by-glacier`, or `failed` if it was not carried out.
    pub fn outcome(&self) -> &'static str {
        use UpstreamErrorKind::*;
        match self.kind {
            UploadNotFound => "gone",
            AccountRoleUnusable | AccountNotServed | Overloaded | CircuitOpen => "not-attempted",
            _ if self.outcome_is_unknown() => "unknown",
            VaultNotFound
            | InvalidParameter
            | MissingParameter
            | Throttled
            | NotAvailableForAccount
            | NotAuthorized => "refused-by-glacier",
            Unavailable | Timeout | Unreachable | OutOfDescriptors | InvalidResponse | Internal => {
                "failed"
            }
        }
    }
}

impl UpstreamErrorKind {
    /// All kinds.
    pub const ALL: [Self; 17] = [
        Self::VaultNotFound,
        Self::UploadNotFound,
        Self::InvalidParameter,
        Self::MissingParameter,
        Self::Throttled,
        Self::Unavailable,
        Self::NotAvailableForAccount,
        Self::NotAuthorized,
        Self::AccountRoleUnusable,
        Self::AccountNotServed,
        Self::Timeout,
        Self::Unreachable,
        Self::OutOfDescriptors,
        Self::InvalidResponse,
        Self::Overloaded,
        Self::CircuitOpen,
        Self::Internal,
    ];

    /// What Glacier's answer with this status and body means.
    pub(super) fn of(status: u16, body: &[u8]) -> Self {
        let Body { code, message } = serde_json::from_slice(body).unwrap_or_default();
        classify(status, code.as_deref(), message.as_deref())
    }

    /// The stable code, as it stands in problem documents and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::VaultNotFound => "vault-not-found",
            Self::UploadNotFound => "upload-not-found",
            Self::InvalidParameter => "invalid-parameter",
            Self::MissingParameter => "missing-parameter",
            Self::Throttled => "upstream-throttled",
            Self::Unavailable => "glacier-unavailable",
            Self::NotAvailableForAccount => "glacier-not-available-for-account",
            Self::NotAuthorized => "gateway-not-authorized-upstream",
            Self::AccountRoleUnusable => "account-role-unusable",
            Self::AccountNotServed => "account-not-served",
            Self::Timeout => "glacier-timeout",
            Self::Unreachable => "glacier-unreachable",
            Self::InvalidResponse => "glacier-invalid-response",
            Self::OutOfDescriptors => "gateway-out-of-descriptors",
            Self::Overloaded => "overloaded",
            Self::CircuitOpen => "circuit-open",
            Self::Internal => "internal-error",
        }
    }

    /// What has happened, for whoever may not see what AWS answered.
    const fn meaning(self) -> &'static str {
        match self {
            Self::VaultNotFound => "Glacier has no such vault",
            Self::UploadNotFound => "Glacier has no such upload",
            Self::InvalidParameter => "Glacier refuses a parameter",
            Self::MissingParameter => "Glacier misses a parameter",
            Self::Throttled => "Glacier throttles the account",
            Self::Unavailable => "Glacier failed repeatedly",
            Self::NotAvailableForAccount => "AWS does not offer Glacier to the account",
            Self::NotAuthorized => "AWS does not allow it to the gateway; tell its operators",
            Self::AccountRoleUnusable => {
                "the account's role cannot be assumed; tell the gateway's operators"
            }
            Self::AccountNotServed => "the account, or the region of it, is no longer served",
            Self::Timeout => "Glacier did not answer in time",
            Self::Unreachable => "the connection to Glacier failed",
            Self::OutOfDescriptors => "the gateway had no file descriptor left",
            Self::InvalidResponse => "the answer is not one that Glacier gives",
            Self::Overloaded => "too many requests to the account and region were under way",
            Self::CircuitOpen => "Glacier does not answer in the account and region",
            Self::Internal => "the gateway failed; tell its operators",
        }
    }
}

/// An error as Glacier writes it.
#[derive(Default, Deserialize)]
struct Body {
    code: Option<String>,
    message: Option<String>,
}

impl UpstreamError {
    /// The call was not made, because of `cause`; it may be tried again after so long.
    pub fn held(
        kind: UpstreamErrorKind,
        operation: Operation,
        cause: String,
        retry_after: Duration,
    ) -> Self {
        let retry_after = Some(retry_after);
        Self { retry_after, ..Self::without_answer(kind, operation, &cause) }
    }

    /// The account was withdrawn since the call began, or the region of it.
    pub(super) fn not_served(operation: Operation) -> Self {
        let cause = "the account, or its region, is no longer configured";
        Self::without_answer(UpstreamErrorKind::AccountNotServed, operation, cause)
    }

    /// There is no session of the account's role, because of what STS `said`.
    pub(super) fn without_session(
        kind: UpstreamErrorKind,
        operation: Operation,
        said: &str,
        cause: &str,
    ) -> Self {
        let message = Some(said.to_owned());
        Self { message, ..Self::without_answer(kind, operation, cause) }
    }

    /// An answer that says something else than Glacier would.
    pub(crate) fn invalid_response(operation: Operation, cause: &str) -> Self {
        Self::without_answer(UpstreamErrorKind::InvalidResponse, operation, cause)
    }

    /// Reads an error that Glacier answered past the SDK (Glacier Developer Guide,
    /// "Error Responses").
    pub(super) fn from_answer(
        operation: Operation,
        status: u16,
        request_id: Option<String>,
        body: &[u8],
    ) -> Self {
        let Body { code, message } = serde_json::from_slice(body).unwrap_or_default();
        let kind = classify(status, code.as_deref(), message.as_deref());
        let cause = format!("{status} {}", code.as_deref().unwrap_or("without a code"));
        let message = message.map(bounded);
        Self {
            kind,
            operation,
            unsettled: false,
            attempts: 1,
            throttled: kind == UpstreamErrorKind::Throttled,
            retry_after: None,
            request_id,
            message,
            cause: bounded(cause),
        }
    }

    fn without_answer(kind: UpstreamErrorKind, operation: Operation, cause: &str) -> Self {
        Self {
            kind,
            operation,
            unsettled: false,
            attempts: 0,
            throttled: false,
            retry_after: None,
            request_id: None,
            message: None,
            cause: cause.to_owned(),
        }
    }

    /// Reads the SDK's error. Its enums leave most of Glacier's errors
    /// "unhandled", so the code and the HTTP status decide.
    pub(super) fn from_sdk<E>(operation: Operation, error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
        SdkError<E, HttpResponse>: RequestId + ProvideErrorMetadata,
    {
        let kind = match &error {
            _ if lacks_descriptors(&error) => UpstreamErrorKind::OutOfDescriptors,
            _ if lacks_credentials(&error) => UpstreamErrorKind::NotAuthorized,
            SdkError::ServiceError(service) => {
                classify(service.raw().status().as_u16(), error.code(), error.message())
            }
            SdkError::TimeoutError(_) => UpstreamErrorKind::Timeout,
            SdkError::DispatchFailure(failure) if failure.is_timeout() => {
                UpstreamErrorKind::Timeout
            }
            SdkError::DispatchFailure(_) => UpstreamErrorKind::Unreachable,
            SdkError::ResponseError(_) => UpstreamErrorKind::InvalidResponse,
            _ => UpstreamErrorKind::Internal,
        };
        Self {
            kind,
            operation,
            unsettled: false,
            attempts: 0,
            throttled: kind == UpstreamErrorKind::Throttled,
            retry_after: None,
            request_id: error.request_id().map(str::to_owned),
            message: error.message().map(str::to_owned).map(bounded),
            cause: bounded(DisplayErrorContext(&error).to_string()),
        }
    }

    /// Whether an abort was sent that may have been carried out all the same.
    pub fn outcome_is_unknown(&self) -> bool {
        use UpstreamErrorKind::*;
        let last = matches!(self.kind, Unavailable | InvalidResponse);
        self.operation == Operation::AbortMultipartUpload && (self.unsettled || last)
    }
}

/// At most 1 KiB of what Glacier, or whoever answers in its place, wrote: it goes to the
/// log and to the caller.
pub(super) fn bounded(mut text: String) -> String {
    const MOST: usize = 1024;
    if text.len() > MOST {
        text.truncate(text.floor_char_boundary(MOST));
        text.push('…');
    }
    text
}

/// Design of the mapping: the Glacier Developer Guide's "Error Responses", and
/// what AWS's front door answers for every service. Without a code it is no answer of
/// theirs, so it refuses nothing: whatever stands between may have sent it after the
/// request reached Glacier.
fn classify(status: u16, code: Option<&str>, message: Option<&str>) -> UpstreamErrorKind {
    use UpstreamErrorKind::*;
    match (code.unwrap_or_default(), status) {
        ("ResourceNotFoundException" | "404 Not Found", 404) => {
            if message.is_some_and(|m| m.starts_with("Vault not found")) {
                VaultNotFound
            } else {
                UploadNotFound
            }
        }
        ("InvalidParameterValueException", _) => InvalidParameter,
        ("MissingParameterValueException", _) => MissingParameter,
        ("NoLongerSupportedException", _) => NotAvailableForAccount,
        ("ThrottlingException" | "LimitExceededException", _) => Throttled,
        ("", 401 | 403) => InvalidResponse,
        ("", 429) => Unavailable,
        (_, 429) => Throttled,
        (
            "AccessDeniedException"
            | "ExpiredTokenException"
            | "InvalidSignatureException"
            | "UnrecognizedClientException"
            | "MissingAuthenticationTokenException",
            _,
        )
        | (_, 401 | 403) => NotAuthorized,
        ("ServiceUnavailableException" | "RequestTimeoutException", _) | (_, 408 | 500..) => {
            Unavailable
        }
        _ => InvalidResponse,
    }
}

/// Whether the SDK could not even sign.
pub(super) fn lacks_credentials(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| cause.is::<CredentialsError>())
}

/// Whether no socket could be had, be it to Glacier or to where credentials come from.
pub(super) fn lacks_descriptors(error: &(dyn Error + 'static)) -> bool {
    causes(error)
        .filter_map(|cause| Errno::from_io_error(cause.downcast_ref()?))
        .any(|errno| [Errno::MFILE, Errno::NFILE].contains(&errno))
}

/// Whether no connection came about, so that nothing was sent.
pub(super) fn lacks_connection(error: &(dyn Error + 'static)) -> bool {
    let connecting = |cause: &client::Error| cause.is_connect();
    causes(error).filter_map(|cause| cause.downcast_ref()).any(connecting)
}

/// An error, and why it came about.
pub(super) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

#[cfg(test)]
mod tests {
    use super::{Operation, UpstreamError, UpstreamErrorKind::*, bounded, classify};

    #[test]
    fn errors_are_told_apart_by_code_first_and_status_second() {
        for (status, code, message, kind) in [
            (404, "ResourceNotFoundException", "Vault not found for ARN: arn", VaultNotFound),
            (404, "ResourceNotFoundException", "The upload ID was not found: x", UploadNotFound),
            (400, "ThrottlingException", "Rate exceeded", Throttled),
            (400, "LimitExceededException", "", Throttled),
            (429, "TooManyRequests", "", Throttled),
            (429, "", "", Unavailable),
            (403, "AccessDeniedException", "", NotAuthorized),
            (400, "UnrecognizedClientException", "", NotAuthorized),
            (403, "OptInRequired", "", NotAuthorized),
            (403, "", "<html>", InvalidResponse),
            (400, "NoLongerSupportedException", "", NotAvailableForAccount),
            (400, "InvalidParameterValueException", "Invalid vault name", InvalidParameter),
            (400, "MissingParameterValueException", "", MissingParameter),
            (400, "InvalidSignatureException", "", NotAuthorized),
            (401, "", "", InvalidResponse),
            (400, "ServiceUnavailableException", "", Unavailable),
            (400, "RequestTimeoutException", "", Unavailable),
            (408, "", "", Unavailable),
            (500, "", "", Unavailable),
            (503, "SlowDown", "", Unavailable),
            (404, "", "<html>", InvalidResponse),
        ] {
            let code = (!code.is_empty()).then_some(code);
            assert_eq!(classify(status, code, Some(message)), kind, "{status} {code:?}");
        }
    }

    #[test]
    fn an_answer_past_the_sdk_is_told_from_its_body_of_which_not_all_is_kept() {
        let long = "x".repeat(2000);
        let answer = |code: &str| {
            let body = format!(r#"{{"code": "{code}", "message": "{long}"}}"#);
            UpstreamError::from_answer(Operation::ListParts, 400, None, body.as_bytes())
        };
        let throttled = answer("ThrottlingException");
        assert_eq!((throttled.kind, throttled.throttled), (Throttled, true));
        assert_eq!(throttled.cause, "400 ThrottlingException");
        let refused = answer(&long);
        assert_eq!((refused.kind, refused.throttled), (InvalidResponse, false));
        for text in [refused.cause, refused.message.unwrap_or_default()] {
            assert_eq!(text.chars().count(), 1025, "{text}");
        }
    }

    #[test]
    fn a_text_is_cut_only_if_it_is_too_long_and_between_characters() {
        let fits = "x".repeat(1024);
        assert_eq!(bounded(fits.clone()), fits);
        assert_eq!(bounded(format!("{fits}x")), format!("{fits}…"));
        assert_eq!(bounded(format!("{}éé", "x".repeat(1023))), format!("{}…", "x".repeat(1023)));
        assert_eq!(bounded("short".to_owned()), "short");
    }
}
