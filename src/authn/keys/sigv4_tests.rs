#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use proptest::prelude::*;
use serde::Deserialize;
use time::macros::datetime;

use super::{SignatureError::*, *};

const NOW: OffsetDateTime = datetime!(2015-08-30 12:36:00 UTC);
const TOLERANCE: Duration = Duration::minutes(5);
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn secret() -> SecretString {
    "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned().into()
}

/// A request of AWS's published suite, signed.
#[derive(Deserialize)]
struct Case {
    name: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
}

/// Everything that `verify` does but look at the service, which the suite calls
/// "service".
fn verify_suite_case(case: &Case) -> Result<(), SignatureError> {
    let names: Vec<_> = case.headers.iter().map(|(name, _)| name.to_lowercase()).collect();
    let values = case.headers.iter().map(|(_, value)| value.as_bytes());
    let headers: Vec<_> = names.iter().map(String::as_str).zip(values).collect();
    let request = SignedRequest {
        method: &case.method,
        target: &case.target,
        headers: &headers,
        payload_sha256: &HEXLOWER.encode(digest(&SHA256, case.body.as_bytes()).as_ref()),
    };
    let authorization = Authorization::of(&request)?;
    authorization.check_headers(&request)?;
    let date = authorization.check_date(&request, NOW, TOLERANCE)?;
    authorization.check_signature(&request, &secret(), date)
}

#[test]
fn the_published_suite_verifies_but_for_what_the_door_refuses() {
    let suite: Vec<Case> =
        serde_json::from_str(include_str!("../../../tests/data/sigv4-suite.json")).unwrap();
    let refused = BTreeMap::from([
        // A header given twice.
        ("get-header-key-duplicate", "Incomplete"),
        ("get-header-value-order", "Incomplete"),
        // A header over several lines and a bare space in the path: not HTTP.
        ("get-header-value-multiline", "Incomplete"),
        ("get-space-normalized", "Incomplete"),
        // A session token added after signing: every x-amz-* header must be signed.
        ("post-sts-header-after", "DoesNotMatch"),
    ]);
    assert_eq!(suite.len(), 31);
    for case in suite {
        let outcome = match verify_suite_case(&case) {
            Ok(()) => "",
            Err(Incomplete(_)) => "Incomplete",
            Err(DoesNotMatch(_)) => "DoesNotMatch",
            Err(_) => "other",
        };
        let expected = refused.get(case.name.as_str()).copied().unwrap_or_default();
        assert_eq!(outcome, expected, "{}", case.name);
    }
}

/// A request as boto3 signs it, which tests then spoil.
#[derive(Clone)]
struct Spoilable {
    method: String,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    payload_sha256: String,
}

impl Spoilable {
    /// `DELETE` of an upload, signed for Glacier in eu-central-1 at `NOW`.
    fn new() -> Self {
        let mut request = Self {
            method: "DELETE".to_owned(),
            target: "/glacier/-/vaults/a.b/multipart-uploads/-x?q=1".to_owned(),
            headers: Vec::new(),
            payload_sha256: EMPTY.to_owned(),
        };
        request.set("host", "127.0.0.1:8080");
        request.set("x-amz-date", "20150830T123600Z");
        request.set("x-amz-glacier-version", "2012-06-01");
        request.set("amz-sdk-request", "attempt=1");
        request.sign("20150830/eu-central-1/glacier", "host;x-amz-date;x-amz-glacier-version");
        request
    }

    fn set(&mut self, name: &str, value: &str) {
        self.headers.retain(|(n, _)| n != name);
        self.headers.push((name.to_owned(), value.as_bytes().to_vec()));
    }

    fn sign(&mut self, scope: &str, signed_headers: &str) {
        let zeros = "0".repeat(64);
        let unsigned = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}/aws4_request, \
             SignedHeaders={signed_headers}, Signature={zeros}"
        );
        let date = self.headers.iter().find(|(name, _)| name == "x-amz-date").unwrap();
        let date = std::str::from_utf8(&date.1).unwrap();
        let date = PrimitiveDateTime::parse(date, AMZ_DATE).unwrap().assume_utc();
        let signature = self.as_request(|request| {
            let authorization = Authorization::parse(&unsigned).unwrap();
            authorization.expected_signature(request, &secret(), date).unwrap()
        });
        self.set("authorization", &unsigned.replace(&zeros, &signature));
    }

    fn as_request<T>(&self, then: impl FnOnce(&SignedRequest<'_>) -> T) -> T {
        let headers: Vec<_> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        then(&SignedRequest {
            method: &self.method,
            target: &self.target,
            headers: &headers,
            payload_sha256: &self.payload_sha256,
        })
    }

    fn verify_at(&self, now: OffsetDateTime) -> Result<Region, SignatureError> {
        self.as_request(|request| {
            Authorization::of(request)?.verify(request, &secret(), now, TOLERANCE)
        })
    }

    fn verify(&self) -> Result<Region, SignatureError> {
        self.verify_at(NOW)
    }

    /// Replaces text in the `Authorization` header.
    fn reword(&mut self, from: &str, to: &str) {
        let (_, value) = self.headers.iter().find(|(name, _)| name == "authorization").unwrap();
        let text = std::str::from_utf8(value).unwrap();
        assert!(text.contains(from), "{text} has no {from}");
        let text = text.replace(from, to);
        self.set("authorization", &text);
    }
}

