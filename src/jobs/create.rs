//! Making a job: once this has succeeded, the job outlives whatever asked for it.

use aws_lc_rs::digest::{Context, SHA256};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    Jobs,
    error::JobError,
    model::{Confirm, NewAbortJob},
    request,
    rows::{micros, values},
};
use crate::{
    domain::{UploadId, VaultArn},
    gateway::Actor,
    store::both,
};

/// How many items go into one transaction.
pub(super) const CHUNK: usize = 500;

/// What makes a request that is sent twice one request: whose it is, and what it asks.
#[derive(Clone, Debug)]
pub struct Key {
    scope: [u8; 32],
    asked: [u8; 32],
}

impl Key {
    /// The key `given` by a caller, for a request that consists of these parts.
    pub fn new(actor: &Actor, route: &str, given: &str, parts: &[&[u8]]) -> Self {
        let principal = &actor.principal;
        let scope = [&principal.issuer, &principal.subject, route, given];
        Self { scope: sha256(&scope.map(str::as_bytes)), asked: sha256(parts) }
    }
}

/// The hash of texts, none of which can pass into its neighbour.
fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut sum = Context::new(&SHA256);
    for part in parts {
        sum.update(&part.len().to_be_bytes());
        sum.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(sum.finish().as_ref());
    hash
}

/// A job that was made, now or by an earlier request with the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The job's ID.
    pub job: String,
    /// Whether it was made now.
    pub is_new: bool,
}

