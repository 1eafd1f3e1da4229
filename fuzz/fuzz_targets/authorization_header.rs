//! Signed requests of every shape: reading and verifying one never panics, and no
//! signature verifies that was not made with the secret.

#![no_main]

use glacier_gateway::authn::{
    AccessKey,
    sigv4::{Authorization, SignedRequest},
};
use libfuzzer_sys::fuzz_target;
use time::{Duration, macros::datetime};

// The input's lines: method, target, the `Authorization` header, and then further
// headers as `name:value`.
fuzz_target!(|input: &[u8]| {
    let mut lines = input.split(|byte| *byte == b'\n');
    let (Some(method), Some(target), Some(authorization)) =
        (lines.next(), lines.next(), lines.next())
    else {
        return;
    };
    let (Ok(method), Ok(target)) = (str::from_utf8(method), str::from_utf8(target)) else { return };
    let mut headers = vec![("authorization", authorization)];
    for line in lines {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { continue };
        let Ok(name) = str::from_utf8(name) else { continue };
        headers.push((name, value));
    }
    let request = SignedRequest {
        method,
        target,
        headers: &headers,
        payload_sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    };
    let Ok(authorization) = Authorization::of(&request) else { return };
    if let Ok(key) = authorization.access_key_id().parse::<AccessKey>() {
        assert_eq!(key.id().as_deref(), Ok(authorization.access_key_id()));
    }
    let secret = "no input holds a signature made with this".to_owned().into();
    let now = datetime!(2026-11-23 12:00 UTC);
    assert!(authorization.verify(&request, &secret, now, Duration::minutes(15)).is_err());
});
