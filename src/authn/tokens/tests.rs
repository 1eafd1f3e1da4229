//! The verifier of tokens as a whole, without a server.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use super::{
    test_tokens::{ISSUER, Signer, claims, claims_with, jwk_set, settings},
    *,
};

/// A verifier of one issuer, known as "corporate", whose keys and revocations are in
/// `directory`.
async fn verifier(directory: &Path) -> TokenVerifier {
    let mut settings = settings("");
    settings.jwks_file = Some(directory.join("jwks.json"));
    let issuer = Arc::new(TrustedIssuer::start("corporate", &settings));
    let names = ["corporate".to_owned()].into();
    let verifier = TokenVerifier {
        issuers: BTreeMap::from([(ISSUER.to_owned(), issuer)]),
        remembered: TokenCache::new(10),
        revoked: RevokedTokens::read(Some(directory.join("revoked.json")), names).unwrap(),
    };
    verifier.first_reading().await;
    verifier
}

fn directory(published: &[&Signer], revoked: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("jwks.json"), jwk_set(published)).unwrap();
    std::fs::write(directory.path().join("revoked.json"), revoked).unwrap();
    directory
}

#[tokio::test]
async fn a_token_of_a_known_issuer_proves_its_caller() {
    let signer = Signer::es256("a");
    let directory = directory(&[&signer], "{}");
    let verifier = verifier(directory.path()).await;
    assert!(verifier.has_keys());
    assert_eq!(verifier.issuers().collect::<Vec<_>>(), [("corporate", true)]);
    let token = signer.token(&claims());
    let caller = verifier.authenticate(&token).await.unwrap();
    assert_eq!((caller.issuer.as_str(), caller.subject.as_str()), ("corporate", "encoder"));
    assert_eq!(caller.teams, ["media"]);
    assert!(Arc::ptr_eq(&caller, &verifier.authenticate(&token).await.unwrap()));
    verifier.forget();
    assert!(verifier.remembered.get(&token).is_none());
    for (claims, error) in [
        (claims_with("iss", json!("https://evil.example")), TokenError::UnknownIssuer),
        (claims_with("iss", json!("corporate")), TokenError::UnknownIssuer),
        (claims_with("iss", json!("")), TokenError::UnknownIssuer),
        (claims_with("iss", json!([ISSUER])), TokenError::Claims),
        (claims_with("exp", json!(0)), TokenError::Expired),
        (claims_with("team", json!([])), TokenError::NoTeam),
    ] {
        let token = signer.token(&claims);
        for _ in 0..2 {
            assert_eq!(verifier.authenticate(&token).await, Err(error), "{claims}");
        }
    }
    for text in ["", "x", "..", &format!("{token}A")] {
        assert!(verifier.authenticate(text).await.is_err(), "{text}");
    }
}

#[tokio::test]
async fn a_revoked_token_proves_nobody_though_it_is_remembered() {
    let signer = Signer::es256("a");
    let revoked = r#"{"tokens": [{"issuer": "corporate", "jti": "7f0c"}]}"#;
    let directory = directory(&[&signer], revoked);
    let verifier = verifier(directory.path()).await;
    let token = signer.token(&claims_with("jti", json!("7f0c")));
    for _ in 0..2 {
        assert_eq!(verifier.authenticate(&token).await, Err(TokenError::Revoked));
    }
    let other = signer.token(&claims_with("jti", json!("7f0d")));
    assert!(verifier.authenticate(&other).await.is_ok());
}

#[tokio::test]
async fn an_issuer_without_keys_is_noticed() {
    let directory = directory(&[], "{}");
    std::fs::remove_file(directory.path().join("jwks.json")).unwrap();
    let verifier = verifier(directory.path()).await;
    assert!(!verifier.has_keys());
    assert_eq!(verifier.issuers().collect::<Vec<_>>(), [("corporate", false)]);
    let token = Signer::es256("a").token(&claims());
    assert_eq!(verifier.authenticate(&token).await, Err(TokenError::KeysUnavailable));
}

#[test]
fn a_token_is_verified_by_a_set_of_keys_alone() {
    let signer = Signer::es256("a");
    let of = |token: &str, set: &[u8]| {
        verify(token, set, "corporate", &settings("")).map(|principal| principal.subject)
    };
    let token = signer.token(&claims());
    assert_eq!(of(&token, &jwk_set(&[&signer])).as_deref(), Ok("encoder"));
    assert_eq!(of(&token, &jwk_set(&[])), Err(TokenError::UnknownKey));
    assert_eq!(of(&token, b"{}"), Err(TokenError::KeysUnavailable));
    assert_eq!(of(&token, &jwk_set(&[&Signer::es256("a")])), Err(TokenError::Signature));
}
