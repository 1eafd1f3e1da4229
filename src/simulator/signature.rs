//! Who signed a request to the simulator, and Glacier's answers to those whose
//! signature proves nothing.

use actix_web::http::StatusCode;
use secrecy::ExposeSecret;
use time::{Duration, OffsetDateTime};

use super::{config::Account, error::GlacierError};
use crate::{
    authn::sigv4::{Authorization, SignatureError, SignedRequest},
    domain::{AccountId, Region},
};

/// How far a request's date may lie from the service's clock.
const TOLERANCE: Duration = Duration::minutes(5);

/// Whose request it is and for which region, as the signature proves it.
pub(super) struct Caller {
    pub(super) account: AccountId,
    pub(super) region: Region,
}

/// Checks the signature of a request against `accounts` at `now`. The signature
/// covers the payload's hash as announced; that the payload has this hash is for
/// the operation to check.
///
/// # Errors
/// `MissingAuthenticationTokenException`, `IncompleteSignatureException`,
/// `UnrecognizedClientException` (400) or `InvalidSignatureException` (403), as
/// AWS answers.
pub(super) fn verify(
    request: &SignedRequest<'_>,
    accounts: &[Account],
    now: OffsetDateTime,
) -> Result<Caller, GlacierError> {
    let authorization = Authorization::of(request)?;
    let unknown = || {
        let message = "The security token included in the request is invalid.";
        GlacierError::new(StatusCode::BAD_REQUEST, "UnrecognizedClientException", message)
    };
    let account = accounts
        .iter()
        .find(|account| account.access_key_id == authorization.access_key_id())
        .ok_or_else(unknown)?;
    let expected_token = account.session_token.as_ref().map(|token| token.expose_secret());
    if request.header("x-amz-security-token")? != expected_token {
        return Err(unknown());
    }
    let payload_sha256 = request.header("x-amz-content-sha256")?.unwrap_or(request.payload_sha256);
    let announced = SignedRequest { payload_sha256, ..*request };
    let region = authorization.verify(&announced, &account.secret_access_key, now, TOLERANCE)?;
    Ok(Caller { account: account.account_id.clone(), region })
}

impl From<SignatureError> for GlacierError {
    fn from(error: SignatureError) -> Self {
        let message = error.to_string();
        match error {
            SignatureError::Missing => {
                Self::new(StatusCode::BAD_REQUEST, "MissingAuthenticationTokenException", message)
            }
            SignatureError::Incomplete(_) => {
                Self::new(StatusCode::BAD_REQUEST, "IncompleteSignatureException", message)
            }
            SignatureError::DoesNotMatch(_) | SignatureError::Expired(_) => {
                Self::invalid_signature(message)
            }
        }
    }
}
