//! A running gateway, as its callers see it, for the subcommands that call its API.

use std::{path::PathBuf, time::Duration};

use reqwest::{Client, Method, RequestBuilder, Response, header::ACCEPT};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::failure::Failure;

/// How long the gateway may take to answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Which gateway, and who is calling.
#[derive(clap::Args)]
pub(super) struct Options {
    /// Where the gateway is.
    #[arg(
        long,
        value_name = "URL",
        env = "GLACIER_GATEWAY_URL",
        default_value = "http://127.0.0.1:8080"
    )]
    gateway: Url,
    /// The file with the bearer token. Without it the variable GLACIER_GATEWAY_TOKEN is taken.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// PEM certificates that the gateway is trusted by, instead of the system's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// A gateway to call.
pub(super) struct Remote {
    client: Client,
    gateway: Url,
    token: SecretString,
}

impl Options {
    /// Gets ready to call the gateway.
    ///
    /// # Errors
    /// Without a token, or with files that cannot be read.
    pub(super) fn remote(&self) -> Result<Remote, Failure> {
        let read = |path: &PathBuf| {
            let read = std::fs::read_to_string(path);
            read.map_err(|error| Failure::configuration(format!("{}: {error}", path.display())))
        };
        let token = match &self.token_file {
            Some(path) => read(path)?,
            None => std::env::var("GLACIER_GATEWAY_TOKEN").map_err(|_| {
                Failure::configuration(
                    "name a file with a bearer token (--token-file), or put the token into \
                     GLACIER_GATEWAY_TOKEN",
                )
            })?,
        };
        let mut client = Client::builder().timeout(TIMEOUT);
        if let Some(path) = &self.ca_file {
            let certificates = reqwest::Certificate::from_pem_bundle(read(path)?.as_bytes());
            client = client.tls_certs_only(certificates.map_err(Failure::other)?);
        }
        Ok(Remote {
            client: client.build().map_err(Failure::other)?,
            gateway: self.gateway.clone(),
            token: SecretString::from(token.trim()),
        })
    }
}

impl Remote {
    /// Begins a request to a path such as `/v1/inventory`.
    ///
    /// # Errors
    /// When the gateway's URL cannot have a path.
    pub(super) fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<RequestBuilder, Failure> {
        let base = self.gateway.path().trim_end_matches('/');
        let mut url = self.gateway.join(&format!("{base}{path}")).map_err(Failure::other)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(self.client.request(method, url).bearer_auth(self.token.expose_secret()))
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When there is no answer, or one that says what is wrong.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let reply = request.send().await.map_err(Failure::other)?;
        if reply.status().is_success() {
            return Ok(reply);
        }
        let status = reply.status();
        let text = reply.text().await.unwrap_or_default();
        let problem: Value = serde_json::from_str(&text).unwrap_or_default();
        let said = match (problem["code"].as_str(), problem["detail"].as_str()) {
            (Some(code), Some(detail)) => format!("{code}: {detail}"),
            _ => "what answers there is not a gateway".to_owned(),
        };
        Err(Failure::other(format!("{}: {status}: {said}", self.gateway)))
    }

    /// Asks for JSON.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(super) async fn json(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let reply = self.send(request.header(ACCEPT, "application/json")).await?;
        reply.json().await.map_err(Failure::other)
    }
}
