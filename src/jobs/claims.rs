//! How a lane takes items and writes what became of them. Whatever it writes holds only if
//! the lane is still its own, or if the item still has the event that it was claimed with.

use std::collections::HashSet;

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    ending::{Done, Taken},
    model::ItemState,
    rows::{COLUMNS, Row, values},
};
use crate::{
    store::{Lease, Store, StoreError, both, time},
    telemetry::traces::Span,
};

/// An account and region.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, sqlx::FromRow)]
pub(super) struct Lane {
    pub account: String,
    pub region: String,
}

impl Lane {
    /// The lease of whoever works the lane.
    pub fn lease(&self) -> String {
        format!("lane/{}/{}", self.account, self.region)
    }
}

/// An item that is to be looked at or aborted.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Todo {
    pub job: String,
    #[sqlx(flatten)]
    pub taken: Taken,
    pub vault: String,
    pub upload: String,
    pub created: Option<i64>,
    pub description: Option<String>,
    pub parts: Option<i64>,
    pub digest: Option<Vec<u8>>,
    pub since: Option<i64>,
}

const TODO: &str = "job, n, attempts, decision, code, vault, upload, created, description, parts, \
    digest, since";

/// An item that somebody has claimed and not ended.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Claimed {
    pub job: String,
    #[sqlx(flatten)]
    pub taken: Taken,
    pub event: Vec<u8>,
}

/// The lanes that have something to do.
pub(super) async fn lanes(store: &Store) -> Result<Vec<Lane>, StoreError> {
    both!(store, pool => {
        let sql = "SELECT DISTINCT l.account, l.region FROM job_lane l JOIN job j ON j.id = l.job \
                   WHERE j.finished IS NULL AND j.state IN \
                   ('preparing', 'running', 'pausing', 'cancelling') ORDER BY 1, 2";
        Ok(sqlx::query_as(sql).fetch_all(pool).await?)
    })
}

/// The jobs that have something to do in a lane, and the time by the store's clock.
pub(super) async fn jobs(store: &Store, lane: &Lane) -> Result<(Vec<Row>, i64), StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM job WHERE finished IS NULL \
         AND state IN ('preparing', 'running', 'pausing', 'cancelling') \
         AND id IN (SELECT job FROM job_lane WHERE account = $1 AND region = $2) ORDER BY id"
    );
    let now = format!("SELECT {}", store.now());
    both!(store, pool => {
        let rows = sqlx::query_as(AssertSqlSafe(sql))
            .bind(&lane.account)
            .bind(&lane.region)
            .fetch_all(pool)
            .await?;
        let (now,): (i64,) = sqlx::query_as(AssertSqlSafe(now)).fetch_one(pool).await?;
        Ok((rows, now))
    })
}

/// Some items that are to be looked at, after the one numbered `after`.
pub(super) async fn found(
    store: &Store,
    job: &str,
    lane: &Lane,
    after: i64,
    most: usize,
) -> Result<Vec<Todo>, StoreError> {
    let now = store.now();
    let sql = format!(
        "SELECT {TODO} FROM job_item WHERE job = $1 AND account = $2 AND region = $3 \
         AND state = 'found' AND n > $4 AND not_before <= {now} ORDER BY n LIMIT $5"
    );
    both!(store, pool => {
        Ok(sqlx::query_as(AssertSqlSafe(sql))
            .bind(job)
            .bind(&lane.account)
            .bind(&lane.region)
            .bind(after)
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .fetch_all(pool)
            .await?)
    })
}

