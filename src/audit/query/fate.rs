//! What the trail says became of events, for whoever had begun them.

use std::collections::{HashMap, HashSet};

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::record;
use crate::store::{Kind, Store, StoreError, both};

/// What became of an event, as far as the trail has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is a change that is on record, and its outcome is not.
    Open,
    /// This became of it.
    Ended {
        /// The outcome, in the trail's words.
        outcome: String,
        /// The code of the problem, if there was one.
        code: Option<String>,
        /// Whether another process has found it out.
        recovered: bool,
    },
}

/// Which of these events are changes whose outcome the trail does not have yet.
///
/// # Errors
/// When the store does not answer.
pub async fn unsettled(store: &Store, events: &[Uuid]) -> Result<HashSet<Uuid>, StoreError> {
    if events.is_empty() {
        return Ok(HashSet::new());
    }
    let sql = format!("SELECT event FROM audit_open WHERE event IN ({})", places(events.len()));
    let open: Vec<(Vec<u8>,)> = both!(store, pool => {
        let mut query = sqlx::query_as(AssertSqlSafe(sql)).persistent(false);
        for event in events {
            query = query.bind(event.as_bytes().to_vec());
        }
        query.fetch_all(pool).await?
    });
    Ok(open.iter().filter_map(|(event,)| Uuid::from_slice(event).ok()).collect())
}

fn places(events: usize) -> String {
    (1..=events).map(|number| format!("${number}")).collect::<Vec<_>>().join(", ")
}

/// What became of these events. One that is not on record is not among them.
///
/// # Errors
/// When the store does not answer.
pub async fn fates(store: &Store, events: &[Uuid]) -> Result<HashMap<Uuid, Fate>, StoreError> {
    let mut fates = HashMap::new();
    if events.is_empty() {
        return Ok(fates);
    }
    let sql = format!(
        "SELECT event, kind, entry FROM audit_entry \
         WHERE event IN ({}) AND kind IN (0, 1, 2) ORDER BY position",
        places(events.len())
    );
    let rows: Vec<(Vec<u8>, i64, Vec<u8>)> = both!(store, pool => {
        let mut query = sqlx::query_as(AssertSqlSafe(sql)).persistent(false);
        for event in events {
            query = query.bind(event.as_bytes().to_vec());
        }
        query.fetch_all(pool).await?
    });
    for (event, kind, entry) in rows {
        let Ok(event) = Uuid::from_slice(&event) else { continue };
        if kind == Kind::Intent as i64 {
            fates.entry(event).or_insert(Fate::Open);
            continue;
        }
        let record = record::read(&entry).unwrap_or_default();
        let text = |name: &str| Some(record.get(name)?.as_str()?.to_owned());
        let more = record.get("additionalEventData").and_then(|more| more.get("recovered"));
        let ended = Fate::Ended {
            outcome: text("outcome").unwrap_or_default(),
            code: text("errorCode"),
            recovered: more.is_some_and(|recovered| recovered == true),
        };
        fates.insert(event, ended);
    }
    Ok(fates)
}
