//! JWT verification (RFC 7519) with the advice of RFC 8725: the algorithm comes
//! from the key, required claims are required, keys in a header are refused.

use std::{
    ops::Range,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, Validation, decode, errors::ErrorKind};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::{jwks::Key, object::Object};
use crate::config;

/// Longer tokens are refused unread, in bytes.
const MAX_TOKEN: usize = 16 * 1024;
/// Longer key IDs name no key, in bytes.
const MAX_KEY_ID: usize = 256;

/// Why a bearer token does not prove a caller. The texts say what to do and
/// nothing of the token's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a JWT, or one with a header that cannot be honoured.
    #[error("The bearer token is not a JSON Web Token that this gateway can read.")]
    Malformed,
    /// Longer than any honest token.
    #[error("The bearer token is too long; ask its issuer for one with fewer claims.")]
    TooLong,
    /// `crit`, or a key or a key's address in the header.
    #[error(
        "The token's header asks for what this gateway does not do: extensions (crit) or keys of its own (jku, jwk, x5c, x5u)."
    )]
    Header,
    /// `iss` is none of the configured issuers.
    #[error("The token's issuer is not trusted by this gateway.")]
    UnknownIssuer,
    /// The issuer's keys have none that the token names.
    #[error("The key that signed the token is not among its issuer's published keys.")]
    UnknownKey,
    /// The algorithm is not accepted for the key or issuer.
    #[error("The token's signature algorithm is not accepted for its issuer or key.")]
    Algorithm,
    /// `typ` is not accepted for the issuer.
    #[error(
        "The token is not of a type that this gateway accepts; send an access token of its issuer."
    )]
    Type,
    /// The signature is wrong.
    #[error("The token's signature is wrong.")]
    Signature,
    /// `exp` has passed.
    #[error("The token has expired; get a new one from its issuer.")]
    Expired,
    /// From `iat`, or from now, to `exp` it is longer than `max_age`.
    #[error(
        "The token is valid for longer than this gateway accepts. Ask its issuer for tokens of a shorter life, or the gateway's operators to raise max_age in the settings of its issuer."
    )]
    TooLongLived,
    /// `nbf` or `iat` is yet to come.
    #[error("The token is not valid yet; check the issuer's clock.")]
    NotYetValid,
    /// `aud` does not name this gateway.
    #[error("The token is meant for another audience than this gateway.")]
    Audience,
    /// A required claim is missing or of the wrong type.
    #[error(
        "The token lacks one of the claims iss, sub, aud, exp and those that its type or this gateway requires, or one has the wrong form."
    )]
    Claims,
    /// `act` does not name who acts for the subject.
    #[error(
        "The token's claim act does not name an actor; it, and every act in it, must be an object with a sub."
    )]
    Actor,
    /// The team claim is missing, or none of its values can name a team.
    #[error(
        "The token names no team; ask its issuer to add the team claim that the gateway is configured for. A team's name has 1 to 128 characters of A-Z, a-z, 0-9 and _+=,.@:-."
    )]
    NoTeam,
    /// `cnf` names a key or certificate that the connection has not shown.
    #[error(
        "The token is bound to a key (its claim cnf). Send it over a connection with the client certificate that its x5t#S256 names; this gateway checks no other binding."
    )]
    Bound,
    /// The token or its subject is on the gateway's list of revoked ones.
    #[error("The token or its subject has been revoked; ask the gateway's operators.")]
    Revoked,
    /// The issuer's keys are not known, or may have changed.
    #[error(
        "The token cannot be checked now, because its issuer's keys could not be fetched. Try again."
    )]
    KeysUnavailable,
}

/// A token that was read and not verified.
pub(super) struct Token<'a> {
    text: &'a str,
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    typ: String,
    claims: Map<String, Value>,
}

/// What a verified token says.
pub(super) struct Verified {
    pub(super) claims: Map<String, Value>,
    /// When it counts, in seconds since 1970.
    pub(super) times: Range<f64>,
}