fn spoiled(spoil: impl FnOnce(&mut Spoilable)) -> Result<Region, SignatureError> {
    let mut request = Spoilable::new();
    spoil(&mut request);
    request.verify()
}

#[test]
fn a_signed_request_verifies_and_tells_its_region() {
    assert_eq!(Spoilable::new().verify().unwrap().as_str(), "eu-central-1");
}

#[test]
fn the_signature_covers_method_target_signed_headers_and_payload() {
    type Spoil = fn(&mut Spoilable);
    let changes: [(&str, Spoil); 11] = [
        ("method", |r| r.method = "GET".to_owned()),
        ("path", |r| r.target = r.target.replace("/-x", "/-y")),
        ("encoding of the path", |r| r.target = r.target.replace("a.b", "a%2Eb")),
        ("query", |r| r.target = r.target.replace("q=1", "q=2")),
        ("query added", |r| r.target.push_str("&r")),
        ("host", |r| r.set("host", "elsewhere")),
        ("version", |r| r.set("x-amz-glacier-version", "2012-06-02")),
        ("date", |r| r.set("x-amz-date", "20150830T123601Z")),
        ("payload", |r| r.payload_sha256 = "0".repeat(64)),
        ("region", |r| r.reword("eu-central-1", "us-east-1")),
        ("signature", |r| {
            r.reword("Signature=", "Signature=0");
            let (_, value) = r.headers.iter_mut().find(|(n, _)| n == "authorization").unwrap();
            value.pop();
        }),
    ];
    for (what, change) in changes {
        assert!(matches!(spoiled(change), Err(DoesNotMatch(_))), "{what}");
    }
    let no_path = spoiled(|r| r.target = "example.com".to_owned());
    assert!(matches!(no_path, Err(Incomplete(_))));
    // What is not signed may change on the way.
    assert!(spoiled(|r| r.set("amz-sdk-request", "attempt=2")).is_ok());
    assert!(spoiled(|r| r.set("via", "1.1 proxy")).is_ok());
}

#[test]
fn another_secret_does_not_match() {
    let result = Spoilable::new().as_request(|request| {
        let secret = "another".to_owned().into();
        Authorization::of(request)?.verify(request, &secret, NOW, TOLERANCE)
    });
    assert!(matches!(result, Err(DoesNotMatch(_))));
}

#[test]
fn host_and_every_x_amz_header_must_be_signed_and_be_there_once() {
    let unsigned = spoiled(|r| r.set("x-amz-security-token", "t"));
    assert!(matches!(unsigned, Err(DoesNotMatch(m)) if m.contains("'x-amz-security-token'")));
    let binary = spoiled(|r| r.headers.push(("x-amz-x".to_owned(), vec![0xff])));
    assert!(matches!(binary, Err(DoesNotMatch(m)) if m.contains("'x-amz-x'")));
    let not_ascii = spoiled(|r| r.set("x-amz-glacier-version", "ü"));
    assert!(matches!(not_ascii, Err(Incomplete(_))));
    let without_host = spoiled(|r| r.reword("SignedHeaders=host;", "SignedHeaders="));
    assert!(matches!(without_host, Err(DoesNotMatch(m)) if m.contains("'host'")));
    for name in ["host", "x-amz-date", "x-amz-glacier-version", "authorization"] {
        let twice = spoiled(|r| {
            let (_, value) = r.headers.iter().find(|(n, _)| n == name).unwrap();
            let value = value.clone();
            r.headers.push((name.to_owned(), value));
        });
        assert!(matches!(twice, Err(Incomplete(_))), "{name}");
        let missing = spoiled(|r| r.headers.retain(|(n, _)| n != name));
        assert!(matches!(missing, Err(Incomplete(_) | Missing)), "{name}");
    }
    let absent = spoiled(|r| {
        r.reword("SignedHeaders=host", "SignedHeaders=content-type;host");
    });
    assert!(matches!(absent, Err(Incomplete(_))));
    let itself = spoiled(|r| r.reword("SignedHeaders=host", "SignedHeaders=authorization;host"));
    assert!(matches!(itself, Err(Incomplete(_))));
}

