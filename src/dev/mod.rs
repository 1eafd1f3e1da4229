//! `dev`: a Glacier simulator with vaults and uploads, a token issuer and the
//! gateway between them, in one process and without any configuration.

mod backlog;
mod facts;
mod issuer;

use std::{
    collections::BTreeMap,
    fmt,
    fs::Permissions,
    io,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
};

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use secrecy::ExposeSecret;
use tempfile::TempDir;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

pub use self::facts::Facts;
use self::{
    backlog::BacklogFacts,
    facts::{KeyFacts, SimulatorFacts, UploadFacts, VaultFacts},
    issuer::{AUDIENCE, DevIssuer, LIFETIME},
};
use crate::{
    app::{self, Running, StartError},
    audit::log::CheckpointKeys,
    authn::GatewayKeys,
    config::Settings,
    domain::{AccountId, Region},
    http::aws,
    simulator::{self, SeedUpload, SeedVault, Simulator},
};

const ACCOUNT: &str = "111122223333";
/// A second account, which the gateway reaches through a role.
const ARCHIVE_ACCOUNT: &str = "444455556666";
const ARCHIVE_ROLE: &str = "arn:aws:iam::444455556666:role/glacier-gateway";
const ARCHIVE_EXTERNAL_ID: &str = "glacier-gateway-archive";
const REGION: &str = "eu-central-1";
const ACCESS_KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";

/// The example policies, which `dev` starts with.
const TEAMS: [(&str, &str); 3] = [
    ("media", include_str!("../../examples/policies/teams/media.json")),
    ("finance", include_str!("../../examples/policies/teams/finance.json")),
    ("auditors", include_str!("../../examples/policies/teams/auditors.json")),
];

/// Uploads by their descriptions, with their ages in hours.
type Uploads = &'static [(&'static str, u32)];

/// Vaults by their accounts and names.
const VAULTS: [(&str, &str, Uploads); 4] = [
    (
        ACCOUNT,
        "media-photos",
        &[
            ("photos 2026-10, interrupted", 20 * 24),
            ("photos 2026-11, first try", 3 * 24),
            ("photos 2026-11, second try", 2),
        ],
    ),
    (ACCOUNT, "media-video", &[("raw footage, camera 2", 9 * 24)]),
    (ACCOUNT, "finance-ledgers", &[("ledger 2025", 300 * 24), ("ledger 2026 Q3", 40 * 24)]),
    (ARCHIVE_ACCOUNT, "media-masters", &[("masters 2024, part 1", 50 * 24)]),
];

/// Everything that `dev` runs.
pub struct Dev {
    /// Where everything is.
    pub facts: Facts,
    gateway: Running,
    simulator: simulator::Running,
    issuer: DevIssuer,
    _directory: TempDir,
}

