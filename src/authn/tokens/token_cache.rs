//! Verified tokens, remembered: a chatty service pays for one signature check, not
//! a thousand.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use moka::sync::Cache;

use super::{
    issuer::{Proof, TrustedIssuer},
    jwt,
};

/// Tokens that are not seen for this long are forgotten.
const IDLE: Duration = Duration::from_secs(600);

/// What tokens prove, by their SHA-256. Tokens themselves are not kept.
pub(super) struct TokenCache(Cache<[u8; 32], Entry>);

#[derive(Clone)]
struct Entry {
    issuer: Arc<TrustedIssuer>,
    proof: Proof,
}

impl TokenCache {
    pub(super) fn new(size: u64) -> Self {
        Self(Cache::builder().max_capacity(size).time_to_idle(IDLE).build())
    }

    /// What a token seen before proves, while the clock stands between the token's times
    /// and its key is still published. A clock may be set back.
    pub(super) fn get(&self, token: &str) -> Option<Proof> {
        let name = name(token);
        let Entry { issuer, proof } = self.0.get(&name)?;
        let valid = proof.times.contains(&jwt::now())
            && issuer.keys.keys().is_some_and(|keys| keys.contains(&proof.key));
        if !valid {
            self.0.invalidate(&name);
            return None;
        }
        Some(proof)
    }

    pub(super) fn insert(&self, token: &str, issuer: Arc<TrustedIssuer>, proof: Proof) {
        self.0.insert(name(token), Entry { issuer, proof });
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::ops::Range;

    use super::{
        super::{
            jwks::Key,
            test_tokens::{Signer, jwk_set, settings},
        },
        *,
    };
    use crate::domain::Principal;

    /// A cache, an issuer and the key that it publishes.
    struct Fixture {
        cache: TokenCache,
        issuer: Arc<TrustedIssuer>,
        key: Arc<Key>,
        principal: Arc<Principal>,
    }

    impl Fixture {
        async fn start() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join("jwks.json");
            std::fs::write(&file, jwk_set(&[&Signer::es256("a")])).unwrap();
            let mut settings = settings("");
            settings.jwks_file = Some(file);
            let issuer = TrustedIssuer::start("corporate", &settings, Arc::default());
            issuer.keys.first_reading().await;
            let key = issuer.keys.keys().unwrap().iter().next().unwrap().clone();
            let principal = Principal {
                issuer: "corporate".to_owned(),
                subject: "encoder".to_owned(),
                teams: vec!["media".to_owned()],
                tags: Default::default(),
                claims: Default::default(),
            };
            let (issuer, principal) = (Arc::new(issuer), Arc::new(principal));
            Self { cache: TokenCache::new(10), issuer, key, principal }
        }

        fn insert(&self, token: &str, key: &Arc<Key>, times: Range<f64>) {
            let (principal, key) = (self.principal.clone(), key.clone());
            let proof = Proof { principal, bound_to: None, key, times };
            self.cache.insert(token, self.issuer.clone(), proof);
        }
    }

    fn around_now() -> Range<f64> {
        jwt::now() - 600.0..jwt::now() + 600.0
    }

    #[tokio::test]
    async fn a_token_is_remembered_by_all_of_its_text() {
        let known = Fixture::start().await;
        known.insert("h.c.s", &known.key, around_now());
        assert!(Arc::ptr_eq(&known.cache.get("h.c.s").unwrap().principal, &known.principal));
        for other in ["", "h.c.t", "h.d.s", "i.c.s", "h.c.s ", "h.c", "H.c.s"] {
            assert!(known.cache.get(other).is_none(), "{other}");
        }
        known.cache.clear();
        assert!(known.cache.get("h.c.s").is_none());
    }

    #[tokio::test]
    async fn a_token_is_not_known_before_and_after_its_times() {
        let known = Fixture::start().await;
        let now = jwt::now();
        // The first: as if the clock had been set back by two hours since.
        for times in [now + 7200.0..now + 7800.0, now - 600.0..now - 60.0, 0.0..0.0] {
            known.insert("h.c.s", &known.key, times.clone());
            assert!(known.cache.get("h.c.s").is_none(), "{times:?}");
        }
    }

    #[tokio::test]
    async fn a_token_goes_with_its_key() {
        let known = Fixture::start().await;
        // Of the same name, and not the one that is published.
        known.insert("h.c.s", &Signer::es256("a").public(), around_now());
        assert!(known.cache.get("h.c.s").is_none());
    }
}
