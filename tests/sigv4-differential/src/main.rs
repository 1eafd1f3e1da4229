//! Compares the gateway's SigV4 verifier with another one, written by others, on
//! requests that the AWS SDK's signer signed and that were then changed in one
//! place or none. `make differential` runs it.
//!
//! Paths are of unreserved characters: the other verifier fails on percent-escapes
//! in a path.

use std::{collections::BTreeMap, process::ExitCode, str::FromStr, time::SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use glacier_gateway::authn::sigv4::{Authorization, SignedRequest};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use scratchstack_aws_signature::{
    GetSigningKeyRequest, GetSigningKeyResponse, KSecretKey, NO_ADDITIONAL_SIGNED_HEADERS,
    SignatureOptions, service_for_signing_key_fn, sigv4_validate_request,
};
use time::{Duration, OffsetDateTime, macros::datetime};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const REGION: &str = "eu-central-1";
const NOW: OffsetDateTime = datetime!(2026-11-23 12:00:00 UTC);
/// The other verifier's, which cannot be set.
const TOLERANCE: Duration = Duration::minutes(15);
const SHA256_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const CASES: u32 = 20_000;
/// What we refuse and the other does not: sloppy headers, headers of AWS's that are
/// not signed, key IDs that AWS's alphabet does not have.
const STRICTER: [&str; 4] = [
    "SignedHeaders must be",
    "must be a 'SignedHeader'",
    "a part that is not known",
    "must begin with an access key ID",
];

#[derive(Clone, Debug)]
struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
}

/// What is changed after signing.
#[derive(Clone, Debug)]
enum Change {
    Nothing,
    Method,
    Path(char),
    Query(String),
    HeaderValue(usize, String),
    HeaderSpaces(usize),
    HeaderGone(usize),
    HeaderAdded(String, String),
    Signature(usize, char),
    Authorization(usize, char),
}

fn requests() -> impl Strategy<Value = (Request, i64)> {
    let path = proptest::collection::vec("[A-Za-z0-9_~-]{1,8}", 0..5);
    let query = proptest::option::of(
        "[a-z]{1,3}=[A-Za-z0-9._~-]{0,5}(%2F|%20|%C3%BC)?(&[a-z]{1,3}=[0-9]{0,2}){0,3}",
    );
    let headers = proptest::collection::btree_map(
        "x-amz-[a-z]{1,6}|content-type|x-other",
        " ?[!-~]{1,6}( {1,3}[!-~]{1,4})? ?",
        0..4,
    );
    let seconds = prop_oneof![4 => -800_i64..800, 1 => -2000_i64..2000];
    ("GET|DELETE|PUT|POST", path, query, headers, seconds).prop_map(
        |(method, path, query, mut headers, seconds)| {
            headers.remove("x-amz-date");
            headers.insert("host".into(), "gateway.example.com:8080".into());
            let query = query.map_or(String::new(), |query| format!("?{query}"));
            let target = format!("/{}{query}", path.join("/"));
            (Request { method, target, headers: headers.into_iter().collect() }, seconds)
        },
    )
}

fn changes() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => Just(Change::Nothing),
        1 => Just(Change::Method),
        1 => proptest::char::range('a', 'z').prop_map(Change::Path),
        1 => "[a-z]=[0-9]".prop_map(Change::Query),
        1 => (0..6_usize, "[!-~]{1,5}").prop_map(|(at, value)| Change::HeaderValue(at, value)),
        1 => (0..6_usize).prop_map(Change::HeaderSpaces),
        1 => (0..6_usize).prop_map(Change::HeaderGone),
        1 => ("x-amz-[a-z]{7,9}|via", "[a-z]{1,3}").prop_map(|(n, v)| Change::HeaderAdded(n, v)),
        1 => (0..64_usize, proptest::char::range('0', '9')).prop_map(|(at, c)| Change::Signature(at, c)),
        2 => (0..200_usize, proptest::char::range(' ', '~')).prop_map(|(at, c)| Change::Authorization(at, c)),
    ]
}

