//! A text is no token of ours unless our key signed it; and a token that our key
//! signed, of any header and claims, proves only what it should.
#![no_main]

use std::{
    sync::LazyLock,
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use glacier_gateway::{
    authn::verify,
    config::{Issuer, Settings},
    domain::check_team,
};
use jsonwebtoken::{Algorithm, EncodingKey, crypto::sign, jwk::Jwk};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

struct Fixture {
    settings: Issuer,
    key: EncodingKey,
    jwks: Vec<u8>,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let key = EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref());
    let mut public = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
    public.common.key_id = Some("k".to_owned());
    let settings = Settings::from_toml(
        "[aws]\nregion = \"eu-central-1\"\naccount_id = \"111122223333\"\n\
         [issuers.a]\nissuer = \"https://a.example\"\naudiences = [\"g\"]\n",
    )
    .unwrap();
    let jwks = json!({"keys": [public]}).to_string().into_bytes();
    Fixture { settings: settings.issuers["a"].clone(), key, jwks }
});

fuzz_target!(|text: &str| {
    let Fixture { settings, key, jwks } = &*FIXTURE;
    assert!(verify(text, jwks, "a", settings).is_err());

    // Header and claims stand on a line each; exp may ask for a time to come.
    let (header, claims) = text.split_once('\n').unwrap_or((r#"{"alg":"ES256","kid":"k"}"#, text));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = claims.replace("SOON", &(now + 60).to_string());
    let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", encode(header), encode(&claims));
    let signature = sign(message.as_bytes(), key, Algorithm::ES256).unwrap();
    let token = format!("{message}.{signature}");
    if let Ok(principal) = verify(&token, jwks, "a", settings) {
        let header: Value = serde_json::from_str(header).unwrap();
        let claims: Value = serde_json::from_str(&claims).unwrap();
        assert_eq!(header["alg"], "ES256");
        assert!(["crit", "jku", "jwk", "x5c", "x5u"].iter().all(|name| header.get(name).is_none()));
        assert_eq!(claims["iss"], "https://a.example");
        assert!(claims.get("cnf").is_none());
        assert!(match &claims["aud"] {
            Value::Array(all) => all.contains(&json!("g")),
            one => one == "g",
        });
        assert!(claims["exp"].as_f64().unwrap() >= (now - 32) as f64);
        assert_eq!(claims["sub"], principal.subject.as_str());
        assert!(!principal.subject.is_empty() && !principal.teams.is_empty());
        assert!(principal.teams.iter().all(|team| check_team(team).is_ok()));
        // Any other text of the token is another token.
        assert!(verify(&format!("{token}A"), jwks, "a", settings).is_err());
        assert!(verify(&token[..token.len() - 1], jwks, "a", settings).is_err());
    }
});