impl<'a> Token<'a> {
    /// Reads a token in its compact form (RFC 7515, section 7.1).
    pub(super) fn read(text: &'a str) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN {
            return Err(TokenError::TooLong);
        }
        let mut parts = text.split('.');
        let (Some(header), Some(claims), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed);
        };
        let header = object(header)?;
        // RFC 7515, section 4.1.11: extensions that must be understood, and none
        // is. Section 4.1.2 and on: RFC 8725, section 3.10, warns of these.
        if ["crit", "jku", "jwk", "x5c", "x5u"].iter().any(|name| header.contains_key(*name)) {
            return Err(TokenError::Header);
        }
        let text_of = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(TokenError::Malformed),
        };
        let algorithm = text_of("alg")?.ok_or(TokenError::Malformed)?;
        let key_id = text_of("kid")?.map(str::to_owned);
        if key_id.as_ref().is_some_and(|id| id.len() > MAX_KEY_ID) {
            return Err(TokenError::UnknownKey);
        }
        Ok(Self {
            text,
            algorithm: algorithm.parse().map_err(|_| TokenError::Algorithm)?,
            key_id,
            typ: text_of("typ")?.unwrap_or("JWT").to_owned(),
            claims: object(claims)?,
        })
    }

    /// The `iss` that the token claims; it only chooses who verifies.
    pub(super) fn claimed_issuer(&self) -> Result<&str, TokenError> {
        self.claims.get("iss").and_then(Value::as_str).ok_or(TokenError::Claims)
    }

    /// Checks the header against what the issuer's tokens may be.
    pub(super) fn check_header(&self, settings: &config::Issuer) -> Result<(), TokenError> {
        if !settings.algorithms.contains(&self.algorithm) {
            return Err(TokenError::Algorithm);
        }
        if !settings.typ.iter().any(|typ| same_type(typ, &self.typ)) {
            return Err(TokenError::Type);
        }
        Ok(())
    }

    /// Checks the signature with `key`, then the claims.
    pub(super) fn verify(
        &self,
        key: &Key,
        settings: &config::Issuer,
    ) -> Result<Verified, TokenError> {
        let validation = validation(self.algorithm, settings);
        // Verifies the very text that the claims were read from.
        decode::<IgnoredAny>(self.text, &key.decoding, &validation)
            .map_err(|error| token_error(error.kind()))?;
        let times = self.check_claims(settings, now())?;
        Ok(Verified { claims: self.claims.clone(), times })
    }

    /// What the library leaves unchecked. The times between which the token counts by
    /// all of its claims, without any leeway.
    fn check_claims(&self, settings: &config::Issuer, now: f64) -> Result<Range<f64>, TokenError> {
        let claims = &self.claims;
        if settings.required_claims.iter().any(|claim| claim.of(claims).is_none()) {
            return Err(TokenError::Claims);
        }
        // RFC 9068, section 2.2.
        let texts: &[&str] =
            if same_type(&self.typ, "at+jwt") { &["client_id", "jti"] } else { &[] };
        if !texts.iter().all(|name| claims.get(*name).is_some_and(Value::is_string)) {
            return Err(TokenError::Claims);
        }
        let number = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or(TokenError::Claims),
        };
        let (issued, begins) = (number("iat")?, number("nbf")?);
        let expires = number("exp")?.ok_or(TokenError::Claims)?;
        if issued.is_none() && !texts.is_empty() {
            return Err(TokenError::Claims);
        }
        let latest = now + settings.leeway.as_secs_f64();
        let longest = settings.max_age.as_secs_f64();
        if expires - issued.unwrap_or(latest) > longest {
            return Err(TokenError::TooLongLived);
        }
        if issued.is_some_and(|at| at > latest) {
            return Err(TokenError::NotYetValid);
        }
        let begins = [issued, begins].into_iter().flatten().fold(expires - longest, f64::max);
        Ok(begins..expires)
    }
}

/// Seconds since 1970.
pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn object(part: &str) -> Result<Map<String, Value>, TokenError> {
    // Refuses padding, other alphabets, white space and stray bits at the end, so
    // that a token has one spelling.
    let json = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    let Object(members) = serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)?;
    Ok(members)
}

/// Media types without regard to case, `application/` being understood (RFC 7515,
/// section 4.1.9).
fn same_type(a: &str, b: &str) -> bool {
    fn short(typ: &str) -> &str {
        match typ.split_at_checked("application/".len()) {
            Some((prefix, rest))
                if prefix.eq_ignore_ascii_case("application/") && !rest.contains('/') =>
            {
                rest
            }
            _ => typ,
        }
    }
    short(a).eq_ignore_ascii_case(short(b))
}

fn validation(algorithm: Algorithm, settings: &config::Issuer) -> Validation {
    let mut validation = Validation::new(algorithm);
    // A claim that is merely compared passes when it is absent.
    validation.set_required_spec_claims(&["iss", "sub", "aud", "exp"]);
    validation.set_issuer(&[&settings.issuer]);
    validation.set_audience(&settings.audiences);
    validation.validate_nbf = true;
    validation.leeway = settings.leeway.as_secs();
    validation
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

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;
