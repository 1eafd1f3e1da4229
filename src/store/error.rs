//! What goes wrong with a store.

use std::time::Duration;

use rusqlite::{ErrorCode, ffi};
use sqlx::error::ErrorKind;

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// What it is or how it is set up.
    #[error("{0}")]
    Unusable(String),
    /// The file system.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// No answer within this time.
    #[error("the store did not answer within {0:?}")]
    Silent(Duration),
    /// SQLite, by the writer.
    #[error("SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The database, by the pool.
    #[error("the store: {0}")]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(told)
                if told.code().is_some_and(|code| MIXED_UP.contains(&&*code)) =>
            {
                Self::Unusable(format!(
                    "a pooler in front of PostgreSQL mixes up prepared statements ({told}): use \
                     PgBouncer 1.21 or later with max_prepared_statements above 0, or pool sessions"
                ))
            }
            _ => Self::Database(error),
        }
    }
}

/// The SQLSTATEs of a prepared statement that another connection has made, and of one that
/// is not there.
const MIXED_UP: [&str; 2] = ["42P05", "26000"];

/// The SQLSTATEs of a server that starts or stops, and of one that has no connections left.
const AWAY: [&str; 4] = ["57P01", "57P02", "57P03", "53300"];

/// The classes of SQLSTATEs of data that cannot be kept, and of statements that the schema
/// does not fit; and SQLite's code for the latter.
const LASTING: [&str; 3] = ["22", "23", "42"];
const SQLITE_ERROR: &str = "1";

/// What SQLite says if it cannot use the file `-shm`, of which nothing is to be kept.
const ONLY_MEMORY: [i32; 4] = [
    ffi::SQLITE_IOERR_SHMOPEN,
    ffi::SQLITE_IOERR_SHMSIZE,
    ffi::SQLITE_IOERR_SHMLOCK,
    ffi::SQLITE_IOERR_SHMMAP,
];

impl StoreError {
    pub(super) fn unusable(reason: impl Into<String>) -> Self {
        Self::Unusable(reason.into())
    }

    /// Whether the store is set up well as far as is known, and not there now.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Silent(_) => true,
            Self::Database(sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut) => true,
            Self::Database(sqlx::Error::Database(told)) => {
                told.code().is_some_and(|code| AWAY.contains(&&*code))
            }
            _ => false,
        }
    }

    /// Whether the store would refuse the same again: a rule of the schema is broken, a text
    /// cannot be kept, or what is there cannot be read.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Unusable(_) => true,
            Self::Database(sqlx::Error::Database(told)) => {
                !matches!(told.kind(), ErrorKind::Other)
                    || told.code().is_some_and(|code| {
                        code == SQLITE_ERROR || code.len() == 5 && LASTING.contains(&&code[..2])
                    })
            }
            Self::Database(sqlx::Error::Encode(_) | sqlx::Error::ColumnDecode { .. }) => true,
            _ => false,
        }
    }

    /// Whether SQLite's disk has failed, so that nobody knows what it holds. A disk that is
    /// full has not.
    pub(super) fn is_failed_disk(&self) -> bool {
        use ErrorCode::{DatabaseCorrupt, NotADatabase, SystemIoFailure};
        let Self::Sqlite(rusqlite::Error::SqliteFailure(error, _)) = self else { return false };
        matches!(error.code, SystemIoFailure | DatabaseCorrupt | NotADatabase)
            && !ONLY_MEMORY.contains(&error.extended_code)
    }
}

/// An entry that could not be made durable. It may become durable later; then the trail
/// says that nothing was attempted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record could not be made durable")]
pub struct Unavailable;
