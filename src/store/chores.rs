//! What operators do with a store by the command line.

use std::path::Path;

pub use super::examined::Examined;
use super::{error::StoreError, postgres::Postgres, sqlite};
use crate::config::{self, StoreUrl};

/// Looks at the store that the settings name, without changing it. A gateway may be using
/// it.
///
/// # Errors
/// A store that cannot be looked at.
pub async fn check(settings: &config::Store) -> Result<Examined, StoreError> {
    let mut examined = Examined::default();
    match &settings.url {
        StoreUrl::None => return Err(no_store()),
        StoreUrl::Sqlite(path) => sqlite::examine(path, &settings.accept, &mut examined)?,
        StoreUrl::Postgres(url) => Postgres::new(url, settings)?.examine(&mut examined).await?,
    }
    Ok(examined)
}

/// Brings the schema of the store that the settings name up to date, creating it if there
/// is none. In PostgreSQL, `role` is granted what a gateway needs to serve.
///
/// # Errors
/// A store that cannot be brought up to date.
pub async fn migrate(settings: &config::Store, role: Option<&str>) -> Result<(), StoreError> {
    match (&settings.url, role) {
        (StoreUrl::None, _) => Err(no_store()),
        (StoreUrl::Sqlite(_), Some(_)) => {
            Err(StoreError::unusable("SQLite has no roles: leave --grant-to out"))
        }
        (StoreUrl::Sqlite(path), None) => sqlite::Sqlite::open(path, &settings.accept)?.finish(),
        (StoreUrl::Postgres(url), role) => Postgres::new(url, settings)?.migrate(role).await,
    }
}

/// Writes a copy of the store to `file`, which must not exist. A gateway may be using the
/// store: the copy is as the store was at one moment.
///
/// # Errors
/// A copy that could not be made.
pub fn backup(settings: &config::Store, file: &Path) -> Result<(), StoreError> {
    match &settings.url {
        StoreUrl::None => Err(no_store()),
        StoreUrl::Sqlite(path) => sqlite::backup(path, file),
        StoreUrl::Postgres(_) => Err(StoreError::unusable(
            "PostgreSQL has its own tools for this: pg_dump for a copy of the database, or \
             pg_basebackup and archived logs for one of any moment",
        )),
    }
}

fn no_store() -> StoreError {
    StoreError::unusable("the configuration names no store: set store.url")
}
