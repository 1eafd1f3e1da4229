//! Settings: typed, layered, and checked so that every mistake is reported at
//! once. Defaults < file < `GATEWAY__SECTION__KEY` < flags.
//!
//! `config/default.toml`, built into the binary, documents every key.

mod issuers;
mod swagger_ui;
mod tls;

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use figment::{
    Figment, Metadata,
    error::Kind,
    providers::{Env, Format, Toml},
    value::{Dict, Value},
};
use ipnet::IpNet;
use serde::Deserialize;
use url::Url;

pub use self::{
    issuers::{Claim, Issuer, Tokens, https_or_loopback},
    swagger_ui::SwaggerUi,
    tls::Tls,
};
use crate::{
    authn,
    glacier::{AccountId, Region},
};

const DEFAULTS: &str = include_str!("../config/default.toml");
const EXAMPLE: &str = include_str!("../config/example.toml");
/// The most that a signature's date may lie from our clock: older requests could
/// be caught and sent again.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(15 * 60);

/// Everything that can be configured.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Listeners and shutdown.
    pub server: Server,
    /// What is logged, and how.
    pub log: Log,
    /// The Glacier behind the gateway.
    pub aws: Aws,
    /// The policies that decide.
    pub policy: Policy,
    /// Every issuer's tokens.
    pub tokens: Tokens,
    /// The gateway keys of callers that sign.
    pub keys: Keys,
    /// How a person signs in from Swagger UI.
    pub swagger_ui: Option<SwaggerUi>,
    /// Issuers of tokens by the name the operator gave them.
    #[serde(default)]
    pub issuers: BTreeMap<String, Issuer>,
}

/// `[server]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Address of the REST API and its documentation.
    pub listen: SocketAddr,
    /// Address of the probes.
    pub management_listen: SocketAddr,
    /// Proxies that are believed about whom they forward for.
    pub trusted_proxies: Vec<IpNet>,
    /// Worker threads; 0 means one for each processor.
    pub workers: usize,
    /// TLS for the REST API.
    pub tls: Option<Tls>,
    /// How long requests in flight may take after SIGTERM.
    #[serde(with = "humantime_serde")]
    pub shutdown_timeout: Duration,
}

/// `[log]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// JSON lines or text for a terminal.
    pub format: LogFormat,
    /// A `tracing` filter directive.
    pub filter: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Coloured text.
    Human,
}

/// `[aws]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aws {
    /// The region of requests that name none.
    pub region: Region,
    /// The account that `-` stands for.
    pub account_id: AccountId,
    /// Further regions that callers may name.
    pub regions: Vec<Region>,
    /// Where Glacier answers, if not at AWS's public endpoint.
    pub endpoint_url: Option<Url>,
    /// Time to open a connection.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Time until the first byte of an answer.
    #[serde(with = "humantime_serde")]
    pub read_timeout: Duration,
    /// Time for one attempt.
    #[serde(with = "humantime_serde")]
    pub attempt_timeout: Duration,
    /// Time for all attempts of one call.
    #[serde(with = "humantime_serde")]
    pub operation_timeout: Duration,
    /// Attempts in all.
    pub max_attempts: u32,
}

/// `[policy]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The policies' folder.
    pub directory: PathBuf,
    /// How much a denied caller is told.
    pub denial_detail: DenialDetail,
}

/// How much a denied caller is told.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum DenialDetail {
    /// The policy, the statement, and what came near.
    Full,
    /// Only that the request was denied.
    Code,
}

/// `[keys]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// Files with the master keys, by number.
    pub master_key_files: BTreeMap<KeyNumber, PathBuf>,
    /// The file that says which gateway keys are revoked.
    pub revocation_file: Option<PathBuf>,
    /// How far a signature's date may lie from our clock.
    #[serde(with = "humantime_serde")]
    pub clock_skew: Duration,
}

/// The number of a master key, from 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct KeyNumber(pub u8);

impl TryFrom<String> for KeyNumber {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self).map_err(|_| "a master key's number is 0 to 255")
    }
}

/// One thing wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The setting, as `section.key`.
    pub key: String,
    /// What is wrong and what to write instead.
    pub message: String,
    /// Where the value was set: a file or an environment variable.
    pub origin: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)?;
        match &self.origin {
            Some(origin) => write!(f, " (set in {origin})"),
            None => Ok(()),
        }
    }
}

impl Settings {
    /// Reads the layers and checks them.
    ///
    /// # Errors
    /// Every mistake that can be found, at least one.
    pub fn load(file: Option<&Path>) -> Result<Settings, Vec<Mistake>> {
        let mut layers = Figment::from(Toml::string(DEFAULTS));
        if let Some(file) = file {
            layers = layers.merge(Toml::file_exact(file));
        }
        Self::from_layers(layers.merge(Env::prefixed("GATEWAY__").split("__")))
    }

