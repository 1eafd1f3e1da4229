//! Runs: somebody, or the schedule, asks for vaults to be looked through. A run has a lane
//! for each account and region.

use std::collections::HashMap;

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::target::Target;
use crate::{
    domain::{RegionalAccount, VaultArn},
    gateway::{Actor, IdempotencyKey},
    store::{Store, StoreError, both},
};

/// What is asked for, and by whom.
#[derive(Clone, Debug)]
pub struct Order {
    /// In whose name Glacier is asked.
    pub actor: Actor,
    /// Which vaults.
    pub target: Target,
    /// Whether the parts of each upload are looked at as well.
    pub sizes: bool,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its ID, which goes up with time.
    pub id: String,
    /// When it was asked for.
    pub created: i64,
    /// The time of the schedule that it is for.
    pub tick: Option<i64>,
    /// What was asked for.
    pub order: Order,
    /// When it was done.
    pub finished: Option<i64>,
    /// Its accounts and regions.
    pub lanes: Vec<Lane>,
}

/// An account and region of a run.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Lane {
    /// The run.
    pub run: String,
    /// The account.
    pub account: String,
    /// The region.
    pub region: String,
    /// `waiting`, `listing` (of vaults), `crawling`, `completed` or `failed`.
    pub state: String,
    /// Why it failed: the code of a problem.
    pub error: Option<String>,
    /// When it began.
    pub started: Option<i64>,
    /// When it ended.
    pub finished: Option<i64>,
    /// How many vaults were looked through.
    pub crawled: i64,
    /// How many the policies do not let the run's caller list the uploads of.
    pub denied: i64,
    /// How many could not be looked through.
    pub failed: i64,
    /// How many uploads are in those that were.
    pub uploads: i64,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    created: i64,
    tick: Option<i64>,
    caller: String,
    vaults: String,
    sizes: i64,
    finished: Option<i64>,
}

const LANE: &str = "run, account, region, state, error, started, finished, crawled, denied, \
    failed, uploads";
const RUN: &str = "id, created, tick, caller, vaults, sizes, finished";

impl Row {
    fn run(self, lanes: Vec<Lane>) -> Result<Run, StoreError> {
        let order = order(&self.caller, &self.vaults, self.sizes)?;
        let Self { id, created, tick, finished, .. } = self;
        Ok(Run { id, created, tick, order, finished, lanes })
    }
}

fn order(caller: &str, target: &str, sizes: i64) -> Result<Order, StoreError> {
    let unusable = |error| StoreError::Unusable(format!("a run cannot be read: {error}"));
    Ok(Order {
        actor: serde_json::from_str(caller).map_err(unusable)?,
        target: serde_json::from_str(target).map_err(unusable)?,
        sizes: sizes != 0,
    })
}

/// What became of the wish for a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It was made, with this ID.
    New(String),
    /// An earlier request with the same key made this one.
    Before(String),
    /// The key was used for another request.
    KeyReused,
    /// The time of the schedule has one already.
    Ticked,
}

/// Makes a run, of which there is one for a `tick` and one for a `key`.
///
/// # Errors
/// When the store does not answer.
pub async fn create(
    store: &Store,
    order: &Order,
    tick: Option<i64>,
    key: Option<&IdempotencyKey>,
    places: &[RegionalAccount],
) -> Result<Created, StoreError> {
    let unusable = |error: serde_json::Error| StoreError::Unusable(error.to_string());
    let caller = serde_json::to_string(&order.actor).map_err(unusable)?;
    let target = serde_json::to_string(&order.target).map_err(unusable)?;
    let id = Uuid::now_v7().to_string();
    let sql = format!(
        "INSERT INTO inventory_run (id, created, tick, caller, vaults, sizes) \
         VALUES ($1, {}, $2, $3, $4, $5) ON CONFLICT (tick) DO NOTHING",
        store.now()
    );
    let keep = format!(
        "INSERT INTO job_key (scope, asked, job, created) VALUES ($1, $2, $3, {}) \
         ON CONFLICT (scope) DO NOTHING",
        store.now()
    );
    Ok(both!(store, pool => {
        let mut transaction = pool.begin_with(store.begin()).await?;
        if let Some(key) = key {
            let kept = sqlx::query(AssertSqlSafe(keep))
                .bind(&key.scope[..])
                .bind(&key.asked[..])
                .bind(&id)
                .execute(&mut *transaction)
                .await?;
            if kept.rows_affected() == 0 {
                let (asked, run): (Vec<u8>, String) =
                    sqlx::query_as("SELECT asked, job FROM job_key WHERE scope = $1")
                        .bind(&key.scope[..])
                        .fetch_one(&mut *transaction)
                        .await?;
                let same = asked == key.asked;
                return Ok(if same { Created::Before(run) } else { Created::KeyReused });
            }
        }
        let made = sqlx::query(AssertSqlSafe(sql))
            .bind(&id)
            .bind(tick)
            .bind(caller)
            .bind(target)
            .bind(i64::from(order.sizes))
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        if made > 0 {
            for place in places {
                let lane = "INSERT INTO inventory_lane (run, account, region, state) \
                            VALUES ($1, $2, $3, 'waiting')";
                sqlx::query(lane)
                    .bind(&id)
                    .bind(place.account.as_str())
                    .bind(place.region.as_str())
                    .execute(&mut *transaction)
                    .await?;
            }
            transaction.commit().await?;
        }
        if made > 0 { Created::New(id) } else { Created::Ticked }
    }))
}

