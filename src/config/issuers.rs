//! `[issuers.NAME]` and `[tokens]`: who may vouch for callers, and how their
//! tokens are read.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use jsonwebtoken::Algorithm;
use serde::Deserialize;
use url::Url;

use crate::domain::check_team;

/// More tolerance than this would keep dead tokens alive.
const MAX_LEEWAY: Duration = Duration::from_secs(300);

/// `[tokens]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// How many verified tokens are remembered; 0 remembers none.
    pub cache_size: u64,
    /// A JSON file of revoked tokens and subjects.
    pub revocation_file: Option<PathBuf>,
}

/// `[issuers.NAME]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// The exact `iss` of its tokens.
    pub issuer: String,
    /// Accepted values of `aud`.
    pub audiences: Vec<String>,
    /// Where its JWK Set is served. Without this and `jwks_file`, the issuer's
    /// discovery document says so.
    pub jwks_url: Option<Url>,
    /// A file with its JWK Set.
    pub jwks_file: Option<PathBuf>,
    /// PEM certificates that its server is trusted by, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// A file with a bearer token that its server wants before it shows its keys.
    pub bearer_token_file: Option<PathBuf>,
    /// How often its keys are read anew, at the longest.
    #[serde(default = "default_keys_refresh", with = "humantime_serde")]
    pub keys_refresh: Duration,
    /// How long keys serve that cannot be read anew.
    #[serde(default = "default_keys_max_stale", with = "humantime_serde")]
    pub keys_max_stale: Duration,
    /// Accepted signature algorithms.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// Accepted `typ` headers; a token without one counts as `JWT`.
    #[serde(default = "default_typ")]
    pub typ: Vec<String>,
    /// Claims that a token must have beside `iss`, `sub`, `aud` and `exp`.
    #[serde(default)]
    pub required_claims: Vec<Claim>,
    /// The longest life of a token that is accepted: from `iat` to `exp` or, without
    /// `iat`, from now to `exp`.
    #[serde(default = "default_max_age", with = "humantime_serde")]
    pub max_age: Duration,
    /// Tolerated clock difference.
    #[serde(default = "default_leeway", with = "humantime_serde")]
    pub leeway: Duration,
    /// The claim that holds the caller's team or teams.
    #[serde(default = "default_team_claim")]
    pub team_claim: Claim,
    /// What a value of the team claim begins with to be a team; it is stripped.
    pub team_prefix: Option<String>,
    /// Teams of subjects, by patterns over the subject.
    #[serde(default)]
    pub subject_teams: BTreeMap<String, Vec<String>>,
    /// The claim that names the caller.
    #[serde(default = "default_subject_claim")]
    pub subject_claim: Claim,
    /// Principal tags, each from a claim.
    #[serde(default)]
    pub tags: BTreeMap<String, Claim>,
}

/// Where a claim is: a JSON pointer (RFC 6901) if it begins with `/`, else the
/// name of a top-level claim.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(from = "String")]
pub struct Claim(String);

impl From<String> for Claim {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Claim {
    /// The claim's value, if it is there and not null.
    pub fn of<'a>(
        &self,
        claims: &'a serde_json::Map<String, serde_json::Value>,
    ) -> Option<&'a serde_json::Value> {
        let value = match self.0.strip_prefix('/') {
            None => claims.get(&self.0),
            Some(path) => {
                let (name, rest) = match path.split_once('/') {
                    Some((name, _)) => (name, &path[name.len()..]),
                    None => (path, ""),
                };
                claims.get(&name.replace("~1", "/").replace("~0", "~"))?.pointer(rest)
            }
        };
        value.filter(|value| !value.is_null())
    }
}

fn default_keys_refresh() -> Duration {
    Duration::from_secs(5 * 60)
}

fn default_keys_max_stale() -> Duration {
    Duration::from_secs(24 * 3600)
}

fn default_algorithms() -> Vec<Algorithm> {
    vec![Algorithm::ES256, Algorithm::RS256, Algorithm::EdDSA]
}

fn default_typ() -> Vec<String> {
    vec!["at+jwt".to_owned(), "JWT".to_owned()]
}

fn default_max_age() -> Duration {
    Duration::from_secs(24 * 3600)
}

fn default_leeway() -> Duration {
    Duration::from_secs(30)
}

fn default_team_claim() -> Claim {
    Claim("team".to_owned())
}

fn default_subject_claim() -> Claim {
    Claim("sub".to_owned())
}

/// What the types cannot say of all issuers together; `wrong` takes the key and
/// what to write instead.
pub(super) fn check(issuers: &BTreeMap<String, Issuer>, mut wrong: impl FnMut(String, &str)) {
    let mut seen = BTreeMap::new();
    for (name, issuer) in issuers {
        let mut wrong =
            |leaf: &str, message: &str| wrong(format!("issuers.{name}.{leaf}"), message);
        if let Some(other) = seen.insert(&issuer.issuer, name) {
            wrong("issuer", &format!("is already the issuer of issuers.{other}"));
        }
        issuer.check(&mut wrong);
    }
}

