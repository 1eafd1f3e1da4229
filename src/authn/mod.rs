//! Who is calling: credentials in, a [`Principal`] out.
//!
//! A bearer token is looked up among those remembered (`token_cache`); else it is
//! read (`jwt`) strictly, its `iss` chooses the `issuer`, whose keys (`key_cache`)
//! verify it, and its `claims` are mapped. Revocations (`revoked_tokens`) are asked
//! every time.

mod access_key;
mod certificate;
mod claims;
mod issuer;
mod jwks;
mod jwt;
mod key_cache;
mod keys;
mod object;
mod pattern;
mod revocations;
mod revoked_tokens;
pub mod sigv4;
mod source;
#[cfg(test)]
mod test_tokens;
#[cfg(test)]
mod tests;
mod token_cache;

use std::{collections::BTreeMap, sync::Arc};

pub use access_key::AccessKey;
pub use certificate::{CertificateError, CertificateNames, ClientCertificate};
pub use jwt::TokenError;
pub use keys::{GatewayKeys, KeyCreationError, KeyError, SignedBy, UnusableKeys};
pub use revoked_tokens::UnusableRevocations;

use self::{
    issuer::{Issuer, Proof},
    jwt::Token,
    revoked_tokens::RevokedTokens,
    token_cache::TokenCache,
};
use crate::{
    config::{self, Settings},
    domain::{CLIENT_CERTIFICATES, Principal},
    reload::Followed,
};

/// Verifies bearer tokens of the configured issuers.
pub struct Authenticator {
    /// By `iss`.
    issuers: BTreeMap<String, Arc<Issuer>>,
    remembered: TokenCache,
    revocations: RevokedTokens,
    /// Teams by names in certificates.
    certificates: BTreeMap<String, Vec<String>>,
}

impl Authenticator {
    /// Begins to read the keys of the configured issuers. Must run inside a tokio
    /// runtime, which keeps reading them until this is dropped.
    ///
    /// # Errors
    /// When the revocations cannot be used.
    pub fn start(settings: &Settings) -> Result<Self, UnusableRevocations> {
        let revocations = revoked_tokens(settings)?;
        let issuers = settings.issuers.iter().map(|(name, settings)| {
            (settings.issuer.clone(), Arc::new(Issuer::start(name, settings)))
        });
        let remembered = TokenCache::new(settings.tokens.cache_size);
        let tls = settings.server.tls.as_ref();
        let table = tls.into_iter().flat_map(|tls| &tls.client_teams);
        let mut certificates = BTreeMap::<_, Vec<_>>::new();
        for (pattern, teams) in table {
            certificates.entry(certificate::normal(pattern)).or_default().extend(teams.clone());
        }
        Ok(Self { issuers: issuers.collect(), remembered, revocations, certificates })
    }

    /// The caller that a certificate's names belong to. The handshake has verified the
    /// certificate.
    ///
    /// # Errors
    /// See [`CertificateError`].
    pub fn identify(&self, names: &CertificateNames) -> Result<Arc<Principal>, CertificateError> {
        // Whoever holds a revoked name does not escape by another one.
        let revoked = |name: &String| self.revocations.cover_subject(CLIENT_CERTIFICATES, name);
        if names.all().iter().any(revoked) {
            return Err(CertificateError::Revoked);
        }
        let principal = names.principal(&self.certificates);
        principal.map(Arc::new).ok_or_else(|| CertificateError::NotMapped(names.clone()))
    }

    /// Whether the files that `settings` name would let this start.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn check(settings: &Settings) -> Result<(), UnusableRevocations> {
        revoked_tokens(settings).map(drop)
    }

    /// The caller that a bearer token proves.
    ///
    /// # Errors
    /// See [`TokenError`]; nothing in it repeats the token.
    pub async fn authenticate(&self, token: &str) -> Result<Arc<Principal>, TokenError> {
        let principal = match self.remembered.get(token) {
            Some(principal) => principal,
            None => self.verify(token).await?,
        };
        if self.revocations.cover(&principal) {
            return Err(TokenError::Revoked);
        }
        Ok(principal)
    }

    async fn verify(&self, text: &str) -> Result<Arc<Principal>, TokenError> {
        let token = Token::read(text)?;
        let issuer = self.issuers.get(token.claimed_issuer()?).ok_or(TokenError::UnknownIssuer)?;
        let Proof { principal, key, expires } = issuer.verify(&token).await?;
        let principal = Arc::new(principal);
        self.remembered.insert(text, issuer.clone(), key, expires, principal.clone());
        Ok(principal)
    }

    /// Follows the revocation file until dropped.
    pub async fn keep_revocations_fresh(&self, followed: &Followed) {
        self.revocations.keep_fresh(followed).await;
    }

    /// Forgets the verified tokens, so that each is checked again.
    pub fn forget_tokens(&self) {
        self.remembered.clear();
    }

    /// Waits until every issuer's keys were read once, or could not be.
    pub async fn first_reading(&self) {
        for issuer in self.issuers.values() {
            issuer.keys.first_reading().await;
        }
    }

    /// Whether anybody can be known: the keys of some issuer were read, or certificates
    /// have teams.
    pub fn has_begun(&self) -> bool {
        !self.certificates.is_empty() || self.issuers.values().any(|issuer| issuer.keys.were_read())
    }

    /// The issuers' names, and of each whether its tokens can be verified now.
    pub fn issuers(&self) -> impl Iterator<Item = (&str, bool)> {
        self.issuers.values().map(|issuer| (issuer.name.as_str(), issuer.keys.keys().is_some()))
    }
}

fn revoked_tokens(settings: &Settings) -> Result<RevokedTokens, UnusableRevocations> {
    let names = settings.issuers.keys().cloned().chain([CLIENT_CERTIFICATES.to_owned()]);
    RevokedTokens::read(settings.tokens.revocation_file.clone(), names.collect())
}

/// The caller that a token proves by the keys of a JWK Set alone, under the
/// settings of the issuer known as `name`. Nothing is read, remembered or revoked.
///
/// # Errors
/// As [`Authenticator::authenticate`]; [`TokenError::KeysUnavailable`] if `jwks` is
/// no JWK Set.
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
    claims::principal(name, settings, verified.claims)
}