impl Request {
    fn sign(&mut self, time: OffsetDateTime) {
        let identity = Credentials::new("AKIDEXAMPLE", SECRET, None, None, "test").into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(REGION)
            .name("glacier")
            .time(SystemTime::from(time))
            .settings(SigningSettings::default())
            .build()
            .expect("everything is set");
        let headers = self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        let signable =
            SignableRequest::new(&self.method, &self.target, headers, SignableBody::Bytes(b""));
        let signed = sign(signable.expect("a request"), &parameters.into()).expect("signed");
        let (instructions, _) = signed.into_parts();
        self.headers.extend(instructions.headers().map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    fn change(&mut self, change: &Change) {
        let count = self.headers.len();
        let authorization = &mut self.headers[count - 1].1;
        match change {
            Change::Nothing => {}
            Change::Method => self.method = "PATCH".into(),
            Change::Path(c) => self.target.insert(1, *c),
            Change::Query(query) => {
                self.target.push(if self.target.contains('?') { '&' } else { '?' });
                self.target.push_str(query);
            }
            Change::HeaderValue(at, value) => self.headers[at % (count - 1)].1 = value.clone(),
            Change::HeaderSpaces(at) => {
                let (_, value) = &mut self.headers[at % (count - 1)];
                *value = format!("  {value} ");
            }
            Change::HeaderGone(at) => drop(self.headers.remove(at % (count - 1))),
            Change::HeaderAdded(name, value) => {
                self.headers.insert(0, (name.clone(), value.clone()));
            }
            Change::Signature(at, c) => {
                let at = authorization.len() - 64 + at;
                authorization.replace_range(at..=at, &c.to_string());
            }
            Change::Authorization(at, c) => {
                let at = at % authorization.len();
                authorization.replace_range(at..=at, &c.to_string());
            }
        }
    }

    fn ours(&self) -> Result<(), String> {
        // An HTTP server hands on values without the spaces around them.
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.trim_matches(' ').as_bytes()))
            .collect();
        let request = SignedRequest {
            method: &self.method,
            target: &self.target,
            headers: &headers,
            payload_sha256: SHA256_OF_NOTHING,
        };
        let verify = || {
            let authorization = Authorization::of(&request)?;
            authorization.verify(&request, &SECRET.to_owned().into(), NOW, TOLERANCE)
        };
        verify().map(drop).map_err(|error| error.to_string())
    }

    fn theirs(&self, runtime: &tokio::runtime::Runtime) -> Result<(), String> {
        let mut request = http::Request::builder().method(self.method.as_str()).uri(&self.target);
        for (name, value) in &self.headers {
            request = request.header(name, value.trim_matches(' '));
        }
        let request = request.body(()).map_err(|error| error.to_string())?;
        let get_key = |request: GetSigningKeyRequest| async move {
            let key = KSecretKey::from_str(SECRET)?.to_ksigning(
                request.request_date(),
                request.region(),
                request.service(),
            );
            Ok(GetSigningKeyResponse::builder().signing_key(key).build()?)
        };
        let now = chrono::DateTime::from_timestamp(NOW.unix_timestamp(), 0).expect("a date");
        let mut key_service = service_for_signing_key_fn(get_key);
        let validated = sigv4_validate_request(
            request,
            REGION,
            "glacier",
            &mut key_service,
            now,
            &NO_ADDITIONAL_SIGNED_HEADERS,
            SignatureOptions::default(),
        );
        runtime.block_on(validated).map(drop).map_err(|error| error.to_string())
    }
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let verdicts = std::cell::RefCell::new(BTreeMap::<_, u32>::new());
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let result =
        TestRunner::new(config).run(&(requests(), changes()), |((request, seconds), change)| {
            let mut request = request;
            request.sign(NOW + Duration::seconds(seconds));
            request.change(&change);
            let (ours, theirs) = (request.ours(), request.theirs(&runtime));
            *verdicts.borrow_mut().entry((ours.is_ok(), theirs.is_ok())).or_default() += 1;
            // We may refuse more, and each such reason is known; never less.
            let stricter = ours
                .as_ref()
                .is_err_and(|reason| STRICTER.iter().any(|known| reason.contains(known)));
            prop_assert!(
                ours.is_ok() == theirs.is_ok() || (theirs.is_ok() && stricter),
                "ours: {ours:?}, theirs: {theirs:?}, {request:#?}"
            );
            Ok(())
        });
    for ((ours, theirs), count) in verdicts.into_inner() {
        println!("{count:6}  ours accepts: {ours:5}  theirs accepts: {theirs:5}");
    }
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}
