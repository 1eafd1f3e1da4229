//! Who is calling: credentials in, a [`Principal`] out.

mod access_key;
mod jwks;
mod jwt;
mod keys;
mod principal;
mod revocations;
pub mod sigv4;

use std::{collections::BTreeMap, sync::Arc};

pub use access_key::AccessKey;
pub use jwt::TokenError;
pub use keys::{GATEWAY_KEYS, GatewayKeys, KeyCreationError, KeyError, SignedBy, UnusableKeys};
pub use principal::Principal;

use crate::config;

/// Verifies bearer tokens of the configured issuers.
pub struct Authenticator {
    /// By `iss`.
    issuers: BTreeMap<String, Arc<jwt::Issuer>>,
}

impl Authenticator {
    /// Prepares the configured issuers. Keys are fetched by [`Self::refresh_keys`].
    ///
    /// # Errors
    /// When the HTTP client for keys cannot be made.
    pub fn new(issuers: &BTreeMap<String, config::Issuer>) -> Result<Self, reqwest::Error> {
        let issuers = issuers
            .iter()
            .map(|(name, settings)| {
                let issuer = jwt::Issuer::new(name, settings)?;
                Ok((settings.issuer.clone(), Arc::new(issuer)))
            })
            .collect::<Result<_, reqwest::Error>>()?;
        Ok(Self { issuers })
    }

    /// The caller that a bearer token proves.
    ///
    /// # Errors
    /// See [`TokenError`]; nothing in it repeats the token.
    pub async fn authenticate(&self, token: &str) -> Result<Principal, TokenError> {
        let issuer = jwt::claimed_issuer(token)?;
        self.issuers.get(&issuer).ok_or(TokenError::UnknownIssuer)?.verify(token).await
    }

    /// Fetches every issuer's keys anew; failures are logged and leave the keys
    /// that were there.
    pub async fn refresh_keys(&self) {
        for issuer in self.issuers.values() {
            issuer.refresh_keys().await;
        }
    }

    /// Whether the keys of every issuer are known.
    pub fn has_keys(&self) -> bool {
        self.issuers.values().all(|issuer| issuer.has_keys())
    }
}
