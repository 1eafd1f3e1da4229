//! Every error reply: RFC 9457 problem details with a stable code.

mod causes;

use std::time::Duration;

use actix_web::{
    HttpResponse, HttpResponseBuilder, ResponseError,
    http::{
        StatusCode,
        header::{self, ALLOW, CONTENT_TYPE, WWW_AUTHENTICATE},
    },
};
use serde::Serialize;
use utoipa::ToSchema;

pub use self::causes::{NO_LOG, NOT_SERVED};
use crate::policy::{Denial, NearMiss, StatementId};

/// Seconds after which a throttled or failed request may be tried again.
const RETRY_AFTER: Duration = Duration::from_secs(2);

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $status:ident, $title:literal;)*) => {
        /// The stable code of a problem: what a program should look at.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
        #[serde(rename_all = "kebab-case")]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// All codes.
            pub const ALL: &'static [Code] = &[$(Code::$variant),*];

            /// The code as it stands in a reply.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $code),* }
            }

            /// The HTTP status that always goes with the code.
            pub const fn status(self) -> StatusCode {
                match self { $(Code::$variant => StatusCode::$status),* }
            }

            /// What the code means, the same in every reply.
            pub const fn title(self) -> &'static str {
                match self { $(Code::$variant => $title),* }
            }
        }
    };
}

