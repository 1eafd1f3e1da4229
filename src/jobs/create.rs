//! Making a job: once this has succeeded, the job outlives whatever asked for it.

use sqlx::AssertSqlSafe;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Jobs,
    error::JobError,
    model::{Confirm, NewAbortJob},
    request,
    rows::values,
};
use crate::{
    config,
    domain::{UploadId, VaultArn},
    gateway::{Actor, IdempotencyKey, Refusal},
    store::{both, micros},
};

/// How many items go into one transaction.
pub(super) const CHUNK: usize = 500;

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
        key: Option<&IdempotencyKey>,
    ) -> Result<Created, JobError> {
        let store = self.store()?;
        let (team, named) = request::check(&self.gateway, &actor.principal, &mut new)?;
        if named.len() > usize::try_from(new.max_uploads).unwrap_or(usize::MAX) {
            let message = "maxUploads: it is less than the uploads that are named";
            return Err(JobError::Invalid(message.to_owned()));
        }
        let settings = &self.gateway.settings.jobs;
        let latest = OffsetDateTime::now_utc() + settings.max_age;
        if new.not_before.is_some_and(|not_before| not_before >= latest) {
            let message = "notBefore: the job would expire before (jobs.max_age)";
            return Err(JobError::Invalid(message.to_owned()));
        }
        let id = Uuid::now_v7().to_string();
        let json = |failed: serde_json::Error| JobError::Invalid(failed.to_string());
        let request = serde_json::to_string(&new).map_err(json)?;
        let creator = serde_json::to_string(actor).map_err(json)?;
        let confirmer = (new.confirm == Confirm::Auto).then_some(&creator);
        let max_age = i64::try_from(settings.max_age.as_micros()).unwrap_or(i64::MAX);
        let not_before = new.not_before.map_or(0, micros);
        let (now, begin) = (store.now(), store.begin());
        let (first, rest) = named.split_at(named.len().min(CHUNK));
        let state = if rest.is_empty() { "preparing" } else { "creating" };
        let selected = i64::try_from(named.len()).unwrap_or(i64::MAX);
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
            sqlx::query(LOCK).bind(lock(&team)).execute(&mut *transaction).await?;
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
                        Some((asked, ..)) if asked != key.asked => {
                            Err(Refusal::IdempotencyKeyReused.into())
                        }
                        Some((_, _, state)) if state == "creating" => Err(JobError::KeyInFlight),
                        Some((_, job, _)) => Ok(Some(Created { job, is_new: false })),
                        None => Err(JobError::KeyInFlight),
                    };
                }
            }
            let sql = "SELECT count(*), CAST(coalesce(sum(selected), 0) AS BIGINT) FROM job \
                       WHERE team = $1 AND finished IS NULL";
            let others = sqlx::query_as(sql).bind(&team).fetch_one(&mut *transaction).await?;
            room(settings, others, selected)?;
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
        let (begin, now) = (store.begin(), store.now());
        let goes_on =
            format!("UPDATE job SET changed = {now} WHERE id = $1 AND state = 'creating'");
        let mut n = CHUNK;
        for chunk in rest.chunks(CHUNK) {
            let goes_on = goes_on.clone();
            both!(store, pool => {
                let mut transaction = pool.begin_with(begin).await?;
                let job = sqlx::query(AssertSqlSafe(goes_on)).bind(id);
                if job.execute(&mut *transaction).await?.rows_affected() == 0 {
                    // It took so long that it was dropped.
                    return Err(JobError::NotFound);
                }
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
                query.execute(&mut *transaction).await?;
                transaction.commit().await?;
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

/// Whoever adds to a team's jobs waits with this for the one before.
pub(super) const LOCK: &str = "INSERT INTO lease (name, owner, epoch, until) \
    VALUES ($1, '', 1, 0) ON CONFLICT (name) DO UPDATE SET epoch = lease.epoch + 1";

/// The name of that lock.
pub(super) fn lock(team: &str) -> String {
    format!("jobs/{team}")
}

/// Whether a team that has so many jobs which have not ended, with so many items, may have one
/// more with `selected`.
pub(super) fn room(
    settings: &config::Jobs,
    (jobs, items): (i64, i64),
    selected: i64,
) -> Result<(), JobError> {
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
    Ok(())
}

fn insert_named(rows: usize) -> String {
    let values = values(rows, 6, 0).replace(')', ", 'found')");
    format!("INSERT INTO job_item (job, n, account, region, vault, upload, state) VALUES {values}")
}
