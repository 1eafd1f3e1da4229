//! What the tests of the store share.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

pub use glacier_gateway::config::StoreUrl;
use glacier_gateway::{
    config,
    store::{Append, Kind, Position, Rewrite, Store, StoreError, Unavailable},
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;
use uuid::Uuid;

use crate::cluster::Cluster;

/// Longer than anything takes.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the test once for each kind of store.
macro_rules! on_both {
    ($(async fn $name:ident($place:ident: Place) $body:block)*) => {
        $(mod $name {
            use super::*;
            async fn case($place: Place) $body

            #[tokio::test]
            async fn sqlite() {
                case(Place::sqlite()).await;
            }

            #[tokio::test]
            async fn postgres() {
                case(Place::postgres().await).await;
            }
        })*
    };
}
pub(crate) use on_both;

/// Where a store is.
pub struct Place {
    pub settings: config::Store,
    pub directory: TempDir,
}

/// A row of the log, without its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub position: Position,
    pub event: Uuid,
    pub kind: i64,
    pub entry: String,
}

/// Runs a query that gives rows, on either kind.
macro_rules! query {
    ($place:expr, $sql:expr) => {
        match &$place.settings.url {
            $crate::support::StoreUrl::Sqlite(path) => {
                let url = format!("sqlite:{}", path.display());
                let mut connection =
                    <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.unwrap();
                sqlx::query_as($sql).fetch_all(&mut connection).await.unwrap()
            }
            $crate::support::StoreUrl::Postgres(_) => {
                let mut connection = $place.connection().await;
                sqlx::query_as($sql).fetch_all(&mut connection).await.unwrap()
            }
            $crate::support::StoreUrl::None => unreachable!(),
        }
    };
}
pub(crate) use query;

impl Place {
    pub fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = StoreUrl::Sqlite(directory.path().join("store.db"));
        Self { settings: settings(url, None), directory }
    }

    /// A file in a folder that stays.
    pub fn in_folder(folder: &Path) -> Self {
        let url = StoreUrl::Sqlite(folder.join("store.db"));
        Self { settings: settings(url, None), directory: tempfile::tempdir().unwrap() }
    }

    /// A new database of the shared cluster.
    pub async fn postgres() -> Self {
        Self::at(Cluster::shared()).await
    }

    pub async fn at(cluster: &Cluster) -> Self {
        let url = cluster.url("postgres", &cluster.database().await);
        let settings = settings(url.try_into().unwrap(), Some(cluster.password_file()));
        Self { settings, directory: tempfile::tempdir().unwrap() }
    }

    /// The same database for a new role, which may do nothing yet, and the role's name.
    pub async fn as_new_role(&self) -> (Self, String) {
        let role = format!("role_{}", Uuid::new_v4().simple());
        let create = format!("CREATE ROLE {role} LOGIN PASSWORD 'first'");
        self.connection().await.execute(AssertSqlSafe(create)).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let password_file = directory.path().join("password");
        std::fs::write(&password_file, "first\n").unwrap();
        let mut settings = self.settings.clone();
        let StoreUrl::Postgres(url) = &mut settings.url else { panic!("it is SQLite") };
        url.set_username(&role).unwrap();
        settings.password_file = Some(password_file);
        (Self { settings, directory }, role)
    }

    /// The same database by way of another port.
    pub fn through(&self, port: u16) -> Self {
        let mut settings = self.settings.clone();
        let StoreUrl::Postgres(url) = &mut settings.url else { panic!("it is SQLite") };
        url.set_port(Some(port)).unwrap();
        Self { settings, directory: tempfile::tempdir().unwrap() }
    }

    /// Opens the store, whose log has begun.
    pub async fn open(&self) -> Store {
        let store = self.try_open().await.unwrap();
        self.begin_log().await;
        store
    }

    pub async fn try_open(&self) -> Result<Store, StoreError> {
        Ok(Store::open(&self.settings, REWRITE).await?.unwrap())
    }

    pub async fn begin_log(&self) {
        let _: Vec<(i64,)> = query!(
            self,
            "INSERT INTO audit_head (id, log, next) VALUES (1, 1, 0) \
             ON CONFLICT DO NOTHING RETURNING log"
        );
    }

    /// Everything in the log.
    pub async fn rows(&self) -> Vec<Row> {
        let rows: Vec<(i64, Vec<u8>, i64, Vec<u8>)> =
            query!(self, "SELECT position, event, kind, entry FROM audit_entry ORDER BY position");
        let row = |(position, event, kind, entry): (i64, Vec<u8>, i64, Vec<u8>)| Row {
            position: Position::from_i64(position),
            event: Uuid::from_slice(&event).unwrap(),
            kind,
            entry: String::from_utf8(entry).unwrap(),
        };
        rows.into_iter().map(row).collect()
    }

    /// How many entries there are.
    pub async fn count(&self) -> i64 {
        let rows: Vec<(i64,)> = query!(self, "SELECT count(*) FROM audit_entry");
        rows[0].0
    }

    /// Which intents have no outcome.
    pub async fn open_intents(&self) -> Vec<Uuid> {
        let rows: Vec<(Vec<u8>,)> = query!(self, "SELECT event FROM audit_open ORDER BY position");
        rows.iter().map(|(event,)| Uuid::from_slice(event).unwrap()).collect()
    }

    /// A connection to PostgreSQL beside the store's.
    pub async fn connection(&self) -> PgConnection {
        let StoreUrl::Postgres(url) = &self.settings.url else { panic!("it is SQLite") };
        let mut url = url.clone();
        let password = std::fs::read_to_string(self.settings.password_file.as_ref().unwrap());
        url.set_password(Some(password.unwrap().trim())).unwrap();
        PgConnection::connect(url.as_str()).await.unwrap()
    }
}

pub fn settings(url: StoreUrl, password_file: Option<PathBuf>) -> config::Store {
    config::Store { url, ca_file: None, password_file, connections: 2, accept: Vec::new() }
}

/// As the trail's, but that entries are plain words.
pub const REWRITE: Rewrite = Rewrite {
    late: |late| entry(late.event, Kind::LateOutcome, "late"),
    not_attempted: |intent| entry(intent.event, Kind::Outcome, "not-attempted"),
};

pub fn entry(event: Uuid, kind: Kind, text: &str) -> Append {
    Append::new(event, 0, kind, "/media/".to_owned(), text.as_bytes().to_vec())
}

/// Appends an intent, and waits for it.
pub async fn intend(store: &Store) -> Result<Uuid, Unavailable> {
    let event = Uuid::now_v7();
    store.append(entry(event, Kind::Intent, "intent")).durable(PATIENCE).await?;
    Ok(event)
}

/// Waits until `condition` holds.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"));
}

/// Writes what waits, while other tasks go on.
pub async fn close(store: &Store) {
    let store = store.clone();
    assert!(tokio::task::spawn_blocking(move || store.close(PATIENCE)).await.unwrap());
}
