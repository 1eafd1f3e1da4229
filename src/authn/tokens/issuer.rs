//! One configured issuer: finds the key of a token and lets it verify.

use std::{ops::Range, sync::Arc};

use serde_json::{Map, Value};

use super::{
    claims, confirmation,
    jwks::Key,
    jwt::{Token, TokenError, Verified},
    key_cache::{Asked, KeyCache},
};
use crate::{authn::certificate::Thumbprint, config, domain::Principal, reload::Followed};

/// How many keys are tried on a token that names none, so that nobody can have a
/// great many signatures checked with one token.
const MAX_TRIED: usize = 4;

pub(super) struct TrustedIssuer {
    pub(super) name: String,
    settings: config::Issuer,
    pub(super) keys: KeyCache,
}

/// A principal and what it rests on.
#[derive(Clone)]
pub(super) struct Proof {
    pub(super) principal: Arc<Principal>,
    /// The certificate that the caller must show with the token.
    pub(super) bound_to: Option<Thumbprint>,
    /// The key that verified the token.
    pub(super) key: Arc<Key>,
    /// When the token counts, in seconds since 1970.
    pub(super) times: Range<f64>,
}

impl Proof {
    /// Checks that the token came over a connection with the certificate that it is
    /// bound to, if it is bound to one.
    ///
    /// # Errors
    /// [`TokenError::Bound`]
    pub(super) fn confirm(&self, certificate: Option<Thumbprint>) -> Result<(), TokenError> {
        match self.bound_to.is_none() || self.bound_to == certificate {
            true => Ok(()),
            false => Err(TokenError::Bound),
        }
    }
}

impl TrustedIssuer {
    /// Begins to read the issuer's keys. Must run inside a tokio runtime.
    pub(super) fn start(name: &str, settings: &config::Issuer, followed: Arc<Followed>) -> Self {
        let keys = KeyCache::start(name, settings, followed);
        Self { name: name.to_owned(), settings: settings.clone(), keys }
    }

    /// Checks everything about `token` and makes its principal.
    pub(super) async fn verify(&self, token: &Token<'_>) -> Result<Proof, TokenError> {
        let (verified, key) = match self.verify_with_known_keys(token) {
            Err(TokenError::UnknownKey | TokenError::KeysUnavailable) => {
                // Its key may be newer than our last reading.
                let found = || self.verify_with_known_keys(token).is_ok();
                let asked = self.keys.ask_anew(found).await;
                match self.verify_with_known_keys(token) {
                    Err(TokenError::UnknownKey) if asked == Asked::Unanswered => {
                        return Err(TokenError::KeysUnavailable);
                    }
                    result => result?,
                }
            }
            Err(error) => {
                if error == TokenError::Signature {
                    // Its key may have been replaced by one of the same name.
                    self.keys.want_anew();
                }
                return Err(error);
            }
            Ok(verified) => verified,
        };
        let bound_to = confirmation::bound_to(&verified.claims)?;
        let principal = claims::principal(&self.name, &self.settings, verified.claims)?;
        tracing::debug!(issuer = self.name, subject = principal.subject, "verified a token");
        Ok(Proof { principal: Arc::new(principal), bound_to, key, times: verified.times })
    }

    /// The principal of claims that were verified before.
    pub(super) fn principal(&self, claims: Map<String, Value>) -> Result<Principal, TokenError> {
        claims::principal(&self.name, &self.settings, claims)
    }

    fn verify_with_known_keys(
        &self,
        token: &Token<'_>,
    ) -> Result<(Verified, Arc<Key>), TokenError> {
        let keys = self.keys.keys().ok_or(TokenError::KeysUnavailable)?;
        let (verified, key) = verify(token, keys.iter(), &self.settings)?;
        Ok((verified, key.clone()))
    }
}

/// Checks `token` with the one of `keys` that it names, or with those that fit.
///
/// # Errors
/// [`TokenError::UnknownKey`] where a key that is not among them might verify it.
pub(super) fn verify<K: AsRef<Key>>(
    token: &Token<'_>,
    keys: impl Iterator<Item = K>,
    settings: &config::Issuer,
) -> Result<(Verified, K), TokenError> {
    token.check_header(settings)?;
    let named: Vec<K> =
        keys.filter(|key| token.key_id.is_none() || key.as_ref().id == token.key_id).collect();
    let mut failure = match token.key_id {
        Some(_) if !named.is_empty() => TokenError::Algorithm,
        _ => TokenError::UnknownKey,
    };
    let fits = |key: &K| key.as_ref().algorithms.contains(&token.algorithm);
    for key in named.into_iter().filter(fits).take(MAX_TRIED) {
        match token.verify(key.as_ref(), settings) {
            Err(TokenError::Signature) if token.key_id.is_none() => {}
            Err(TokenError::Signature) => failure = TokenError::Signature,
            result => return result.map(|verified| (verified, key)),
        }
    }
    Err(failure)
}

#[cfg(test)]
#[path = "issuer_tests.rs"]
mod tests;