    /// Checks settings made of TOML text over the defaults; the environment
    /// plays no part.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn from_toml(text: &str) -> Result<Settings, Vec<Mistake>> {
        Self::from_layers(Figment::from(Toml::string(DEFAULTS)).merge(Toml::string(text)))
    }

    fn from_layers(layers: Figment) -> Result<Settings, Vec<Mistake>> {
        let unreadable = |e: figment::Error| {
            vec![Mistake {
                key: "configuration".into(),
                message: e.kind.to_string(),
                origin: e.metadata.as_ref().map(origin),
            }]
        };
        let mut value: Value = layers.extract().map_err(unreadable)?;
        let example: Value = Figment::from(Toml::string(DEFAULTS))
            .merge(Toml::string(EXAMPLE))
            .extract()
            .map_err(unreadable)?;

        // The first mistake stops a deserializer. To see the others too, mend each
        // with the example's value and go on; a mended result is never used.
        let mut mistakes = Vec::new();
        let settings = loop {
            match value.deserialize::<Settings>() {
                Ok(settings) => break settings,
                Err(error) => {
                    let (path, mistake) = explain(&error, &layers);
                    let mended = mend(&mut value, &path, &example);
                    mistakes.push(mistake);
                    if !mended {
                        return Err(mistakes);
                    }
                }
            }
        };
        settings.check(&mut mistakes);
        mistakes.dedup();
        if mistakes.is_empty() { Ok(settings) } else { Err(mistakes) }
    }

    /// What the types cannot say.
    fn check(&self, mistakes: &mut Vec<Mistake>) {
        let mut wrong = |key: String, message: &str| {
            if !mistakes.iter().any(|m| m.key.starts_with(&key)) {
                mistakes.push(Mistake { key, message: message.into(), origin: None });
            }
        };
        if let Err(e) = self.log.filter.parse::<tracing_subscriber::EnvFilter>() {
            wrong("log.filter".into(), &format!("{e}; write a level such as \"info\""));
        }
        if self.aws.max_attempts == 0 {
            wrong("aws.max_attempts".into(), "write 1 or more; 1 means no retry");
        }
        for (key, timeout) in [
            ("aws.connect_timeout", self.aws.connect_timeout),
            ("aws.read_timeout", self.aws.read_timeout),
            ("aws.attempt_timeout", self.aws.attempt_timeout),
            ("aws.operation_timeout", self.aws.operation_timeout),
        ] {
            if timeout.is_zero() {
                wrong(key.into(), "write a duration above zero, such as \"10s\"");
            }
        }
        if let Some(url) = &self.aws.endpoint_url
            && !matches!(url.scheme(), "http" | "https")
        {
            wrong("aws.endpoint_url".into(), "write an http:// or https:// URL");
        }
        if self.keys.clock_skew > MAX_CLOCK_SKEW {
            wrong("keys.clock_skew".into(), "write 15m or less; AWS's own tolerance is 5m");
        }
        let certificates = self.server.tls.as_ref().is_some_and(|tls| !tls.client_teams.is_empty());
        if self.issuers.is_empty() && self.keys.master_key_files.is_empty() && !certificates {
            wrong(
                "issuers".into(),
                "nobody can call: add a table [issuers.NAME] with issuer and audiences, or [keys.master_key_files], or [server.tls] with client_teams",
            );
        }
        if self.issuers.contains_key(authn::GATEWAY_KEYS) {
            let key = format!("issuers.{}", authn::GATEWAY_KEYS);
            wrong(key, "is the name that policies know gateway keys by; choose another");
        }
        if self.issuers.contains_key(authn::CLIENT_CERTIFICATES) {
            let key = format!("issuers.{}", authn::CLIENT_CERTIFICATES);
            wrong(key, "is the name that policies know certificates by; choose another");
        }
        if let Some(tls) = &self.server.tls {
            tls.check(&mut wrong);
        }
        if let Some(swagger_ui) = &self.swagger_ui {
            swagger_ui.check(&mut wrong);
        }
        issuers::check(&self.issuers, wrong);
    }
}

/// Where a value came from, for a person: `file.toml`, `GATEWAY__AWS__REGION`.
fn origin(metadata: &Metadata) -> String {
    match &metadata.source {
        Some(source) => source.to_string(),
        None => metadata.name.to_string(),
    }
}

