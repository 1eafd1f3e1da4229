//! A gateway somewhere, asked over its REST API.

use std::{env, fs, path::PathBuf, time::Duration};

use reqwest::{
    Client, Method, RequestBuilder, Response, header::RETRY_AFTER, redirect::Policy,
    tls::Certificate,
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use url::Url;

use super::failure::Failure;

/// The variable with the caller's token.
const TOKEN: &str = "GATEWAY_TOKEN";
/// How long a connection may take.
const CONNECTING: Duration = Duration::from_secs(10);
/// How long an answer, or the next part of one, may take. Events come with signs of life in
/// between.
const ANSWERING: Duration = Duration::from_secs(60);
/// How often a request is sent that a broken connection or a busy gateway left open.
const ATTEMPTS: u32 = 5;

/// Which gateway, and who asks.
#[derive(Clone, clap::Args)]
pub(super) struct Options {
    /// The gateway's URL.
    #[arg(long, value_name = "URL", env = "GATEWAY_URL", default_value = "http://127.0.0.1:8080")]
    gateway: Url,
    /// A file with the caller's token, read anew for each request. Without it, the token is
    /// taken from the variable GATEWAY_TOKEN.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// PEM certificates that the gateway is trusted by, instead of the system's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// A gateway to ask.
pub(super) struct Remote {
    client: Client,
    options: Options,
}

/// Why a request was not answered as it should be.
pub(super) enum Unanswered {
    /// It may be answered later: the connection broke, or the gateway is busy.
    Later(String, Option<Duration>),
    /// It will not be.
    Never(Failure),
}

/// What problem documents say (RFC 9457).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RemoteProblem {
    code: String,
    detail: String,
    request_id: Option<String>,
}

impl Options {
    /// Gets ready to ask.
    ///
    /// # Errors
    /// A file of certificates that cannot be used.
    pub(super) fn remote(&self) -> Result<Remote, Failure> {
        let mut client = Client::builder()
            .connect_timeout(CONNECTING)
            .read_timeout(ANSWERING)
            // The token is for this gateway alone.
            .redirect(Policy::none())
            .user_agent(concat!("glacier-gateway/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &self.ca_file {
            let unusable = |error: &dyn std::fmt::Display| {
                Failure::configuration(format!("--ca-file {}: {error}", path.display()))
            };
            let pem = fs::read(path).map_err(|error| unusable(&error))?;
            let trusted = Certificate::from_pem_bundle(&pem).map_err(|error| unusable(&error))?;
            client = client.tls_certs_only(trusted);
        }
        Ok(Remote { client: client.build().map_err(Failure::other)?, options: self.clone() })
    }
}

impl Remote {
    /// A request for a path such as `/v1/abort-jobs`, with the caller's token.
    ///
    /// # Errors
    /// No token, or a URL that nothing can be added to.
    pub(super) fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<RequestBuilder, Failure> {
        let mut url = self.options.gateway.clone();
        url.path_segments_mut()
            .map_err(|()| Failure::configuration("--gateway: write an http:// or https:// URL"))?
            .pop_if_empty()
            .extend(path.trim_start_matches('/').split('/'));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(self.client.request(method, url).bearer_auth(self.token()?.expose_secret()))
    }

    fn token(&self) -> Result<SecretString, Failure> {
        let text = match &self.options.token_file {
            Some(path) => fs::read_to_string(path).map_err(|error| {
                Failure::configuration(format!("--token-file {}: {error}", path.display()))
            })?,
            None => env::var(TOKEN).map_err(|_| {
                Failure::configuration(format!("set {TOKEN} to your token, or give --token-file"))
            })?,
        };
        Ok(text.trim().into())
    }

    /// Sends a request once.
    ///
    /// # Errors
    /// Everything but an answer with success.
    pub(super) async fn try_once(&self, request: RequestBuilder) -> Result<Response, Unanswered> {
        let broken = |error: reqwest::Error| {
            let url = error.url().map_or("the gateway", Url::as_str).to_owned();
            Unanswered::Later(format!("{url}: {}", innermost(&error)), None)
        };
        let response = request.send().await.map_err(broken)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let wait = wait.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        let url = response.url().clone();
        let text = response.text().await.unwrap_or_default();
        let told = match serde_json::from_str(&text) {
            Ok(RemoteProblem { code, detail, request_id }) => {
                let id = request_id.map(|id| format!(" (request {id})")).unwrap_or_default();
                format!("{code}: {detail}{id}")
            }
            Err(_) => format!("{url}: {status}"),
        };
        match status.as_u16() {
            429 | 502..=504 => Err(Unanswered::Later(told, wait)),
            _ => Err(Unanswered::Never(Failure::other(told))),
        }
    }

    /// Sends what may be sent several times, until there is an answer.
    ///
    /// # Errors
    /// What stands in the way.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let mut attempt = 1;
        loop {
            // All bodies are in memory.
            let again = request.try_clone().ok_or_else(|| Failure::other("cannot send twice"))?;
            match self.try_once(again).await {
                Ok(response) => return Ok(response),
                Err(Unanswered::Never(failure)) => return Err(failure),
                Err(Unanswered::Later(told, _)) if attempt == ATTEMPTS => {
                    return Err(Failure::other(told));
                }
                Err(Unanswered::Later(_, wait)) => {
                    let usual = Duration::from_millis(250) * 2_u32.pow(attempt);
                    tokio::time::sleep(wait.unwrap_or(usual).min(ANSWERING)).await;
                    attempt += 1;
                }
            }
        }
    }

    /// The same for an answer in JSON.
    ///
    /// # Errors
    /// What stands in the way.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, Failure> {
        let response = self.send(request).await?;
        let text = response.bytes().await.map_err(|error| Failure::other(innermost(&error)))?;
        serde_json::from_slice(&text)
            .map_err(|error| Failure::other(format!("the answer is not as expected: {error}")))
    }
}

/// The cause of causes, which says what a person needs: "Connection refused".
pub(super) fn innermost(error: &dyn std::error::Error) -> &dyn std::error::Error {
    std::iter::successors(Some(error), |e| e.source()).last().unwrap_or(error)
}
