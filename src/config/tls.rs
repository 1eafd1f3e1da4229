//! `[server.tls]`: the REST API over TLS, and callers by their certificates.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

use super::issuers::check_teams;

/// `[server.tls]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The gateway's certificate and those between it and its CA, PEM.
    pub certificate_file: PathBuf,
    /// The certificate's private key, PEM.
    pub private_key_file: PathBuf,
    /// The CAs of callers' certificates, PEM. Without this callers are asked for
    /// none.
    pub client_ca_file: Option<PathBuf>,
    /// Teams of callers, by patterns over the SPIFFE ID or DNS names of their
    /// certificates.
    #[serde(default)]
    pub client_teams: BTreeMap<String, Vec<String>>,
}

impl Tls {
    /// What the types cannot say.
    /// `accepts_tokens`: certificates may then be there only to confirm them.
    pub(super) fn check(&self, accepts_tokens: bool, mut wrong: impl FnMut(String, &str)) {
        let key = || "server.tls.client_teams".to_owned();
        match (&self.client_ca_file, self.client_teams.is_empty()) {
            (Some(_), true) if !accepts_tokens => wrong(
                key(),
                "map callers' certificates to teams, such as \"spiffe://example.org/ns/media/sa/*\" = [\"media\"]",
            ),
            (None, false) => wrong(
                "server.tls.client_ca_file".to_owned(),
                "name the CAs of callers' certificates; without them client_teams maps nobody",
            ),
            _ => {}
        }
        if let Err(message) = check_teams(&self.client_teams) {
            wrong(key(), &message);
        }
    }
}
