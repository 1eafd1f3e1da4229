//! Answers as Glacier writes them.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header::RETRY_AFTER},
};
use serde_json::{Value, json};

use crate::{
    authn::{KeyError, TokenError, sigv4::SignatureError},
    domain::Operation,
    gateway::Refusal,
    glacier::{Part, PartPage, Upload, UploadPage, Vault, VaultPage},
    http::problem::{Code, Problem},
};

/// An error reply before it is written (Glacier Developer Guide, "Error
/// Responses").
#[derive(Debug)]
pub(super) struct Exception {
    status: StatusCode,
    /// The exception that an SDK raises.
    code: &'static str,
    message: String,
    /// After how many seconds the request may be tried again, if that is known.
    retry_after: Option<u64>,
    /// What the log calls it: the REST door's code where there is one.
    pub(super) outcome: &'static str,
}

impl Exception {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None, outcome: code }
    }

    fn signature_does_not_match(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "SignatureDoesNotMatch", message)
    }

    /// For everything of Glacier's API beside the five operations.
    pub(super) fn not_offered() -> Self {
        let offered = Operation::ALL.map(Operation::name).join(", ");
        let message = format!(
            "This gateway offers {offered} and nothing else of Glacier's API; the request was not \
             forwarded."
        );
        let refusal = Self::new(StatusCode::FORBIDDEN, "AccessDeniedException", message);
        Self { outcome: "operation-not-offered", ..refusal }
    }

    pub(super) fn presigned() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "MissingAuthenticationToken",
            "Presigned URLs are not accepted; sign in the Authorization header.",
        )
    }

    pub(super) fn body_altered() -> Self {
        Self::signature_does_not_match(
            "The body's SHA-256 is not the one that x-amz-content-sha256 announces.",
        )
    }

    pub(super) fn body_cut() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "RequestTimeoutException",
            "The request's body did not arrive whole and in time; send the request again.",
        )
    }

    pub(super) fn response(&self) -> HttpResponse {
        let side = if self.status.is_server_error() { "Server" } else { "Client" };
        let mut response = HttpResponse::build(self.status);
        if let Some(seconds) = self.retry_after {
            response.insert_header((RETRY_AFTER, seconds.to_string()));
        }
        response.json(json!({ "code": self.code, "message": self.message, "type": side }))
    }
}

impl From<Refusal> for Exception {
    fn from(refusal: Refusal) -> Self {
        Problem::from(refusal).into()
    }
}

impl From<Problem> for Exception {
    /// What Glacier would answer: its own code where the trouble is Glacier's or
    /// the request's, a failing service where it is the gateway's.
    fn from(problem: Problem) -> Self {
        let (status, code) = match problem.code {
            Code::InvalidParameter
            | Code::UnknownParameter
            | Code::DuplicateParameter
            | Code::MalformedRequest
            | Code::IdempotencyKeyReused
            | Code::IdempotencyKeyInUse
            | Code::JobConflict
            | Code::LifecycleRuleRunning
            | Code::SelectionChanged
            | Code::BodyTooLong
            | Code::UrlTooLong
            | Code::HeadTooLong => (StatusCode::BAD_REQUEST, "InvalidParameterValueException"),
            Code::MissingParameter => (StatusCode::BAD_REQUEST, "MissingParameterValueException"),
            Code::TokenMissing => (StatusCode::FORBIDDEN, "MissingAuthenticationToken"),
            Code::TokenExpired => (StatusCode::FORBIDDEN, "ExpiredTokenException"),
            Code::TokenInvalid
            | Code::TokenNotYetValid
            | Code::TokenRevoked
            | Code::TokenBound
            | Code::TokenWithoutTeam
            | Code::CertificateNotMapped
            | Code::CertificateInvalid
            | Code::CertificateRevoked => (StatusCode::BAD_REQUEST, "UnrecognizedClientException"),
            Code::NotAuthorized
            | Code::AccountNotServed
            | Code::RouteNotFound
            | Code::MethodNotAllowed => (StatusCode::FORBIDDEN, "AccessDeniedException"),
            Code::RequestTimeout => (StatusCode::REQUEST_TIMEOUT, "RequestTimeoutException"),
            Code::RegionNotServed => (StatusCode::FORBIDDEN, "SignatureDoesNotMatch"),
            Code::VaultNotFound
            | Code::UploadNotFound
            | Code::EventNotFound
            | Code::LogNotFound
            | Code::InventoryRunNotFound
            | Code::JobNotFound
            | Code::LifecycleRuleNotFound => (StatusCode::NOT_FOUND, "ResourceNotFoundException"),
            Code::UpstreamThrottled
            | Code::RateLimited
            | Code::TooManyInFlight
            | Code::TooManyRefusedCredentials
            | Code::TooManyInventoryRuns
            | Code::JobLimitReached => (StatusCode::BAD_REQUEST, "ThrottlingException"),
            Code::GlacierNotAvailableForAccount => {
                (StatusCode::BAD_REQUEST, "NoLongerSupportedException")
            }
            Code::InternalError
            | Code::StoreRequired
            | Code::StoreUnavailable
            | Code::GatewayNotAuthorizedUpstream
            | Code::AccountRoleUnusable
            | Code::GlacierUnreachable
            | Code::GlacierInvalidResponse
            | Code::GlacierUnavailable
            | Code::Overloaded
            | Code::CircuitOpen
            | Code::AuditUnavailable
            | Code::AuditRolledBack
            | Code::GatewayOutOfDescriptors
            | Code::IssuerUnavailable
            | Code::GlacierTimeout => {
                (StatusCode::INTERNAL_SERVER_ERROR, "ServiceUnavailableException")
            }
        };
        let (retry_after, outcome) = (problem.retry_after(), problem.code.as_str());
        Self { status, code, message: problem.detail, retry_after, outcome }
    }
}

