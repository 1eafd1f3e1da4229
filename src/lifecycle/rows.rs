//! Rules and their runs, as the store has them.

use sqlx::AssertSqlSafe;
use time::OffsetDateTime;

use super::model::{LifecycleRun, Mode, RunOutcome};
use crate::{
    jobs::model::{AbortJob, NewAbortJob, Person},
    store::{Store, StoreError, both, time},
};

/// What is known of a rule.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Known {
    pub rule: String,
    pub digest: String,
    pub since: i64,
    pub reported: i64,
    pub paused: Option<i64>,
    pub why: Option<String>,
    /// The last run by the schedule.
    pub last: Option<i64>,
}

/// A run.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Run {
    pub rule: String,
    pub scheduled: i64,
    pub asked: Option<String>,
    pub digest: String,
    pub mode: String,
    pub request: String,
    pub job: Option<String>,
    pub begun: i64,
    pub ended: Option<i64>,
    pub outcome: Option<String>,
    pub detail: Option<String>,
    pub preview: Option<String>,
    pub counts: Option<String>,
}

/// A run that begins.
pub(super) struct NewRun<'a> {
    pub rule: &'a str,
    pub scheduled: i64,
    pub asked: Option<&'a Person>,
    pub digest: &'a str,
    pub mode: Mode,
    pub request: &'a NewAbortJob,
    /// With which it ends at once.
    pub outcome: Option<(RunOutcome, &'a str)>,
}

/// How a run ends.
pub(super) struct End<'a> {
    pub outcome: RunOutcome,
    pub detail: Option<&'a str>,
    pub job: Option<&'a AbortJob>,
    /// Why the rule pauses.
    pub pause: Option<&'a str>,
}

const RUN: &str = "rule, scheduled, asked, digest, mode, request, job, begun, ended, outcome, \
    detail, preview, counts";

impl Known {
    /// Up to when everything was dealt with.
    pub fn handled(&self) -> OffsetDateTime {
        time(self.since.max(self.last.unwrap_or(0)))
    }
}

impl Run {
    /// As the API shows it.
    ///
    /// # Errors
    /// A column that cannot be read.
    pub fn show(&self, job: Option<AbortJob>) -> Result<LifecycleRun, StoreError> {
        let (preview, counts) = match job {
            Some(job) => (job.preview, Some(job.counts)),
            None => (stored(self.preview.as_deref())?, stored(self.counts.as_deref())?),
        };
        Ok(LifecycleRun {
            scheduled_at: time(self.scheduled),
            asked_by: stored(self.asked.as_deref())?,
            mode: if self.mode == Mode::Abort.as_str() { Mode::Abort } else { Mode::Report },
            job_id: self.job.clone(),
            outcome: self.outcome.as_deref().and_then(RunOutcome::named),
            detail: self.detail.clone(),
            begun_at: time(self.begun),
            ended_at: self.ended.map(time),
            found: preview,
            counts,
        })
    }

    /// What its job is asked to do.
    ///
    /// # Errors
    /// A column that cannot be read.
    pub fn request(&self) -> Result<NewAbortJob, StoreError> {
        stored(Some(&self.request))?.ok_or_else(|| broken("no request"))
    }
}

/// The store's time.
pub(super) async fn now(store: &Store) -> Result<OffsetDateTime, StoreError> {
    let sql = format!("SELECT {}", store.now());
    let (now,): (i64,) = both!(store, pool => {
        sqlx::query_as(AssertSqlSafe(sql)).fetch_one(pool).await?
    });
    Ok(time(now))
}

/// What is known of all rules.
pub(super) async fn known(store: &Store) -> Result<Vec<Known>, StoreError> {
    let sql = "SELECT rule, digest, since, reported, paused, why, (SELECT max(scheduled) \
               FROM lifecycle_run r WHERE r.rule = k.rule AND asked IS NULL) AS last \
               FROM lifecycle_rule k";
    Ok(both!(store, pool => sqlx::query_as(sql).fetch_all(pool).await?))
}

/// Begins to count from now for a rule that is new or says something else.
pub(super) async fn begin_anew(store: &Store, rule: &str, digest: &str) -> Result<(), StoreError> {
    let sql = format!(
        "INSERT INTO lifecycle_rule (rule, digest, since) VALUES ($1, $2, {}) \
         ON CONFLICT (rule) DO UPDATE SET digest = excluded.digest, since = excluded.since, \
         reported = 0, paused = NULL, why = NULL WHERE lifecycle_rule.digest <> excluded.digest",
        store.now()
    );
    both!(store, pool => {
        sqlx::query(AssertSqlSafe(sql)).bind(rule).bind(digest).execute(pool).await?;
    });
    Ok(())
}

/// Forgets a rule, but for its runs.
pub(super) async fn forget(store: &Store, rule: &str) -> Result<(), StoreError> {
    both!(store, pool => {
        sqlx::query("DELETE FROM lifecycle_rule WHERE rule = $1").bind(rule).execute(pool).await?;
    });
    Ok(())
}

