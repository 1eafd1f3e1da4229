//! Trying items again that did not end well.

use sqlx::AssertSqlSafe;

use super::{
    Jobs,
    create::{LOCK, lock, room},
    ending::UNANSWERED,
    error::JobError,
    rows::Row,
};
use crate::store::both;

/// How many items are looked at in a transaction.
const CHUNK: i64 = 2_000;
/// Items that the policies did not allow when their turn came, in SQL.
const DENIED: &str = "state = 'skipped' AND code = 'not-authorized'";

impl Jobs {
    /// Lets what failed, is unknown, or was not allowed wait again, and then the job go on. In
    /// pieces, so that nobody waits for long; the job is paused meanwhile, and stays so if
    /// this breaks off. Gives whether the job is in a state that allows it.
    pub(super) async fn retry_failed(&self, row: &Row) -> Result<bool, JobError> {
        if !self.reopen(row).await? {
            return Ok(false);
        }
        let last = "SELECT coalesce(max(n), -1) FROM job_item WHERE job = $1";
        let (last,): (i64,) = both!(self.store()?, pool => {
            sqlx::query_as(last).bind(&row.id).fetch_one(pool).await?
        }, JobError);
        let mut from = 0;
        while from <= last {
            if !self.wait_again(&row.id, from).await? {
                return Ok(false);
            }
            from += CHUNK;
        }
        self.resume(&row.id).await
    }

    /// Makes an ended job a paused one, if the team may have one more.
    async fn reopen(&self, row: &Row) -> Result<bool, JobError> {
        let store = self.store()?;
        let (now, begin) = (store.now(), store.begin());
        let settings = &self.gateway.settings.jobs;
        let sql = format!(
            "UPDATE job SET state = 'paused', paused_until = NULL, finished = NULL, \
             error_code = NULL, error = NULL, revision = revision + 1, changed = {now} \
             WHERE id = $1 AND state IN ('completed', 'failed', 'paused') \
             AND confirmer IS NOT NULL AND token IS NOT NULL AND expires > {now}"
        );
        let others = "SELECT count(*), CAST(coalesce(sum(selected), 0) AS BIGINT) FROM job \
                      WHERE team = $1 AND finished IS NULL AND id <> $2";
        let changed = both!(store, pool => {
            let mut transaction = pool.begin_with(begin).await?;
            sqlx::query(LOCK).bind(lock(&row.team)).execute(&mut *transaction).await?;
            let changed = sqlx::query(AssertSqlSafe(sql))
                .bind(&row.id)
                .execute(&mut *transaction)
                .await?
                .rows_affected();
            let others: (i64, i64) = sqlx::query_as(others)
                .bind(&row.team)
                .bind(&row.id)
                .fetch_one(&mut *transaction)
                .await?;
            if changed == 1 {
                room(settings, others, row.selected)?;
                transaction.commit().await?;
            }
            changed
        }, JobError);
        Ok(changed == 1)
    }

    /// Lets some items wait again, from the one numbered `from` on. False if the job has ended
    /// meanwhile.
    async fn wait_again(&self, id: &str, from: i64) -> Result<bool, JobError> {
        let store = self.store()?;
        let (now, begin) = (store.now(), store.begin());
        let go_on = "UPDATE job SET revision = revision + 1 WHERE id = $1 AND finished IS NULL";
        let sums = format!(
            "SELECT coalesce(sum(CASE WHEN state = 'failed' THEN 1 ELSE 0 END), 0), \
             coalesce(sum(CASE WHEN state = 'unknown' THEN 1 ELSE 0 END), 0), \
             coalesce(sum(CASE WHEN {DENIED} THEN 1 ELSE 0 END), 0) \
             FROM job_item WHERE job = $1 AND n >= $2 AND n < $3"
        );
        let items = format!(
            "UPDATE job_item SET state = 'waiting', not_before = 0, ended = NULL, \
             code = CASE WHEN state = 'unknown' THEN '{UNANSWERED}' ELSE NULL END \
             WHERE job = $1 AND n >= $2 AND n < $3 \
             AND (state IN ('failed', 'unknown') OR ({DENIED}))"
        );
        let counts = format!(
            "UPDATE job SET failed = failed - $2, unknown = unknown - $3, \
             skipped = skipped - $4, repeats = repeats + $3, changed = {now} WHERE id = $1"
        );
        Ok(both!(store, pool => {
            let mut transaction = pool.begin_with(begin).await?;
            let goes_on = sqlx::query(go_on).bind(id).execute(&mut *transaction).await?;
            if goes_on.rows_affected() == 0 {
                return Ok(false);
            }
            let (failed, unknown, denied): (i64, i64, i64) = sqlx::query_as(AssertSqlSafe(sums))
                .bind(id)
                .bind(from)
                .bind(from + CHUNK)
                .fetch_one(&mut *transaction)
                .await?;
            if failed + unknown + denied > 0 {
                sqlx::query(AssertSqlSafe(items))
                    .bind(id)
                    .bind(from)
                    .bind(from + CHUNK)
                    .execute(&mut *transaction)
                    .await?;
                sqlx::query(AssertSqlSafe(counts))
                    .bind(id)
                    .bind(failed)
                    .bind(unknown)
                    .bind(denied)
                    .execute(&mut *transaction)
                    .await?;
            }
            transaction.commit().await?;
            true
        }, JobError))
    }
}
