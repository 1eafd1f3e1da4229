//! `[swagger_ui]`: how a person signs in from Swagger UI.

use std::collections::HashMap;

use serde::Deserialize;
use url::Url;

use super::https_or_loopback;

/// `[swagger_ui]`: an OAuth 2 client for the authorization code flow with PKCE
/// (RFC 7636). A browser keeps no secret, so the client has none.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwaggerUi {
    /// The client that the issuer knows Swagger UI by.
    pub client_id: String,
    /// Where the issuer asks the person to sign in.
    pub authorization_url: Url,
    /// Where the issuer gives tokens for codes; it must allow the gateway's origin
    /// (CORS).
    pub token_url: Url,
    /// Scopes to ask for.
    #[serde(default = "default_scopes")]
    pub scopes: Vec<String>,
    /// Further parameters that the issuer wants, such as `audience` or `resource`.
    #[serde(default)]
    pub parameters: HashMap<String, String>,
    /// Whether the browser keeps tokens when the page is left.
    #[serde(default)]
    pub persist_authorization: bool,
}

fn default_scopes() -> Vec<String> {
    vec!["openid".to_owned()]
}

impl SwaggerUi {
    /// What the types cannot say.
    pub(super) fn check(&self, mut wrong: impl FnMut(String, &str)) {
        for (key, url) in
            [("authorization_url", &self.authorization_url), ("token_url", &self.token_url)]
        {
            if !https_or_loopback(url) {
                wrong(
                    format!("swagger_ui.{key}"),
                    "write an https:// URL (http:// is for loopback addresses only)",
                );
            }
        }
    }
}
