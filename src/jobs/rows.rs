//! Jobs as the store has them.

use sqlx::AssertSqlSafe;

use super::model::{AbortJob, Counts, JobProblem, NewAbortJob, Person, Preview, State};
use crate::{
    gateway::Actor,
    store::{Store, StoreError, both, time},
};

/// A job's row, as far as it is read.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Row {
    pub id: String,
    pub team: String,
    pub state: String,
    pub revision: i64,
    pub created: i64,
    pub changed: i64,
    pub finished: Option<i64>,
    pub expires: i64,
    pub paused_until: Option<i64>,
    pub request: String,
    pub creator: String,
    pub confirmer: Option<String>,
    pub token: Option<String>,
    pub preview: Option<String>,
    pub error_code: Option<String>,
    pub error: Option<String>,
    pub selected: i64,
    pub aborted: i64,
    pub gone: i64,
    pub failed: i64,
    pub skipped: i64,
    pub unknown: i64,
    pub late: i64,
    pub repeats: i64,
}

/// The columns of [`Row`].
pub(super) const COLUMNS: &str = "id, team, state, revision, created, changed, finished, expires, \
    paused_until, request, creator, confirmer, token, preview, error_code, error, \
    selected, aborted, gone, failed, skipped, unknown, late, repeats";

impl Row {
    pub fn state(&self) -> State {
        State::named(&self.state).unwrap_or(State::Preparing)
    }

    pub fn request(&self) -> Result<NewAbortJob, StoreError> {
        stored(&self.request)
    }

    pub fn creator(&self) -> Result<Actor, StoreError> {
        stored(&self.creator)
    }

    pub fn confirmer(&self) -> Result<Option<Actor>, StoreError> {
        self.confirmer.as_deref().map(stored).transpose()
    }

    /// How many items have ended.
    pub fn ended(&self) -> i64 {
        self.aborted + self.gone + self.failed + self.skipped + self.unknown
    }

    /// As the API shows it. `waiting` items wait until they are quiet.
    pub fn show(&self, waiting: i64) -> Result<AbortJob, StoreError> {
        let person = |actor: Actor| Person {
            issuer: actor.principal.issuer.clone(),
            subject: actor.principal.subject.clone(),
        };
        let preview: Option<Preview> = self.preview.as_deref().map(stored).transpose()?;
        let problem = self.error_code.clone().map(|code| {
            let detail = self.error.clone().unwrap_or_default();
            JobProblem { code, detail }
        });
        Ok(AbortJob {
            job_id: self.id.clone(),
            team: self.team.clone(),
            state: self.state(),
            revision: self.revision,
            counts: Counts {
                selected: self.selected,
                waiting,
                aborted: self.aborted,
                gone: self.gone,
                failed: self.failed,
                skipped: self.skipped,
                unknown: self.unknown,
                remaining: self.selected - self.ended(),
                late: self.late,
                repeats: self.repeats,
            },
            selection_token: self.token.clone(),
            preview,
            problem,
            obstacle: None,
            created_at: time(self.created),
            changed_at: time(self.changed),
            finished_at: self.finished.map(time),
            expires_at: time(self.expires),
            paused_until: self.paused_until.map(time),
            created_by: person(self.creator()?),
            confirmed_by: self.confirmer()?.map(person),
            request: self.request()?,
            items: None,
        })
    }
}

/// Reads a job. `None` if there is none, or not all of it is there yet.
pub(super) async fn find(store: &Store, id: &str) -> Result<Option<Row>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM job WHERE id = $1 AND state <> 'creating'");
    both!(store, pool => {
        Ok(sqlx::query_as(AssertSqlSafe(sql)).bind(id).fetch_optional(pool).await?)
    })
}

/// How many items of a job wait until they are quiet.
pub(super) async fn waiting(store: &Store, row: &Row) -> Result<i64, StoreError> {
    let quiet = row.request()?.select.quiet_for;
    if row.selected == row.ended() || quiet.is_none_or(|quiet| quiet.0.is_zero()) {
        return Ok(0);
    }
    let now = store.now();
    // SQLite joins in this order, and finds the index.
    let sql = format!(
        "SELECT count(*) FROM job_lane l CROSS JOIN job_item i \
         WHERE l.job = $1 AND i.job = l.job AND i.account = l.account AND i.region = l.region \
         AND i.state = 'waiting' AND i.not_before > {now}"
    );
    let (waiting,): (i64,) = both!(store, pool => {
        sqlx::query_as(AssertSqlSafe(sql)).bind(&row.id).fetch_one(pool).await?
    });
    Ok(waiting)
}

/// Reads what a column holds as JSON.
pub(super) fn stored<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    let broken = |error| StoreError::Unusable(format!("a job's row cannot be read: {error}"));
    serde_json::from_str(text).map_err(broken)
}

/// `rows` groups of `columns` parameters, as `VALUES` takes them, after the first `before`.
pub(super) fn values(rows: usize, columns: usize, before: usize) -> String {
    let mut text = String::with_capacity(rows * columns * 7);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            let comma = if column == 0 { "" } else { ", " };
            text += &format!("{comma}${}", before + row * columns + column + 1);
        }
        text.push(')');
    }
    text
}