impl Jobs {
    /// Makes a job for `actor`, whose permission for it the caller of this has checked. It is
    /// durable when this returns. A second call with the same key makes no second job.
    ///
    /// # Errors
    /// A request that breaks a rule, a key of another request, a team with too many jobs, or
    /// a store that does not answer.
    pub async fn create(
        &self,
        actor: &Actor,
        mut new: NewAbortJob,
        key: Option<&Key>,
    ) -> Result<Created, JobError> {
        let store = self.store()?;
        let (team, named) = request::check(&self.gateway, &actor.principal, &mut new)?;
        if named.len() > usize::try_from(new.max_uploads).unwrap_or(usize::MAX) {
            let message = "maxUploads: it is less than the uploads that are named";
            return Err(JobError::Invalid(message.to_owned()));
        }
        let id = Uuid::now_v7().to_string();
        let json = |failed: serde_json::Error| JobError::Invalid(failed.to_string());
        let request = serde_json::to_string(&new).map_err(json)?;
        let creator = serde_json::to_string(actor).map_err(json)?;
        let confirmer = (new.confirm == Confirm::Auto).then_some(&creator);
        let settings = &self.gateway.settings.jobs;
        let max_age = i64::try_from(settings.max_age.as_micros()).unwrap_or(i64::MAX);
        let not_before = new.not_before.map_or(0, micros);
        let (now, begin) = (store.now(), store.begin());
        let (first, rest) = named.split_at(named.len().min(CHUNK));
        let state = if rest.is_empty() { "preparing" } else { "creating" };
        let selected = i64::try_from(named.len()).unwrap_or(i64::MAX);
        // Whoever makes a job of the same team meanwhile waits for this row.
        let lock = "INSERT INTO lease (name, owner, epoch, until) VALUES ($1, '', 1, 0) \
                    ON CONFLICT (name) DO UPDATE SET epoch = lease.epoch + 1";
        let keep = format!(
            "INSERT INTO job_key (scope, asked, job, created) VALUES ($1, $2, $3, {now}) \
             ON CONFLICT (scope) DO NOTHING"
        );
        let insert = format!(
            "INSERT INTO job (id, team, state, created, changed, expires, not_before, request, \
             creator, confirmer, selected) \
             VALUES ($1, $2, $3, {now}, {now}, {now} + $4, $5, $6, $7, $8, $9)"
        );
        let created = both!(store, pool => {
            let mut transaction = pool.begin_with(begin).await?;
            sqlx::query(lock)
                .bind(format!("jobs/{team}"))
                .execute(&mut *transaction)
                .await?;
            if let Some(key) = key {
                let kept = sqlx::query(AssertSqlSafe(keep))
                    .bind(&key.scope[..])
                    .bind(&key.asked[..])
                    .bind(&id)
                    .execute(&mut *transaction)
                    .await?;
                if kept.rows_affected() == 0 {
                    let sql = "SELECT k.asked, k.job, j.state FROM job_key k \
                               JOIN job j ON j.id = k.job WHERE k.scope = $1";
                    let earlier: Option<(Vec<u8>, String, String)> = sqlx::query_as(sql)
                        .bind(&key.scope[..])
                        .fetch_optional(&mut *transaction)
                        .await?;
                    return match earlier {
                        Some((asked, ..)) if asked != key.asked => Err(JobError::KeyReused),
                        Some((_, _, state)) if state == "creating" => Err(JobError::KeyInFlight),
                        Some((_, job, _)) => Ok(Some(Created { job, is_new: false })),
                        None => Err(JobError::KeyInFlight),
                    };
                }
            }
            let sql = "SELECT count(*), CAST(coalesce(sum(selected), 0) AS BIGINT) FROM job \
                       WHERE team = $1 AND finished IS NULL";
            let (jobs, items): (i64, i64) =
                sqlx::query_as(sql).bind(&team).fetch_one(&mut *transaction).await?;
            if jobs >= i64::from(settings.active_per_team) {
                return Err(JobError::Limit(format!(
                    "The team has {jobs} jobs that have not ended: wait, or cancel one"
                )));
            }
            if items + selected > i64::from(settings.items_per_team) {
                return Err(JobError::Limit(format!(
                    "The team's jobs have {items} items already: wait, or cancel one"
                )));
            }
            sqlx::query(AssertSqlSafe(insert))
                .bind(&id)
                .bind(&team)
                .bind(state)
                .bind(max_age)
                .bind(not_before)
                .bind(&request)
                .bind(&creator)
                .bind(confirmer)
                .bind(selected)
                .execute(&mut *transaction)
                .await?;
            if !first.is_empty() {
                let mut query = sqlx::query(AssertSqlSafe(insert_named(first.len())));
                for (n, (vault, upload)) in first.iter().enumerate() {
                    query = query
                        .bind(&id)
                        .bind(i64::try_from(n).unwrap_or(i64::MAX))
                        .bind(vault.account.as_str())
                        .bind(vault.region.as_str())
                        .bind(vault.vault.as_str())
                        .bind(upload.as_str());
                }
                query.execute(&mut *transaction).await?;
            }
            transaction.commit().await?;
            None
        }, JobError);
        if let Some(created) = created {
            return Ok(created);
        }
        self.add_rest(&id, rest).await?;
        self.wake();
        Ok(Created { job: id, is_new: true })
    }

    /// Adds the items that did not go into the first transaction, and lets the job begin.
    async fn add_rest(&self, id: &str, rest: &[(VaultArn, UploadId)]) -> Result<(), JobError> {
        if rest.is_empty() {
            return Ok(());
        }
        let store = self.store()?;
        let mut n = CHUNK;
        for chunk in rest.chunks(CHUNK) {
            both!(store, pool => {
                let mut query = sqlx::query(AssertSqlSafe(insert_named(chunk.len())));
                for (vault, upload) in chunk {
                    query = query
                        .bind(id)
                        .bind(i64::try_from(n).unwrap_or(i64::MAX))
                        .bind(vault.account.as_str())
                        .bind(vault.region.as_str())
                        .bind(vault.vault.as_str())
                        .bind(upload.as_str());
                    n += 1;
                }
                query.execute(pool).await?;
            }, JobError);
        }
        both!(store, pool => {
            sqlx::query("UPDATE job SET state = 'preparing' WHERE id = $1 AND state = 'creating'")
                .bind(id)
                .execute(pool)
                .await?;
        }, JobError);
        Ok(())
    }
}

fn insert_named(rows: usize) -> String {
    let values = values(rows, 6, 0).replace(')', ", 'found')");
    format!("INSERT INTO job_item (job, n, account, region, vault, upload, state) VALUES {values}")
}
