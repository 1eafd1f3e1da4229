//! Glacier's refusals.

use actix_web::http::StatusCode;
use serde_json::{Value, json};

/// A refusal as Glacier words it: HTTP status, code and message (Glacier
/// Developer Guide, "Error Responses").
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct GlacierError {
    /// The HTTP status.
    pub status: u16,
    /// The exception's name, e.g. `ResourceNotFoundException`.
    pub code: String,
    /// The sentence beside it.
    pub message: String,
}

impl GlacierError {
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self { status: status.as_u16(), code: code.to_owned(), message: message.into() }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidParameterValueException", message)
    }

    pub(super) fn missing(parameter: &str) -> Self {
        let message = format!("Required parameter missing: {parameter}");
        Self::new(StatusCode::BAD_REQUEST, "MissingParameterValueException", message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "ResourceNotFoundException", message)
    }

    pub(super) fn invalid_signature(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "InvalidSignatureException", message)
    }

    pub(super) fn limit_exceeded(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "LimitExceededException", message)
    }

    pub(super) fn access_denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "AccessDeniedException", message)
    }

    pub(super) fn throttled() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ThrottlingException", "Rate exceeded")
    }

    pub(super) fn unavailable() -> Self {
        let message = "The service is unavailable. Try again.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "ServiceUnavailableException", message)
    }

    /// The JSON body: `{code, message, type}`.
    pub(super) fn body(&self) -> Value {
        let side = if self.status < 500 { "Client" } else { "Server" };
        json!({ "code": self.code, "message": self.message, "type": side })
    }
}
