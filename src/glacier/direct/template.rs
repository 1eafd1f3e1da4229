//! What the SDK's aborts look like on the wire.

use std::sync::{Arc, OnceLock};

use aws_sdk_glacier::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, http::HttpRequest,
        interceptors::BeforeTransmitInterceptorContextRef,
    },
    error::BoxError,
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Uri,
    header::{AUTHORIZATION, HOST},
    uri::{Authority, Scheme},
};
use hyper_util::client::proxy::matcher::Matcher;

use crate::telemetry::traces::TRACEPARENT;

/// When a request was signed (IAM User Guide, "Create a signed AWS API request").
pub(super) const DATE: HeaderName = HeaderName::from_static("x-amz-date");
/// The session token of temporary credentials.
pub(super) const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// What is the same in all of a region's aborts.
#[derive(Debug, PartialEq)]
pub(super) struct Template {
    pub(super) scheme: Scheme,
    pub(super) authority: Authority,
    /// The endpoint's own path, before the account.
    pub(super) path: String,
    /// The region and the service in a signature's scope.
    pub(super) region: String,
    pub(super) service: String,
    /// The headers, `Host` among them, without those that a signature makes.
    pub(super) headers: HeaderMap,
    /// The names of the signed headers, of the session token always.
    pub(super) signed: Vec<HeaderName>,
}

/// Reads the template off the first abort that the SDK sends.
#[derive(Debug)]
pub(super) struct Learn(pub(super) Arc<OnceLock<Option<Template>>>);

impl Intercept for Learn {
    fn name(&self) -> &'static str {
        "Learn"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // Of the five operations only the abort deletes.
        if context.request().method() == "DELETE" {
            self.0.get_or_init(|| Template::read(context.request()));
        }
        Ok(())
    }
}

impl Template {
    /// Reads a signed abort. `None` if it is not as simple as an abort is, or goes
    /// through a proxy: such requests are left to the SDK.
    fn read(request: &HttpRequest) -> Option<Self> {
        let uri: Uri = request.uri().parse().ok()?;
        // …/ACCOUNT/vaults/VAULT/multipart-uploads/UPLOAD
        let path = uri.path().rsplitn(6, '/').nth(5)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
        if uri.query().is_some()
            || !path.bytes().all(plain)
            || Matcher::from_env().intercept(&uri).is_some()
        {
            return None;
        }
        let (scope, signed) = scope_and_headers(request.headers().get(AUTHORIZATION)?)?;
        let (region, service) = scope.split_once('/')?;
        let mut signed: Vec<HeaderName> =
            signed.split(';').map(|name| name.parse().ok()).collect::<Option<_>>()?;
        if !signed.contains(&TOKEN) {
            signed.push(TOKEN);
        }
        signed.sort_by(|a, b| a.as_str().cmp(b.as_str()));

        let scheme = uri.scheme()?.clone();
        let authority = uri.authority()?.clone();
        let default_port = if scheme == Scheme::HTTPS { 443 } else { 80 };
        let host = match authority.port_u16() {
            Some(port) if port != default_port => authority.as_str(),
            _ => authority.host(),
        };
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::try_from(host).ok()?);
        for (name, value) in request.headers() {
            // Those are of a single attempt alone.
            if !name.starts_with("amz-sdk-") && name != TRACEPARENT {
                headers.insert(name.parse::<HeaderName>().ok()?, value.parse().ok()?);
            }
        }
        for own in [AUTHORIZATION, DATE, TOKEN] {
            headers.remove(own);
        }
        let known = |name: &HeaderName| [DATE, TOKEN].contains(name) || headers.contains_key(name);
        let (path, region, service) = (path.to_owned(), region.to_owned(), service.to_owned());
        signed.iter().all(known).then_some(Self {
            scheme,
            authority,
            path,
            region,
            service,
            headers,
            signed,
        })
    }
}

/// `REGION/SERVICE` and the signed headers' names of an `Authorization` header.
fn scope_and_headers(authorization: &str) -> Option<(&str, &str)> {
    let (_, fields) = authorization.split_once("Credential=")?;
    let (credential, fields) = fields.split_once(", SignedHeaders=")?;
    let (signed, _) = fields.split_once(", Signature=")?;
    let scope = credential.strip_suffix("/aws4_request")?;
    // KEY-ID/DATE/REGION/SERVICE
    let scope = scope.splitn(3, '/').nth(2)?;
    Some((scope, signed))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ABORT: &str = "/111122223333/vaults/photos/multipart-uploads/an-upload";

    fn read(endpoint: &str, query: &str) -> Option<Template> {
        let mut request = HttpRequest::empty();
        request.set_uri(format!("{endpoint}{ABORT}{query}")).unwrap();
        for (name, value) in [
            ("x-amz-date", "20261123T120000Z"),
            ("x-amz-glacier-version", "2012-06-01"),
            ("amz-sdk-request", "attempt=1; max=3"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKID/20261123/eu-central-1/glacier/aws4_request, \
                 SignedHeaders=host;x-amz-date;x-amz-glacier-version, Signature=00",
            ),
        ] {
            request.headers_mut().insert(name, value);
        }
        Template::read(&request)
    }

    #[test]
    fn a_template_keeps_what_all_aborts_have_in_common() {
        for (endpoint, host, path) in [
            (
                "https://glacier.eu-central-1.amazonaws.com",
                "glacier.eu-central-1.amazonaws.com",
                "",
            ),
            ("https://glacier.test:443/a/b", "glacier.test", "/a/b"),
            ("http://127.0.0.1:80", "127.0.0.1", ""),
            ("http://127.0.0.1:443", "127.0.0.1:443", ""),
        ] {
            let template = read(endpoint, "").unwrap();
            assert_eq!((template.headers[HOST].to_str().unwrap(), &*template.path), (host, path));
            assert_eq!((&*template.region, &*template.service), ("eu-central-1", "glacier"));
            let signed = [HOST, DATE, HeaderName::from_static("x-amz-glacier-version"), TOKEN];
            assert_eq!(template.signed, signed);
            assert_eq!(template.headers.len(), 2, "{template:?}");
        }
    }

    #[test]
    fn an_abort_that_is_not_plain_is_left_to_the_sdk() {
        assert_eq!(read("https://glacier.test/a%20b", ""), None);
        assert_eq!(read("https://glacier.test/a+b", ""), None);
        assert_eq!(read("https://glacier.test", "?x=y"), None);
    }
}