/// Claims some items of a running job whose time has come. Each gets the ID of the event
/// that its record will have.
pub(super) async fn claim(
    store: &Store,
    job: &str,
    lane: &Lane,
    lease: &Lease,
    most: usize,
) -> Result<Vec<(Todo, Uuid)>, StoreError> {
    let (now, begin) = (store.now(), store.begin());
    let select = format!(
        "SELECT {TODO} FROM job_item WHERE job = $1 AND account = $2 AND region = $3 \
         AND state = 'waiting' AND not_before <= {now} ORDER BY not_before, n LIMIT $4"
    );
    let candidates: Vec<Todo> = both!(store, pool => {
        sqlx::query_as(AssertSqlSafe(select))
            .bind(job)
            .bind(&lane.account)
            .bind(&lane.region)
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .fetch_all(pool)
            .await?
    });
    if candidates.is_empty() {
        return Ok(Vec::new());
    }
    let mut candidates = candidates;
    let events: Vec<Uuid> = candidates.iter().map(|_| Uuid::now_v7()).collect();
    candidates.iter_mut().for_each(|todo| todo.taken.attempts += 1);
    let update = format!(
        "UPDATE job_item SET state = 'claimed', epoch = $1, event = c.column2, \
         attempts = attempts + 1 FROM (VALUES {}) AS c \
         WHERE job = $2 AND n = c.column1 AND state = 'waiting' \
         AND EXISTS (SELECT 1 FROM lease WHERE name = $3 AND owner = $4 AND epoch = $1) \
         RETURNING n",
        values(candidates.len(), 2, 4)
    );
    let count = "UPDATE job SET claimed = claimed + $1 \
                 WHERE id = $2 AND state = 'running' AND error_code IS NULL";
    let claimed: HashSet<i64> = both!(store, pool => {
        let mut transaction = pool.begin_with(begin).await?;
        let mut query = sqlx::query_as::<_, (i64,)>(AssertSqlSafe(update))
            .bind(lease.epoch)
            .bind(job)
            .bind(lane.lease())
            .bind(store.replica());
        for (todo, event) in candidates.iter().zip(&events) {
            query = query.bind(todo.taken.n).bind(event.as_bytes().to_vec());
        }
        let claimed = query.fetch_all(&mut *transaction).await?;
        let counted = sqlx::query(count)
            .bind(i64::try_from(claimed.len()).unwrap_or(0))
            .bind(job)
            .execute(&mut *transaction)
            .await?;
        if counted.rows_affected() == 1 {
            transaction.commit().await?;
            claimed.into_iter().map(|(n,)| n).collect()
        } else {
            // It was paused or cancelled meanwhile.
            transaction.rollback().await?;
            HashSet::new()
        }
    });
    let pairs = candidates.into_iter().zip(events);
    Ok(pairs.filter(|(todo, _)| claimed.contains(&todo.taken.n)).collect())
}

/// Writes what became of a job's items, and moves the job on if that was the last of them.
/// What another process has written meanwhile stands, and this process's own are then counted
/// as late.
pub(super) async fn end(
    store: &Store,
    job: &str,
    done: &[Done],
    failures: f64,
) -> Result<(), StoreError> {
    if done.is_empty() {
        return Ok(());
    }
    let (now, begin) = (store.now(), store.begin());
    let items = format!(
        "UPDATE job_item SET state = c.column3, code = c.column4, \
         not_before = CASE WHEN c.column5 > 0 THEN {now} + c.column5 ELSE 0 END, \
         ended = CASE WHEN c.column3 = 'waiting' THEN NULL ELSE {now} END \
         FROM (VALUES {}) AS c WHERE job = $1 AND n = c.column1 AND event = c.column2 \
         AND state = 'claimed' RETURNING n",
        values(done.len(), 5, 1)
    );
    let counts = format!(
        "UPDATE job SET claimed = claimed - $2, aborted = aborted + $3, gone = gone + $4, \
         failed = failed + $5, skipped = skipped + $6, unknown = unknown + $7, \
         late = late + $8, repeats = repeats + $9, revision = revision + 1, changed = {now} \
         WHERE id = $1"
    );
    let stop = format!(
        "UPDATE job SET error_code = 'too-many-failures', error = 'More of the items failed than \
         maxFailureRate allows. Look at the items, and let retry-failed go on once the cause is \
         gone.', revision = revision + 1, changed = {now} WHERE id = $1 AND state = 'running' \
         AND error_code IS NULL AND aborted + gone + failed + skipped + unknown >= 20 \
         AND failed + unknown > $2 * (aborted + gone + failed + skipped + unknown)"
    );
    let lost = format!(
        "UPDATE job SET error_code = 'permission-lost', error = 'The policies allowed items when \
         they were found, and do not allow them any more to the creator and the confirmer. \
         Restore the permission and let retry-failed go on, or ask for another job.', \
         revision = revision + 1, changed = {now} WHERE id = $1 AND state = 'running' \
         AND error_code IS NULL"
    );
    let advance = advance(store);
    both!(store, pool => {
        let mut transaction = pool.begin_with(begin).await?;
        let mut query = sqlx::query_as::<_, (i64,)>(AssertSqlSafe(items)).bind(job);
        for one in done {
            query = query
                .bind(one.n)
                .bind(one.event.as_bytes().to_vec())
                .bind(one.state.as_str())
                .bind(one.code.as_deref())
                .bind(one.after);
        }
        let written = query.fetch_all(&mut *transaction).await?;
        let written: HashSet<i64> = written.into_iter().map(|(n,)| n).collect();
        let count = |wanted: &dyn Fn(&Done) -> bool| {
            let counted = done.iter().filter(|one| written.contains(&one.n) && wanted(one));
            i64::try_from(counted.count()).unwrap_or(0)
        };
        let ended = |state: ItemState| count(&|one| one.state == state);
        let is_late = |one: &&Done| one.is_own && was_sent(one) && !written.contains(&one.n);
        let late = done.iter().filter(is_late).count();
        sqlx::query(AssertSqlSafe(counts))
            .bind(job)
            .bind(count(&|_| true))
            .bind(ended(ItemState::Aborted))
            .bind(ended(ItemState::Gone))
            .bind(ended(ItemState::Failed))
            .bind(ended(ItemState::Skipped))
            .bind(ended(ItemState::Unknown))
            .bind(i64::try_from(late).unwrap_or(0))
            .bind(count(&|one| one.repeats))
            .execute(&mut *transaction)
            .await?;
        if count(&|one| one.stops) > 0 {
            sqlx::query(AssertSqlSafe(lost)).bind(job).execute(&mut *transaction).await?;
        }
        sqlx::query(AssertSqlSafe(stop)).bind(job).bind(failures).execute(&mut *transaction).await?;
        let moved: Option<Moved> = sqlx::query_as(AssertSqlSafe(advance))
            .bind(job)
            .fetch_optional(&mut *transaction)
            .await?;
        transaction.commit().await?;
        if let Some(moved) = moved {
            moved.tell();
        }
    });
    Ok(())
}

