//! Who is calling: credentials in, a [`Principal`] out.
//!
//! `tokens` has what bearer tokens take, `keys` what signatures with gateway keys take,
//! `certificate` the callers that a TLS handshake has verified.

mod certificate;
mod keys;
mod team_table;
#[cfg(test)]
mod tests;
mod tokens;

use std::{collections::BTreeMap, sync::Arc};

pub use self::{
    certificate::{CertificateError, CertificateNames, ClientCertificate},
    keys::{AccessKey, GatewayKeys, KeyCreationError, KeyError, SignedBy, UnusableKeys, sigv4},
    tokens::{Lapsed, TokenError, UnusableRevocations, verify},
};

use self::tokens::TokenVerifier;
use crate::{
    config::Settings,
    domain::{CLIENT_CERTIFICATES, Principal, SERVICES},
    reload::Followed,
};

/// Knows callers by their bearer tokens and by their certificates.
pub struct Authenticator {
    tokens: TokenVerifier,
    /// Teams by names in certificates.
    certificates: BTreeMap<String, Vec<String>>,
}

impl Authenticator {
    /// Begins to read the keys of the configured issuers. Must run inside a tokio
    /// runtime, which keeps reading them until this is dropped. `followed` hears of those
    /// that come into force.
    ///
    /// # Errors
    /// When the revocations cannot be used.
    pub fn start(
        settings: &Settings,
        followed: &Arc<Followed>,
    ) -> Result<Self, UnusableRevocations> {
        let tokens = TokenVerifier::start(settings, followed)?;
        let tls = settings.server.tls.as_ref();
        let table = tls.into_iter().flat_map(|tls| &tls.client_teams);
        let mut certificates = BTreeMap::<_, Vec<_>>::new();
        for (pattern, teams) in table {
            certificates.entry(certificate::normal(pattern)).or_default().extend(teams.clone());
        }
        Ok(Self { tokens, certificates })
    }

    /// Whether the files that `settings` name would let this start.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn check(settings: &Settings) -> Result<(), UnusableRevocations> {
        tokens::check(settings)
    }

    /// The caller that a certificate's names belong to. The handshake has verified the
    /// certificate.
    ///
    /// # Errors
    /// See [`CertificateError`].
    pub fn identify(&self, names: &CertificateNames) -> Result<Arc<Principal>, CertificateError> {
        if self.are_revoked(names) {
            return Err(CertificateError::Revoked);
        }
        let principal = names.principal(&self.certificates);
        principal.map(Arc::new).ok_or_else(|| CertificateError::NotMapped(names.clone()))
    }

    /// The caller that a bearer token proves, which came over a connection with this
    /// client certificate.
    ///
    /// # Errors
    /// See [`TokenError`]; nothing in it repeats the token.
    pub async fn authenticate(
        &self,
        token: &str,
        certificate: Option<&ClientCertificate>,
    ) -> Result<Arc<Principal>, TokenError> {
        // One that no longer counts confirms nothing.
        let thumbprint = certificate
            .filter(|shown| shown.names().is_ok_and(|names| !self.are_revoked(names)))
            .and_then(ClientCertificate::thumbprint);
        self.tokens.authenticate(token, thumbprint).await
    }

    /// Whether a bearer token was verified before, and is remembered.
    pub fn knows(&self, token: &str) -> bool {
        self.tokens.knows(token)
    }

    /// A caller that was proven before, for what happens now in its name: with the teams that
    /// the settings give it now.
    ///
    /// # Errors
    /// Why nothing may happen in its name any more.
    pub fn renewed(&self, principal: &Principal) -> Result<Arc<Principal>, Lapsed> {
        match principal.issuer.as_str() {
            SERVICES => Ok(Arc::new(principal.clone())),
            CLIENT_CERTIFICATES => {
                if self.tokens.is_revoked(CLIENT_CERTIFICATES, &principal.subject) {
                    return Err(Lapsed::Revoked);
                }
                let mut teams: Vec<String> =
                    team_table::teams(&self.certificates, &principal.subject).collect();
                teams.sort();
                teams.dedup();
                if teams.is_empty() {
                    return Err(Lapsed::Team);
                }
                Ok(Arc::new(Principal { teams, ..principal.clone() }))
            }
            _ => self.tokens.renewed(principal).map(Arc::new),
        }
    }

    /// The name of the configured issuer that a token says it is of, true or not.
    pub fn claimed_issuer(&self, token: &str) -> Option<&str> {
        self.tokens.claimed_issuer(token)
    }

    /// Whether one of the names is revoked: whoever holds it does not escape by another.
    fn are_revoked(&self, names: &CertificateNames) -> bool {
        names.all().iter().any(|name| self.tokens.is_revoked(CLIENT_CERTIFICATES, name))
    }

    /// Follows the revocation file until dropped.
    pub async fn keep_revocations_fresh(&self, followed: &Followed) {
        self.tokens.keep_revocations_fresh(followed).await;
    }

    /// Forgets the verified tokens, so that each is checked again.
    pub fn forget_tokens(&self) {
        self.tokens.forget();
    }

    /// Waits until every issuer's keys were read once, or could not be.
    pub async fn first_reading(&self) {
        self.tokens.first_reading().await;
    }

    /// Whether anybody can be known: the keys of some issuer were read, or certificates
    /// have teams.
    pub fn has_begun(&self) -> bool {
        !self.certificates.is_empty() || self.tokens.has_keys()
    }

    /// The issuers' names, and of each whether its tokens can be verified now.
    pub fn issuers(&self) -> impl Iterator<Item = (&str, bool)> {
        self.tokens.issuers()
    }
}
