//! The columns beside a record in the store. Searches go by them, and no checkpoint
//! vouches for them: they are held against the record, which they are made of.

use std::collections::HashMap;

use uuid::Uuid;

use super::told::Told;
use crate::{
    audit::log::{Hash, rows::Times},
    store::{Kind, Pool, Position, StoreError, both, micros},
};

/// A record with all its columns.
pub(super) struct Row {
    pub index: u64,
    pub leaf: Hash,
    pub entry: Vec<u8>,
    at: i64,
    event: Vec<u8>,
    kind: i64,
    teams: String,
}

/// Holds the columns of the records of a trail against them, in their order.
#[derive(Default)]
pub(super) struct Columns {
    /// The teams of intents that name no single one: their outcomes do not repeat them.
    teams: HashMap<Uuid, String>,
}

impl Columns {
    /// The columns that are not what the record says, as far as it says anything.
    pub fn wrong(&mut self, row: &Row, told: &Told) -> Vec<&'static str> {
        let Some(kind) = told.kind() else { return Vec::new() };
        let mut wrong = Vec::new();
        if row.kind != kind as i64 {
            wrong.push("kind");
        }
        if told.event_id.is_some_and(|id| row.event != id.as_bytes()) {
            wrong.push("event");
        }
        let time = told.time().map(|time| rounded(micros(time), kind));
        if time.is_some_and(|time| time != rounded(row.at, kind)) {
            wrong.push("at");
        }
        if self.teams(told, kind).is_some_and(|teams| teams != row.teams) {
            wrong.push("teams");
        }
        wrong
    }

    /// The teams of a record; `None` if it does not say.
    fn teams(&mut self, told: &Told, kind: Kind) -> Option<String> {
        let listed = |teams: &[String]| match teams {
            [] => String::new(),
            teams => format!("/{}/", teams.join("/")),
        };
        if let Some(team) = &told.team {
            return Some(listed(std::slice::from_ref(team)));
        }
        if matches!(kind, Kind::Outcome | Kind::LateOutcome) {
            return self.teams.get(&told.event_id?).cloned();
        }
        let teams = listed(told.teams());
        if let (Kind::Intent, Some(id)) = (kind, told.event_id) {
            self.teams.insert(id, teams.clone());
        }
        Some(teams)
    }
}

/// The times of a log's events, as its rows have them, in their order.
#[derive(Default)]
pub(super) struct Order(Option<Times>);

impl Order {
    pub fn pass(&mut self, row: &Row) {
        if [Kind::Outcome, Kind::LateOutcome].map(|kind| kind as i64).contains(&row.kind) {
            return;
        }
        let at = row.at;
        let times = self.0.get_or_insert(Times { earliest: at, latest: at, disorder: 0 });
        times.earliest = times.earliest.min(at);
        times.latest = times.latest.max(at);
        times.disorder = times.disorder.max(times.latest.saturating_sub(at));
    }

    /// Whether searches that rely on what the store notes miss none of them.
    pub fn is_within(&self, noted: Times) -> bool {
        self.0.is_none_or(|times| {
            times.earliest >= noted.earliest
                && times.latest <= noted.latest
                && times.disorder <= noted.disorder
        })
    }
}

/// The first record of a log tells its time in milliseconds.
fn rounded(micros: i64, kind: Kind) -> i64 {
    if kind == Kind::LogStart { micros / 1000 } else { micros }
}

/// The records from `from`, inclusive, to `to`, exclusive.
pub(super) async fn rows(
    pool: &Pool,
    log: i64,
    from: u64,
    to: u64,
) -> Result<Vec<Row>, StoreError> {
    type Columns = (i64, i64, Vec<u8>, i64, String, Vec<u8>, Vec<u8>);
    let position = |index: u64| Position { log, index: index as i64 }.to_i64();
    let rows: Vec<Columns> = both!(pool, pool => {
        sqlx::query_as(
            "SELECT position, at, event, kind, teams, leaf, entry FROM audit_entry \
             WHERE position >= $1 AND position < $2 ORDER BY position",
        )
        .bind(position(from))
        .bind(position(to))
        .fetch_all(pool)
        .await?
    });
    let row = |(position, at, event, kind, teams, leaf, entry): Columns| Row {
        index: Position::from_i64(position).index as u64,
        leaf: leaf.try_into().map_or_else(|_| Hash::default(), Hash),
        entry,
        at,
        event,
        kind,
        teams,
    };
    Ok(rows.into_iter().map(row).collect())
}

/// The first record from `from`, inclusive, to `to`, exclusive.
pub(super) async fn first_between(
    pool: &Pool,
    from: Position,
    to: Position,
) -> Result<Option<Position>, StoreError> {
    let (first,): (Option<i64>,) = both!(pool, pool => {
        sqlx::query_as(
            "SELECT min(position) FROM audit_entry WHERE position >= $1 AND position < $2",
        )
        .bind(from.to_i64())
        .bind(to.to_i64())
        .fetch_one(pool)
        .await?
    });
    Ok(first.map(Position::from_i64))
}

/// The first record where the next one is yet to be written.
pub(super) async fn first_beyond_head(pool: &Pool) -> Result<Option<Position>, StoreError> {
    // One statement, because the head and the records are written together.
    let (first,): (Option<i64>,) = both!(pool, pool => {
        sqlx::query_as(
            "SELECT min(position) FROM audit_entry WHERE position >= \
             coalesce((SELECT (log << 40) + next FROM audit_head), 0)",
        )
        .fetch_one(pool)
        .await?
    });
    Ok(first.map(Position::from_i64))
}