/// The path of the offending value and the mistake as a sentence.
fn explain(error: &figment::Error, layers: &Figment) -> (Vec<String>, Mistake) {
    let mut path = error.path.clone();
    let message = match &error.kind {
        Kind::MissingField(field) => {
            path.push(field.to_string());
            "is required".to_owned()
        }
        Kind::UnknownField(field, known) => {
            if path.last() != Some(field) {
                path.push(field.clone());
            }
            match nearest(field, known) {
                Some(near) => format!("is no setting; did you mean \"{near}\"?"),
                None => format!("is no setting; the settings here are {}", known.join(", ")),
            }
        }
        Kind::UnknownVariant(given, known) => {
            format!("\"{given}\" is not one of {}", known.join(", "))
        }
        kind => kind.to_string(),
    };
    // Environment providers have no source; the variable's name says it best.
    let mistake = Mistake {
        key: path.join("."),
        message,
        origin: layers.find_metadata(&path.join(".")).map(|metadata| {
            if metadata.name.contains("environment") {
                format!("GATEWAY__{}", path.join("__").to_uppercase())
            } else {
                origin(metadata)
            }
        }),
    };
    (path, mistake)
}

/// The known name that a misspelt one most resembles.
pub(crate) fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|name| {
            (strsim::damerau_levenshtein(&given.to_lowercase(), &name.to_lowercase()), *name)
        })
        .filter(|(distance, name)| *distance <= name.len().div_ceil(3))
        .min()
        .map(|(_, name)| name)
}

/// Replaces what stands at `path` by the example's value, or removes it where the
/// example has none. False where nothing changed.
fn mend(value: &mut Value, path: &[String], example: &Value) -> bool {
    let Some((head, rest)) = path.split_first() else { return false };
    match value {
        Value::Dict(_, dict) if rest.is_empty() => {
            match example.as_dict().and_then(|d| d.get(head)) {
                Some(good) => dict.insert(head.clone(), good.clone()).as_ref() != Some(good),
                None => dict.remove(head).is_some(),
            }
        }
        Value::Dict(_, dict) => {
            // Tables that the operator names, such as issuers, are modelled by the
            // example's first one.
            let model = example.as_dict().and_then(|d| d.get(head).or(d.values().next()));
            let place = dict.entry(head.clone()).or_insert_with(|| Value::from(Dict::new()));
            model.is_some_and(|model| mend(place, rest, model))
        }
        Value::Array(_, items) => match head.parse::<usize>() {
            Ok(index) if index < items.len() => {
                items.remove(index);
                true
            }
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        let found = Settings::from_toml(text).unwrap_err();
        found.iter().map(|m| format!("{}: {}", m.key, m.message)).collect()
    }

    #[test]
    fn the_example_is_valid() {
        let settings = Settings::from_toml(EXAMPLE).unwrap();
        assert_eq!(settings.aws.account_id.as_str(), "111122223333");
        assert_eq!(settings.issuers["corporate"].leeway, Duration::from_secs(30));
    }

    #[test]
    fn all_mistakes_are_reported_at_once_with_their_keys() {
        let found = mistakes(
            r#"
            [server]
            listen = "nowhere"
            shutdown_timeout = "soon"
            [log]
            format = "jsn"
            [aws]
            regoin = "eu-central-1"
            account_id = "12"
            regions = ["eu-central-1", "moon"]
            max_attempts = 0
            [policy]
            [issuers.a]
            issuer = "https://a.example"
            audiences = ["x"]
            jwks_url = "http://a.example/jwks"
            [issuers.b]
            audiences = []
            jwks_file = "x"
            algorithms = ["HS256"]
            "#,
        );
        let keys: Vec<&str> = found.iter().filter_map(|m| m.split(": ").next()).collect();
        for key in [
            "server.listen",
            "server.shutdown_timeout",
            "log.format",
            "aws.regoin",
            "aws.region",
            "aws.account_id",
            "aws.regions.1",
            "aws.max_attempts",
            "issuers.a.jwks_url",
            "issuers.b.issuer",
            "issuers.b.audiences",
            "issuers.b.algorithms",
        ] {
            assert!(keys.contains(&key), "{key} is missing from {found:#?}");
        }
        assert_eq!(keys.len(), 12, "{found:#?}");
        assert!(found.iter().any(|m| m.contains("did you mean \"region\"")), "{found:#?}");
    }

    #[test]
    fn an_account_from_the_environment_keeps_its_leading_zero() {
        let settings =
            Settings::from_toml(&EXAMPLE.replace("\"111122223333\"", "12345678901")).unwrap();
        assert_eq!(settings.aws.account_id.as_str(), "012345678901");
    }
}
