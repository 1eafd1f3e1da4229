//! Connections for everything but the trail's entries.

use sqlx::{PgPool, SqlitePool};

use super::{error::StoreError, postgres::Postgres, sqlite};
use crate::config::{self, StoreUrl};

/// Runs the body with the pool of whichever kind the store is. The body is compiled
/// once for each kind, and its SQL is the same text: parameters are `$1`, `$2`.
macro_rules! both {
    ($store:expr, $pool:ident => $body:expr) => {
        match $store.pool() {
            $crate::store::Pool::Sqlite($pool) => $body,
            $crate::store::Pool::Postgres($pool) => $body,
        }
    };
}
pub(crate) use both;

/// Connections for everything but the trail's entries.
pub enum Pool {
    /// To a file.
    Sqlite(SqlitePool),
    /// To a server. A connection that was lost on the way is noticed late: whoever asks
    /// bounds the time.
    Postgres(PgPool),
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
            StoreUrl::Postgres(url) => {
                Ok(Some(Self::Postgres(Postgres::new(url, settings)?.pool(2)?)))
            }
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
            Self::Postgres(_) => "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
        }
    }
}
