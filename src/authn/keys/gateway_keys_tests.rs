#![allow(clippy::unwrap_used)]

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use secrecy::ExposeSecret;
use serde_json::json;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);
const SHA256_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Keys with these master keys and a tolerance of a minute.
fn keys(numbers: &[u8]) -> GatewayKeys {
    let master_key = |number: &u8| (*number, hmac::Key::new(hmac::HMAC_SHA256, &[*number; 32]));
    GatewayKeys {
        master_keys: numbers.iter().map(master_key).collect(),
        clock_skew: time::Duration::minutes(1),
        revocations: None,
    }
}

/// What `keys` says of a request signed at `at` and received at `now`.
fn verify(
    keys: &GatewayKeys,
    (id, secret): &(String, SecretString),
    more: &[(&str, &str)],
    at: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<SignedBy, KeyError> {
    let identity = Credentials::new(id, secret.expose_secret(), None, None, "test").into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-central-1")
        .name("glacier")
        .time(SystemTime::from(at))
        .settings(SigningSettings::default())
        .build()
        .unwrap();
    let headers = [&[("host", "gateway")], more].concat();
    let signable = SignableRequest::new(
        "GET",
        "/glacier/-/vaults",
        headers.iter().copied(),
        SignableBody::empty(),
    );
    let (signed, _) = sign(signable.unwrap(), &parameters.into()).unwrap().into_parts();
    let headers = headers.into_iter().chain(signed.headers());
    let headers: Vec<_> = headers.map(|(name, value)| (name, value.as_bytes())).collect();
    let request = SignedRequest {
        method: "GET",
        target: "/glacier/-/vaults",
        headers: &headers,
        payload_sha256: SHA256_OF_NOTHING,
    };
    keys.verify(&request, now)
}

fn verify_now(keys: &GatewayKeys, key: &(String, SecretString)) -> Result<SignedBy, KeyError> {
    let now = OffsetDateTime::now_utc();
    verify(keys, key, &[], now, now)
}

#[test]
fn a_signed_request_is_its_keys_teams() {
    let keys = keys(&[1]);
    let key = keys.create("media", Some("ci"), DAY).unwrap();
    let signed_by = verify_now(&keys, &key).unwrap();
    assert_eq!(signed_by.access_key_id, key.0);
    assert_eq!(signed_by.region.as_str(), "eu-central-1");
    let principal = signed_by.principal;
    assert_eq!((principal.issuer.as_str(), principal.subject.as_str()), (GATEWAY_KEYS, "ci"));
    assert_eq!(principal.teams, ["media"]);
    assert!(principal.tags.is_empty() && principal.claims.is_empty());
}

#[test]
fn a_secret_belongs_to_one_id_and_one_master_key() {
    let keys = keys(&[1, 2]);
    let (id, secret) = keys.create("media", None, DAY).unwrap();
    assert_eq!(id.parse::<AccessKey>().unwrap().master_key, 2, "the newest");
    assert_eq!(BASE64_STANDARD_NO_PAD.decode(secret.expose_secret()).unwrap().len(), 32);
    let (other_id, other_secret) = keys.create("media", None, DAY).unwrap();
    assert_ne!(secret.expose_secret(), other_secret.expose_secret());

    let does_not_match =
        |result| matches!(result, Err(KeyError::Signature(SignatureError::DoesNotMatch(_))));
    let mixed = (other_id, secret.clone());
    assert!(does_not_match(verify_now(&keys, &mixed)));
    let mut with_another_master = super::tests::keys(&[1]);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[9; 32]);
    with_another_master.master_keys.insert(2, key);
    assert!(does_not_match(verify_now(&with_another_master, &(id.clone(), secret.clone()))));
    let gone = super::tests::keys(&[1]);
    assert_eq!(verify_now(&gone, &(id, secret)).unwrap_err(), KeyError::Unknown);
}

#[test]
fn other_ids_are_unknown() {
    let keys = keys(&[1]);
    for id in ["AKIAIOSFODNN7EXAMPLE", "GGK1", "GGK1AAAA"] {
        let key = (id.to_owned(), "secret".to_owned().into());
        assert_eq!(verify_now(&keys, &key).unwrap_err(), KeyError::Unknown, "{id}");
    }
}

#[test]
fn a_key_is_good_until_the_second_it_expires() {
    let keys = keys(&[1]);
    let key = keys.create("media", None, DAY).unwrap();
    let expires = key.0.parse::<AccessKey>().unwrap().expires;
    let second = time::Duration::SECOND;
    let at = |now| verify(&keys, &key, &[], now, now).map(|_| ());
    assert_eq!(at(expires - second), Ok(()));
    assert_eq!(at(expires), Err(KeyError::Expired));
    assert_eq!(at(expires + second), Err(KeyError::Expired));
}

#[test]
fn a_revoked_key_is_refused_but_told_so_only_with_its_secret() {
    let mut keys = keys(&[1]);
    let key = keys.create("media", None, DAY).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json!({ "ids": [key.0] }).to_string()).unwrap();
    keys.revocations = Some(revocations(file.path()).unwrap());
    assert_eq!(verify_now(&keys, &key).unwrap_err(), KeyError::Revoked);
    let guessed = (key.0, "guess".to_owned().into());
    assert!(matches!(verify_now(&keys, &guessed), Err(KeyError::Signature(_))));
}

#[test]
fn a_session_token_is_none_of_ours() {
    let keys = keys(&[1]);
    let key = keys.create("media", None, DAY).unwrap();
    let now = OffsetDateTime::now_utc();
    let result = verify(&keys, &key, &[("x-amz-security-token", "t")], now, now);
    assert_eq!(result.unwrap_err(), KeyError::SessionToken);
}

#[test]
fn the_configured_tolerance_counts() {
    let keys = keys(&[1]);
    let key = keys.create("media", None, DAY).unwrap();
    let now = OffsetDateTime::now_utc();
    let late = |seconds| verify(&keys, &key, &[], now, now + time::Duration::seconds(seconds));
    assert!(late(59).is_ok());
    assert!(matches!(late(62), Err(KeyError::Signature(SignatureError::Expired(_)))));
}

#[test]
fn a_key_is_valid_for_a_second_to_a_year() {
    let keys = keys(&[1]);
    let second = Duration::from_secs(1);
    for (lifetime, good) in [
        (Duration::ZERO, false),
        (second - Duration::from_nanos(1), false),
        (second, true),
        (MAX_LIFETIME, true),
        (MAX_LIFETIME + second, false),
        (Duration::MAX, false),
    ] {
        let made = keys.create("media", None, lifetime);
        assert_eq!(made.is_ok(), good, "{lifetime:?}");
        if !good {
            assert!(matches!(made, Err(KeyCreationError::Lifetime)));
        }
    }
}

#[test]
fn without_a_master_key_none_can_be_made() {
    let result = keys(&[]).create("media", None, DAY);
    assert!(matches!(result, Err(KeyCreationError::NoMasterKey)));
}

#[test]
fn a_master_key_has_at_least_32_bytes_beside_the_space_around_it() {
    assert!(master_key(&[b'k'; 31]).is_err());
    assert!(master_key(&[&[b' '; 9][..], &[b'k'; 31], b"\r\n"].concat()).is_err());
    let bare = master_key(&[b'k'; 32]).unwrap();
    let with_a_line_break = master_key(&[&[b'k'; 32][..], b"\n"].concat()).unwrap();
    assert_eq!(hmac::sign(&bare, b"x").as_ref(), hmac::sign(&with_a_line_break, b"x").as_ref());
}
