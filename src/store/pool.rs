//! Connections for everything but the trail's entries.

use std::time::Duration;

use sqlx::{PgPool, SqlitePool};
use tokio::time::timeout;

use super::{error::StoreError, postgres::Postgres, sqlite};
use crate::config::{self, StoreUrl};

/// How long the store may take to answer: longer than anybody waits for a lock.
const ANSWERING: Duration = Duration::from_secs(10);

/// Runs the body with the pool of whichever kind the store is. The body is compiled
/// once for each kind, and its SQL is the same text: parameters are `$1`, `$2`. It returns
/// early with a [`StoreError`], or the error that is named. If the store does not answer
/// in time, that is an error, too.
macro_rules! both {
    ($store:expr, $pool:ident => $body:expr) => {
        $crate::store::both!($store, $pool => $body, $crate::store::StoreError)
    };
    ($store:expr, $pool:ident => $body:expr, $error:ty) => {
        $crate::store::in_time::<_, $error>(async {
            Ok(match $store.pool() {
                $crate::store::Pool::Sqlite($pool) => $body,
                $crate::store::Pool::Postgres($pool) => $body,
            })
        })
        .await?
    };
}
pub(crate) use both;

/// Gives up what asks the store after [`ANSWERING`]. A connection that hangs is then closed.
pub(crate) async fn in_time<T, E: From<StoreError>>(
    asking: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let answered = timeout(ANSWERING, asking).await;
    answered.unwrap_or_else(|_| Err(StoreError::Silent(ANSWERING).into()))
}

/// Connections for everything but the trail's entries.
pub enum Pool {
    /// To a file.
    Sqlite(SqlitePool),
    /// To a server.
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
                let database = Postgres::new(url, settings)?;
                database.connect().await?;
                Ok(Some(Self::Postgres(database.pool(2)?)))
            }
        }
    }

    /// Itself, so that `both!` takes it as well as a store.
    pub(crate) fn pool(&self) -> &Self {
        self
    }

    /// How a transaction begins that will write: SQLite would else refuse the first write if
    /// somebody has written since.
    pub(crate) fn begin(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
            Self::Postgres(_) => "BEGIN",
        }
    }

    /// The time as the store tells it, in SQL.
    pub(crate) fn now(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
            Self::Postgres(_) => "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
        }
    }
}
