//! Tokens that were made to deceive (RFC 8725), and tokens that only look so.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto::sign};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{AUDIENCE, Gateway, ISSUER, Key, claims, now, problem};

const VAULTS: &str = "/v1/accounts/-/vaults";

fn base64(text: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

/// A token of exactly this header and these claims, well signed.
fn signed(key: &Key, header: &str, claims: &str) -> String {
    let message = format!("{}.{}", base64(header), base64(claims));
    let signature = sign(message.as_bytes(), &key.encoding, key.algorithm).unwrap();
    format!("{message}.{signature}")
}

fn owner() -> String {
    claims("owner").to_string()
}

async fn outcome(gateway: &Gateway, token: &str) -> (u16, String) {
    let reply = gateway.call_with(token, Method::GET, VAULTS).await;
    if reply.status() == 200 {
        return (200, String::new());
    }
    let challenge = reply.headers().get("www-authenticate").cloned();
    let (status, body) = problem(reply).await;
    assert!(challenge.is_some_and(|c| c.to_str().unwrap().contains("error=\"invalid_token\"")));
    let told = body.to_string();
    for secret in ["es256", ISSUER, "owner", "jwks", "/etc"] {
        assert!(!told.contains(secret), "{secret} is told: {told}");
    }
    (status, body["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn headers_that_are_out_of_order_are_refused_though_the_signature_is_right() {
    let gateway = Gateway::start();
    let embedded = json!({"alg": "ES256", "jwk": gateway.key.public, "kid": "es256"}).to_string();
    for header in [
        r#"{"alg":"ES256","kid":"es256","crit":["exp"]}"#,
        r#"{"alg":"ES256","kid":"es256","crit":[]}"#,
        r#"{"alg":"ES256","kid":"es256","crit":null}"#,
        r#"{"alg":"ES256","kid":"es256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"ES256","kid":"es256","jku":"https://login.example.com/keys"}"#,
        r#"{"alg":"ES256","kid":"es256","x5u":"https://login.example.com/keys"}"#,
        r#"{"alg":"ES256","kid":"es256","x5c":["MIIB"]}"#,
        &embedded,
        r#"{"alg":"none","alg":"ES256","kid":"es256"}"#,
        r#"{"alg":"ES256","kid":"other","kid":"es256"}"#,
        r#"{"alg":"es256","kid":"es256"}"#,
        r#"{"alg":"None","kid":"es256"}"#,
        r#"{"alg":"","kid":"es256"}"#,
        r#"{"alg":["ES256"],"kid":"es256"}"#,
        r#"{"kid":"es256"}"#,
        r#"{"alg":"ES256","kid":["es256"]}"#,
        r#"{"alg":"ES256","kid":"es256","typ":"dpop+jwt"}"#,
        r#"{"alg":"ES256","kid":"es256","typ":"logout+jwt"}"#,
        r#"{"alg":"ES256","kid":"es256","typ":""}"#,
        r#"{"alg":"ES256","kid":"es256","typ":"application/x/JWT"}"#,
        r#"{"alg":"ES256","kid":"es256","typ":7}"#,
        r#"["ES256"]"#,
        r#""ES256""#,
        "null",
        "",
        "{\"alg\":\"ES256\",\"kid\":\"es256\"}\u{0}",
        &format!(
            "{{\"alg\":\"ES256\",\"kid\":\"es256\",\"x\":{}{}}}",
            "[".repeat(2000),
            "]".repeat(2000)
        ),
    ] {
        let token = signed(&gateway.key, header, &owner());
        assert_eq!(outcome(&gateway, &token).await, (401, "token-invalid".into()), "{header}");
    }
}

#[tokio::test]
async fn harmless_headers_are_accepted() {
    let gateway = Gateway::start();
    for header in [
        r#"{"alg":"ES256","kid":"es256"}"#,
        r#"{"alg":"ES256"}"#,
        r#"{"typ":"jwt","alg":"ES256","kid":"es256"}"#,
        r#"{"typ":"application/JWT","alg":"ES256","kid":"es256"}"#,
        r#"{"alg":"ES256","kid":"es256","cty":"x","nonce":"n","x5t":"t","unheard":{"of":1}}"#,
    ] {
        let token = signed(&gateway.key, header, &owner());
        assert_eq!(outcome(&gateway, &token).await.0, 200, "{header}");
    }
}

#[tokio::test]
async fn claims_that_are_out_of_order_are_refused_though_the_signature_is_right() {
    let gateway = Gateway::start();
    let (iss, now, exp) = (ISSUER, now(), now() + 600);
    let with = |more: &str| {
        format!(
            r#"{{"iss":"{iss}","sub":"a","aud":"{AUDIENCE}","exp":{exp},"team":"owner"{more}}}"#
        )
    };
    let without = |text: &str| with("").replace(text, "");
    let far = now + 3600;
    for (claims, code) in [
        (with(r#","team":"owner""#), "token-invalid"),
        (with(r#","team":"admin""#), "token-invalid"),
        (with(&format!(r#","exp":{far}"#)), "token-invalid"),
        (with(r#","\u0073ub":"b""#), "token-invalid"),
        (with(r#","x":{"y":1,"y":2}"#), "token-invalid"),
        (with(r#","nbf":null"#), "token-invalid"),
        (with(r#","nbf":"0""#), "token-invalid"),
        (with(&format!(r#","nbf":{far}"#)), "token-not-yet-valid"),
        (with(&format!(r#","iat":{far}"#)), "token-not-yet-valid"),
        (with(r#","iat":"now""#), "token-invalid"),
        (without(&format!(r#""exp":{exp},"#)), "token-invalid"),
        (with("").replace(&format!("{exp},"), "-1,"), "token-invalid"),
        (with("").replace(&format!("{exp},"), "1e400,"), "token-invalid"),
        (with("").replace(&format!("{exp},"), "null,"), "token-invalid"),
        (with("").replace(&format!("{exp},"), "0,"), "token-expired"),
        (with("").replace(&format!("\"{AUDIENCE}\""), "[]"), "token-invalid"),
        (with("").replace(&format!("\"{AUDIENCE}\""), "null"), "token-invalid"),
        (with("").replace(&format!("\"{AUDIENCE}\""), "[\"other\"]"), "token-invalid"),
        (with("").replace(&format!("\"{AUDIENCE}\""), "\"GLACIER-GATEWAY\""), "token-invalid"),
        (with("").replace(&format!("\"{iss}\""), &format!("[\"{iss}\"]")), "token-invalid"),
        (with("").replace(iss, &format!("{iss}/")), "token-invalid"),
        (with("").replace(iss, "HTTPS://LOGIN.EXAMPLE.COM"), "token-invalid"),
        (with("").replace("\"sub\":\"a\"", "\"sub\":\"a\\nb\""), "token-invalid"),
        (with("").replace("\"owner\"", "\"../owner\""), "token-without-team"),
        ("[]".into(), "token-invalid"),
        ("null".into(), "token-invalid"),
        ("".into(), "token-invalid"),
        (format!("{} ", "{\"a\":".repeat(1500)), "token-invalid"),
        (format!("{}x", with("")), "token-invalid"),
        (format!("\u{feff}{}", with("")), "token-invalid"),
    ] {
        let token = signed(&gateway.key, r#"{"alg":"ES256","kid":"es256"}"#, &claims);
        assert_eq!(outcome(&gateway, &token).await, (401, code.into()), "{claims}");
    }
    let list = with("").replace(&format!("\"{AUDIENCE}\""), &format!("[\"x\",\"{AUDIENCE}\"]"));
    let token = signed(&gateway.key, r#"{"alg":"ES256","kid":"es256"}"#, &list);
    assert_eq!(outcome(&gateway, &token).await.0, 200);
}

#[tokio::test]
async fn a_token_has_one_spelling() {
    let gateway = Gateway::start();
    let good = gateway.key.token("owner");
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!() };
    // The last letter of 64 bytes carries four bits that mean nothing.
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = signature.bytes().last().unwrap();
    let place = letters.iter().position(|l| *l == last).unwrap();
    let stray = format!("{}{}", &signature[..85], char::from(letters[place ^ 1]));
    let standard = good.replace('-', "+").replace('_', "/");
    let mut der = vec![0x30, 0x44, 0x02, 0x20];
    let raw = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    der.extend_from_slice(&raw[..32]);
    der.extend_from_slice(&[0x02, 0x20]);
    der.extend_from_slice(&raw[32..]);
    for (attack, token) in [
        ("stray bits", format!("{header}.{payload}.{stray}")),
        ("padding", format!("{good}=")),
        ("padding twice", format!("{header}==.{payload}.{signature}")),
        ("a dot before", format!(".{good}")),
        ("a dot after", format!("{good}.")),
        ("a space inside", format!("{header}. {payload}.{signature}")),
        ("an unprotected fourth part", format!("{good}.{signature}")),
        (
            "the five parts of an encrypted token",
            format!("{header}..{payload}.{payload}.{signature}"),
        ),
        (
            "JSON serialization",
            json!({"protected": header, "payload": payload, "signature": signature}).to_string(),
        ),
        ("a DER signature", format!("{header}.{payload}.{}", base64(der))),
        ("a signature of zeros", format!("{header}.{payload}.{}", base64([0; 64]))),
        ("half a signature", format!("{header}.{payload}.{}", &signature[..43])),
        ("two signatures", format!("{header}.{payload}.{signature}{signature}")),
        ("two tokens", format!("{good},{good}")),
        ("16 KiB and more", format!("{header}.{}.{signature}", "A".repeat(16 * 1024))),
    ] {
        assert_eq!(outcome(&gateway, &token).await, (401, "token-invalid".into()), "{attack}");
    }
    if standard != good {
        assert_eq!(outcome(&gateway, &standard).await.0, 401);
    }
    assert_eq!(outcome(&gateway, &good).await.0, 200);
}

#[tokio::test]
async fn the_key_decides_the_algorithm() {
    let gateway = Gateway::start();
    let (rsa, ed) = (Key::rs256("rsa"), Key::eddsa("ed"));
    let mut fixed = rsa.public.clone();
    fixed["kid"] = json!("fixed");
    let mut free = rsa.public.clone();
    free.as_object_mut().unwrap().remove("alg");
    free["kid"] = json!("free");
    let secret = json!({"kty": "oct", "kid": "secret", "k": base64("secret"), "alg": "HS256"});
    let encryption = {
        let mut key = Key::es256("encryption").public;
        key["use"] = json!("enc");
        key
    };
    let set = json!({"keys": [gateway.key.public, ed.public, fixed, free, secret, encryption]});
    std::fs::write(gateway.directory.path().join("jwks.json"), set.to_string()).unwrap();
    let gateway = gateway
        .with_environment(&[("GATEWAY__ISSUERS__TEST__ALGORITHMS", "[ES256,RS256,PS256,EdDSA]")]);
    let token = |key: &EncodingKey, algorithm: Algorithm, id: &str| {
        let name = format!("{algorithm:?}");
        let header = json!({"alg": name, "kid": id}).to_string();
        let message = format!("{}.{}", base64(header), base64(owner()));
        format!("{message}.{}", sign(message.as_bytes(), key, algorithm).unwrap())
    };
    let hmac = EncodingKey::from_secret(b"secret");
    let public = gateway.key.public.to_string();
    let public = EncodingKey::from_secret(public.as_bytes());
    for (key, algorithm, id, status) in [
        (&rsa.encoding, Algorithm::RS256, "free", 200),
        (&rsa.encoding, Algorithm::PS256, "free", 200),
        (&rsa.encoding, Algorithm::RS384, "free", 401),
        (&rsa.encoding, Algorithm::RS256, "fixed", 200),
        (&rsa.encoding, Algorithm::PS256, "fixed", 401),
        (&rsa.encoding, Algorithm::RS256, "es256", 401),
        (&gateway.key.encoding, Algorithm::ES256, "free", 401),
        (&ed.encoding, Algorithm::EdDSA, "ed", 200),
        (&ed.encoding, Algorithm::EdDSA, "es256", 401),
        (&hmac, Algorithm::HS256, "secret", 401),
        (&hmac, Algorithm::HS256, "es256", 401),
        (&public, Algorithm::HS256, "es256", 401),
        (&public, Algorithm::HS512, "free", 401),
    ] {
        let token = token(key, algorithm, id);
        assert_eq!(outcome(&gateway, &token).await.0, status, "{algorithm:?} with {id}");
    }
}

#[tokio::test]
async fn strange_key_names_name_no_key_and_read_nothing() {
    let gateway = Gateway::start();
    let long = "k".repeat(300);
    let names = ["../../../../dev/null", "' OR '1'='1", "es256\u{0}", "", "ES256", "*", &long];
    // Together, because each waits for the keys to be read anew.
    let outcomes = names.map(async |id| {
        let header = json!({"alg": "ES256", "kid": id}).to_string();
        outcome(&gateway, &signed(&gateway.key, &header, &owner())).await
    });
    for outcome in futures_util::future::join_all(outcomes).await {
        assert_eq!(outcome, (401, "token-invalid".into()));
    }
    assert!(gateway.simulator.requests().await.is_empty());
}

#[tokio::test]
async fn an_access_token_has_what_rfc_9068_asks_for() {
    let gateway = Gateway::start();
    let header = r#"{"typ":"at+jwt","alg":"ES256","kid":"es256"}"#;
    let mut whole = claims("owner");
    whole["client_id"] = json!("encoder");
    whole["jti"] = json!("1");
    let token = signed(&gateway.key, header, &whole.to_string());
    assert_eq!(outcome(&gateway, &token).await.0, 200);
    for (claim, wrong) in
        ["client_id", "jti", "iat"].into_iter().flat_map(|c| [(c, None), (c, Some(json!([])))])
    {
        let mut claims = whole.clone();
        match wrong {
            None => drop(claims.as_object_mut().unwrap().remove(claim)),
            Some(value) => claims[claim] = value,
        }
        let token = signed(&gateway.key, header, &claims.to_string());
        assert_eq!(outcome(&gateway, &token).await.0, 401, "{claims}");
    }
}

#[tokio::test]
async fn an_issuer_may_ask_for_more() {
    let gateway = Gateway::with(
        "required_claims = [\"jti\", \"/context/zone\"]\nmax_age = \"15m\"\nleeway = \"0s\"\ntyp = [\"at+jwt\"]",
        &[],
    );
    let header = r#"{"typ":"application/AT+JWT","alg":"ES256","kid":"es256"}"#;
    let whole = || {
        let mut whole = claims("owner");
        whole["client_id"] = json!("encoder");
        whole["jti"] = json!("1");
        whole["context"] = json!({"zone": "a"});
        whole
    };
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut claims = whole();
        change(&mut claims);
        claims
    };
    for (claims, expected) in [
        (whole(), (200, "")),
        (changed(&|c| c["context"] = json!({})), (401, "token-invalid")),
        (changed(&|c| c["context"]["zone"] = json!(null)), (401, "token-invalid")),
        // From its issue to its end it is more than max_age.
        (changed(&|c| c["iat"] = json!(now() - 310)), (401, "token-invalid")),
        (changed(&|c| c["exp"] = json!(now() - 2)), (401, "token-expired")),
        (changed(&|c| c["iat"] = json!(now() + 10)), (401, "token-not-yet-valid")),
    ] {
        let token = signed(&gateway.key, header, &claims.to_string());
        let (status, code) = outcome(&gateway, &token).await;
        assert_eq!((status, code.as_str()), expected, "{claims}");
    }
    let untyped = signed(&gateway.key, r#"{"alg":"ES256","kid":"es256"}"#, &whole().to_string());
    assert_eq!(outcome(&gateway, &untyped).await.0, 401);
}
