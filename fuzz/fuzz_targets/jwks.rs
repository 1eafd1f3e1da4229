//! Whatever a JWK Set says, it verifies our token only if our key is in it.
#![no_main]

use std::{
    sync::LazyLock,
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use glacier_gateway::{
    authn::verify,
    config::{Issuer, Settings},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

struct Fixture {
    settings: Issuer,
    public: Value,
    token: String,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let key = EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref());
    let public = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
    let settings = Settings::from_toml(
        "[aws]\nregion = \"eu-central-1\"\naccount_id = \"111122223333\"\n\
         [issuers.a]\nissuer = \"https://a.example\"\naudiences = [\"g\"]\n",
    )
    .unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({
        "iss": "https://a.example", "aud": "g", "sub": "s", "team": "t", "exp": now + 86400,
    });
    let token = encode(&Header::new(Algorithm::ES256), &claims, &key).unwrap();
    let public = serde_json::to_value(public).unwrap();
    Fixture { settings: settings.issuers["a"].clone(), public, token }
});

fuzz_target!(|text: &str| {
    let Fixture { settings, public, token } = &*FIXTURE;
    // XX and YY stand for our key's coordinates.
    let (x, y) = (public["x"].as_str().unwrap(), public["y"].as_str().unwrap());
    let set = text.replace("XX", x).replace("YY", y);
    let proven = verify(token, set.as_bytes(), "a", settings).is_ok();
    assert!(!proven || (text.contains("XX") && text.contains("YY")), "{text}");
    assert!(verify(token, text.as_bytes(), "a", settings).is_err());
});