impl Issuer {
    fn check(&self, wrong: &mut impl FnMut(&str, &str)) {
        if self.issuer.is_empty() {
            wrong("issuer", "write the exact \"iss\" of the issuer's tokens");
        }
        if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
            wrong("audiences", "name the \"aud\" that tokens for this gateway carry");
        }
        self.check_keys(wrong);
        if self.algorithms.is_empty() {
            wrong("algorithms", "name at least one algorithm, such as \"ES256\"");
        }
        if self
            .algorithms
            .iter()
            .any(|a| matches!(a, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512))
        {
            wrong(
                "algorithms",
                "HMAC algorithms share a secret with the issuer and are not accepted; use ES256, RS256 or EdDSA",
            );
        }
        if self.typ.is_empty() {
            wrong("typ", "name at least one type, such as \"at+jwt\"");
        }
        if self.leeway > MAX_LEEWAY {
            wrong("leeway", "write 5m or less");
        }
        if self.max_age.is_zero() {
            wrong("max_age", "write a duration above zero, such as \"24h\"");
        }
        if self.team_prefix.as_deref() == Some("") {
            wrong("team_prefix", "write the prefix, or leave the setting out");
        }
        let mut keys = BTreeSet::new();
        for key in self.tags.keys() {
            if key.eq_ignore_ascii_case("team") {
                wrong("tags", "the tag \"team\" is the caller's team and cannot be mapped");
            }
            if !keys.insert(key.to_lowercase()) {
                wrong("tags", "tag keys are not case-sensitive; two are the same");
            }
        }
        if let Err(message) = check_teams(&self.subject_teams) {
            wrong("subject_teams", &message);
        }
    }

    fn check_keys(&self, wrong: &mut impl FnMut(&str, &str)) {
        match (&self.jwks_url, &self.jwks_file) {
            (Some(_), Some(_)) => wrong("jwks_url", "write either jwks_url or jwks_file, not both"),
            (Some(url), None) if !https_or_loopback(url) => wrong(
                "jwks_url",
                "keys must come over https:// (http:// is for loopback addresses only), from a URL without user and password",
            ),
            (None, None) if !Url::parse(&self.issuer).is_ok_and(|url| https_or_loopback(&url)) => {
                wrong(
                    "jwks_url",
                    "write jwks_url or jwks_file; keys cannot be discovered, because the issuer is no https:// URL",
                );
            }
            _ => {}
        }
        if self.jwks_file.is_some() && (self.ca_file.is_some() || self.bearer_token_file.is_some())
        {
            wrong("jwks_file", "a file needs neither ca_file nor bearer_token_file");
        }
        if self.keys_refresh < Duration::from_secs(1) {
            wrong("keys_refresh", "write 1s or more, such as \"5m\"");
        }
        if self.keys_max_stale < self.keys_refresh {
            wrong("keys_max_stale", "write at least keys_refresh, such as \"24h\"");
        }
    }
}

/// Checks a table of teams by patterns over callers' names.
///
/// # Errors
/// What to write instead.
pub(super) fn check_teams(table: &BTreeMap<String, Vec<String>>) -> Result<(), String> {
    if table.iter().any(|(pattern, teams)| pattern.is_empty() || teams.is_empty()) {
        return Err("give each pattern at least one team".to_owned());
    }
    table.values().flatten().try_for_each(|team| {
        check_team(team).map_err(|why| format!("{team:?} is not a team: {why}"))
    })
}

/// Whether keys fetched from `url` can be trusted to be the issuer's.
pub fn https_or_loopback(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    // What is read where is logged.
    let secret = !url.username().is_empty() || url.password().is_some();
    match url.scheme() {
        "https" => url.has_host() && !secret,
        "http" => loopback && !secret,
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn claim(path: &str, claims: Value) -> Option<Value> {
        Claim::from(path.to_owned()).of(claims.as_object().unwrap()).cloned()
    }

    #[test]
    fn a_claim_is_named_or_pointed_at() {
        let claims = json!({
            "team": "media", "https://example.com/team": "video", "cognito:groups": ["a"],
            "realm_access": {"roles": ["x", "y"]}, "a/b": {"~": 1}, "none": null,
        });
        assert_eq!(claim("team", claims.clone()), Some(json!("media")));
        assert_eq!(claim("https://example.com/team", claims.clone()), Some(json!("video")));
        assert_eq!(claim("/team", claims.clone()), Some(json!("media")));
        assert_eq!(claim("/realm_access/roles", claims.clone()), Some(json!(["x", "y"])));
        assert_eq!(claim("/realm_access/roles/1", claims.clone()), Some(json!("y")));
        assert_eq!(claim("/a~1b/~0", claims.clone()), Some(json!(1)));
        assert_eq!(claim("/realm_access/other", claims.clone()), None);
        assert_eq!(claim("realm_access/roles", claims.clone()), None);
        assert_eq!(claim("none", claims.clone()), None);
        assert_eq!(claim("/", claims), None);
    }

    #[test]
    fn keys_come_over_https_or_from_this_machine() {
        for (url, good) in [
            ("https://login.example.com/keys", true),
            ("http://127.0.0.1:8084/keys", true),
            ("http://[::1]/keys", true),
            ("http://localhost/keys", true),
            ("https://user@login.example.com/keys", false),
            ("http://:secret@127.0.0.1:8084/keys", false),
            ("http://localhost.example.com/keys", false),
            ("http://login.example.com/keys", false),
            ("http://169.254.169.254/latest", false),
            ("http://127.0.0.1.example.com/", false),
            ("file:///etc/passwd", false),
            ("data:application/json,{}", false),
        ] {
            assert_eq!(https_or_loopback(&url.parse().unwrap()), good, "{url}");
        }
    }
}
