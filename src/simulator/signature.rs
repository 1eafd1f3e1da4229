//! Who signed a request to the simulator, and Glacier's answers to those whose
//! signature proves nothing.

use actix_web::http::StatusCode;
use secrecy::ExposeSecret;
use time::{Duration, OffsetDateTime};

use super::{
    error::GlacierError,
    state::{Simulator, State},
};
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
    pub(super) access_key_id: String,
}

/// Checks the signature of a request to `service` at `now`, with the credentials of the
/// configuration or of a session. The signature
/// covers the payload's hash as announced; that the payload has this hash is for
/// the operation to check.
///
/// # Errors
/// `MissingAuthenticationTokenException`, `IncompleteSignatureException`,
/// `UnrecognizedClientException` (400) or `InvalidSignatureException` (403), as
/// AWS answers.
pub(super) fn verify(
    request: &SignedRequest<'_>,
    service: &str,
    simulator: &Simulator,
    state: &State,
    now: OffsetDateTime,
) -> Result<Caller, GlacierError> {
    let authorization = Authorization::of(request)?;
    let unknown = || {
        let message = "The security token included in the request is invalid.";
        GlacierError::new(StatusCode::BAD_REQUEST, "UnrecognizedClientException", message)
    };
    let key_id = authorization.access_key_id();
    let mut configured = simulator.config.accounts.iter();
    let account = match configured.find(|account| account.access_key_id == key_id) {
        Some(account) => account.clone(),
        None => state.sessions.credentials(key_id, now)?.ok_or_else(unknown)?,
    };
    let expected_token = account.session_token.as_ref().map(|token| token.expose_secret());
    if request.header("x-amz-security-token")? != expected_token {
        return Err(unknown());
    }
    let payload_sha256 = request.header("x-amz-content-sha256")?.unwrap_or(request.payload_sha256);
    let announced = SignedRequest { payload_sha256, ..*request };
    let secret = &account.secret_access_key;
    let region = authorization.verify_for(service, &announced, secret, now, TOLERANCE)?;
    Ok(Caller { account: account.account_id, region, access_key_id: key_id.to_owned() })
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
