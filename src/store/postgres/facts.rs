//! What a PostgreSQL server says of itself that matters to a trail.

use sqlx::{PgConnection, Row};

use super::super::error::StoreError;
use crate::config::Accepted;

/// What could lose an entry that was acknowledged, or change one.
#[derive(Debug)]
pub(in crate::store) struct Facts {
    /// Such as `15.18 (Debian 15.18-0+deb12u1)`.
    pub server: String,
    /// Whether the server waits for its disk; unset if it does not tell.
    pub fsync: Option<String>,
    /// When a commit is acknowledged.
    pub synchronous_commit: Option<String>,
    /// Which standbys a commit waits for.
    synchronous_standbys: String,
    /// How many servers follow this one.
    followers: i64,
    /// Whether the server is itself a standby.
    is_standby: bool,
    /// Whether locks may be waited for, and held by a client that does nothing, for ever.
    is_unlimited: bool,
    /// The role that is connected.
    pub role: String,
    /// Whether the role could change or delete entries.
    may_change_entries: bool,
    /// The size of the database, in bytes.
    pub bytes: i64,
}

impl Facts {
    pub async fn read(connection: &mut PgConnection) -> Result<Self, StoreError> {
        let facts = sqlx::query(
            "SELECT current_setting('server_version') AS server, \
                 current_setting('fsync', true) AS fsync, \
                 current_setting('synchronous_commit', true) AS synchronous_commit, \
                 current_setting('synchronous_standby_names') AS synchronous_standbys, \
                 (SELECT count(*) FROM pg_stat_replication) AS followers, \
                 pg_is_in_recovery() AS is_standby, \
                 '0' IN (current_setting('idle_in_transaction_session_timeout'), \
                     current_setting('lock_timeout')) AS is_unlimited, \
                 current_user::text AS role, \
                 coalesce((SELECT bool_or(has_table_privilege(entries.oid, 'DELETE, TRUNCATE') \
                     OR has_any_column_privilege(entries.oid, 'UPDATE')) \
                     FROM pg_class entries JOIN pg_namespace n ON n.oid = relnamespace \
                     WHERE relname = 'audit_entry' AND nspname = ANY (current_schemas(false))), \
                     false) AS may_change_entries, \
                 pg_database_size(current_database()) AS bytes",
        );
        let facts = facts.fetch_one(connection).await?;
        Ok(Self {
            server: facts.try_get("server")?,
            fsync: facts.try_get("fsync")?,
            synchronous_commit: facts.try_get("synchronous_commit")?,
            synchronous_standbys: facts.try_get("synchronous_standbys")?,
            followers: facts.try_get("followers")?,
            is_standby: facts.try_get("is_standby")?,
            is_unlimited: facts.try_get("is_unlimited")?,
            role: facts.try_get("role")?,
            may_change_entries: facts.try_get("may_change_entries")?,
            bytes: facts.try_get("bytes")?,
        })
    }

    /// Whether the server keeps what it acknowledges.
    ///
    /// # Errors
    /// When it does not, and that is not accepted.
    pub fn check(&self, accepted: &[Accepted]) -> Result<(), StoreError> {
        match self.refusals(accepted).into_iter().next() {
            Some(refusal) => Err(StoreError::Unusable(refusal)),
            None => Ok(()),
        }
    }

    /// Why a gateway does not use the server.
    pub fn refusals(&self, accepted: &[Accepted]) -> Vec<String> {
        let mut refusals = Vec::new();
        let told = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
        if self.is_standby {
            refusals.push("the PostgreSQL server is a standby: name the primary".to_owned());
        }
        if self.fsync.as_deref() != Some("on") && !accepted.contains(&Accepted::FsyncOff) {
            refusals.push(format!(
                "PostgreSQL does not wait for its disk (fsync is {}), so that a crash loses entries \
                 or the database: set fsync to on, or write store.accept = [\"fsync-off\"]",
                told(&self.fsync)
            ));
        }
        let waits = matches!(
            self.synchronous_commit.as_deref(),
            Some("on" | "remote_apply" | "remote_write")
        );
        if !waits && !accepted.contains(&Accepted::SynchronousCommitOff) {
            refusals.push(format!(
                "PostgreSQL acknowledges commits too early (synchronous_commit is {}): set it to on \
                 for this role, or write store.accept = [\"synchronous-commit-off\"]",
                told(&self.synchronous_commit)
            ));
        }
        refusals
    }

    /// What an operator ought to know.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.followers > 0 && self.synchronous_standbys.is_empty() {
            warnings.push(
                "PostgreSQL's standbys are asynchronous (synchronous_standby_names is empty): a \
                 failover can lose acknowledged entries"
                    .to_owned(),
            );
        }
        if self.is_unlimited {
            warnings.push(format!(
                "a pooler keeps the gateway from limiting how long a lock is held or waited for, so \
                 one that is stopped inside a transaction can keep the others from writing: ALTER \
                 ROLE {0} SET idle_in_transaction_session_timeout = '2s'; ALTER ROLE {0} SET \
                 lock_timeout = '5s'",
                self.role
            ));
        }
        if self.may_change_entries {
            warnings.push(format!(
                "the store's role {} can change and delete the trail's entries: let another role own \
                 the tables (glacier-gateway store migrate --grant-to ROLE)",
                self.role
            ));
        }
        warnings
    }
}