/// A lane that is not done yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub run: String,
    pub at: RegionalAccount,
}

/// The lanes that are not done yet, in the order in which they were asked for.
pub(super) async fn waiting(store: &Store) -> Result<Vec<Waiting>, StoreError> {
    let sql = "SELECT l.run, l.account, l.region FROM inventory_run r \
               JOIN inventory_lane l ON l.run = r.id \
               WHERE r.finished IS NULL AND l.finished IS NULL \
               ORDER BY r.id, l.account, l.region";
    let rows: Vec<(String, String, String)> =
        both!(store, pool => sqlx::query_as(sql).fetch_all(pool).await?);
    let waiting = |(run, account, region): (String, String, String)| {
        let at = RegionalAccount { account: account.parse().ok()?, region: region.parse().ok()? };
        Some(Waiting { run, at })
    };
    Ok(rows.into_iter().filter_map(waiting).collect())
}

/// How many runs are not done yet.
///
/// # Errors
/// When the store does not answer.
pub async fn unfinished(store: &Store) -> Result<i64, StoreError> {
    let sql = "SELECT count(*) FROM inventory_run WHERE finished IS NULL";
    let (count,): (i64,) = both!(store, pool => sqlx::query_as(sql).fetch_one(pool).await?);
    Ok(count)
}

/// Whether a run of the schedule is not done yet, and the time of the last one.
///
/// # Errors
/// When the store does not answer.
pub async fn last_tick(store: &Store) -> Result<Option<(i64, bool)>, StoreError> {
    let sql = "SELECT tick, finished FROM inventory_run WHERE tick IS NOT NULL \
               ORDER BY tick DESC LIMIT 1";
    let last: Option<(i64, Option<i64>)> =
        both!(store, pool => sqlx::query_as(sql).fetch_optional(pool).await?);
    Ok(last.map(|(tick, finished)| (tick, finished.is_none())))
}

/// A run, if there is one with this ID.
///
/// # Errors
/// When the store does not answer.
pub async fn find(store: &Store, id: &str) -> Result<Option<Run>, StoreError> {
    let found = select(store, "id = $1", id, 1).await?;
    Ok(found.into_iter().next())
}

/// Runs that were asked for before that with the ID `before`, the newest first.
///
/// # Errors
/// When the store does not answer.
pub async fn list(store: &Store, before: Option<&str>, most: i64) -> Result<Vec<Run>, StoreError> {
    // No ID is greater.
    select(store, "id < $1", before.unwrap_or("g"), most).await
}

async fn select(store: &Store, which: &str, id: &str, most: i64) -> Result<Vec<Run>, StoreError> {
    let sql = format!("SELECT {RUN} FROM inventory_run WHERE {which} ORDER BY id DESC LIMIT $2");
    let rows: Vec<Row> = both!(store, pool => {
        sqlx::query_as(AssertSqlSafe(sql)).bind(id).bind(most).fetch_all(pool).await?
    });
    let (Some(newest), Some(oldest)) = (rows.first(), rows.last()) else { return Ok(Vec::new()) };
    let sql = format!(
        "SELECT {LANE} FROM inventory_lane WHERE run >= $1 AND run <= $2 \
         ORDER BY run, account, region"
    );
    let lanes: Vec<Lane> = both!(store, pool => {
        sqlx::query_as(AssertSqlSafe(sql)).bind(&oldest.id).bind(&newest.id).fetch_all(pool).await?
    });
    let mut by_run: HashMap<String, Vec<Lane>> = HashMap::new();
    for lane in lanes {
        by_run.entry(lane.run.clone()).or_default().push(lane);
    }
    rows.into_iter()
        .map(|row| {
            let lanes = by_run.remove(&row.id).unwrap_or_default();
            row.run(lanes)
        })
        .collect()
}

/// Vaults that a run could not look through, each with the code of a problem: the first
/// hundred.
///
/// # Errors
/// When the store does not answer.
pub async fn failed(store: &Store, id: &str) -> Result<Vec<(VaultArn, String)>, StoreError> {
    let sql = "SELECT account, region, vault, error FROM inventory_vault \
               WHERE run = $1 AND state = 'failed' ORDER BY account, region, vault LIMIT 100";
    let rows: Vec<(String, String, String, Option<String>)> = both!(store, pool => {
        sqlx::query_as(sql).bind(id).fetch_all(pool).await?
    });
    let failed = |(account, region, vault, error): (String, String, String, Option<String>)| {
        let (account, region) = (account.parse().ok()?, region.parse().ok()?);
        Some((VaultArn { region, account, vault: vault.parse().ok()? }, error.unwrap_or_default()))
    };
    Ok(rows.into_iter().filter_map(failed).collect())
}
