#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::{
    super::test_tokens::{ISSUER, Signer, base64, claims, claims_with, settings},
    *,
};

/// A token that nobody signed.
fn unsigned(header: &str, claims: &Value) -> String {
    format!("{}.{}.AAAA", base64(header), base64(claims.to_string()))
}

fn read_error(text: &str) -> Option<TokenError> {
    Token::read(text).err()
}

/// What becomes of the header under the issuer's settings.
fn header(header: &str, more: &str) -> Result<(), TokenError> {
    Token::read(&unsigned(header, &claims()))?.check_header(&settings(more))
}

/// When the token of these claims, well signed, counts.
fn verified(claims: &Value) -> Result<Range<f64>, TokenError> {
    let signer = Signer::es256("a");
    let token = signer.token(claims);
    Token::read(&token)?.verify(&signer.public(), &settings("")).map(|verified| verified.times)
}

/// When the token of these claims counts, seen at the second 10,000.
fn times(header: &str, claims: Value, more: &str) -> Result<Range<f64>, TokenError> {
    Token::read(&unsigned(header, &claims))?.check_claims(&settings(more), 10_000.0)
}

#[test]
fn a_token_is_read_as_it_is() {
    let text = unsigned(r#"{"alg":"ES256","kid":"a"}"#, &claims());
    let token = Token::read(&text).unwrap();
    assert_eq!((token.algorithm, token.key_id.as_deref()), (Algorithm::ES256, Some("a")));
    assert_eq!(token.claimed_issuer(), Ok(ISSUER));
    assert_eq!(Value::Object(token.claims), claims());
    let text = unsigned(r#"{"alg":"ES256"}"#, &claims());
    assert_eq!(Token::read(&text).unwrap().key_id, None);
}

#[test]
fn a_header_with_keys_or_extensions_is_refused() {
    for name in ["crit", "jku", "jwk", "x5c", "x5u"] {
        for value in ["null", "\"x\"", "[]", "{}"] {
            let header = format!("{{\"alg\":\"ES256\",\"{name}\":{value}}}");
            assert_eq!(read_error(&unsigned(&header, &claims())), Some(TokenError::Header));
        }
    }
}

#[test]
fn what_is_no_token_is_refused() {
    let good = unsigned(r#"{"alg":"ES256"}"#, &claims());
    let [header, claims, signature] = good.split('.').collect::<Vec<_>>()[..] else { return };
    for text in [
        "",
        "..",
        header,
        &format!("{header}.{claims}"),
        &format!("{good}."),
        &format!("{good}.{signature}"),
        &format!(".{claims}.{signature}"),
        &format!("{header}..{signature}"),
        &format!("{header}=.{claims}.{signature}"),
        &format!("{header} .{claims}.{signature}"),
        &format!("{header}.{claims}=.{signature}"),
        &format!("{}.{claims}.{signature}", base64("[]")),
        &format!("{header}.{}.{signature}", base64("7")),
        &format!("{header}.{}.{signature}", base64(r#"{"sub":"a","sub":"b"}"#)),
        &format!("{}.{claims}.{signature}", base64(r#"{"alg":"none","alg":"ES256"}"#)),
        &format!("{}.{claims}.{signature}", base64("{}")),
        &format!("{}.{claims}.{signature}", base64(r#"{"alg":["ES256"]}"#)),
        &format!("{}.{claims}.{signature}", base64(r#"{"alg":"ES256","kid":7}"#)),
        &format!("{}.{claims}.{signature}", base64(r#"{"alg":"ES256","kid":null}"#)),
        &format!("{}.{claims}.{signature}", base64(r#"{"alg":"ES256","typ":{}}"#)),
    ] {
        assert_eq!(read_error(text), Some(TokenError::Malformed), "{text}");
    }
}

#[test]
fn tokens_and_key_names_have_a_length_they_may_have() {
    let short = unsigned(r#"{"alg":"ES256"}"#, &claims());
    let longest = format!("{short}{}", "A".repeat(16_384 - short.len()));
    assert_eq!(read_error(&longest), None);
    assert_eq!(read_error(&format!("{longest}A")), Some(TokenError::TooLong));
    let named = |length| {
        let header = format!("{{\"alg\":\"ES256\",\"kid\":\"{}\"}}", "k".repeat(length));
        read_error(&unsigned(&header, &claims()))
    };
    assert_eq!(named(256), None);
    assert_eq!(named(257), Some(TokenError::UnknownKey));
}

#[test]
fn the_issuer_that_chooses_who_verifies_is_a_string() {
    for issuer in [None, Some(json!(null)), Some(json!([ISSUER])), Some(json!(7))] {
        let text = unsigned(r#"{"alg":"ES256"}"#, &claims_with("iss", issuer));
        assert_eq!(Token::read(&text).unwrap().claimed_issuer(), Err(TokenError::Claims));
    }
}

#[test]
fn only_accepted_algorithms_pass() {
    for name in ["ES256", "RS256", "EdDSA"] {
        assert_eq!(header(&json!({"alg": name}).to_string(), ""), Ok(()), "{name}");
    }
    for name in ["none", "None", "", "es256", "HS256", "HS512", "ES384", "PS256", "ES256K"] {
        let header = header(&json!({"alg": name}).to_string(), "");
        assert_eq!(header, Err(TokenError::Algorithm), "{name}");
    }
    let only = "algorithms = [\"ES384\"]";
    assert_eq!(header(r#"{"alg":"ES384"}"#, only), Ok(()));
    assert_eq!(header(r#"{"alg":"ES256"}"#, only), Err(TokenError::Algorithm));
}

#[test]
fn only_accepted_types_pass() {
    let typed = |typ: &str, accepted: &str| {
        let settings = format!("typ = [\"{accepted}\"]");
        header(&json!({"alg": "ES256", "typ": typ}).to_string(), &settings)
    };
    for (typ, accepted) in [
        ("JWT", "JWT"),
        ("jwt", "JWT"),
        ("application/jwt", "JWT"),
        ("Application/JWT", "jwt"),
        ("at+jwt", "application/at+jwt"),
        ("AT+JWT", "at+jwt"),
    ] {
        assert_eq!(typed(typ, accepted), Ok(()), "{typ} for {accepted}");
    }
    for (typ, accepted) in [
        ("JWT", "at+jwt"),
        ("at+jwt", "JWT"),
        ("dpop+jwt", "at+jwt"),
        ("logout+jwt", "JWT"),
        ("", "JWT"),
        ("JWT ", "JWT"),
        ("application/", "JWT"),
        ("image/jwt12345/JWT", "JWT"),
        ("multipart/xyJWT", "JWT"),
        ("application/x/JWT", "x/JWT"),
        ("application-JWT", "JWT"),
    ] {
        assert_eq!(typed(typ, accepted), Err(TokenError::Type), "{typ} for {accepted}");
    }
    assert_eq!(header(r#"{"alg":"ES256"}"#, "typ = [\"jwt\"]"), Ok(()));
    assert_eq!(header(r#"{"alg":"ES256"}"#, "typ = [\"at+jwt\"]"), Err(TokenError::Type));
}

#[test]
fn a_well_signed_token_is_verified_until_it_expires() {
    let accepted = settings("algorithms = [\"ES256\", \"ES384\", \"RS256\", \"PS512\", \"EdDSA\"]");
    for signer in [
        Signer::es256("a"),
        Signer::es384("a"),
        Signer::rsa(Algorithm::RS256, "a"),
        Signer::rsa(Algorithm::PS512, "a"),
        Signer::eddsa("a"),
    ] {
        let claims = claims();
        let text = signer.token(&claims);
        let verified = Token::read(&text).unwrap().verify(&signer.public(), &accepted).unwrap();
        assert_eq!(Some(verified.times.end), claims["exp"].as_f64());
        assert_eq!(Value::Object(verified.claims), claims);
    }
}

#[test]
fn a_signature_is_by_the_key_and_over_the_text() {
    let (ours, theirs) = (Signer::es256("a"), Signer::es256("a"));
    let good = ours.token(&claims());
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { return };
    let other = base64(claims_with("team", json!("admin")).to_string());
    let typed = base64(r#"{"alg":"ES256","kid":"a","typ":"JWT"}"#);
    let half = base64([0; 32]);
    for text in [
        theirs.token(&claims()),
        format!("{header}.{other}.{signature}"),
        format!("{typed}.{payload}.{signature}"),
        format!("{header}.{payload}."),
        format!("{header}.{payload}.{half}"),
        format!("{header}.{payload}.{}", base64([0; 64])),
        format!("{header}.{payload}.{signature}AAAA"),
    ] {
        let verified = Token::read(&text).unwrap().verify(&ours.public(), &settings(""));
        assert_eq!(verified.err(), Some(TokenError::Signature), "{text}");
    }
}

#[test]
fn a_key_of_another_type_verifies_nothing() {
    let signers = [
        Signer::es256("a"),
        Signer::es384("a"),
        Signer::rsa(Algorithm::RS256, "a"),
        Signer::eddsa("a"),
    ];
    for signer in &signers {
        let text = signer.token(&claims());
        let token = Token::read(&text).unwrap();
        for other in signers.iter().filter(|other| other.algorithm != signer.algorithm) {
            assert!(token.verify(&other.public(), &settings("")).is_err());
        }
    }
}

#[test]
fn every_required_claim_is_required() {
    for name in ["iss", "sub", "aud", "exp"] {
        for value in [None, Some(json!(null)), Some(json!(true))] {
            let claims = claims_with(name, value);
            assert_eq!(verified(&claims), Err(TokenError::Claims), "{claims}");
        }
    }
    for exp in [json!("4000000000"), json!(-1)] {
        assert_eq!(verified(&claims_with("exp", exp)), Err(TokenError::Claims));
    }
    for name in ["nbf", "iat"] {
        assert_eq!(verified(&claims_with(name, json!("0"))), Err(TokenError::Claims), "{name}");
    }
    assert_eq!(verified(&claims_with("iat", json!(null))), Err(TokenError::Claims));
}

#[test]
fn a_token_is_for_this_gateway_and_of_this_issuer() {
    for audience in
        [json!("other"), json!("GATEWAY"), json!("gateway "), json!([]), json!(["other"])]
    {
        assert_eq!(verified(&claims_with("aud", audience)), Err(TokenError::Audience));
    }
    assert!(verified(&claims_with("aud", json!(["other", "gateway"]))).is_ok());
    for issuer in
        ["https://evil.example", "https://login.example.com/", "HTTPS://LOGIN.EXAMPLE.COM"]
    {
        assert_eq!(verified(&claims_with("iss", json!(issuer))), Err(TokenError::UnknownIssuer));
    }
}

#[test]
fn a_token_counts_between_its_times_give_or_take_the_leeway() {
    let at = |seconds: i64| json!(now() as i64 + seconds);
    for (name, time, expected) in [
        ("exp", at(-10), None),
        ("exp", at(-50), Some(TokenError::Expired)),
        ("exp", json!(0), Some(TokenError::Expired)),
        ("nbf", at(10), None),
        ("nbf", at(50), Some(TokenError::NotYetValid)),
        ("iat", at(10), None),
        ("iat", at(50), Some(TokenError::NotYetValid)),
    ] {
        assert_eq!(verified(&claims_with(name, time.clone())).err(), expected, "{name} {time}");
    }
}

#[test]
fn a_token_has_a_life_that_it_may_have() {
    let of = |claims, more: &str| times(r#"{"alg":"ES256"}"#, claims, more);
    let brief = "leeway = \"30s\"\nmax_age = \"10m\"";
    for (claims, counts) in [
        (json!({"exp": 10_300, "iat": 9_700}), 9_700.0..10_300.0),
        (json!({"exp": 10_300, "iat": 9_800, "nbf": 9_900}), 9_900.0..10_300.0),
        (json!({"exp": 10_300, "iat": 9_800, "nbf": 9_000}), 9_800.0..10_300.0),
        // Its issuer's clock is ahead.
        (json!({"exp": 10_630, "iat": 10_030}), 10_030.0..10_630.0),
        // Without its issue, it was issued as late as it may have been.
        (json!({"exp": 10_300}), 9_700.0..10_300.0),
        (json!({"exp": 10_630}), 10_030.0..10_630.0),
    ] {
        assert_eq!(of(claims.clone(), brief), Ok(counts), "{claims}");
    }
    for (claims, error) in [
        (json!({"exp": 10_301, "iat": 9_700}), TokenError::TooLongLived),
        (json!({"exp": 10_631}), TokenError::TooLongLived),
        (json!({"exp": 1e300}), TokenError::TooLongLived),
        (json!({"exp": 1e300, "iat": 9_700}), TokenError::TooLongLived),
        (json!({"exp": 10_600, "iat": 10_031}), TokenError::NotYetValid),
    ] {
        assert_eq!(of(claims.clone(), brief), Err(error), "{claims}");
    }
    // A day, unless it is set.
    let day = 24 * 3600;
    assert!(of(json!({"exp": 10_000 + day, "iat": 10_000}), "").is_ok());
    for claims in [json!({"exp": 10_001 + day, "iat": 10_000}), json!({"exp": 10_031 + day})] {
        assert_eq!(of(claims, ""), Err(TokenError::TooLongLived));
    }
    assert!(TokenError::TooLongLived.to_string().contains("max_age"));
}

#[test]
fn an_access_token_has_what_rfc_9068_asks_for() {
    let whole = json!({"exp": 10_600, "iat": 9_900, "client_id": "a", "jti": "1"});
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt"] {
        let header = json!({"alg": "ES256", "typ": typ}).to_string();
        assert_eq!(times(&header, whole.clone(), ""), Ok(9_900.0..10_600.0));
        for name in ["client_id", "jti", "iat"] {
            let mut claims = whole.clone();
            claims[name] = json!({});
            assert_eq!(times(&header, claims.clone(), ""), Err(TokenError::Claims), "{claims}");
            claims.as_object_mut().unwrap().remove(name);
            assert_eq!(times(&header, claims.clone(), ""), Err(TokenError::Claims), "{claims}");
        }
    }
}

#[test]
fn an_issuer_may_require_further_claims() {
    let more = "required_claims = [\"jti\", \"/context/zone\"]";
    let of = |claims| times(r#"{"alg":"ES256"}"#, claims, more);
    assert!(of(json!({"exp": 10_600, "jti": "1", "context": {"zone": "a"}})).is_ok());
    for claims in [
        json!({"exp": 10_600}),
        json!({"exp": 10_600, "jti": "1", "context": {}}),
        json!({"exp": 10_600, "jti": null, "context": {"zone": "a"}}),
    ] {
        assert_eq!(of(claims.clone()), Err(TokenError::Claims), "{claims}");
    }
}
