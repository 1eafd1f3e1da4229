#![allow(clippy::unwrap_used)]

use std::{path::Path, time::Duration};

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::{
    super::test_tokens::{Signer, claims, claims_with, in_time, jwk_set, settings},
    *,
};

/// What becomes of `text` where the issuer publishes these keys: the place of the
/// key that verified it.
fn with_keys(text: &str, published: &[&Signer]) -> Result<usize, TokenError> {
    let keys: Vec<_> = published.iter().map(|signer| signer.public()).collect();
    let token = Token::read(text)?;
    let (_, key) = verify(&token, keys.iter(), &settings(""))?;
    Ok(keys.iter().position(|published| Arc::ptr_eq(published, key)).unwrap())
}

fn nameless(signer: &Signer) -> String {
    signer.sign(&json!({"alg": format!("{:?}", signer.algorithm)}).to_string(), &claims())
}

#[test]
fn the_named_key_verifies_and_no_other() {
    let (a, b) = (Signer::es256("a"), Signer::es256("b"));
    assert_eq!(with_keys(&b.token(&claims()), &[&a, &b]), Ok(1));
    let misnamed = a.sign(r#"{"alg":"ES256","kid":"b"}"#, &claims());
    assert_eq!(with_keys(&misnamed, &[&a, &b]), Err(TokenError::Signature));
    assert_eq!(with_keys(&misnamed, &[&a]), Err(TokenError::UnknownKey));
    assert_eq!(with_keys(&misnamed, &[]), Err(TokenError::UnknownKey));
    let mut unnamed = Signer::es256("c");
    unnamed.jwk.as_object_mut().unwrap().remove("kid");
    assert_eq!(with_keys(&nameless(&unnamed), &[&unnamed]), Ok(0));
    let named = unnamed.sign(r#"{"alg":"ES256","kid":"c"}"#, &claims());
    assert_eq!(with_keys(&named, &[&unnamed]), Err(TokenError::UnknownKey));
}

#[test]
fn a_key_verifies_only_with_its_algorithms() {
    let (ec, ed) = (Signer::es256("a"), Signer::eddsa("a"));
    assert_eq!(with_keys(&ed.token(&claims()), &[&ec]), Err(TokenError::Algorithm));
    assert_eq!(with_keys(&ed.token(&claims()), &[&ec, &ed]), Ok(1));
    let mut fixed = Signer::rsa(Algorithm::RS256, "a");
    assert_eq!(with_keys(&fixed.token(&claims()), &[&fixed]), Ok(0));
    fixed.jwk["alg"] = json!("PS256");
    assert_eq!(with_keys(&fixed.token(&claims()), &[&fixed]), Err(TokenError::Algorithm));
}

#[test]
fn a_token_that_names_no_key_is_tried_with_a_few() {
    let signers = ["a", "b", "c", "d", "e"].map(Signer::es256);
    let published: Vec<_> = signers.iter().collect();
    assert_eq!(with_keys(&nameless(&signers[3]), &published), Ok(3));
    assert_eq!(with_keys(&nameless(&signers[4]), &published), Err(TokenError::UnknownKey));
    assert_eq!(with_keys(&nameless(&signers[0]), &[]), Err(TokenError::UnknownKey));
    assert_eq!(with_keys(&nameless(&Signer::eddsa("a")), &published), Err(TokenError::UnknownKey));
}

#[test]
fn a_key_does_not_make_up_for_header_or_claims() {
    let a = Signer::es256("a");
    let expired = a.token(&claims_with("exp", json!(0)));
    assert_eq!(with_keys(&expired, &[&a]), Err(TokenError::Expired));
    let typed = a.sign(r#"{"alg":"ES256","kid":"a","typ":"dpop+jwt"}"#, &claims());
    assert_eq!(with_keys(&typed, &[&a]), Err(TokenError::Type));
    let other = Signer::es384("a");
    assert_eq!(with_keys(&other.token(&claims()), &[&other]), Err(TokenError::Algorithm));
}

/// An issuer whose keys are in `file`, which is read every few milliseconds.
async fn issuer(file: &Path) -> TrustedIssuer {
    let mut settings = settings("");
    settings.jwks_file = Some(file.to_owned());
    settings.keys_refresh = Duration::from_millis(10);
    let issuer = TrustedIssuer::start("corporate", &settings, Arc::default());
    issuer.keys.first_reading().await;
    issuer
}

async fn outcome(issuer: &TrustedIssuer, text: &str) -> Result<String, TokenError> {
    let proof = in_time(issuer.verify(&Token::read(text)?)).await?;
    Ok(format!("{} of {}", proof.principal.subject, proof.principal.issuer))
}

#[tokio::test]
async fn a_token_waits_for_its_key_and_no_longer() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("jwks.json");
    let (old, new, foreign) = (Signer::es256("a"), Signer::es256("b"), Signer::es256("c"));
    std::fs::write(&file, jwk_set(&[&old])).unwrap();
    let issuer = issuer(&file).await;
    assert_eq!(outcome(&issuer, &old.token(&claims())).await.unwrap(), "encoder of corporate");
    let unknown = outcome(&issuer, &foreign.token(&claims())).await;
    assert_eq!(unknown, Err(TokenError::UnknownKey));

    std::fs::write(directory.path().join("next"), jwk_set(&[&new])).unwrap();
    std::fs::rename(directory.path().join("next"), &file).unwrap();
    assert!(outcome(&issuer, &new.token(&claims())).await.is_ok());
    let withdrawn = outcome(&issuer, &old.token(&claims())).await;
    assert_eq!(withdrawn, Err(TokenError::UnknownKey));

    let teamless = outcome(&issuer, &new.token(&claims_with("team", None::<Value>))).await;
    assert_eq!(teamless, Err(TokenError::NoTeam));

    std::fs::remove_file(&file).unwrap();
    in_time(async { while issuer.keys.ask_anew(|| false).await == Asked::Current {} }).await;
    assert!(outcome(&issuer, &new.token(&claims())).await.is_ok());
    // The issuer may have published it since.
    let unknown = outcome(&issuer, &foreign.token(&claims())).await;
    assert_eq!(unknown, Err(TokenError::KeysUnavailable));
}

#[tokio::test]
async fn without_keys_nobody_is_let_in() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = issuer(&directory.path().join("jwks.json")).await;
    let outcome = outcome(&issuer, &Signer::es256("a").token(&claims())).await;
    assert_eq!(outcome, Err(TokenError::KeysUnavailable));
}
