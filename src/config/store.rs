//! `[store]` and `[audit]`: where the audit trail is kept, and how.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::Deserialize;
use url::Url;

use super::KeyNumber;

/// `[store]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// Which store.
    pub url: StoreUrl,
    /// PEM certificates that the PostgreSQL server is trusted by.
    pub ca_file: Option<PathBuf>,
    /// The file with the password of the PostgreSQL user; read for each connection.
    pub password_file: Option<PathBuf>,
    /// The most connections to the store beside the writer's own.
    pub connections: u32,
    /// What the store may lack of durability.
    pub accept: Vec<Accepted>,
}

/// A store's place.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub enum StoreUrl {
    /// No store: nothing outlives a request but its log line.
    None,
    /// A file of the gateway's own.
    Sqlite(PathBuf),
    /// A PostgreSQL database, which many replicas may share.
    Postgres(Url),
}

impl TryFrom<String> for StoreUrl {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const WRITE: &str = "write \"sqlite:PATH\", \"postgres://USER@HOST/DATABASE\" or \"none\"";
        if text == "none" {
            return Ok(Self::None);
        }
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(WRITE) } else { Ok(Self::Sqlite(path.into())) };
        }
        let url: Url = text.parse().map_err(|_| WRITE)?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(WRITE);
        }
        if url.password().is_some() {
            return Err("keep the password out of the URL: name a file in store.password_file");
        }
        Ok(Self::Postgres(url))
    }
}

/// A lack of durability that is refused unless it is accepted by name.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Accepted {
    /// PostgreSQL runs with `fsync` off, or does not tell.
    FsyncOff,
    /// PostgreSQL acknowledges commits before they are on its own disk.
    SynchronousCommitOff,
    /// The SQLite file is on a file system of a network.
    NetworkFileSystem,
}

/// `[audit]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// How long a change waits for its record to be durable before it is refused.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// Whether reads wait for their record as well.
    pub reads: Reads,
    /// The keys that sign checkpoints, by number.
    pub key_files: BTreeMap<KeyNumber, PathBuf>,
    /// Where checkpoints are kept outside of the store.
    pub checkpoint_file: Option<PathBuf>,
    /// How the names of the logs begin; the store's own ID by default.
    pub origin: Option<String>,
    /// How long entries are kept, in whole months.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
}

/// What a read needs of the trail.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Reads {
    /// It is recorded, and does not wait.
    Record,
    /// It is refused if its record cannot be durable.
    Require,
}

impl Store {
    /// What the types cannot say.
    pub(super) fn check(&self, mut wrong: impl FnMut(String, &str)) {
        if self.connections == 0 {
            wrong("store.connections".into(), "write 1 or more");
        }
        if !matches!(self.url, StoreUrl::Postgres(_)) {
            for (key, given) in [
                ("store.ca_file", self.ca_file.is_some()),
                ("store.password_file", self.password_file.is_some()),
            ] {
                if given {
                    wrong(key.into(), "is for PostgreSQL: leave it out");
                }
            }
        }
    }
}

impl Audit {
    /// What the types cannot say.
    pub(super) fn check(&self, mut wrong: impl FnMut(String, &str)) {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        if self.deadline.is_zero() {
            wrong("audit.deadline".into(), "write a duration above zero, such as \"1s\"");
        }
        if self.keep < 31 * DAY {
            wrong("audit.keep".into(), "write 31 days or more: whole months are dropped");
        }
    }
}