#[test]
fn the_scope_must_be_glaciers_in_a_region_on_the_day_of_the_request() {
    let headers = "host;x-amz-date;x-amz-glacier-version";
    for (scope, word) in [
        ("20150830/eu-central-1/s3", "service"),
        ("20150830/eu-central-1/Glacier", "service"),
        ("20150830/eu-central-1/", "service"),
        ("20150830/eu-central/glacier", "region"),
        ("20150830//glacier", "region"),
        ("20150829/eu-central-1/glacier", "Date"),
        ("2015083/eu-central-1/glacier", "Date"),
        ("/eu-central-1/glacier", "Date"),
    ] {
        let result = spoiled(|r| r.sign(scope, headers));
        assert!(matches!(&result, Err(DoesNotMatch(m)) if m.contains(word)), "{scope} {result:?}");
    }
}

#[test]
fn a_request_is_good_from_five_minutes_before_to_five_minutes_after_its_date() {
    let request = Spoilable::new();
    for seconds in [-300, -1, 0, 1, 300] {
        assert!(request.verify_at(NOW + Duration::seconds(seconds)).is_ok(), "{seconds}");
    }
    let late = request.verify_at(NOW + Duration::seconds(301));
    assert!(matches!(late, Err(Expired(m)) if m.starts_with("Signature expired")));
    let early = request.verify_at(NOW - Duration::seconds(301));
    assert!(matches!(early, Err(Expired(m)) if m.starts_with("Signature not yet current")));
}

#[test]
fn a_date_is_written_one_way_only() {
    for date in [
        "",
        "2015-08-30T12:36:00Z",
        "20150830T123600",
        "20150830T123600+0000",
        "20150830t123600z",
        "+20150830T123600Z",
        "20150830T123660Z",
        "20150830T243600Z",
        "20150231T123600Z",
        "Sun, 30 Aug 2015 12:36:00 GMT",
    ] {
        assert!(matches!(spoiled(|r| r.set("x-amz-date", date)), Err(Incomplete(_))), "{date}");
    }
}

#[test]
fn an_authorization_header_that_is_not_clear_is_refused() {
    for (from, to) in [
        ("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA1 "),
        ("AWS4-HMAC-SHA256 ", "AWS4-ECDSA-P256-SHA256 "),
        ("AWS4-HMAC-SHA256 ", "aws4-hmac-sha256 "),
        ("AWS4-HMAC-SHA256 ", ""),
        ("Credential=AKIDEXAMPLE/", "Credential=/"),
        ("Credential=AKIDEXAMPLE/", "Credential=A/B/"),
        ("Credential=AKIDEXAMPLE/", "Credential=AKID\u{a0}/"),
        ("Credential=AKIDEXAMPLE/", "Credential=../"),
        ("Credential=AKIDEXAMPLE", &format!("Credential={}", "A".repeat(129))),
        ("Credential=", "Credential==,Credential="),
        ("aws4_request", "aws4"),
        ("aws4_request", "aws4_request/"),
        ("SignedHeaders=", "Signed="),
        ("SignedHeaders=host;x-amz-date", "SignedHeaders=x-amz-date;host"),
        ("SignedHeaders=host;", "SignedHeaders=host;host;"),
        ("SignedHeaders=host;", "SignedHeaders=Host;"),
        ("SignedHeaders=", "SignedHeaders=;"),
        ("Signature=", "Signature=,Signature="),
        ("Signature=", "Signature=0"),
        ("Signature=", "Signature=A"),
        ("Signature=", "Signature"),
        (", Signature=", ", Extra=1, Signature="),
        (", Signature=", ", , Signature="),
    ] {
        let result = spoiled(|r| r.reword(from, to));
        assert!(matches!(result, Err(Incomplete(_))), "{from} -> {to}: {result:?}");
    }
    // As some signers write it.
    assert!(spoiled(|r| r.reword(", ", ",")).is_ok());
}

proptest! {
    #[test]
    fn no_authorization_header_verifies_but_the_right_one(header in "AWS4-HMAC-SHA256 [ -~]{0,200}") {
        prop_assert!(spoiled(|r| r.set("authorization", &header)).is_err());
    }

    #[test]
    fn whatever_the_target_its_signature_verifies_or_it_cannot_be_signed(target in "/[!\"$-~]{0,60}") {
        let mut request = Spoilable::new();
        request.target = target;
        if request.target.parse::<http::Uri>().is_ok() {
            request.sign(
                "20150830/eu-central-1/glacier",
                "host;x-amz-date;x-amz-glacier-version",
            );
            prop_assert!(request.verify().is_ok());
            request.target.push('x');
            prop_assert!(request.verify().is_err());
        } else {
            prop_assert!(request.verify().is_err());
        }
    }
}