codes! {
    /// A path or query parameter breaks its rules, or Glacier says so.
    InvalidParameter = "invalid-parameter", BAD_REQUEST, "A parameter is invalid";
    /// Glacier misses a parameter.
    MissingParameter = "missing-parameter", BAD_REQUEST, "A parameter is missing";
    /// The query has a parameter that the operation does not know.
    UnknownParameter = "unknown-parameter", BAD_REQUEST, "A query parameter is unknown";
    /// The query has a parameter twice.
    DuplicateParameter = "duplicate-parameter", BAD_REQUEST, "A query parameter is given twice";
    /// The request cannot be read.
    MalformedRequest = "malformed-request", BAD_REQUEST, "The request is malformed";
    /// No `Authorization: Bearer` header.
    TokenMissing = "token-missing", UNAUTHORIZED, "A bearer token is required";
    /// The token does not prove who is calling.
    TokenInvalid = "token-invalid", UNAUTHORIZED, "The bearer token is invalid";
    /// The token was valid once.
    TokenExpired = "token-expired", UNAUTHORIZED, "The bearer token has expired";
    /// The token will be valid later.
    TokenNotYetValid = "token-not-yet-valid", UNAUTHORIZED, "The bearer token is not valid yet";
    /// The operators withdrew the token or its subject.
    TokenRevoked = "token-revoked", UNAUTHORIZED, "The bearer token is revoked";
    /// The token is bound to a key or certificate that did not come with it.
    TokenBound = "token-bound", UNAUTHORIZED, "The bearer token is bound to a key";
    /// The token is valid but names no team.
    TokenWithoutTeam = "token-without-team", UNAUTHORIZED, "The bearer token names no team";
    /// The client certificate is good and belongs to no team, and there is no token.
    CertificateNotMapped = "certificate-not-mapped", UNAUTHORIZED, "The client certificate belongs to no team";
    /// The client certificate has ended since the connection began, or its CA is no
    /// longer trusted.
    CertificateInvalid = "certificate-invalid", UNAUTHORIZED, "The client certificate is no longer good";
    /// The operators withdrew the client certificate's owner.
    CertificateRevoked = "certificate-revoked", UNAUTHORIZED, "The client certificate is revoked";
    /// No policy allows the request, or one denies it.
    NotAuthorized = "not-authorized", FORBIDDEN, "The request is not authorized";
    /// The path is none of the API's.
    RouteNotFound = "route-not-found", NOT_FOUND, "There is no such resource";
    /// The account is not configured.
    AccountNotServed = "account-not-served", NOT_FOUND, "This gateway does not serve the account";
    /// The region is not configured for the account.
    RegionNotServed = "region-not-served", NOT_FOUND, "This gateway does not serve the region";
    /// Glacier knows no such vault.
    VaultNotFound = "vault-not-found", NOT_FOUND, "The vault does not exist";
    /// Glacier knows no such upload.
    UploadNotFound = "upload-not-found", NOT_FOUND, "The multipart upload does not exist";
    /// The audit trail has no such event.
    EventNotFound = "event-not-found", NOT_FOUND, "The event does not exist";
    /// There is no such log of the audit trail, or no such part of it.
    LogNotFound = "log-not-found", NOT_FOUND, "The log does not exist";
    /// There is no such inventory run, or none that the caller may see.
    InventoryRunNotFound = "inventory-run-not-found", NOT_FOUND, "The inventory run does not exist";
    /// There is no such job, or none that the caller may see.
    JobNotFound = "job-not-found", NOT_FOUND, "The job does not exist";
    /// The job's state does not allow what is asked of it.
    JobConflict = "job-conflict", CONFLICT, "The job is in another state";
    /// The token does not stand for what the job has found.
    SelectionChanged = "selection-changed", CONFLICT, "The token does not stand for the job's items";
    /// A request with the same idempotency key is under way.
    IdempotencyKeyInUse = "idempotency-key-in-use", CONFLICT, "A request with this key is under way";
    /// The idempotency key came before, with another request.
    IdempotencyKeyReused = "idempotency-key-reused", UNPROCESSABLE_ENTITY, "The key was used for another request";
    /// The team has as many jobs, or items of jobs, as it may.
    JobLimitReached = "job-limit-reached", TOO_MANY_REQUESTS, "The team has too many jobs";
    /// There is no such lifecycle rule.
    LifecycleRuleNotFound = "lifecycle-rule-not-found", NOT_FOUND, "The lifecycle rule does not exist";
    /// A run of the lifecycle rule has not ended.
    LifecycleRuleRunning = "lifecycle-rule-running", CONFLICT, "The lifecycle rule runs";
    /// The store does not answer.
    StoreUnavailable = "store-unavailable", SERVICE_UNAVAILABLE, "The store is unavailable now";
    /// The path exists, the method does not.
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "The resource has no such method";
    /// The request's body did not arrive in time.
    RequestTimeout = "request-timeout", REQUEST_TIMEOUT, "The request did not arrive in time";
    /// The request's body is longer than the gateway reads.
    BodyTooLong = "body-too-long", PAYLOAD_TOO_LARGE, "The request's body is too long";
    /// The URL is longer than the gateway reads.
    UrlTooLong = "url-too-long", URI_TOO_LONG, "The URL is too long";
    /// The header fields are longer than the gateway reads.
    HeadTooLong = "head-too-long", REQUEST_HEADER_FIELDS_TOO_LARGE, "The header fields are too long";
    /// The caller, or its team, sends more requests a second than it may.
    RateLimited = "rate-limited", TOO_MANY_REQUESTS, "Too many requests a second";
    /// The caller, or its team, has more requests under way than it may.
    TooManyInFlight = "too-many-in-flight", TOO_MANY_REQUESTS, "Too many requests at once";
    /// So many credentials from the caller's address were refused that these were not looked at.
    TooManyRefusedCredentials = "too-many-refused-credentials", TOO_MANY_REQUESTS, "Too many credentials were refused";
    /// Glacier throttles the account.
    UpstreamThrottled = "upstream-throttled", TOO_MANY_REQUESTS, "Glacier throttles the account";
    /// Too many inventory runs are not done yet.
    TooManyInventoryRuns = "too-many-inventory-runs", TOO_MANY_REQUESTS, "Too many inventory runs are not done yet";
    /// The gateway's own fault.
    InternalError = "internal-error", INTERNAL_SERVER_ERROR, "The gateway failed";
    /// The gateway has no store.
    StoreRequired = "store-required", NOT_IMPLEMENTED, "The gateway has no store";
    /// The gateway's AWS credentials are not accepted or lack an action.
    GatewayNotAuthorizedUpstream = "gateway-not-authorized-upstream", BAD_GATEWAY, "Glacier refuses the gateway's own credentials";
    /// The account's role cannot be assumed.
    AccountRoleUnusable = "account-role-unusable", BAD_GATEWAY, "The account's role cannot be assumed";
    /// AWS does not offer Glacier to the account.
    GlacierNotAvailableForAccount = "glacier-not-available-for-account", BAD_GATEWAY, "AWS does not offer Glacier to the account";
    /// No connection to Glacier.
    GlacierUnreachable = "glacier-unreachable", BAD_GATEWAY, "Glacier cannot be reached";
    /// An answer that is not Glacier's.
    GlacierInvalidResponse = "glacier-invalid-response", BAD_GATEWAY, "Glacier's answer cannot be understood";
    /// Glacier failed, after retries.
    GlacierUnavailable = "glacier-unavailable", SERVICE_UNAVAILABLE, "Glacier is unavailable";
    /// Too many requests to Glacier are under way.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, "Too many requests to Glacier are under way";
    /// Requests to Glacier have only failed lately.
    CircuitOpen = "circuit-open", SERVICE_UNAVAILABLE, "Glacier has failed many times in a row";
    /// The gateway has too many files open for a connection to Glacier.
    GatewayOutOfDescriptors = "gateway-out-of-descriptors", SERVICE_UNAVAILABLE, "The gateway has too many files open";
    /// The audit trail cannot be written or read.
    AuditUnavailable = "audit-unavailable", SERVICE_UNAVAILABLE, "The audit trail is unavailable now";
    /// The store of the audit trail is older than what the trail has signed.
    AuditRolledBack = "audit-rolled-back", SERVICE_UNAVAILABLE, "The audit trail was rolled back";
    /// The issuer's keys were never read.
    IssuerUnavailable = "issuer-unavailable", SERVICE_UNAVAILABLE, "The token cannot be checked now";
    /// Glacier did not answer in time.
    GlacierTimeout = "glacier-timeout", GATEWAY_TIMEOUT, "Glacier did not answer in time";
}

