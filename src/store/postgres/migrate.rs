//! The schema in PostgreSQL. Any number of gateways may bring it up to date at once, also
//! through a pooler of transactions.

use sqlx::{Acquire, AssertSqlSafe, Executor, PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::super::{
    error::StoreError,
    schema::{OLDEST_READER, VERSION, Version},
    status::now,
};

/// The schema, a migration a file.
const MIGRATIONS: [&str; 4] = [
    include_str!("../migrations/postgres/0001_audit.sql"),
    include_str!("../migrations/postgres/0002_inventory.sql"),
    include_str!("../migrations/postgres/0003_jobs.sql"),
    include_str!("../migrations/postgres/0004_lifecycle.sql"),
];
/// Which advisory lock keeps migrations apart: any number that nobody else uses.
const LOCK: i64 = 0x676c_6163_6965_7221;

/// What the role that serves needs; it can neither change nor delete entries.
const GRANTS: &str = "\
    GRANT SELECT ON store_info TO {role}; \
    GRANT SELECT, INSERT ON audit_entry, audit_log TO {role}; \
    GRANT UPDATE (size, earliest, latest, disorder) ON audit_log TO {role}; \
    GRANT SELECT, INSERT, UPDATE ON audit_head, audit_tile, audit_checkpoint, audit_lost TO {role}; \
    GRANT SELECT, INSERT, UPDATE, DELETE ON audit_open, lease, replica TO {role}; \
    GRANT SELECT, INSERT, UPDATE, DELETE ON upload_seen, inventory_run, inventory_lane, \
        inventory_vault, inventory_trail TO {role}; \
    GRANT SELECT, INSERT, UPDATE, DELETE ON job, job_lane, job_item, job_key TO {role}; \
    GRANT SELECT, INSERT, UPDATE, DELETE ON lifecycle_rule, lifecycle_run TO {role}";

/// Applies the migrations that the database lacks, all or none. If the schema is up to
/// date, the role needs no right to change it.
pub(super) async fn migrate(connection: &mut PgConnection) -> Result<(), StoreError> {
    if let Some(found) = version(connection).await? {
        found.applied()?;
        if found.version >= VERSION {
            return Ok(());
        }
    }
    let mut transaction = connection.begin().await?;
    match apply(&mut transaction).await {
        Err(StoreError::Database(sqlx::Error::Database(error)))
            if error.code().is_some_and(|code| code == INSUFFICIENT_PRIVILEGE) =>
        {
            Err(StoreError::unusable(format!(
                "the store's schema is not up to date, and its role may not change it ({error}): \
                 run \"glacier-gateway store migrate --grant-to ROLE\" as the role that owns the \
                 tables"
            )))
        }
        Err(error) => Err(error),
        Ok(()) => Ok(transaction.commit().await?),
    }
}

/// The SQLSTATE of a statement that the role may not execute.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

async fn apply(transaction: &mut Transaction<'_, Postgres>) -> Result<(), StoreError> {
    // Others may need a while for theirs.
    transaction.execute("SET LOCAL lock_timeout = '60s'").await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut **transaction).await?;
    let found = match version(transaction).await? {
        Some(found) => found,
        None => {
            transaction
                .execute(
                    "CREATE TABLE store_info (id BIGINT PRIMARY KEY CHECK (id = 1), \
                     store_id TEXT NOT NULL, version BIGINT NOT NULL, \
                     oldest_reader BIGINT NOT NULL, created BIGINT NOT NULL)",
                )
                .await?;
            sqlx::query("INSERT INTO store_info VALUES (1, $1, 0, $2, $3)")
                .bind(Uuid::new_v4().simple().to_string())
                .bind(OLDEST_READER)
                .bind(now())
                .execute(&mut **transaction)
                .await?;
            Version { version: 0, oldest_reader: OLDEST_READER }
        }
    };
    for migration in MIGRATIONS.iter().skip(found.applied()?) {
        transaction.execute(*migration).await?;
    }
    if found.version < VERSION {
        sqlx::query("UPDATE store_info SET version = $1, oldest_reader = $2")
            .bind(VERSION)
            .bind(OLDEST_READER)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

/// The version of the schema; `None` if there is none yet.
pub(super) async fn version(connection: &mut PgConnection) -> Result<Option<Version>, StoreError> {
    // Not by to_regclass(), which may remember that there was no such table.
    let (exists,): (bool,) = sqlx::query_as(
        "SELECT EXISTS (SELECT FROM pg_tables \
         WHERE tablename = 'store_info' AND schemaname = ANY (current_schemas(false)))",
    )
    .fetch_one(&mut *connection)
    .await?;
    if !exists {
        return Ok(None);
    }
    let found: Option<(i64, i64)> = sqlx::query_as("SELECT version, oldest_reader FROM store_info")
        .fetch_optional(connection)
        .await?;
    Ok(found.map(|(version, oldest_reader)| Version { version, oldest_reader }))
}

/// Grants `role` what a gateway needs to serve.
pub(super) async fn grant(connection: &mut PgConnection, role: &str) -> Result<(), StoreError> {
    // Not a role, but everybody.
    if role.eq_ignore_ascii_case("public") {
        return Err(StoreError::unusable("name the gateway's role: \"public\" is every role"));
    }
    let (role,): (String,) =
        sqlx::query_as("SELECT quote_ident($1)").bind(role).fetch_one(&mut *connection).await?;
    let mut transaction = connection.begin().await?;
    transaction.execute(AssertSqlSafe(GRANTS.replace("{role}", &role))).await?;
    transaction.commit().await?;
    Ok(())
}
