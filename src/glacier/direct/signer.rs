//! Signature Version 4 for requests that differ only in their path and date (IAM
//! User Guide, "Create a signed AWS API request"). The signing key is made once a
//! day, and with it all else that stays the same.

use std::{fmt::Write, sync::Arc};

use aws_credential_types::Credentials;
use aws_lc_rs::digest::{SHA256, digest};
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use data_encoding::HEXLOWER;
use http::{
    HeaderMap, HeaderValue, Method, Request, Uri,
    header::AUTHORIZATION,
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body_util::Empty;
use hyper::body::Bytes;
use time::{Date, OffsetDateTime, macros::format_description};

use super::template::{DATE, TOKEN, Template};

/// The SHA-256 of no payload.
const NO_PAYLOAD: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Signs one day's aborts with the same credentials.
pub(super) struct Signer {
    credentials: Arc<Credentials>,
    date: Date,
    key: Vec<u8>,
    scheme: Scheme,
    authority: Authority,
    headers: HeaderMap,
    /// `DATE/REGION/SERVICE/aws4_request`
    scope: String,
    /// The canonical request between the path and the date's value, and after it.
    before_date: String,
    after_date: String,
    /// The `Authorization` header up to the signature.
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
        let Template { scheme, authority, region, service, .. } = template;
        let secret = credentials.secret_access_key();
        let key = generate_signing_key(secret, now.into(), region, service).as_ref().to_vec();
        let scope = format!("{}/{region}/{service}/aws4_request", &timestamp(now)?[..8]);

        let mut headers = template.headers.clone();
        if let Some(token) = credentials.session_token() {
            let mut token = HeaderValue::try_from(token).ok()?;
            token.set_sensitive(true);
            headers.insert(TOKEN, token);
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
        let (scheme, authority, date) = (scheme.clone(), authority.clone(), now.date());
        Some(Self {
            credentials,
            date,
            key,
            scheme,
            authority,
            headers,
            scope,
            before_date,
            after_date,
            authorization,
        })
    }

    /// Whether this signs with `credentials` on the day of `now`.
    pub(super) fn signs(&self, credentials: &Arc<Credentials>, now: OffsetDateTime) -> bool {
        Arc::ptr_eq(&self.credentials, credentials) && self.date == now.date()
    }

    /// An abort, signed. `path` must need no escaping, as its parts' types promise.
    pub(super) fn sign(&self, path: String, now: OffsetDateTime) -> Option<Request<Empty<Bytes>>> {
        let Self { before_date, after_date, scope, .. } = self;
        let date = timestamp(now)?;
        let canonical = format!("DELETE\n{path}{before_date}{date}{after_date}");
        let hash = HEXLOWER.encode(digest(&SHA256, canonical.as_bytes()).as_ref());
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hash}");
        let signature = calculate_signature(&self.key, to_sign.as_bytes());
        let authorization = format!("{}{signature}", self.authorization);

        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(PathAndQuery::try_from(path).ok()?)
            .build()
            .ok()?;
        let mut request = Request::new(Empty::new());
        *request.method_mut() = Method::DELETE;
        *request.uri_mut() = uri;
        let mut headers = self.headers.clone();
        headers.insert(DATE, HeaderValue::try_from(date).ok()?);
        let mut authorization = HeaderValue::try_from(authorization).ok()?;
        authorization.set_sensitive(true);
        headers.insert(AUTHORIZATION, authorization);
        *request.headers_mut() = headers;
        Some(request)
    }
}

/// ISO 8601 basic format, as SigV4 wants it.
fn timestamp(now: OffsetDateTime) -> Option<String> {
    now.format(format_description!("[year][month][day]T[hour][minute][second]Z")).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
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

        let request = signer.sign("/-/vaults/v/multipart-uploads/u".to_owned(), evening).unwrap();
        assert_eq!(request.headers()[DATE], "20261123T235959Z");
        let authorization = request.headers()[AUTHORIZATION].to_str().unwrap();
        assert!(authorization.contains("/20261123/eu-central-1/glacier/aws4_request, "));
    }
}
