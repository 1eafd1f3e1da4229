//! The schema in SQLite.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use uuid::Uuid;

use super::super::{
    error::StoreError,
    schema::{OLDEST_READER, VERSION, Version},
    status::now,
};

/// The schema, a migration a file.
const MIGRATIONS: [&str; 4] = [
    include_str!("../migrations/sqlite/0001_audit.sql"),
    include_str!("../migrations/sqlite/0002_inventory.sql"),
    include_str!("../migrations/sqlite/0003_jobs.sql"),
    include_str!("../migrations/sqlite/0004_lifecycle.sql"),
];

/// Applies the migrations that the file lacks, each or none.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS store_info (id INTEGER PRIMARY KEY CHECK (id = 1), \
         store_id TEXT NOT NULL, version INTEGER NOT NULL, oldest_reader INTEGER NOT NULL, \
         created INTEGER NOT NULL) STRICT;",
    )?;
    let found = match version(&transaction)? {
        Some(found) => found,
        None => {
            transaction.execute(
                "INSERT INTO store_info VALUES (1, ?1, 0, ?2, ?3)",
                params![Uuid::new_v4().simple().to_string(), OLDEST_READER, now()],
            )?;
            Version { version: 0, oldest_reader: OLDEST_READER }
        }
    };
    for migration in MIGRATIONS.iter().skip(found.applied()?) {
        transaction.execute_batch(migration)?;
    }
    if found.version < VERSION {
        transaction.execute(
            "UPDATE store_info SET version = ?1, oldest_reader = ?2",
            params![VERSION, OLDEST_READER],
        )?;
    }
    transaction.commit()?;
    Ok(())
}

/// The version of the schema; `None` if there is none yet.
pub(super) fn version(connection: &Connection) -> Result<Option<Version>, StoreError> {
    let found = connection.query_row("SELECT version, oldest_reader FROM store_info", [], |row| {
        Ok(Version { version: row.get(0)?, oldest_reader: row.get(1)? })
    });
    Ok(found.optional()?)
}
