//! Settings: typed, layered, and checked so that every mistake is reported at
//! once. Defaults < file < `GATEWAY__SECTION__KEY` < flags.
//!
//! `config/default.toml`, built into the binary, documents every key.

mod accounts;
mod examine;
mod inventory;
mod issuers;
mod jobs;
mod lifecycle;
mod limits;
mod named_files;
mod store;
mod swagger_ui;
mod telemetry;
mod tls;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use figment::{
    Figment,
    providers::{Env, Format, Toml},
};
use ipnet::IpNet;
use serde::Deserialize;
use url::Url;

pub use self::{
    accounts::{Account, DEFAULT_ACCOUNT, ExternalId, RoleArn, SessionFor},
    examine::{Examined, Mistake},
    inventory::{Detail, Inventory},
    issuers::{Claim, Issuer, Tokens, https_or_loopback},
    jobs::Jobs,
    lifecycle::{Lifecycle, LifecycleRule, RuleMode},
    limits::{Allowance, CallerLimits, Limits, ServerLimits, UpstreamLimits},
    named_files::{ACCOUNT_FILES, NamedFiles, RULE_FILES},
    store::{Accepted, Audit, Reads, Store, StoreUrl},
    swagger_ui::SwaggerUi,
    telemetry::{Otlp, Telemetry},
    tls::Tls,
};
use crate::domain::{AccountId, CLIENT_CERTIFICATES, GATEWAY_KEYS, Region, SERVICES, check_team};

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
    /// Where traces go.
    #[serde(default)]
    pub telemetry: Telemetry,
    /// The Glacier behind the gateway.
    pub aws: Aws,
    /// How much is let through.
    pub limits: Limits,
    /// The policies that decide.
    pub policy: Policy,
    /// Every issuer's tokens.
    pub tokens: Tokens,
    /// The gateway keys of callers that sign.
    pub keys: Keys,
    /// Where what outlives a request is kept.
    pub store: Store,
    /// The audit trail.
    pub audit: Audit,
    /// What is seen in the vaults.
    pub inventory: Inventory,
    /// Aborts in bulk.
    pub jobs: Jobs,
    /// Rules by which stale uploads are aborted again and again.
    #[serde(default)]
    pub lifecycle: Lifecycle,
    /// How a person signs in from Swagger UI.
    pub swagger_ui: Option<SwaggerUi>,
    /// Issuers of tokens by the name the operator gave them.
    #[serde(default)]
    pub issuers: BTreeMap<String, Issuer>,
    /// AWS accounts by the name the operator gave them.
    #[serde(default)]
    pub accounts: BTreeMap<String, Account>,
    /// What the settings were read from, for layers that come later.
    #[serde(skip)]
    layers: Figment,
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
    /// In which header they say it.
    pub proxy_header: ProxyHeader,
    /// Worker threads; 0 means one for each processor.
    pub workers: usize,
    /// TLS for the REST API.
    pub tls: Option<Tls>,
    /// How long requests are still taken after SIGTERM.
    #[serde(with = "humantime_serde")]
    pub shutdown_delay: Duration,
    /// How long requests in flight may take then.
    #[serde(with = "humantime_serde")]
    pub shutdown_timeout: Duration,
}

/// In which header proxies name whom they forward for.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyHeader {
    /// `X-Forwarded-For`, and `X-Forwarded-Proto`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
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
    /// Where STS answers, if not at the region's public endpoint.
    pub sts_endpoint_url: Option<Url>,
    /// The folder with further accounts, each in a file.
    pub accounts_directory: Option<PathBuf>,
    /// Teams each of whose members has sessions of its own, in every account.
    pub subject_sessions: Vec<String>,
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
        // Of "1" and "01" one would be lost.
        let number = text.parse().ok().filter(|number: &u8| number.to_string() == text);
        number.map(Self).ok_or("a master key's number is 0 to 255, without leading zeros")
    }
}

impl Settings {
    /// Reads the layers and checks them.
    ///
    /// # Errors
    /// Every mistake that can be found, at least one.
    pub fn load(file: Option<&Path>) -> Result<Settings, Vec<Mistake>> {
        Self::examine(file).into_result()
    }

    /// Reads the layers and checks them, and makes what it can of them even if there
    /// are mistakes.
    pub fn examine(file: Option<&Path>) -> Examined {
        let mut layers = Figment::from(Toml::string(DEFAULTS));
        if let Some(file) = file {
            layers = layers.merge(Toml::file_exact(file));
        }
        Examined::of(&layers.merge(Env::prefixed("GATEWAY__").split("__")))
    }

