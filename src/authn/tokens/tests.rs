//! The verifier of tokens as a whole, without a server.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use super::{
    test_tokens::{ISSUER, Signer, base64, claims, claims_with, jwk_set, settings},
    *,
};

/// A verifier of one issuer, known as "corporate", whose keys and revocations are in
/// `directory`.
async fn verifier(directory: &Path) -> TokenVerifier {
    let mut settings = settings("");
    settings.jwks_file = Some(directory.join("jwks.json"));
    let issuer = Arc::new(TrustedIssuer::start("corporate", &settings, Arc::default()));
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
    let caller = verifier.authenticate(&token, None).await.unwrap();
    assert_eq!((caller.issuer.as_str(), caller.subject.as_str()), ("corporate", "encoder"));
    assert_eq!(caller.teams, ["media"]);
    assert!(Arc::ptr_eq(&caller, &verifier.authenticate(&token, None).await.unwrap()));
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
            assert_eq!(verifier.authenticate(&token, None).await, Err(error), "{claims}");
        }
    }
    for text in ["", "x", "..", &format!("{token}A")] {
        assert!(verifier.authenticate(text, None).await.is_err(), "{text}");
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
        assert_eq!(verifier.authenticate(&token, None).await, Err(TokenError::Revoked));
    }
    let other = signer.token(&claims_with("jti", json!("7f0d")));
    assert!(verifier.authenticate(&other, None).await.is_ok());
}

#[tokio::test]
async fn a_bound_token_comes_with_its_certificate_also_when_it_is_remembered() {
    let signer = Signer::es256("a");
    let directory = directory(&[&signer], "{}");
    let verifier = verifier(directory.path()).await;
    let own = [7; 32];
    let bound = |confirmation| signer.token(&claims_with("cnf", confirmation));
    let token = bound(json!({"x5t#S256": base64(own)}));
    let refused = Err(TokenError::Bound);
    for certificate in [None, Some([8; 32])] {
        assert_eq!(verifier.authenticate(&token, certificate).await, refused);
        assert!(verifier.remembered.get(&token).is_none());
    }
    assert!(verifier.authenticate(&token, Some(own)).await.is_ok());
    assert!(verifier.remembered.get(&token).is_some());
    for certificate in [None, Some([8; 32])] {
        assert_eq!(verifier.authenticate(&token, certificate).await, refused);
    }
    assert!(verifier.authenticate(&token, Some(own)).await.is_ok());
    let key = bound(json!({"jkt": base64(own)}));
    assert_eq!(verifier.authenticate(&key, Some(own)).await, refused);
    assert!(verifier.remembered.get(&key).is_none());
    for token in [token, key] {
        let verified = verify(&token, &jwk_set(&[&signer]), "corporate", &settings(""));
        assert_eq!(verified, Err(TokenError::Bound));
    }
}

#[tokio::test]
async fn an_issuer_without_keys_is_noticed() {
    let directory = directory(&[], "{}");
    std::fs::remove_file(directory.path().join("jwks.json")).unwrap();
    let verifier = verifier(directory.path()).await;
    assert!(!verifier.has_keys());
    assert_eq!(verifier.issuers().collect::<Vec<_>>(), [("corporate", false)]);
    let token = Signer::es256("a").token(&claims());
    assert_eq!(verifier.authenticate(&token, None).await, Err(TokenError::KeysUnavailable));
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
