//! How far a crawl is, vault by vault, and what it found in each. Whatever is written here
//! is written by whoever works on the lane, as its epoch shows.

use sqlx::AssertSqlSafe;

use super::ages::{AGES, older_than};
use crate::{
    domain::RegionalAccount,
    store::{Store, StoreError, both},
};

/// The lane that a process works on, and since which epoch.
#[derive(Clone, Debug)]
pub(super) struct Tenure {
    pub run: String,
    pub at: RegionalAccount,
    pub epoch: i64,
}

/// Why somebody has to stop working on a lane.
#[derive(Debug, thiserror::Error)]
pub(super) enum Halt {
    /// Another process works on it now, or may do so soon.
    #[error("another process works on it")]
    Lost,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for Halt {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A vault that is to be looked through, or whose turn has begun.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Task {
    pub vault: String,
    /// `waiting`, `listing` or `sizing`.
    pub state: String,
    pub begun: Option<i64>,
    pub marker: Option<String>,
}

/// Whether the lane is still this process's; begins whatever is written under it.
pub(super) const FENCE: &str = "UPDATE inventory_lane SET epoch = epoch \
    WHERE run = $1 AND account = $2 AND region = $3 AND epoch = $4 AND finished IS NULL";

/// Executes `$sql`, whose parameters `$1` to `$3` are the lane and whose further ones are
/// `$values`, if the lane is still this process's.
macro_rules! fenced {
    ($store:expr, $tenure:expr, $sql:expr, $($value:expr),*) => {{
        let (store, tenure, sql): (&Store, &Tenure, String) = ($store, $tenure, $sql);
        both!(store, pool => {
            let mut transaction = pool.begin_with(store.begin()).await?;
            let held = sqlx::query(FENCE)
                .bind(&tenure.run)
                .bind(tenure.at.account.as_str())
                .bind(tenure.at.region.as_str())
                .bind(tenure.epoch)
                .execute(&mut *transaction)
                .await?;
            if held.rows_affected() == 0 {
                return Err(Halt::Lost);
            }
            let changed = sqlx::query(AssertSqlSafe(sql))
                .bind(&tenure.run)
                .bind(tenure.at.account.as_str())
                .bind(tenure.at.region.as_str())
                $(.bind($value))*
                .execute(&mut *transaction)
                .await?
                .rows_affected();
            transaction.commit().await?;
            changed
        }, Halt)
    }};
}

/// Takes a lane over, and gives its state.
pub(super) async fn take(store: &Store, tenure: &Tenure) -> Result<String, Halt> {
    let sql = format!(
        "UPDATE inventory_lane SET epoch = $4, started = coalesce(started, {}), \
         state = CASE WHEN state = 'waiting' THEN 'listing' ELSE state END \
         WHERE run = $1 AND account = $2 AND region = $3 AND epoch <= $4 AND finished IS NULL \
         RETURNING state",
        store.now()
    );
    let taken: Option<(String,)> = both!(store, pool => {
        sqlx::query_as(AssertSqlSafe(sql))
            .bind(&tenure.run)
            .bind(tenure.at.account.as_str())
            .bind(tenure.at.region.as_str())
            .bind(tenure.epoch)
            .fetch_optional(pool)
            .await?
    }, Halt);
    taken.map(|(state,)| state).ok_or(Halt::Lost)
}

/// Adds vaults to those that are to be looked through. Those whose turn was or is already
/// stay as they are.
pub(super) async fn add(store: &Store, tenure: &Tenure, vaults: &[&str]) -> Result<(), Halt> {
    for vault in vaults {
        let sql = "INSERT INTO inventory_vault (run, account, region, vault, state) \
            VALUES ($1, $2, $3, $4, 'waiting') ON CONFLICT (account, region, vault) DO UPDATE SET \
            run = excluded.run, state = 'waiting', begun = NULL, marker = NULL, error = NULL \
            WHERE inventory_vault.run <> excluded.run";
        fenced!(store, tenure, sql.to_owned(), *vault);
    }
    Ok(())
}

/// Vaults that were known before the run and are not among those it looks through.
pub(super) async fn known(store: &Store, tenure: &Tenure) -> Result<Vec<String>, Halt> {
    let sql = "SELECT vault FROM inventory_vault \
               WHERE run <> $1 AND account = $2 AND region = $3 AND uploads > 0";
    Ok(names(store, tenure, sql).await?)
}

async fn names(
    store: &Store,
    tenure: &Tenure,
    sql: &'static str,
) -> Result<Vec<String>, StoreError> {
    let rows: Vec<(String,)> = both!(store, pool => {
        sqlx::query_as(sql)
            .bind(&tenure.run)
            .bind(tenure.at.account.as_str())
            .bind(tenure.at.region.as_str())
            .fetch_all(pool)
            .await?
    });
    Ok(rows.into_iter().map(|(name,)| name).collect())
}

/// Notes that all vaults are known that are to be looked through.
pub(super) async fn listed(store: &Store, tenure: &Tenure) -> Result<(), Halt> {
    let sql = "UPDATE inventory_lane SET state = 'crawling' \
               WHERE run = $1 AND account = $2 AND region = $3";
    fenced!(store, tenure, sql.to_owned(),);
    Ok(())
}

/// The vaults that are still to be looked through.
pub(super) async fn pending(store: &Store, tenure: &Tenure) -> Result<Vec<Task>, Halt> {
    let sql = "SELECT vault, state, begun, marker FROM inventory_vault \
               WHERE run = $1 AND account = $2 AND region = $3 \
               AND state IN ('waiting', 'listing', 'sizing') ORDER BY vault";
    let tasks = both!(store, pool => {
        sqlx::query_as(sql)
            .bind(&tenure.run)
            .bind(tenure.at.account.as_str())
            .bind(tenure.at.region.as_str())
            .fetch_all(pool)
            .await?
    }, Halt);
    Ok(tasks)
}

/// Begins to list a vault's uploads, or begins anew.
pub(super) async fn begin(
    store: &Store,
    tenure: &Tenure,
    vault: &str,
    begun: i64,
) -> Result<(), Halt> {
    let sql = "UPDATE inventory_vault SET state = 'listing', begun = $5, marker = NULL, tried = $5 \
               WHERE run = $1 AND account = $2 AND region = $3 AND vault = $4";
    fenced!(store, tenure, sql.to_owned(), vault, begun);
    Ok(())
}

/// Notes that the list of a vault's uploads was read to its end, and sums up what is there.
/// What was not seen, and neither the last time, is gone.
pub(super) async fn complete(
    store: &Store,
    tenure: &Tenure,
    vault: &str,
    begun: i64,
    sizes: bool,
) -> Result<(), Halt> {
    let missing = "UPDATE upload_seen SET gone = missing, missing = coalesce(missing, $5) \
        WHERE $1 = (SELECT run FROM inventory_vault v WHERE v.account = $2 \
            AND v.region = $3 AND v.vault = $4) AND account = $2 AND region = $3 AND vault = $4 AND gone IS NULL \
        AND last_seen < $5";
    fenced!(store, tenure, missing.to_owned(), vault, begun);
    sum_up(store, tenure, vault, begun, if sizes { "sizing" } else { "completed" }).await
}

/// Notes that Glacier does not know a vault any more: all that was in it is gone.
pub(super) async fn vanished(
    store: &Store,
    tenure: &Tenure,
    vault: &str,
    begun: i64,
) -> Result<(), Halt> {
    let gone = "UPDATE upload_seen SET gone = coalesce(missing, $5) \
        WHERE $1 = (SELECT run FROM inventory_vault v WHERE v.account = $2 \
            AND v.region = $3 AND v.vault = $4) AND account = $2 AND region = $3 AND vault = $4 AND gone IS NULL \
        AND last_seen <= $5";
    fenced!(store, tenure, gone.to_owned(), vault, begun);
    sum_up(store, tenure, vault, begun, "completed").await
}

/// Sums up what was in a vault at `as_of`.
pub(super) async fn sum_up(
    store: &Store,
    tenure: &Tenure,
    vault: &str,
    as_of: i64,
    state: &str,
) -> Result<(), Halt> {
    let there = "gone IS NULL AND missing IS NULL";
    let vanished = "gone IS NOT NULL AND abort_asked IS NULL";
    let count = |what: &str| format!("coalesce(sum(CASE WHEN {what} THEN 1 ELSE 0 END), 0)");
    let older = AGES.map(|days| count(&format!("{there} AND {}", older_than("$5", days))));
    let gone = AGES.map(|days| count(&format!("{vanished} AND {}", older_than("last_seen", days))));
    let columns = AGES.map(|days| format!("older_{days}")).join(", ");
    let gone_columns = AGES.map(|days| format!("gone_{days}")).join(", ");
    // By way of floating point, because no sum of a store that answers nonsense may fail. It
    // is exact up to nine petabytes.
    let bytes = format!("sum(CASE WHEN {there} THEN CAST(bytes AS DOUBLE PRECISION) END)");
    let sql = format!(
        "UPDATE inventory_vault SET as_of = $5, state = $6, marker = NULL, error = NULL, \
         (uploads, sized, bytes, oldest, {columns}, gone, {gone_columns}) = \
         (SELECT {uploads}, {sized}, CASE WHEN {bytes} > 9e18 THEN 9000000000000000000 \
            ELSE coalesce(CAST({bytes} AS BIGINT), 0) END, \
            min(CASE WHEN {there} THEN created END), {older}, {all_gone}, {gone} \
          FROM upload_seen WHERE account = $2 AND region = $3 AND vault = $4) \
         WHERE run = $1 AND account = $2 AND region = $3 AND vault = $4",
        uploads = count(there),
        sized = count(&format!("{there} AND bytes IS NOT NULL")),
        older = older.join(", "),
        all_gone = count(vanished),
        gone = gone.join(", "),
    );
    fenced!(store, tenure, sql, vault, as_of, state);
    Ok(())
}

/// Notes up to which upload the parts were looked at.
pub(super) async fn sized(
    store: &Store,
    tenure: &Tenure,
    vault: &str,
    upload: &str,
) -> Result<(), Halt> {
    let sql = "UPDATE inventory_vault SET marker = $5 \
               WHERE run = $1 AND account = $2 AND region = $3 AND vault = $4";
    fenced!(store, tenure, sql.to_owned(), vault, upload);
    Ok(())
}

/// Some uploads of a vault that are there, after the one with the ID `after`.
pub(super) async fn some(
    store: &Store,
    tenure: &Tenure,
    vault: &str,
    after: &str,
    most: i64,
) -> Result<Vec<String>, Halt> {
    let sql = "SELECT upload FROM upload_seen WHERE account = $1 AND region = $2 AND vault = $3 \
               AND upload > $4 AND gone IS NULL AND missing IS NULL ORDER BY upload LIMIT $5";
    let rows: Vec<(String,)> = both!(store, pool => {
        sqlx::query_as(sql)
            .bind(tenure.at.account.as_str())
            .bind(tenure.at.region.as_str())
            .bind(vault)
            .bind(after)
            .bind(most)
            .fetch_all(pool)
            .await?
    }, Halt);
    Ok(rows.into_iter().map(|(upload,)| upload).collect())
}

/// Notes that a vault cannot be looked through. What was known of it stays.
pub(super) async fn fail(
    store: &Store,
    tenure: &Tenure,
    vault: &str,
    state: &str,
    code: &str,
) -> Result<(), Halt> {
    let sql = format!(
        "UPDATE inventory_vault SET state = $5, error = $6, marker = NULL, tried = {} \
         WHERE run = $1 AND account = $2 AND region = $3 AND vault = $4",
        store.now()
    );
    fenced!(store, tenure, sql, vault, state, code);
    Ok(())
}

/// Ends a lane, and the run if this was its last one. `error` says why its vaults could not
/// be listed.
pub(super) async fn finish(
    store: &Store,
    tenure: &Tenure,
    error: Option<&str>,
) -> Result<(), Halt> {
    let now = store.now();
    let count = |state: &str| {
        format!(
            "(SELECT count(*) FROM inventory_vault v WHERE v.run = $1 AND v.account = $2 \
             AND v.region = $3 AND v.state = '{state}')"
        )
    };
    let sql = format!(
        "UPDATE inventory_lane SET finished = {now}, error = $4, \
         state = CASE WHEN $4 IS NULL THEN 'completed' ELSE 'failed' END, \
         crawled = {}, denied = {}, failed = {}, \
         uploads = (SELECT CAST(coalesce(sum(v.uploads), 0) AS BIGINT) FROM inventory_vault v \
            WHERE v.run = $1 AND v.account = $2 AND v.region = $3 AND v.state = 'completed') \
         WHERE run = $1 AND account = $2 AND region = $3",
        count("completed"),
        count("denied"),
        count("failed"),
    );
    fenced!(store, tenure, sql, error);
    let run = format!(
        "UPDATE inventory_run SET finished = {now} WHERE id = $1 AND finished IS NULL \
         AND NOT EXISTS (SELECT 1 FROM inventory_lane WHERE run = $1 AND finished IS NULL)"
    );
    both!(store, pool => { sqlx::query(AssertSqlSafe(run)).bind(&tenure.run).execute(pool).await?; }, Halt);
    Ok(())
}