    /// Checks settings made of TOML text over the defaults; the environment
    /// plays no part.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn from_toml(text: &str) -> Result<Settings, Vec<Mistake>> {
        let layers = Figment::from(Toml::string(DEFAULTS)).merge(Toml::string(text));
        Examined::of(&layers).into_result()
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
        for (key, url) in [
            ("aws.endpoint_url", &self.aws.endpoint_url),
            ("aws.sts_endpoint_url", &self.aws.sts_endpoint_url),
        ] {
            if let Some(what) = url.as_ref().and_then(accounts::wrong_endpoint) {
                wrong(key.into(), what);
            }
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
        let reserved = [
            (GATEWAY_KEYS, "gateway keys"),
            (CLIENT_CERTIFICATES, "certificates"),
            (SERVICES, "the gateway's own services"),
        ];
        for (name, known) in reserved {
            if self.issuers.contains_key(name) {
                let why = format!("is the name that policies know {known} by; choose another");
                wrong(format!("issuers.{name}"), &why);
            }
        }
        let mut teams = self.aws.subject_sessions.iter();
        if let Some(team) = teams.find(|team| check_team(team).is_err()) {
            wrong("aws.subject_sessions".into(), &format!("{team:?} is not a team"));
        }
        let default = accounts::DefaultAccount {
            id: &self.aws.account_id,
            regions: self.aws.regions.iter().chain([&self.aws.region]).collect(),
            endpoint_url: self.aws.endpoint_url.as_ref(),
        };
        accounts::check(&default, &self.accounts, &mut wrong);
        self.store.check(&mut wrong);
        self.audit.check(&mut wrong);
        self.inventory.check(self.store.url != StoreUrl::None, &mut wrong);
        self.jobs.check(&mut wrong);
        self.limits.check(&self.store.url, &mut wrong);
        self.telemetry.check(&mut wrong);
        self.lifecycle.check(&self.store, &mut wrong);
        if let Some(tls) = &self.server.tls {
            tls.check(!self.issuers.is_empty(), &mut wrong);
        }
        if let Some(swagger_ui) = &self.swagger_ui {
            swagger_ui.check(&mut wrong);
        }
        issuers::check(&self.issuers, wrong);
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
        assert!(matches!(settings.store.url, StoreUrl::Sqlite(_)));
        assert!(settings.audit.key_files.contains_key(&KeyNumber(1)));
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
    fn a_mistake_hides_none_of_the_others() {
        // Each of the first is mended differently: nothing to put in its place, a table
        // that is none, a list's member, a table of the operator's own.
        let required = "[aws]\nregion = \"eu-central-1\"\naccount_id = \"111122223333\"\n";
        for (mistake, key) in [
            ("[server.tls]\ncertificate_file = \"x\"", "server.tls.private_key_file"),
            ("[server]\ntls = 5", "server.tls"),
            ("[swagger_ui]\nclient_id = \"x\"\ntoken_url = \"y\"", "swagger_ui.token_url"),
            ("[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"x\"]", "server.trusted_proxies.1"),
            ("[issuers]\na = 5", "issuers.a"),
            ("[issuers.a.subject_teams]\nb = 5", "issuers.a.subject_teams.b"),
            ("[issuers.a]\ntags = [\"b\"]", "issuers.a.tags"),
            ("[keys.master_key_files]\none = \"x\"", "keys.master_key_files"),
            ("[keys]\nclock_skew = [1]", "keys.clock_skew"),
            ("[tokens]\ncache_size = -1", "tokens.cache_size"),
            ("[nonsense]\na = 1", "nonsense"),
        ] {
            let text = format!("{required}max_attempts = 0\n{mistake}\n[log]\nfilter = \"=\"\n");
            let found = mistakes(&text);
            for key in [key, "aws.max_attempts", "log.filter"] {
                assert!(found.iter().any(|m| m.starts_with(key)), "{mistake}: {found:#?}");
            }
        }
    }

    #[test]
    fn mistakes_speak_of_what_to_write() {
        for (text, told) in [
            (
                "[server]\nworkers = \"many\"",
                "server.workers: write a whole number, such as 10, not \"many\"",
            ),
            ("[server]\nworkers = -1", "server.workers: write a whole number, such as 10, not -1"),
            (
                "[aws]\nmax_attempts = 2.5",
                "aws.max_attempts: write a whole number, such as 10, not 2.5",
            ),
            ("[log]\nfilter = true", "log.filter: write a text in quotes, not true"),
            (
                "[aws]\nregions = \"us-east-1\"",
                "aws.regions: write a list, such as [\"a\", \"b\"], not \"us-east-1\"",
            ),
            ("policy = \"x\"", "policy: write a table, not \"x\""),
            (
                "[server]\nlisten = \"x\"",
                "server.listen: write an address and a port, such as \"0.0.0.0:8080\"",
            ),
            (
                "[server]\ntrusted_proxies = [\"x\"]",
                "server.trusted_proxies.0: write a network, such as \"10.0.0.0/8\"",
            ),
            (
                "[aws]\nendpoint_url = \"x\"",
                "aws.endpoint_url: write a URL, such as \"https://login.example.com\"",
            ),
            ("[policy]\ndenial_detail = 1", "policy.denial_detail: write a text in quotes, not 1"),
            ("policy = []", "policy: write a table"),
            ("[policy]\ndirectory = 5", "policy.directory: write a text in quotes, not 5"),
            ("[keys]\nclock_skew = 5", "keys.clock_skew: write a duration, such as \"10s\", not 5"),
            (
                "[keys]\nclock_skew = \"soon\"",
                "keys.clock_skew: write a duration, such as \"10s\", not \"soon\"",
            ),
            ("[issuers]\na = 5", "issuers.a: write a table, not 5"),
        ] {
            let found = mistakes(text);
            assert!(found.iter().any(|mistake| mistake == told), "{told}: {found:#?}");
            for ours in ["struct", "enum", "usize", "u32", "u64", "invalid"] {
                assert!(!found.iter().any(|mistake| mistake.contains(ours)), "{text}: {found:#?}");
            }
        }
    }

    #[test]
    fn an_account_from_the_environment_keeps_its_leading_zero() {
        let settings =
            Settings::from_toml(&EXAMPLE.replace("\"111122223333\"", "12345678901")).unwrap();
        assert_eq!(settings.aws.account_id.as_str(), "012345678901");
    }
}