/// Whether Glacier was asked to abort the item, or may have been.
fn was_sent(done: &Done) -> bool {
    use ItemState::{Aborted, Failed, Gone, Unknown};
    matches!(done.state, Aborted | Failed | Gone | Unknown)
}

/// What a statement that moves a job on gives.
pub(super) const MOVED: &str = "RETURNING id, state, created, finished";

/// A job that was moved on.
#[derive(sqlx::FromRow)]
pub(super) struct Moved {
    id: String,
    state: String,
    created: i64,
    finished: Option<i64>,
}

impl Moved {
    /// Ends the job's span, if the job has ended.
    pub fn tell(&self) {
        if self.finished.is_some() {
            let mut span = Span::of_job(&self.id, time(self.created).into());
            span.text("glacier_gateway.job.id", Some(&self.id));
            span.text("glacier_gateway.job.state", Some(&self.state));
        }
    }
}

/// Moves a job on that has nothing in hand: it has paused, ended, or failed. Gives a
/// [`Moved`].
pub(super) fn advance(store: &Store) -> String {
    let now = store.now();
    format!(
        "UPDATE job SET state = CASE WHEN error_code IS NOT NULL THEN 'failed' \
         WHEN state = 'pausing' THEN 'paused' WHEN state = 'cancelling' THEN 'cancelled' \
         ELSE 'completed' END, \
         finished = CASE WHEN state = 'pausing' AND error_code IS NULL THEN NULL ELSE {now} END, \
         revision = revision + 1, changed = {now} \
         WHERE id = $1 AND finished IS NULL AND claimed = 0 AND (error_code IS NOT NULL \
         OR state IN ('pausing', 'cancelling') OR (state = 'running' \
         AND selected = aborted + gone + failed + skipped + unknown)) {MOVED}"
    )
}

/// Items of a lane that somebody claimed who does not have the lane any more.
pub(super) async fn stale(
    store: &Store,
    lane: &Lane,
    lease: &Lease,
) -> Result<Vec<Claimed>, StoreError> {
    both!(store, pool => {
        let sql = "SELECT job, n, attempts, decision, code, event FROM job_item \
                   WHERE account = $1 AND region = $2 AND state = 'claimed' AND epoch <> $3 \
                   ORDER BY job, n LIMIT 500";
        Ok(sqlx::query_as(sql)
            .bind(&lane.account)
            .bind(&lane.region)
            .bind(lease.epoch)
            .fetch_all(pool)
            .await?)
    })
}

/// Lets a job stop because of `code`.
pub(super) async fn stop(
    store: &Store,
    job: &str,
    code: &str,
    detail: &str,
) -> Result<(), StoreError> {
    let now = store.now();
    let sql = format!(
        "UPDATE job SET error_code = $2, error = $3, revision = revision + 1, changed = {now} \
         WHERE id = $1 AND finished IS NULL AND error_code IS NULL"
    );
    let advance = advance(store);
    both!(store, pool => {
        sqlx::query(AssertSqlSafe(sql)).bind(job).bind(code).bind(detail).execute(pool).await?;
        let moved: Option<Moved> =
            sqlx::query_as(AssertSqlSafe(advance)).bind(job).fetch_optional(pool).await?;
        if let Some(moved) = moved {
            moved.tell();
        }
    });
    Ok(())
}
