//! Signature Version 4 for requests that differ only in their path and date (IAM
//! User Guide, "Create a signed AWS API request"). What is the same in all requests of
//! one second is made once.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt::Write,
    sync::Arc,
};

use aws_credential_types::Credentials;
use aws_lc_rs::{
    digest::{SHA256, SHA256_OUTPUT_LEN, digest},
    hmac::{self, HMAC_SHA256},
};
use aws_sigv4::sign::v4::generate_signing_key;
use data_encoding::HEXLOWER;
use http::HeaderValue;
use time::OffsetDateTime;

use crate::domain::AMZ_DATE;

use super::template::{DATE, TOKEN, Template};

/// The SHA-256 of no payload.
const NO_PAYLOAD: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Sign one second's aborts, each with its credentials.
#[derive(Default)]
pub(super) struct Signers {
    /// The second, since 1970.
    second: i64,
    /// By the place of their credentials, which they keep.
    signers: HashMap<usize, Signer>,
}

impl Signers {
    /// What signs requests like `template` with `credentials` in the second of `now`. `None`
    /// if the credentials do not fit into a header.
    pub(super) fn of(
        &mut self,
        template: &Template,
        credentials: Arc<Credentials>,
        now: OffsetDateTime,
    ) -> Option<&Signer> {
        if self.second != now.unix_timestamp() {
            self.second = now.unix_timestamp();
            self.signers.clear();
        }
        Some(match self.signers.entry(Arc::as_ptr(&credentials).addr()) {
            Entry::Occupied(signer) => signer.into_mut(),
            Entry::Vacant(place) => place.insert(Signer::new(template, credentials, now)?),
        })
    }
}

/// Signs one second's aborts with the same credentials.
pub(super) struct Signer {
    /// Kept so that no others take their place.
    _credentials: Arc<Credentials>,
    key: hmac::Key,
    /// The string to sign before the canonical request's hash.
    to_sign: String,
    /// The canonical request after the path.
    canonical: String,
    /// The request between the path and the signature.
    head: String,
}

impl Signer {
    /// Prepares to sign requests like `template` in the second of `now`. `None` if the
    /// credentials do not fit into a header.
    fn new(
        template: &Template,
        credentials: Arc<Credentials>,
        now: OffsetDateTime,
    ) -> Option<Self> {
        let Template { region, service, .. } = template;
        let date = timestamp(now)?;
        let secret = credentials.secret_access_key();
        let key = generate_signing_key(secret, now.into(), region, service);
        let key = hmac::Key::new(HMAC_SHA256, key.as_ref());
        let scope = format!("{}/{region}/{service}/aws4_request", &date[..8]);
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n");

        let mut headers = template.headers.clone();
        headers.insert(DATE, HeaderValue::try_from(date).ok()?);
        if let Some(token) = credentials.session_token() {
            headers.insert(TOKEN, HeaderValue::try_from(token).ok()?);
        }
        // After the path stands the empty query.
        let mut canonical = "\n\n".to_owned();
        let mut signed = Vec::new();
        for name in &template.signed {
            let Some(value) = headers.get(name) else { continue };
            let words: Vec<&str> = value.to_str().ok()?.split_ascii_whitespace().collect();
            writeln!(canonical, "{name}:{}", words.join(" ")).ok()?;
            signed.push(name.as_str());
        }
        let signed = signed.join(";");
        write!(canonical, "\n{signed}\n{NO_PAYLOAD}").ok()?;

        let mut head = " HTTP/1.1\r\n".to_owned();
        for (name, value) in &headers {
            write!(head, "{name}: {}\r\n", value.to_str().ok()?).ok()?;
        }
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature=",
            credentials.access_key_id()
        );
        HeaderValue::try_from(&authorization).ok()?;
        write!(head, "authorization: {authorization}").ok()?;
        Some(Self { _credentials: credentials, key, to_sign, canonical, head })
    }

    /// An abort, signed, as it goes over the wire. `path` must need no escaping, as
    /// its parts' types promise.
    pub(super) fn sign(&self, path: &str) -> String {
        let canonical = ["DELETE\n", path, &self.canonical].concat();
        let mut hash = [0; 2 * SHA256_OUTPUT_LEN];
        HEXLOWER.encode_mut(digest(&SHA256, canonical.as_bytes()).as_ref(), &mut hash);
        let mut signature = hmac::Context::with_key(&self.key);
        signature.update(self.to_sign.as_bytes());
        signature.update(&hash);
        let mut request = String::with_capacity(path.len() + self.head.len() + 128);
        request.extend(["DELETE ", path, &self.head]);
        HEXLOWER.encode_append(signature.sign().as_ref(), &mut request);
        request.push_str("\r\n\r\n");
        request
    }
}

/// ISO 8601 basic format, as SigV4 wants it.
fn timestamp(now: OffsetDateTime) -> Option<String> {
    now.format(AMZ_DATE).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::{HeaderMap, uri::Scheme};
    use time::macros::datetime;

    use super::*;

    #[test]
    fn signers_last_for_a_second_and_sign_with_their_own_credentials() {
        let template = Template {
            scheme: Scheme::HTTPS,
            authority: "glacier.eu-central-1.amazonaws.com".parse().unwrap(),
            path: String::new(),
            region: "eu-central-1".to_owned(),
            service: "glacier".to_owned(),
            headers: HeaderMap::new(),
            signed: vec![DATE],
        };
        let credentials =
            |id: &str| Arc::new(Credentials::new(id, "secret", None, None, "a signer's test"));
        let (one, other) = (credentials("AKIAone"), credentials("AKIAother"));
        let mut signers = Signers::default();
        let mut sign = |credentials: &Arc<Credentials>, now| {
            let signer = signers.of(&template, credentials.clone(), now).unwrap();
            signer.sign("/-/vaults/v/multipart-uploads/u")
        };
        let evening = datetime!(2026-11-23 23:59:59 UTC);
        let request = sign(&one, evening);
        assert!(request.starts_with("DELETE /-/vaults/v/multipart-uploads/u HTTP/1.1\r\n"));
        assert!(request.contains("\r\nx-amz-date: 20261123T235959Z\r\n"));
        assert!(request.contains("=AKIAone/20261123/eu-central-1/glacier/aws4_request, "));
        let others = sign(&other, evening);
        assert!(others.contains("=AKIAother/20261123/"));
        assert_eq!(sign(&one, datetime!(2026-11-23 23:59:59.999 UTC)), request);
        assert!(sign(&one, datetime!(2026-11-24 0:00 UTC)).contains("=AKIAone/20261124/"));
        assert_eq!(signers.signers.len(), 1, "those of the second before are gone");
    }
}
