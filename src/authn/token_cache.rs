//! Verified tokens, remembered: a chatty service pays for one signature check, not
//! a thousand.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use moka::sync::Cache;

use super::{Principal, issuer::Issuer, jwks::Key, jwt};

/// Tokens that are not seen for this long are forgotten.
const IDLE: Duration = Duration::from_secs(600);

/// Principals by the SHA-256 of the token that proved them. Tokens themselves are
/// not kept.
pub(super) struct TokenCache(Cache<[u8; 32], Entry>);

#[derive(Clone)]
struct Entry {
    principal: Arc<Principal>,
    issuer: Arc<Issuer>,
    key: Arc<Key>,
    expires: u64,
}

impl TokenCache {
    pub(super) fn new(size: u64) -> Self {
        Self(Cache::builder().max_capacity(size).time_to_idle(IDLE).build())
    }

    /// The principal of a token seen before, while the token has not ended and its
    /// key is still published.
    pub(super) fn get(&self, token: &str) -> Option<Arc<Principal>> {
        let name = name(token);
        let entry = self.0.get(&name)?;
        let valid = jwt::now() < entry.expires as f64
            && entry.issuer.keys.keys().is_some_and(|keys| keys.contains(&entry.key));
        if !valid {
            self.0.invalidate(&name);
            return None;
        }
        Some(entry.principal)
    }

    pub(super) fn insert(
        &self,
        token: &str,
        issuer: Arc<Issuer>,
        key: Arc<Key>,
        expires: u64,
        principal: Arc<Principal>,
    ) {
        self.0.insert(name(token), Entry { principal, issuer, key, expires });
    }

    pub(super) fn clear(&self) {
        self.0.invalidate_all();
    }
}

fn name(token: &str) -> [u8; 32] {
    let mut name = [0; 32];
    name.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    name
}