/// An error reply before it is written: what went wrong and what to do.
#[derive(Debug)]
pub struct Problem {
    /// Which problem.
    pub code: Code,
    /// A sentence for a person.
    pub detail: String,
    /// Why a policy denied, for `not-authorized`.
    pub denial: Option<Box<Denial>>,
    /// The methods that the path has, for `method-not-allowed`.
    pub allow: Option<String>,
    /// After how long the request may be tried again, if that is known.
    pub retry_after: Option<Duration>,
}

/// The body of every error reply (RFC 9457, `application/problem+json`).
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(title = "Problem")]
pub struct ProblemDetails<'a> {
    /// Identifies the kind of problem: `urn:glacier-gateway:problem:CODE`.
    #[schema(format = "uri")]
    r#type: String,
    /// What the code means, the same in every reply.
    title: &'static str,
    /// The HTTP status.
    #[schema(value_type = u16, minimum = 400, maximum = 599)]
    status: u16,
    /// What happened this time and what to do.
    detail: &'a str,
    /// The path of the request.
    #[schema(format = "uri-reference")]
    instance: &'a str,
    /// The stable code; the one to write programs against.
    code: Code,
    /// The request's ID, as in `X-Request-Id` and in the gateway's log.
    request_id: &'a str,
    /// With `not-authorized`: `explicitDeny` or `implicitDeny`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// With `explicitDeny`: the statement that denies.
    #[serde(skip_serializing_if = "Option::is_none")]
    statement: Option<&'a StatementId>,
    /// With `implicitDeny`: a policy allows the request, but no guardrail does.
    #[serde(skip_serializing_if = "Option::is_none")]
    limited_by_guardrails: Option<bool>,
    /// With `implicitDeny`: statements that would have allowed it but for one thing.
    #[serde(skip_serializing_if = "Option::is_none")]
    near_misses: Option<&'a [NearMiss]>,
}

impl Problem {
    /// A problem without extras.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), denial: None, allow: None, retry_after: None }
    }

    /// The reply to the request known as `request_id`.
    pub fn response(&self, request_id: &str, path: &str) -> HttpResponse {
        let status = self.code.status();
        let mut response = HttpResponseBuilder::new(status);
        response.insert_header((CONTENT_TYPE, "application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            response.insert_header((WWW_AUTHENTICATE, self.challenge()));
        }
        if let Some(seconds) = self.retry_after() {
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        if let Some(allow) = &self.allow {
            response.insert_header((ALLOW, allow.as_str()));
        }
        let denial = self.denial.as_deref();
        let (limited_by_guardrails, near_misses) = match denial {
            Some(Denial::ImplicitDeny { limited_by_guardrails, near_misses }) => {
                (Some(*limited_by_guardrails), Some(near_misses.as_slice()))
            }
            _ => (None, None),
        };
        response.json(ProblemDetails {
            r#type: format!("urn:glacier-gateway:problem:{}", self.code.as_str()),
            title: self.code.title(),
            status: status.as_u16(),
            detail: &self.detail,
            instance: path,
            code: self.code,
            request_id,
            reason: denial.map(Denial::reason),
            statement: denial.and_then(Denial::statement).map(AsRef::as_ref),
            limited_by_guardrails,
            near_misses,
        })
    }

    /// After how many seconds the request may be tried again, if it may be: one at least.
    pub fn retry_after(&self) -> Option<u64> {
        let status = self.code.status();
        if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            return None;
        }
        Some(self.retry_after.unwrap_or(RETRY_AFTER).as_secs_f64().ceil().max(1.0) as u64)
    }

    /// RFC 6750, section 3: no error code where no token was sent.
    fn challenge(&self) -> String {
        match self.code {
            Code::TokenMissing
            | Code::CertificateNotMapped
            | Code::CertificateInvalid
            | Code::CertificateRevoked => "Bearer realm=\"glacier-gateway\"".to_owned(),
            _ => format!(
                "Bearer realm=\"glacier-gateway\", error=\"invalid_token\", error_description=\"{}\"",
                self.detail
            ),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.detail)
    }
}

// The middleware writes the body, because only it knows the request's ID.
impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.code.status())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_reads_the_same_in_replies_and_in_the_log() {
        for code in Code::ALL {
            assert_eq!(serde_json::to_value(code).ok(), Some(code.as_str().into()));
        }
    }
}
