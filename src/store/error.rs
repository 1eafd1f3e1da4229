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
    Database(#[from] sqlx::Error),
}

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
