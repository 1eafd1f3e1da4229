//! Lists of jobs and of their items.

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    Jobs,
    error::JobError,
    model::{Item, ItemPage, ItemState, JobPage, State},
    rows::{self, COLUMNS, Row},
};
use crate::store::{Store, StoreError, both, time};

/// Which jobs are listed.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    /// Of these teams.
    pub teams: Vec<String>,
    /// In this state.
    pub state: Option<State>,
}

/// Which items are listed.
#[derive(Clone, Copy, Debug, Default)]
pub struct ItemFilter {
    /// In this state.
    pub state: Option<ItemState>,
    /// Only those that failed, were skipped, or are unknown.
    pub unsuccessful: bool,
}

#[derive(sqlx::FromRow)]
struct ItemRow {
    n: i64,
    account: String,
    region: String,
    vault: String,
    upload: String,
    created: Option<i64>,
    description: Option<String>,
    parts: Option<i64>,
    bytes: Option<i64>,
    decision: Option<String>,
    state: String,
    code: Option<String>,
    not_before: i64,
    attempts: i64,
    event: Option<Vec<u8>>,
    ended: Option<i64>,
}

impl From<ItemRow> for Item {
    fn from(row: ItemRow) -> Self {
        let state = ItemState::named(&row.state).unwrap_or(ItemState::Waiting);
        let waits = state == ItemState::Waiting && row.not_before > 0;
        Self {
            item: row.n,
            account_id: row.account,
            region: row.region,
            vault_name: row.vault,
            upload_id: row.upload,
            state,
            code: row.code,
            decision: row.decision,
            creation_date: row.created.map(time),
            archive_description: row.description,
            parts: row.parts,
            bytes: row.bytes,
            not_before: waits.then(|| time(row.not_before)),
            attempts: row.attempts,
            audit_event_id: row
                .event
                .and_then(|event| Uuid::from_slice(&event).ok())
                .map(|event| event.to_string()),
            ended_at: row.ended.map(time),
        }
    }
}

impl Jobs {
    /// The teams that have jobs.
    ///
    /// # Errors
    /// When the store does not answer, or there is none.
    pub async fn teams(&self) -> Result<Vec<String>, JobError> {
        let teams: Vec<(String,)> = both!(self.store()?, pool => {
            sqlx::query_as("SELECT DISTINCT team FROM job ORDER BY team").fetch_all(pool).await?
        }, JobError);
        Ok(teams.into_iter().map(|(team,)| team).collect())
    }

    /// Lists jobs, the newest first, after the one that `marker` names.
    ///
    /// # Errors
    /// When the store does not answer, or there is none.
    pub async fn list(
        &self,
        filter: &ListFilter,
        marker: Option<&str>,
        limit: usize,
    ) -> Result<JobPage, JobError> {
        let store = self.store()?;
        if filter.teams.is_empty() {
            return Ok(JobPage { jobs: Vec::new(), marker: None });
        }
        let teams = rows::values(filter.teams.len(), 1, 3).replace(['(', ')'], "");
        let sql = format!(
            "SELECT {COLUMNS} FROM job WHERE state <> 'creating' AND id < $1 \
             AND ($2 = '' OR state = $2) AND team IN ({teams}) ORDER BY id DESC LIMIT $3"
        );
        let most = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let mut found: Vec<Row> = both!(store, pool => {
            let mut query = sqlx::query_as(AssertSqlSafe(sql))
                .bind(marker.unwrap_or("~"))
                .bind(filter.state.map_or("", State::as_str))
                .bind(most);
            for team in &filter.teams {
                query = query.bind(team);
            }
            query.fetch_all(pool).await?
        }, JobError);
        let more = found.len() > limit;
        found.truncate(limit);
        let marker = found.last().filter(|_| more).map(|row| row.id.clone());
        let mut jobs = Vec::with_capacity(found.len());
        for row in &found {
            jobs.push(self.show(row).await?);
        }
        Ok(JobPage { jobs, marker })
    }

    /// Lists a job's items by their numbers, from `from` on.
    ///
    /// # Errors
    /// When the store does not answer, or there is none.
    pub async fn items(
        &self,
        job: &str,
        filter: ItemFilter,
        from: i64,
        limit: usize,
    ) -> Result<ItemPage, JobError> {
        let mut items = items(self.store()?, job, filter, from, limit + 1).await?;
        let marker = items.get(limit).map(|item| item.item.to_string());
        items.truncate(limit);
        Ok(ItemPage { items, marker })
    }
}

async fn items(
    store: &Store,
    job: &str,
    filter: ItemFilter,
    from: i64,
    limit: usize,
) -> Result<Vec<Item>, StoreError> {
    let unsuccessful = match filter.unsuccessful {
        true => "AND state IN ('failed', 'skipped', 'unknown')",
        false => "",
    };
    let sql = format!(
        "SELECT n, account, region, vault, upload, created, description, parts, bytes, decision, \
         state, code, not_before, attempts, event, ended FROM job_item \
         WHERE job = $1 AND n >= $2 AND state <> 'unselected' AND ($3 = '' OR state = $3) \
         {unsuccessful} ORDER BY n LIMIT $4"
    );
    let found: Vec<ItemRow> = both!(store, pool => {
        sqlx::query_as(AssertSqlSafe(sql))
            .bind(job)
            .bind(from)
            .bind(filter.state.map_or("", ItemState::as_str))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(pool)
            .await?
    });
    Ok(found.into_iter().map(Item::from).collect())
}
