//! Where an issuer's JWK Set is read from: a file, a URL, or the URL that the
//! issuer's discovery document names (OpenID Connect Discovery 1.0, section 4).

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use reqwest::{
    Client, Response, StatusCode,
    header::{ACCEPT, CACHE_CONTROL, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH},
    redirect::Policy,
    tls::Certificate,
};
use url::Url;

use crate::{
    config::{self, https_or_loopback},
    files::{self, Reader},
};

/// How long an issuer may take for one answer, to its last byte.
pub(super) const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// No honest answer is larger, in bytes.
const MAX_SIZE: usize = 512 * 1024;
/// How long the address that a discovery document names is used.
const DISCOVERY_LIFETIME: Duration = Duration::from_secs(3600);

/// The place of one issuer's JWK Set.
pub(super) struct JwksSource {
    settings: config::Issuer,
    reader: Reader,
    discovered: Option<(Url, Instant)>,
    etag: Option<HeaderValue>,
}

/// What a reading found.
pub(super) struct Reading {
    /// The JWK Set; `None` where it is the one read before.
    pub(super) document: Option<Vec<u8>>,
    /// How long the server says that it holds.
    pub(super) max_age: Option<Duration>,
}

/// Why keys cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("cannot read {}: {error}", path.display())]
    File { path: PathBuf, error: std::io::Error },
    #[error("cannot fetch {url}: {}", causes(error))]
    Fetch { url: Url, error: reqwest::Error },
    #[error("{url} answers {status}")]
    Status { url: Url, status: StatusCode },
    #[error("the answer of {0} is larger than {MAX_SIZE} bytes")]
    TooLarge(Url),
    #[error("the discovery document cannot be used: {0}")]
    Discovery(String),
    #[error("not a JWK Set: {0}")]
    Json(#[from] serde_json::Error),
}

/// An error with its causes, which reqwest leaves out of its own text.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

impl JwksSource {
    pub(super) fn new(settings: &config::Issuer) -> Self {
        Self { settings: settings.clone(), reader: Reader::default(), discovered: None, etag: None }
    }

    /// Reads the set, unless the server says that it is the same as before.
    pub(super) async fn read(&mut self) -> Result<Reading, ReadError> {
        if let Some(path) = &self.settings.jwks_file {
            return Ok(Reading { document: Some(self.read_file(path).await?), max_age: None });
        }
        let reading = self.fetch_set().await;
        if reading.is_err() {
            // The issuer may have moved its keys.
            self.discovered = None;
            self.etag = None;
        }
        reading
    }

    /// Makes the next reading whole, where the last one's document was no good.
    pub(super) fn forget(&mut self) {
        self.etag = None;
    }

    async fn fetch_set(&mut self) -> Result<Reading, ReadError> {
        let url = self.url().await?;
        let response = self.get(&url, self.etag.as_ref()).await?;
        let max_age = max_age(response.headers());
        if response.status() == StatusCode::NOT_MODIFIED && self.etag.is_some() {
            return Ok(Reading { document: None, max_age });
        }
        let etag = response.headers().get(ETAG).cloned();
        let document = Some(body(response, &url).await?);
        self.etag = etag;
        Ok(Reading { document, max_age })
    }

    async fn url(&mut self) -> Result<Url, ReadError> {
        if let Some(url) = &self.settings.jwks_url {
            return Ok(url.clone());
        }
        match &self.discovered {
            Some((url, at)) if at.elapsed() < DISCOVERY_LIFETIME => Ok(url.clone()),
            _ => {
                let url = self.discover().await?;
                self.discovered = Some((url.clone(), Instant::now()));
                Ok(url)
            }
        }
    }

    async fn discover(&self) -> Result<Url, ReadError> {
        #[derive(serde::Deserialize)]
        struct Document {
            issuer: String,
            jwks_uri: Url,
        }
        let unusable = |why: String| ReadError::Discovery(why);
        let place = self.discovery_url().map_err(|error| unusable(error.to_string()))?;
        let text = body(self.get(&place, None).await?, &place).await?;
        let document: Document =
            serde_json::from_slice(&text).map_err(|error| unusable(error.to_string()))?;
        if document.issuer != self.settings.issuer {
            return Err(unusable("it is another issuer's".to_owned()));
        }
        if !https_or_loopback(&document.jwks_uri) {
            return Err(unusable("its jwks_uri is no https:// URL".to_owned()));
        }
        Ok(document.jwks_uri)
    }

