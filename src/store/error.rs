//! What goes wrong with a store.

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

impl StoreError {
    pub(super) fn unusable(reason: impl Into<String>) -> Self {
        Self::Unusable(reason.into())
    }
}

/// An entry that could not be made durable. It may become durable later; then the trail
/// says that nothing was attempted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record could not be made durable")]
pub struct Unavailable;