impl From<TokenError> for Exception {
    fn from(error: TokenError) -> Self {
        Problem::from(error).into()
    }
}

impl From<KeyError> for Exception {
    /// The codes are AWS's; their statuses are those of Glacier's "Error Responses",
    /// or of AWS's "Common Error Types" where Glacier lists no such code.
    fn from(error: KeyError) -> Self {
        let (status, code) = match &error {
            KeyError::Signature(SignatureError::Missing) => {
                (StatusCode::FORBIDDEN, "MissingAuthenticationToken")
            }
            KeyError::Signature(SignatureError::Incomplete(_)) => {
                (StatusCode::BAD_REQUEST, "IncompleteSignature")
            }
            KeyError::Signature(SignatureError::DoesNotMatch(_)) => {
                (StatusCode::FORBIDDEN, "SignatureDoesNotMatch")
            }
            KeyError::Signature(SignatureError::Expired(_)) => {
                (StatusCode::BAD_REQUEST, "RequestExpired")
            }
            KeyError::Unknown | KeyError::SessionToken | KeyError::Revoked => {
                (StatusCode::BAD_REQUEST, "UnrecognizedClientException")
            }
            KeyError::Expired => (StatusCode::FORBIDDEN, "ExpiredTokenException"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<SignatureError> for Exception {
    fn from(error: SignatureError) -> Self {
        KeyError::from(error).into()
    }
}

/// 200 with a body, or 204 without.
pub(super) fn success(body: Option<Value>) -> HttpResponse {
    match body {
        Some(body) => HttpResponse::Ok().json(body),
        None => HttpResponse::NoContent().finish(),
    }
}

/// ListVaults.
pub(super) fn vaults(page: &VaultPage) -> Value {
    let vaults: Vec<_> = page.vaults.iter().map(vault).collect();
    json!({ "Marker": page.marker, "VaultList": vaults })
}

/// DescribeVault.
pub(super) fn vault(vault: &Vault) -> Value {
    json!({
        "VaultARN": vault.vault_arn,
        "VaultName": vault.vault_name,
        "CreationDate": vault.creation_date,
        "LastInventoryDate": vault.last_inventory_date,
        "NumberOfArchives": vault.number_of_archives,
        "SizeInBytes": vault.size_in_bytes,
    })
}

/// ListMultipartUploads.
pub(super) fn uploads(page: &UploadPage) -> Value {
    let uploads: Vec<_> = page.uploads.iter().map(upload).collect();
    json!({ "Marker": page.marker, "UploadsList": uploads })
}

/// ListParts.
pub(super) fn parts(page: &PartPage) -> Value {
    let part = |part: &Part| json!({ "RangeInBytes": part.range_in_bytes, "SHA256TreeHash": part.sha256_tree_hash });
    let mut listing = upload(&page.upload);
    listing["Parts"] = page.parts.iter().map(part).collect();
    listing["Marker"] = page.marker.as_deref().into();
    listing
}

fn upload(upload: &Upload) -> Value {
    json!({
        "MultipartUploadId": upload.upload_id,
        "VaultARN": upload.vault_arn,
        "ArchiveDescription": upload.archive_description,
        "PartSizeInBytes": upload.part_size_in_bytes,
        "CreationDate": upload.creation_date,
    })
}
