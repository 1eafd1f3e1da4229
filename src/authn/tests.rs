#![allow(clippy::unwrap_used)]

use super::*;

#[tokio::test]
async fn a_revoked_certificate_proves_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("revoked.json");
    let revoked = r#"{"subjects": [{"issuer": "client-certificates", "subject": "b.example"}]}"#;
    std::fs::write(&file, revoked).unwrap();
    let settings = format!(
        r#"
        [aws]
        region = "eu-central-1"
        account_id = "111122223333"
        [tokens]
        revocation_file = {file:?}
        [server.tls]
        certificate_file = "tls.crt"
        private_key_file = "tls.key"
        client_ca_file = "ca.crt"
        client_teams = {{ "*.example" = ["media"] }}
        "#
    );
    let settings = Settings::from_toml(&settings).unwrap();
    let authenticator = Authenticator::start(&settings, &Arc::default()).unwrap();
    let caller = |name: &str| {
        let parameters = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        authenticator.identify(&CertificateNames::of(certificate.der()).unwrap())
    };
    let known = caller("a.example").unwrap();
    assert_eq!((known.subject.as_str(), &known.teams[..]), ("a.example", &["media".into()][..]));
    assert_eq!(caller("b.example"), Err(CertificateError::Revoked));
    assert!(matches!(caller("a.elsewhere"), Err(CertificateError::NotMapped(_))));
    assert!(authenticator.has_begun());
}
