//! An issuer's public keys: a JWK Set (RFC 7517) from a file or a URL, kept in
//! memory and read anew when a token names a key that is not in it.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse},
};
use tokio::sync::Mutex;
use url::Url;

/// At most one reading in this time, however many unknown keys tokens name.
const COOL_DOWN: Duration = Duration::from_secs(10);
/// How long an issuer may take to answer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// No honest JWK Set is larger, in bytes.
const MAX_SIZE: usize = 512 * 1024;

/// Where the set is.
#[derive(Debug)]
enum Source {
    File(PathBuf),
    Url(Url, reqwest::Client),
}

/// A key that may verify tokens, and with which algorithms: the key says so,
/// never the token (RFC 8725, section 3.1).
pub(super) struct Key {
    id: Option<String>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) decoding: DecodingKey,
}

/// The cached set of one issuer.
pub(super) struct Keys {
    issuer: String,
    source: Source,
    current: ArcSwapOption<Vec<Arc<Key>>>,
    /// When the source was last read; held while it is being read, so that
    /// concurrent callers wait for one reading.
    last_read: Mutex<Option<Instant>>,
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("cannot read the file: {0}")]
    File(#[from] std::io::Error),
    #[error("cannot fetch: {0}")]
    Fetch(#[from] reqwest::Error),
    #[error("the answer is larger than {MAX_SIZE} bytes")]
    TooLarge,
    #[error("not a JWK Set: {0}")]
    Json(#[from] serde_json::Error),
    #[error("no key in the set can verify signatures with an accepted algorithm")]
    NoKeys,
}

impl Keys {
    pub(super) fn new(
        issuer: &str,
        file: Option<&PathBuf>,
        url: Option<&Url>,
    ) -> Result<Self, reqwest::Error> {
        let source = match (url, file) {
            (Some(url), _) => {
                let client = reqwest::Client::builder()
                    .timeout(FETCH_TIMEOUT)
                    // A redirect could lead the gateway to any host.
                    .redirect(reqwest::redirect::Policy::none())
                    .user_agent(concat!("glacier-gateway/", env!("CARGO_PKG_VERSION")))
                    .build()?;
                Source::Url(url.clone(), client)
            }
            (None, file) => Source::File(file.cloned().unwrap_or_default()),
        };
        Ok(Self {
            issuer: issuer.to_owned(),
            source,
            current: ArcSwapOption::empty(),
            last_read: Mutex::new(None),
        })
    }

    /// Whether the set was ever read.
    pub(super) fn loaded(&self) -> bool {
        self.current.load().is_some()
    }

    /// The key that `id` names; without a name, the only key for `algorithm`.
    pub(super) async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<Arc<Key>> {
        if let Some(key) = self.known(id, algorithm) {
            return Some(key);
        }
        self.read(COOL_DOWN).await;
        self.known(id, algorithm)
    }

    /// Reads the source now, unless another caller just did.
    pub(super) async fn refresh(&self) {
        self.read(Duration::from_secs(1)).await;
    }

    fn known(&self, id: Option<&str>, algorithm: Algorithm) -> Option<Arc<Key>> {
        let keys = self.current.load_full()?;
        let mut fitting = keys.iter().filter(|key| match id {
            Some(id) => key.id.as_deref() == Some(id),
            None => key.algorithms.contains(&algorithm),
        });
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Some(key.clone()),
            _ => None,
        }
    }

    async fn read(&self, at_most_every: Duration) {
        let mut last_read = self.last_read.lock().await;
        if last_read.is_some_and(|at| at.elapsed() < at_most_every) {
            return;
        }
        *last_read = Some(Instant::now());
        match self.load().await {
            Ok(keys) => {
                tracing::debug!(issuer = self.issuer, keys = keys.len(), "read the issuer's keys");
                self.current.store(Some(Arc::new(keys)));
            }
            Err(error) => {
                tracing::warn!(issuer = self.issuer, %error, "cannot read the issuer's keys; keeping those known");
            }
        }
    }

    async fn load(&self) -> Result<Vec<Arc<Key>>, ReadError> {
        let text = match &self.source {
            Source::File(path) => tokio::fs::read(path).await?,
            Source::Url(url, client) => fetch(client, url).await?,
        };
        // Keys of kinds unknown to us may stand beside ours: read one by one.
        #[derive(serde::Deserialize)]
        struct AnySet {
            keys: Vec<serde_json::Value>,
        }
        let AnySet { keys } = serde_json::from_slice(&text)?;
        let set = JwkSet {
            keys: keys.into_iter().filter_map(|k| serde_json::from_value(k).ok()).collect(),
        };
        let keys: Vec<_> = set.keys.iter().filter_map(usable).map(Arc::new).collect();
        if keys.is_empty() { Err(ReadError::NoKeys) } else { Ok(keys) }
    }
}

async fn fetch(client: &reqwest::Client, url: &Url) -> Result<Vec<u8>, ReadError> {
    let mut response = client.get(url.clone()).send().await?.error_for_status()?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_SIZE {
            return Err(ReadError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A public signature key, with the algorithms its type allows.
fn usable(jwk: &Jwk) -> Option<Key> {
    use Algorithm::*;
    if matches!(&jwk.common.public_key_use, Some(usage) if *usage != PublicKeyUse::Signature) {
        return None;
    }
    let by_type = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(ec) => match ec.curve {
            EllipticCurve::P256 => vec![ES256],
            EllipticCurve::P384 => vec![ES384],
            _ => return None,
        },
        AlgorithmParameters::RSA(_) => vec![RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => {
            vec![EdDSA]
        }
        // A symmetric key beside public ones would let whoever reads them sign.
        _ => return None,
    };
    let algorithms = match jwk.common.key_algorithm {
        Some(named) => {
            let named: Algorithm = named.to_string().parse().ok()?;
            by_type.into_iter().filter(|a| *a == named).collect()
        }
        None => by_type,
    };
    let decoding = DecodingKey::from_jwk(jwk).ok()?;
    Some(Key { id: jwk.common.key_id.clone(), algorithms, decoding })
}
