//! Bearer tokens: from the text to a [`Principal`].
//!
//! A token is looked up among those remembered (`token_cache`); else it is read (`jwt`)
//! strictly, its `iss` chooses the `issuer`, whose keys (`key_cache`) verify it, and its
//! `claims` are mapped. Every time, revocations (`revoked_tokens`) are asked, and a token
//! that is bound to a certificate (`confirmation`) must come with it.

mod claims;
mod confirmation;
mod issuer;
mod jwks;
mod jwks_source;
mod jwt;
mod key_cache;
mod object;
mod revoked_tokens;
#[cfg(test)]
mod test_tokens;
#[cfg(test)]
mod tests;
mod token_cache;

use std::{collections::BTreeMap, sync::Arc};

pub use self::{jwt::TokenError, revoked_tokens::UnusableRevocations};

use self::{
    issuer::TrustedIssuer, jwt::Token, revoked_tokens::RevokedTokens, token_cache::TokenCache,
};
use crate::{
    authn::certificate::Thumbprint,
    config::{self, Settings},
    domain::{CLIENT_CERTIFICATES, Principal},
    reload::Followed,
};

/// Why nothing may happen any more in the name of a caller that was proven once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lapsed {
    /// The token, or its subject, is revoked.
    Revoked,
    /// The issuer is not configured any more, or its claims mean nobody now.
    Issuer,
    /// The caller has no team any more.
    Team,
}

/// Verifies bearer tokens of the configured issuers.
pub(super) struct TokenVerifier {
    /// By `iss`.
    issuers: BTreeMap<String, Arc<TrustedIssuer>>,
    remembered: TokenCache,
    revoked: RevokedTokens,
}

impl TokenVerifier {
    /// Begins to read the keys of the configured issuers. Must run inside a tokio
    /// runtime, which keeps reading them until this is dropped.
    ///
    /// # Errors
    /// When the revocations cannot be used.
    pub(super) fn start(
        settings: &Settings,
        followed: &Arc<Followed>,
    ) -> Result<Self, UnusableRevocations> {
        let revoked = revoked_tokens(settings)?;
        let issuers = settings.issuers.iter().map(|(name, settings)| {
            (
                settings.issuer.clone(),
                Arc::new(TrustedIssuer::start(name, settings, followed.clone())),
            )
        });
        let remembered = TokenCache::new(settings.tokens.cache_size);
        Ok(Self { issuers: issuers.collect(), remembered, revoked })
    }

    /// The caller that a bearer token proves, which came over a connection with the
    /// client certificate of this thumbprint.
    ///
    /// # Errors
    /// See [`TokenError`]; nothing in it repeats the token.
    pub(super) async fn authenticate(
        &self,
        text: &str,
        certificate: Option<Thumbprint>,
    ) -> Result<Arc<Principal>, TokenError> {
        let proof = match self.remembered.get(text) {
            Some(proof) => {
                proof.confirm(certificate)?;
                proof
            }
            None => {
                let token = Token::read(text)?;
                let issuer = self.issuers.get(token.claimed_issuer()?);
                let issuer = issuer.ok_or(TokenError::UnknownIssuer)?;
                let proof = issuer.verify(&token).await?;
                proof.confirm(certificate)?;
                self.remembered.insert(text, issuer.clone(), proof.clone());
                proof
            }
        };
        if self.revoked.cover(&proof.principal) {
            return Err(TokenError::Revoked);
        }
        Ok(proof.principal)
    }

    /// Whether a token was verified before, and is remembered.
    pub(super) fn knows(&self, text: &str) -> bool {
        self.remembered.get(text).is_some()
    }

    /// The caller of a token that was verified before, by what the settings say now of its
    /// claims.
    pub(super) fn renewed(&self, principal: &Principal) -> Result<Principal, Lapsed> {
        if self.revoked.cover(principal) {
            return Err(Lapsed::Revoked);
        }
        let issuer = self.issuers.values().find(|issuer| issuer.name == principal.issuer);
        let renewed = issuer.ok_or(Lapsed::Issuer)?.principal(principal.claims.clone());
        renewed.map_err(|error| match error {
            TokenError::NoTeam => Lapsed::Team,
            _ => Lapsed::Issuer,
        })
    }

    /// The name of the configured issuer that a token says it is of, true or not.
    pub(super) fn claimed_issuer(&self, text: &str) -> Option<&str> {
        let token = Token::read(text).ok()?;
        let issuer = self.issuers.get(token.claimed_issuer().ok()?)?;
        Some(&issuer.name)
    }

    /// Whether the subject of an issuer is revoked.
    pub(super) fn is_revoked(&self, issuer: &str, subject: &str) -> bool {
        self.revoked.cover_subject(issuer, subject)
    }

    /// Follows the revocation file until dropped.
    pub(super) async fn keep_revocations_fresh(&self, followed: &Followed) {
        self.revoked.keep_fresh(followed).await;
    }

    /// Forgets the verified tokens, so that each is checked again.
    pub(super) fn forget(&self) {
        self.remembered.clear();
    }

    /// Waits until every issuer's keys were read once, or could not be.
    pub(super) async fn first_reading(&self) {
        for issuer in self.issuers.values() {
            issuer.keys.first_reading().await;
        }
    }

    /// Whether the keys of some issuer were read.
    pub(super) fn has_keys(&self) -> bool {
        self.issuers.values().any(|issuer| issuer.keys.were_read())
    }

    /// The issuers' names, and of each whether its tokens can be verified now.
    pub(super) fn issuers(&self) -> impl Iterator<Item = (&str, bool)> {
        self.issuers.values().map(|issuer| (issuer.name.as_str(), issuer.keys.keys().is_some()))
    }
}

/// Whether the revocations that `settings` name can be used.
///
/// # Errors
/// They cannot.
pub(super) fn check(settings: &Settings) -> Result<(), UnusableRevocations> {
    revoked_tokens(settings).map(drop)
}

fn revoked_tokens(settings: &Settings) -> Result<RevokedTokens, UnusableRevocations> {
    let names = settings.issuers.keys().cloned().chain([CLIENT_CERTIFICATES.to_owned()]);
    RevokedTokens::read(settings.tokens.revocation_file.clone(), names.collect())
}

/// The caller that a token proves by the keys of a JWK Set alone, under the
/// settings of the issuer known as `name`. Nothing is read, remembered or revoked, and
/// no certificate was shown.
///
/// # Errors
/// See [`TokenError`]; [`TokenError::KeysUnavailable`] if `jwks` is not a JWK Set.
pub fn verify(
    token: &str,
    jwks: &[u8],
    name: &str,
    settings: &config::Issuer,
) -> Result<Principal, TokenError> {
    let token = Token::read(token)?;
    let keys = jwks::parse(jwks).map_err(|_| TokenError::KeysUnavailable)?;
    let keys: Vec<Arc<jwks::Key>> = keys.into_iter().map(Arc::new).collect();
    let (verified, _) = issuer::verify(&token, keys.iter(), settings)?;
    match confirmation::bound_to(&verified.claims)? {
        None => claims::principal(name, settings, verified.claims),
        Some(_) => Err(TokenError::Bound),
    }
}