/// Why `dev` cannot start.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// A listener, a file, a key.
    #[error(
        "cannot start: {0}. If a port is taken, choose another with --port, or --port 0 for any free ones."
    )]
    Io(#[from] io::Error),
    /// The gateway itself.
    #[error("{0}. If a port is taken, choose another with --port, or --port 0 for any free ones.")]
    Gateway(#[from] StartError),
    /// Settings or seeds that are wrong in the source.
    #[error("the built-in example is broken: {0}")]
    Example(String),
}

impl Dev {
    /// Starts everything on the loopback address. `port` is the gateway's, the
    /// others follow it; 0 takes free ones. Must run inside an actix system.
    ///
    /// # Errors
    /// Mostly a port that is taken; see [`DevError`].
    pub async fn start(port: u16) -> Result<Self, DevError> {
        let bind = |offset: u16| {
            let port = if port == 0 { 0 } else { port.saturating_add(offset) };
            SocketAddr::from((Ipv4Addr::LOCALHOST, port))
        };
        let example = |error: &dyn fmt::Display| DevError::Example(error.to_string());
        let account: AccountId = ACCOUNT.parse().map_err(|e| example(&e))?;
        let region: Region = REGION.parse().map_err(|e| example(&e))?;

        let secret = random_secret()?;
        let simulator = Simulator::start(simulator::Config {
            bind: bind(2),
            control_bind: bind(3),
            accounts: vec![simulator::Account {
                account_id: account.clone(),
                access_key_id: ACCESS_KEY_ID.to_owned(),
                secret_access_key: secret.clone().into(),
                session_token: None,
            }],
            roles: simulator::Role::new(ARCHIVE_ROLE, Some(ARCHIVE_EXTERNAL_ID))
                .into_iter()
                .collect(),
            rules: simulator::Rules::default(),
            faults: Vec::new(),
            clock_skew: Duration::ZERO,
        })?;
        let mut vaults = Vec::new();
        for (account_id, name, uploads) in VAULTS {
            let seed = SeedVault {
                account_id: account_id.parse().map_err(|e| example(&e))?,
                region: region.clone(),
                vault_name: name.parse().map_err(|e| example(&e))?,
                uploads: uploads.iter().map(seed_upload).collect(),
            };
            let ids =
                simulator.simulator.seed(&seed).map_err(|e| DevError::Example(format!("{e:?}")))?;
            let uploads = ids.iter().zip(uploads).map(|(id, (description, hours))| {
                let created = OffsetDateTime::now_utc() - Duration::hours((*hours).into());
                UploadFacts {
                    upload_id: id.to_string(),
                    archive_description: description,
                    creation_date: created.format(&Rfc3339).unwrap_or_default(),
                }
            });
            vaults.push(VaultFacts { account_id, name, uploads: uploads.collect() });
        }

        let backlog = SeedVault {
            account_id: account,
            region,
            vault_name: backlog::VAULT.parse().map_err(|e| example(&e))?,
            uploads: backlog::uploads(),
        };
        simulator.simulator.seed(&backlog).map_err(|e| DevError::Example(format!("{e:?}")))?;

        let issuer = DevIssuer::start(bind(4))?;
        // Its keys are nobody else's.
        let owner = Permissions::from_mode(0o700);
        let directory =
            tempfile::Builder::new().prefix("glacier-gateway-dev-").permissions(owner).tempdir()?;
        let policies = directory.path().join("policies");
        std::fs::create_dir_all(policies.join("teams"))?;
        let mut tokens = BTreeMap::new();
        for (team, policy) in TEAMS {
            std::fs::write(policies.join("teams").join(format!("{team}.json")), policy)?;
            tokens.insert(team, issuer.token(team)?);
        }

        let master_key = directory.path().join("master-key");
        std::fs::write(&master_key, random_secret()?)?;
        let audit_key = directory.path().join("audit-key");
        let key = CheckpointKeys::create().map_err(|e| example(&e))?;
        std::fs::write(&audit_key, key.expose_secret())?;
        let settings = format!(
            r#"
            [server]
            listen = "{rest}"
            management_listen = "{management}"
            shutdown_timeout = "3s"
            [aws]
            region = "{REGION}"
            account_id = "{ACCOUNT}"
            endpoint_url = "{endpoint}"
            sts_endpoint_url = "{endpoint}"
            [accounts.archive]
            id = "{ARCHIVE_ACCOUNT}"
            regions = ["{REGION}"]
            role_arn = "{ARCHIVE_ROLE}"
            external_id = "{ARCHIVE_EXTERNAL_ID}"
            [policy]
            directory = {policies:?}
            [keys.master_key_files]
            1 = {master_key:?}
            [issuers.dev]
            issuer = "{iss}"
            audiences = ["{AUDIENCE}"]
            jwks_url = "{iss}/jwks.json"
            [store]
            url = "sqlite:{directory}/store.db"
            [lifecycle.rules.media-backlog]
            team = "media"
            vaults = ["media-*"]
            days_after_initiation = 7
            schedule = "0 3 * * *"
            # Nobody sends parts here.
            quiet_for = "0s"
            [audit]
            checkpoint_file = "{directory}/checkpoint"
            [audit.key_files]
            1 = {audit_key:?}
            "#,
            rest = bind(0),
            management = bind(1),
            endpoint = simulator.endpoint,
            iss = issuer.url,
            directory = directory.path().display(),
        );
        // For the commands that look at the trail.
        let config = directory.path().join("gateway.toml");
        std::fs::write(&config, &settings)?;
        let settings = Settings::from_toml(&settings)
            .map_err(|mistakes| DevError::Example(format!("{mistakes:?}")))?;
        let gateway_keys = GatewayKeys::load(&settings.keys).map_err(|e| example(&e))?;
        let mut keys = BTreeMap::new();
        for (team, _) in TEAMS {
            let subject = format!("{team}-developer");
            let (access_key_id, secret) =
                gateway_keys.create(team, Some(&subject), LIFETIME).map_err(|e| example(&e))?;
            let secret_access_key = secret.expose_secret().to_owned();
            keys.insert(team, KeyFacts { access_key_id, secret_access_key });
        }
        let credentials = Credentials::new(ACCESS_KEY_ID, &secret, None, None, "dev");
        let gateway =
            app::start(settings, Some(SharedCredentialsProvider::new(credentials))).await?;

        let rest = format!("http://{}", gateway.rest);
        let facts = Facts {
            docs: format!("{rest}/docs/"),
            openapi: format!("{rest}/openapi.json"),
            door: format!("{rest}{}", aws::PATH),
            rest,
            management: format!("http://{}", gateway.management),
            issuer: issuer.url.clone(),
            policies: policies.display().to_string(),
            config: config.display().to_string(),
            simulator: SimulatorFacts {
                endpoint: simulator.endpoint.clone(),
                control: simulator.control.clone(),
                region: REGION,
                account_id: ACCOUNT,
                access_key_id: ACCESS_KEY_ID,
                secret_access_key: secret,
            },
            tokens,
            keys,
            vaults,
            backlog: BacklogFacts::of(ACCOUNT),
            environment: directory.path().join("environment"),
        };
        facts.write_environment()?;
        Ok(Self { facts, gateway, simulator, issuer, _directory: directory })
    }

    /// Serves until it is told to stop, then stops everything.
    ///
    /// # Errors
    /// When the gateway's servers end by themselves.
    pub async fn until_signalled(self) -> Result<(), DevError> {
        self.gateway.until_signalled().await?;
        self.issuer.stop().await;
        self.simulator.stop().await;
        Ok(())
    }
}

fn seed_upload((description, hours): &(&str, u32)) -> SeedUpload {
    SeedUpload {
        archive_description: Some((*description).to_owned()),
        part_size_in_bytes: 4 << 20,
        parts: 3,
        age_seconds: hours * 3600,
    }
}

fn random_secret() -> io::Result<String> {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    let mut bytes = [0; 30];
    aws_lc_rs::rand::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}
