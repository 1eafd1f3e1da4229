//! An issuer's settings, keys and tokens, for the tests beside.

#![allow(clippy::unwrap_used)]

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
    },
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use figment::{
    Figment,
    providers::{Format, Toml},
};
use jsonwebtoken::{Algorithm, EncodingKey, crypto::sign, jwk::Jwk};
use serde_json::{Value, json};

use super::jwks::{self, Key};
use crate::config;

pub(super) const ISSUER: &str = "https://login.example.com";

/// Settings of the issuer with `more` of them.
pub(super) fn settings(more: &str) -> config::Issuer {
    let text = format!("issuer = \"{ISSUER}\"\naudiences = [\"gateway\"]\n{more}");
    Figment::from(Toml::string(&text)).extract().unwrap()
}

/// What comes of `future`, which fails rather than hangs.
pub(super) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.unwrap()
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// Claims that those settings accept.
pub(super) fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "encoder", "aud": "gateway",
        "iat": now(), "exp": now() + 600, "team": "media",
    })
}

/// The same with one claim of another value, or without it.
pub(super) fn claims_with(name: &str, value: impl Into<Option<Value>>) -> Value {
    let mut claims = claims();
    match value.into() {
        Some(value) => claims[name] = value,
        None => drop(claims.as_object_mut().unwrap().remove(name)),
    }
    claims
}

pub(super) fn base64(text: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

/// A key that the issuer signs with.
pub(super) struct Signer {
    pub(super) private: EncodingKey,
    pub(super) algorithm: Algorithm,
    /// Its public half.
    pub(super) jwk: Value,
}

impl Signer {
    pub(super) fn es256(id: &str) -> Self {
        Self::ec(&ECDSA_P256_SHA256_FIXED_SIGNING, Algorithm::ES256, id)
    }

    pub(super) fn es384(id: &str) -> Self {
        Self::ec(&ECDSA_P384_SHA384_FIXED_SIGNING, Algorithm::ES384, id)
    }

    fn ec(curve: &'static EcdsaSigningAlgorithm, algorithm: Algorithm, id: &str) -> Self {
        let pair = EcdsaKeyPair::generate(curve).unwrap();
        let document = pair.to_pkcs8v1().unwrap();
        Self::new(EncodingKey::from_ec_der(document.as_ref()), algorithm, id)
    }

    /// A key whose public half leaves the algorithm open.
    pub(super) fn rsa(algorithm: Algorithm, id: &str) -> Self {
        // Making one takes a while in a debug build: once is enough.
        static DOCUMENT: OnceLock<Vec<u8>> = OnceLock::new();
        let document = DOCUMENT.get_or_init(|| {
            let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
            let pkcs8: Pkcs8V1Der = pair.as_der().unwrap();
            // PKCS #8 ends with the PKCS #1 that the JWT library wants.
            pkcs8.as_ref()[26..].to_vec()
        });
        let mut signer = Self::new(EncodingKey::from_rsa_der(document), algorithm, id);
        signer.jwk.as_object_mut().unwrap().remove("alg");
        signer
    }

    pub(super) fn eddsa(id: &str) -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let document = pair.to_pkcs8v1().unwrap();
        let x = base64(pair.public_key());
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": id});
        let private = EncodingKey::from_ed_der(document.as_ref());
        Self { private, algorithm: Algorithm::EdDSA, jwk }
    }

    fn new(private: EncodingKey, algorithm: Algorithm, id: &str) -> Self {
        let jwk = Jwk::from_encoding_key(&private, algorithm).unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        jwk["kid"] = json!(id);
        Self { private, algorithm, jwk }
    }

    /// The key as the issuer's keys hold it.
    pub(super) fn public(&self) -> Arc<Key> {
        let mut keys = jwks::parse(&jwk_set(&[self])).unwrap();
        Arc::new(keys.pop().unwrap())
    }

    /// A token of exactly this header and these claims, well signed.
    pub(super) fn sign(&self, header: &str, claims: &Value) -> String {
        let message = format!("{}.{}", base64(header), base64(claims.to_string()));
        let signature = sign(message.as_bytes(), &self.private, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }

    /// A token that names this key.
    pub(super) fn token(&self, claims: &Value) -> String {
        let header = json!({"alg": format!("{:?}", self.algorithm), "kid": self.jwk["kid"]});
        self.sign(&header.to_string(), claims)
    }
}

/// The JWK Set of the public halves.
pub(super) fn jwk_set(signers: &[&Signer]) -> Vec<u8> {
    let keys: Vec<_> = signers.iter().map(|signer| &signer.jwk).collect();
    json!({"keys": keys}).to_string().into_bytes()
}
