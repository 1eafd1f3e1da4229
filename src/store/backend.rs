//! The two kinds of store, as the writer knows them.

use std::{sync::Arc, time::Duration};

use super::{
    append::{Append, Position},
    error::StoreError,
    pool::Pool,
    postgres::{self, Postgres},
    room::Room,
    sqlite::{self, Sqlite},
};
use crate::config::{self, StoreUrl};

/// A store that can be connected to.
#[derive(Clone)]
pub(super) enum Backend {
    Sqlite(Arc<Sqlite>),
    Postgres(Arc<Postgres>),
}

/// A connection that appends. Its methods block.
pub(super) enum Appender {
    Sqlite(Box<sqlite::Appender>),
    Postgres(postgres::Appender),
}

impl Backend {
    /// Brings the schema of the store that the settings name up to date, and checks what
    /// could lose an entry. `None` if they name none.
    pub async fn open(settings: &config::Store) -> Result<Option<Self>, StoreError> {
        Ok(match &settings.url {
            StoreUrl::None => None,
            StoreUrl::Sqlite(path) => {
                Some(Self::Sqlite(Arc::new(Sqlite::open(path, &settings.accept)?)))
            }
            StoreUrl::Postgres(url) => {
                let database = Postgres::new(url, settings)?;
                database.prepare().await?;
                Some(Self::Postgres(Arc::new(database)))
            }
        })
    }

    /// Connections for everything but the trail's entries.
    pub async fn pool(&self, connections: u32) -> Result<Pool, StoreError> {
        Ok(match self {
            Self::Sqlite(file) => Pool::Sqlite(file.pool(connections).await?),
            Self::Postgres(database) => Pool::Postgres(database.pool(connections)?),
        })
    }

    /// Connects for `replica`. Nothing that an earlier connection of the replica has sent
    /// happens after this.
    pub fn appender(&self, replica: &str) -> Result<Appender, StoreError> {
        Ok(match self {
            Self::Sqlite(file) => {
                let appender = sqlite::Appender::new(file.clone(), replica.to_owned())?;
                Appender::Sqlite(Box::new(appender))
            }
            Self::Postgres(database) => {
                Appender::Postgres(postgres::Appender::new(database.clone(), replica)?)
            }
        })
    }

    /// After the last change: leaves an SQLite file whole without the log beside it.
    pub fn finish(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(file) => file.finish(),
            Self::Postgres(_) => Ok(()),
        }
    }

    /// The room on the store's file system; `None` if that cannot be known from here.
    pub fn room(&self) -> Option<Room> {
        match self {
            Self::Sqlite(file) => file.room(),
            Self::Postgres(_) => None,
        }
    }
}

impl Appender {
    /// Appends all entries, or none. Gives their positions; an outcome without an open
    /// intent is not appended and has none.
    pub fn commit(&mut self, entries: &[Append]) -> Result<Vec<Option<Position>>, StoreError> {
        match self {
            Self::Sqlite(appender) => appender.commit(entries),
            Self::Postgres(appender) => appender.commit(entries),
        }
    }

    /// Tidies up after commits.
    pub fn checkpoint(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(appender) => appender.checkpoint(),
            Self::Postgres(_) => Ok(()),
        }
    }

    /// After the last commit: waits until what goes on beside the commits has ended, but no
    /// longer than `limit`.
    pub fn finish(&mut self, limit: Duration) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(appender) => appender.finish(limit),
            Self::Postgres(_) => Ok(()),
        }
    }

    /// Which of `entries` are in the log at `since` or later.
    pub fn present(&mut self, entries: &[Append], since: i64) -> Result<Vec<bool>, StoreError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        match self {
            Self::Sqlite(appender) => appender.present(entries, since),
            Self::Postgres(appender) => appender.present(entries, since),
        }
    }

    /// The position of the next entry, 0 before the first log has begun. Fails if the
    /// store is not there.
    pub fn head(&mut self) -> Result<i64, StoreError> {
        match self {
            Self::Sqlite(appender) => appender.head(),
            Self::Postgres(appender) => appender.head(),
        }
    }
}
