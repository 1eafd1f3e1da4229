//! JWK Sets (RFC 7517): which keys verify tokens, and with which algorithms.

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};

/// A key that may verify tokens, and with which algorithms: the key says so,
/// never the token (RFC 8725, section 3.1).
pub(super) struct Key {
    pub(super) id: Option<String>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) decoding: DecodingKey,
    jwk: Jwk,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.jwk == other.jwk
    }
}

/// The keys of a JWK Set that can verify signatures. Others may stand beside
/// them and are passed over (RFC 7517, section 5).
///
/// # Errors
/// When `document` is no JWK Set.
pub(super) fn parse(document: &[u8]) -> Result<Vec<Key>, serde_json::Error> {
    #[derive(serde::Deserialize)]
    struct AnySet {
        keys: Vec<serde_json::Value>,
    }
    let AnySet { keys } = serde_json::from_slice(document)?;
    let readable = keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
    Ok(readable.filter_map(usable).collect())
}

/// A public signature key, with the algorithms its type allows.
fn usable(jwk: Jwk) -> Option<Key> {
    use Algorithm::*;
    if matches!(&jwk.common.public_key_use, Some(usage) if *usage != PublicKeyUse::Signature) {
        return None;
    }
    if matches!(&jwk.common.key_operations, Some(all) if !all.contains(&KeyOperations::Verify)) {
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
            let named = Algorithm::try_from(named).ok()?;
            by_type.into_iter().filter(|a| *a == named).collect()
        }
        None => by_type,
    };
    let decoding = DecodingKey::from_jwk(&jwk).ok()?;
    Some(Key { id: jwk.common.key_id.clone(), algorithms, decoding, jwk })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::test_tokens::Signer, *};

    // RFC 7517, appendix A.1; RFC 8037, appendix A.2.
    fn ec() -> Value {
        json!({"kty": "EC", "crv": "P-256", "kid": "1",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"})
    }

    fn ed() -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
    }

    fn with(mut key: Value, name: &str, value: Value) -> Value {
        key[name] = value;
        key
    }

    fn algorithms(key: Value) -> Option<Vec<Algorithm>> {
        let set = json!({"keys": [key]}).to_string();
        parse(set.as_bytes()).unwrap().pop().map(|key| key.algorithms)
    }

    #[test]
    fn the_key_says_which_algorithms_it_verifies() {
        assert_eq!(algorithms(ec()), Some(vec![Algorithm::ES256]));
        assert_eq!(algorithms(ed()), Some(vec![Algorithm::EdDSA]));
        assert_eq!(algorithms(with(ec(), "alg", json!("ES256"))), Some(vec![Algorithm::ES256]));
        assert_eq!(algorithms(Signer::es384("a").jwk), Some(vec![Algorithm::ES384]));
        let rsa = Signer::rsa(Algorithm::RS256, "a").jwk;
        assert_eq!(
            algorithms(with(rsa.clone(), "alg", json!("PS384"))),
            Some(vec![Algorithm::PS384])
        );
        let open = algorithms(rsa).unwrap_or_default();
        assert_eq!(open.len(), 6);
        assert!(
            open.iter().all(|algorithm| algorithm.family() == jsonwebtoken::AlgorithmFamily::Rsa)
        );
        // Its type and its "alg" contradict each other: it verifies nothing.
        assert_eq!(algorithms(with(ec(), "alg", json!("RS256"))), Some(vec![]));
        assert_eq!(algorithms(with(ec(), "alg", json!("HS256"))), Some(vec![]));
    }

    #[test]
    fn keys_for_other_purposes_are_passed_over() {
        for key in [
            with(ec(), "use", json!("enc")),
            with(ec(), "key_ops", json!(["sign", "encrypt"])),
            with(ec(), "alg", json!("ECDH-ES")),
            with(ec(), "crv", json!("P-521")),
            with(ec(), "crv", json!("secp256k1")),
            with(ec(), "x", json!("not base64!")),
            with(ec(), "x", json!(7)),
            with(ed(), "crv", json!("X25519")),
            with(ed(), "crv", json!("P-256")),
            json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}),
            json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "x"}),
            json!({}),
            json!("x"),
            json!(null),
        ] {
            assert_eq!(algorithms(key.clone()), None, "{key}");
        }
    }

    #[test]
    fn strange_keys_do_not_hide_the_others() {
        let set = json!({"keys": [{"kty": "AKP"}, ec(), 7, ed()], "more": {}}).to_string();
        assert_eq!(parse(set.as_bytes()).unwrap().len(), 2);
    }

    #[test]
    fn what_is_no_set_is_an_error() {
        for text in ["", "<html>", "[]", "{}", "{\"keys\":{}}", "{\"keys\":null}", "{\"keys\":[]"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        let nested = format!("{{\"keys\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(parse(nested.as_bytes()).is_err());
    }
}
