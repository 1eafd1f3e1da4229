//! The store: SQLite for one gateway, PostgreSQL for many replicas. It keeps whatever
//! outlives a request.
//!
//! The trail's entries go through the [`writer`], which commits in groups. Everything
//! else goes through [`Pool`], with the same SQL for both kinds (`both!`). Times are
//! microseconds since 1970, UTC.

mod append;
mod error;
mod lease;
mod sqlite;
mod status;
mod writer;

use std::sync::Arc;

use sqlx::SqlitePool;
use uuid::Uuid;

pub use self::{
    append::{Append, Kind, MAX_ENTRY, Pending, Position, Rewrite, leaf},
    error::{StoreError, Unavailable},
    lease::Lease,
    status::StoreStatus,
};
use self::{sqlite::Sqlite, writer::Writer};
use crate::config::{self, StoreUrl};

/// Runs the body with the pool of whichever kind the store is. The body is compiled
/// once for each kind, and its SQL is the same text: parameters are `$1`, `$2`.
macro_rules! both {
    ($store:expr, $pool:ident => $body:expr) => {
        match $store.pool() {
            $crate::store::Pool::Sqlite($pool) => $body,
        }
    };
}
pub(crate) use both;

/// A store that is open; cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Open>);

struct Open {
    id: String,
    replica: String,
    pool: Pool,
    writer: Writer,
}

/// Connections for everything but the trail's entries.
pub enum Pool {
    /// To a file.
    Sqlite(SqlitePool),
}

impl Store {
    /// Opens the store that the settings name, brings its schema up to date, and starts
    /// its writer. `None` if the settings name none.
    ///
    /// # Errors
    /// A store that cannot be used, or that could lose what it acknowledges.
    pub async fn open(
        settings: &config::Store,
        rewrite: Rewrite,
    ) -> Result<Option<Self>, StoreError> {
        let replica = Uuid::new_v4().to_string();
        let (pool, writer) = match &settings.url {
            StoreUrl::None => return Ok(None),
            StoreUrl::Sqlite(path) => {
                let file = Sqlite::open(path, settings)?;
                let pool = file.pool(settings.connections).await?;
                (Pool::Sqlite(pool), Writer::start(file, replica.clone(), rewrite)?)
            }
            StoreUrl::Postgres(_) => return Err(StoreError::unusable("not built yet")),
        };
        let mut open = Open { id: String::new(), replica, pool, writer };
        let (id,): (String,) = both!(open, pool => {
            sqlx::query_as("SELECT store_id FROM store_info").fetch_one(pool).await?
        });
        open.id = id;
        Ok(Some(Self(Arc::new(open))))
    }

    /// The store's random ID, made when it was created.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// This process's ID among those that share the store.
    pub fn replica(&self) -> &str {
        &self.0.replica
    }

    /// Appends an entry that somebody waits for.
    pub fn append(&self, append: Append) -> Pending {
        self.0.writer.append(append)
    }

    /// Appends an entry that nobody waits for. It goes with the next commit, two
    /// milliseconds later at most. Gives false if too many wait already; outcomes are
    /// always taken.
    pub fn append_later(&self, append: Append) -> bool {
        self.0.writer.append_later(append)
    }

    /// How the store is.
    pub fn status(&self) -> StoreStatus {
        self.0.writer.status()
    }

    /// Writes what waits, and ends the writer. Blocks until then.
    pub fn close(&self) {
        self.0.writer.close();
    }

    /// Connections for everything but the trail's entries; see `both!`.
    pub(crate) fn pool(&self) -> &Pool {
        self.0.pool()
    }

    /// The time as the store tells it, in SQL.
    pub(crate) fn now(&self) -> &'static str {
        self.pool().now()
    }
}

impl Pool {
    /// Connections to a store that a gateway may have open, for a chore of the command
    /// line. Nothing is created and no schema is changed. `None` if the settings name no
    /// store.
    ///
    /// # Errors
    /// A store that is not there or cannot be reached.
    pub async fn beside(settings: &config::Store) -> Result<Option<Self>, StoreError> {
        match &settings.url {
            StoreUrl::None => Ok(None),
            StoreUrl::Sqlite(path) => Ok(Some(Self::Sqlite(sqlite::beside(path).await?))),
            StoreUrl::Postgres(_) => Err(StoreError::unusable("not built yet")),
        }
    }

    /// Itself, so that `both!` takes it as well as a store.
    pub(crate) fn pool(&self) -> &Self {
        self
    }

    /// The time as the store tells it, in SQL.
    pub(crate) fn now(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
        }
    }
}

impl Open {
    fn pool(&self) -> &Pool {
        &self.pool
    }
}
