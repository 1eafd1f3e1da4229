//! JWT verification (RFC 7519) with the advice of RFC 8725: the algorithm comes
//! from the key, required claims are required, key URLs in a header are ignored.

use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, errors::ErrorKind};
use serde_json::{Map, Value};

use super::{Principal, jwks::Keys};
use crate::config;

/// Longer tokens are refused unread, in bytes.
const MAX_TOKEN: usize = 16 * 1024;

/// Why a bearer token does not prove a caller. The texts say what to do and
/// nothing of the token's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a JWT, or one with a header that cannot be honoured.
    #[error("The bearer token is not a JSON Web Token that this gateway can read.")]
    Malformed,
    /// `iss` is none of the configured issuers.
    #[error("The token's issuer is not trusted by this gateway.")]
    UnknownIssuer,
    /// The issuer's keys have none that the token names.
    #[error("The key that signed the token is not among its issuer's published keys.")]
    UnknownKey,
    /// The algorithm is not accepted for the key or issuer.
    #[error("The token's signature algorithm is not accepted for its issuer or key.")]
    Algorithm,
    /// The signature is wrong.
    #[error("The token's signature is wrong.")]
    Signature,
    /// `exp` has passed.
    #[error("The token has expired; get a new one from its issuer.")]
    Expired,
    /// `nbf` is yet to come.
    #[error("The token is not valid yet; check the issuer's clock.")]
    NotYetValid,
    /// `aud` does not name this gateway.
    #[error("The token is meant for another audience than this gateway.")]
    Audience,
    /// A required claim is missing or of the wrong type.
    #[error("The token lacks one of the claims iss, sub, aud and exp, or one has the wrong type.")]
    Claims,
    /// The team claim is missing.
    #[error(
        "The token names no team; ask its issuer to add the team claim that the gateway is configured for."
    )]
    NoTeam,
    /// The issuer's keys were never read.
    #[error(
        "The token cannot be checked now, because its issuer's keys could not be fetched. Try again."
    )]
    KeysUnavailable,
}

/// A configured issuer.
pub(super) struct Issuer {
    name: String,
    settings: config::Issuer,
    keys: Keys,
}

impl Issuer {
    pub(super) fn new(name: &str, settings: &config::Issuer) -> Result<Self, reqwest::Error> {
        let keys = Keys::new(name, settings.jwks_file.as_ref(), settings.jwks_url.as_ref())?;
        Ok(Self { name: name.to_owned(), settings: settings.clone(), keys })
    }

    pub(super) fn has_keys(&self) -> bool {
        self.keys.loaded()
    }

    pub(super) async fn refresh_keys(&self) {
        self.keys.refresh().await;
    }

    /// Checks everything about `token` and makes its principal.
    pub(super) async fn verify(&self, token: &str) -> Result<Principal, TokenError> {
        let header = header(token)?;
        if !self.settings.algorithms.contains(&header.alg) {
            return Err(TokenError::Algorithm);
        }
        let Some(key) = self.keys.find(header.kid.as_deref(), header.alg).await else {
            return Err(if self.keys.loaded() {
                TokenError::UnknownKey
            } else {
                TokenError::KeysUnavailable
            });
        };
        if !key.algorithms.contains(&header.alg) {
            return Err(TokenError::Algorithm);
        }
        let claims =
            decode::<Map<String, Value>>(token, &key.decoding, &self.validation(header.alg))
                .map_err(|error| token_error(error.kind()))?
                .claims;
        self.principal(claims)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        // A claim that is merely compared passes when it is absent.
        validation.set_required_spec_claims(&["iss", "sub", "aud", "exp"]);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&self.settings.audiences);
        validation.validate_nbf = true;
        validation.leeway = self.settings.leeway.as_secs();
        validation
    }

    fn principal(&self, claims: Map<String, Value>) -> Result<Principal, TokenError> {
        let subject = match claims.get("sub") {
            Some(Value::String(subject)) if !subject.is_empty() => subject.clone(),
            _ => return Err(TokenError::Claims),
        };
        let teams: Vec<String> = match claims.get(&self.settings.team_claim) {
            Some(Value::String(team)) => vec![team.clone()],
            Some(Value::Array(teams)) => {
                teams.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        if teams.is_empty() || teams.iter().any(String::is_empty) {
            return Err(TokenError::NoTeam);
        }
        Ok(Principal {
            issuer: self.name.clone(),
            subject,
            teams,
            tags: Default::default(),
            claims,
        })
    }
}

/// The `iss` that an unverified token claims; it only chooses who verifies.
pub(super) fn claimed_issuer(token: &str) -> Result<String, TokenError> {
    header(token)?;
    #[derive(serde::Deserialize)]
    struct Claims {
        iss: String,
    }
    jsonwebtoken::dangerous::insecure_decode_claims::<Claims>(token)
        .map(|claims| claims.iss)
        .map_err(|_| TokenError::Claims)
}

fn header(token: &str) -> Result<Header, TokenError> {
    if token.len() > MAX_TOKEN {
        return Err(TokenError::Malformed);
    }
    let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
    // RFC 7515, section 4.1.11: extensions that must be understood, and none is.
    if header.crit.is_some() { Err(TokenError::Malformed) } else { Ok(header) }
}

fn token_error(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::ExpiredSignature => TokenError::Expired,
        ErrorKind::ImmatureSignature => TokenError::NotYetValid,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::InvalidIssuer => TokenError::UnknownIssuer,
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => TokenError::Algorithm,
        ErrorKind::MissingRequiredClaim(_)
        | ErrorKind::InvalidClaimFormat(_)
        | ErrorKind::InvalidSubject => TokenError::Claims,
        _ => TokenError::Malformed,
    }
}