/// Begins a run, unless there is one for the same time, or one that has not ended. Gives
/// whether it began.
pub(super) async fn begin(store: &Store, new: &NewRun<'_>) -> Result<bool, StoreError> {
    let now = store.now();
    let sql = format!(
        "INSERT INTO lifecycle_run (rule, scheduled, asked, digest, mode, request, begun, ended, \
         outcome, detail) VALUES ($1, $2, $3, $4, $5, $6, {now}, \
         CASE WHEN $7 = '' THEN NULL ELSE {now} END, CASE WHEN $7 = '' THEN NULL ELSE $7 END, $8) \
         ON CONFLICT DO NOTHING"
    );
    let asked = new.asked.map(json).transpose()?;
    let request = json(new.request)?;
    let begun = both!(store, pool => {
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(new.rule)
            .bind(new.scheduled)
            .bind(asked)
            .bind(new.digest)
            .bind(new.mode.as_str())
            .bind(request)
            .bind(new.outcome.map_or("", |(outcome, _)| outcome.as_str()))
            .bind(new.outcome.map(|(_, detail)| detail));
        query.execute(pool).await?.rows_affected()
    });
    Ok(begun == 1)
}

/// Runs that have not ended.
pub(super) async fn open(store: &Store) -> Result<Vec<Run>, StoreError> {
    let sql = format!("SELECT {RUN} FROM lifecycle_run WHERE outcome IS NULL");
    Ok(both!(store, pool => sqlx::query_as(AssertSqlSafe(sql)).fetch_all(pool).await?))
}

/// The newest runs of a rule, the newest first.
pub(super) async fn runs(store: &Store, rule: &str, most: i64) -> Result<Vec<Run>, StoreError> {
    let sql =
        format!("SELECT {RUN} FROM lifecycle_run WHERE rule = $1 ORDER BY scheduled DESC LIMIT $2");
    Ok(both!(store, pool => {
        sqlx::query_as(AssertSqlSafe(sql)).bind(rule).bind(most).fetch_all(pool).await?
    }))
}

/// Notes the job of a run.
pub(super) async fn set_job(store: &Store, run: &Run, job: &str) -> Result<(), StoreError> {
    let sql = "UPDATE lifecycle_run SET job = $3 WHERE rule = $1 AND scheduled = $2";
    both!(store, pool => {
        sqlx::query(sql).bind(&run.rule).bind(run.scheduled).bind(job).execute(pool).await?;
    });
    Ok(())
}

/// Ends a run, once, and says of its rule what follows from that, unless the rule has changed.
pub(super) async fn end(store: &Store, run: &Run, end: &End<'_>) -> Result<(), StoreError> {
    let (now, begin) = (store.now(), store.begin());
    let run_ends = format!(
        "UPDATE lifecycle_run SET outcome = $3, detail = $4, preview = $5, counts = $6, \
         ended = {now} WHERE rule = $1 AND scheduled = $2 AND outcome IS NULL"
    );
    let rule_is = match (end.outcome, end.pause) {
        (RunOutcome::Reported, _) => "reported = 1, paused = NULL, why = $3".to_owned(),
        (RunOutcome::Completed, _) => "paused = NULL, why = $3".to_owned(),
        (_, Some(_)) => format!("paused = coalesce(paused, {now}), why = $3"),
        (_, None) => "why = coalesce($3, why)".to_owned(),
    };
    let rule_is = format!("UPDATE lifecycle_rule SET {rule_is} WHERE rule = $1 AND digest = $2");
    let preview = end.job.and_then(|job| job.preview.as_ref()).map(json).transpose()?;
    let counts = end.job.map(|job| json(&job.counts)).transpose()?;
    both!(store, pool => {
        let mut transaction = pool.begin_with(begin).await?;
        let ended = sqlx::query(AssertSqlSafe(run_ends))
            .bind(&run.rule)
            .bind(run.scheduled)
            .bind(end.outcome.as_str())
            .bind(end.detail)
            .bind(preview)
            .bind(counts)
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        if ended == 1 {
            sqlx::query(AssertSqlSafe(rule_is))
                .bind(&run.rule)
                .bind(&run.digest)
                .bind(end.pause)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
    });
    Ok(())
}

/// Drops runs that have ended longer ago than this, in microseconds; of each rule the newest
/// ones stay, which say what was dealt with.
pub(super) async fn sweep(store: &Store, keep: i64) -> Result<(), StoreError> {
    let sql = format!(
        "DELETE FROM lifecycle_run WHERE ended < {} - $1 AND scheduled < (SELECT max(scheduled) \
         FROM lifecycle_run r WHERE r.rule = lifecycle_run.rule AND r.asked IS NULL)",
        store.now()
    );
    both!(store, pool => {
        sqlx::query(AssertSqlSafe(sql)).bind(keep).execute(pool).await?;
    });
    Ok(())
}

fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(broken)
}

fn stored<T: serde::de::DeserializeOwned>(text: Option<&str>) -> Result<Option<T>, StoreError> {
    text.map(serde_json::from_str).transpose().map_err(broken)
}

fn broken(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unusable(format!("a row of a lifecycle rule cannot be read: {error}"))
}