    fn discovery_url(&self) -> Result<Url, url::ParseError> {
        let issuer = self.settings.issuer.trim_end_matches('/');
        Url::parse(&format!("{issuer}/.well-known/openid-configuration"))
    }

    async fn get(&self, url: &Url, etag: Option<&HeaderValue>) -> Result<Response, ReadError> {
        let failed = |error| ReadError::Fetch { url: url.clone(), error };
        let client = self.client(url).await?;
        let mut request = client.get(url.clone()).header(ACCEPT, "application/json");
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        if let Some(path) = &self.settings.bearer_token_file
            && self.is_own(url)
        {
            let token = self.read_file(path).await?;
            request = request.bearer_auth(String::from_utf8_lossy(&token).trim());
        }
        let response = request.send().await.map_err(failed)?;
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::NOT_MODIFIED if etag.is_some() => Ok(response),
            status => Err(ReadError::Status { url: url.clone(), status }),
        }
    }

    /// Whether `url` is on the server that the settings name: a discovery document
    /// cannot send our credential elsewhere.
    fn is_own(&self, url: &Url) -> bool {
        let configured = match &self.settings.jwks_url {
            Some(url) => Some(url.clone()),
            None => self.discovery_url().ok(),
        };
        configured.is_some_and(|configured| configured.origin() == url.origin())
    }

    /// A client of its own for each request, so that a renewed CA file counts and
    /// no connection is kept for minutes.
    async fn client(&self, url: &Url) -> Result<Client, ReadError> {
        let failed = |error| ReadError::Fetch { url: url.clone(), error };
        let mut client = Client::builder()
            .timeout(FETCH_TIMEOUT)
            // A redirect could lead the gateway to any host.
            .redirect(Policy::none())
            .user_agent(concat!("glacier-gateway/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &self.settings.ca_file {
            let pem = self.read_file(path).await?;
            client = client.tls_certs_only(Certificate::from_pem_bundle(&pem).map_err(failed)?);
        }
        client = match url.scheme() {
            // A proxy would take "loopback" for its own.
            "http" => client.no_proxy(),
            _ => client.https_only(true),
        };
        client.build().map_err(failed)
    }

    async fn read_file(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        let file = path.to_owned();
        let reading = self.reader.read(move |_| files::read(&file, MAX_SIZE as u64)).await;
        reading.flatten().map_err(|error| ReadError::File { path: path.to_owned(), error })
    }
}

async fn body(mut response: Response, url: &Url) -> Result<Vec<u8>, ReadError> {
    let failed = |error| ReadError::Fetch { url: url.clone(), error };
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > MAX_SIZE {
            return Err(ReadError::TooLarge(url.clone()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The `max-age` of `Cache-Control` (RFC 9111, section 5.2.2.1); zero where the
/// answer must not be reused unasked.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let mut age = None;
    for value in headers.get_all(CACHE_CONTROL) {
        for directive in value.to_str().ok()?.split(',') {
            let directive = directive.trim().to_ascii_lowercase();
            if directive == "no-store" || directive == "no-cache" {
                return Some(Duration::ZERO);
            }
            if let Some(seconds) = directive.strip_prefix("max-age=") {
                age = seconds.trim_matches('"').parse().ok().map(Duration::from_secs);
            }
        }
    }
    age
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn cache_control_is_understood() {
        let age = |value: &'static str| {
            let headers = HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static(value))]);
            max_age(&headers).map(|age| age.as_secs())
        };
        assert_eq!(age("max-age=60"), Some(60));
        assert_eq!(age("public, Max-Age=\"60\", must-revalidate"), Some(60));
        assert_eq!(age("max-age=60, no-cache"), Some(0));
        assert_eq!(age("no-store"), Some(0));
        assert_eq!(age("max-age=-1"), None);
        assert_eq!(age("max-age=99999999999999999999999"), None);
        assert_eq!(age("s-maxage=60"), None);
    }
}
