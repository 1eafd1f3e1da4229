//! Signature Version 4 for requests that differ only in their path and date (IAM
//! User Guide, "Create a signed AWS API request"). The signing key is made once a
//! day, and with it all else that stays the same.

use std::{fmt::Write, sync::Arc};

use aws_credential_types::Credentials;
use aws_lc_rs::digest::{SHA256, digest};
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use data_encoding::HEXLOWER;
use http::HeaderValue;
use time::{Date, OffsetDateTime, macros::format_description};

use super::template::{DATE, TOKEN, Template};

/// The SHA-256 of no payload.
const NO_PAYLOAD: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Signs one day's aborts with the same credentials.
pub(super) struct Signer {
    credentials: Arc<Credentials>,
    date: Date,
    key: Vec<u8>,
    /// The request between the path and the date's value.
    head: String,
    /// `DATE/REGION/SERVICE/aws4_request`
    scope: String,
    /// The canonical request between the path and the date's value, and after it.
    before_date: String,
    after_date: String,
    /// The request between the date's value and the signature.
    authorization: String,
}

impl Signer {
    /// Prepares to sign requests like `template` on the day of `now`. `None` if the
    /// credentials do not fit into a header.
    pub(super) fn new(
        template: &Template,
        credentials: Arc<Credentials>,
        now: OffsetDateTime,
    ) -> Option<Self> {
        let Template { region, service, .. } = template;
        let secret = credentials.secret_access_key();
        let key = generate_signing_key(secret, now.into(), region, service).as_ref().to_vec();
        let scope = format!("{}/{region}/{service}/aws4_request", &timestamp(now)?[..8]);

        let mut headers = template.headers.clone();
        if let Some(token) = credentials.session_token() {
            headers.insert(TOKEN, HeaderValue::try_from(token).ok()?);
        }
        // After the path stands the empty query.
        let (mut before_date, mut canonical) = (String::new(), "\n\n".to_owned());
        let mut signed = Vec::new();
        for name in &template.signed {
            if name == DATE {
                before_date = format!("{canonical}{name}:");
                canonical = "\n".to_owned();
            } else if let Some(value) = headers.get(name) {
                let words: Vec<&str> = value.to_str().ok()?.split_ascii_whitespace().collect();
                writeln!(canonical, "{name}:{}", words.join(" ")).ok()?;
            } else {
                continue;
            }
            signed.push(name.as_str());
        }
        let signed = signed.join(";");
        let after_date = format!("{canonical}\n{signed}\n{NO_PAYLOAD}");
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature=",
            credentials.access_key_id()
        );
        HeaderValue::try_from(&authorization).ok()?;
        let authorization = format!("\r\nauthorization: {authorization}");
        let mut head = " HTTP/1.1\r\n".to_owned();
        for (name, value) in &headers {
            write!(head, "{name}: {}\r\n", value.to_str().ok()?).ok()?;
        }
        write!(head, "{DATE}: ").ok()?;
        let date = now.date();
        Some(Self { credentials, date, key, head, scope, before_date, after_date, authorization })
    }

    /// Whether this signs with `credentials` on the day of `now`.
    pub(super) fn signs(&self, credentials: &Arc<Credentials>, now: OffsetDateTime) -> bool {
        Arc::ptr_eq(&self.credentials, credentials) && self.date == now.date()
    }

    /// An abort, signed, as it goes over the wire. `path` must need no escaping, as
    /// its parts' types promise.
    pub(super) fn sign(&self, path: &str, now: OffsetDateTime) -> Option<String> {
        let Self { head, authorization, before_date, after_date, scope, .. } = self;
        let date = timestamp(now)?;
        let canonical = ["DELETE\n", path, before_date, &date, after_date].concat();
        let hash = HEXLOWER.encode(digest(&SHA256, canonical.as_bytes()).as_ref());
        let to_sign = ["AWS4-HMAC-SHA256\n", &date, "\n", scope, "\n", &hash].concat();
        let signature = calculate_signature(&self.key, to_sign.as_bytes());
        Some(["DELETE ", path, head, &date, authorization, &signature, "\r\n\r\n"].concat())
    }
}

/// ISO 8601 basic format, as SigV4 wants it.
fn timestamp(now: OffsetDateTime) -> Option<String> {
    now.format(format_description!("[year][month][day]T[hour][minute][second]Z")).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::{HeaderMap, uri::Scheme};
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_signer_lasts_until_midnight_or_until_the_credentials_are_replaced() {
        let template = Template {
            scheme: Scheme::HTTPS,
            authority: "glacier.eu-central-1.amazonaws.com".parse().unwrap(),
            path: String::new(),
            region: "eu-central-1".to_owned(),
            service: "glacier".to_owned(),
            headers: HeaderMap::new(),
            signed: vec![DATE],
        };
        let credentials = || Arc::new(Credentials::for_tests());
        let (used, replaced) = (credentials(), credentials());
        let evening = datetime!(2026-11-23 23:59:59 UTC);
        let signer = Signer::new(&template, used.clone(), evening).unwrap();
        assert!(signer.signs(&used, datetime!(2026-11-23 0:00 UTC)));
        assert!(!signer.signs(&used, datetime!(2026-11-24 0:00 UTC)));
        assert!(!signer.signs(&replaced, evening));

        let request = signer.sign("/-/vaults/v/multipart-uploads/u", evening).unwrap();
        assert!(request.starts_with("DELETE /-/vaults/v/multipart-uploads/u HTTP/1.1\r\n"));
        assert!(request.contains("\r\nx-amz-date: 20261123T235959Z\r\n"));
        assert!(request.contains("/20261123/eu-central-1/glacier/aws4_request, "));
    }
}
