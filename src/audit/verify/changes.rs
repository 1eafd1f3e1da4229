//! The changes of a trail: each intent has one outcome, and each outcome has its intent.

use std::collections::HashMap;

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::told::Told;
use crate::{
    audit::log::LogStart,
    store::{Kind, Pool, Position, StoreError, both},
};

/// By how much the clocks of gateways and of the store may differ.
const DIFFERENCE: Duration = Duration::DAY;
/// How many rows that are wrong are named.
const MOST_NAMED: usize = 100;

/// Reads the records of a trail in their order, and remembers the changes that are under way.
#[derive(Default)]
pub(super) struct Changes {
    /// The intents that have no outcome yet, and where they are.
    open: HashMap<Uuid, (usize, u64)>,
    /// Of an earlier event the intent can be where it was not read; `None` if that is so of
    /// every event.
    known_since: Option<OffsetDateTime>,
    has_begun: bool,
}

impl Changes {
    /// Tells the next record, of the log that is so many in the trail. Gives what is wrong with
    /// it.
    pub fn pass(&mut self, log: usize, index: u64, told: &Told, entry: &[u8]) -> Option<String> {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.known_since = begin(told, entry);
        }
        let event = told.event_id?;
        match told.kind()? {
            Kind::Intent => {
                let (_, before) = self.open.insert(event, (log, index))?;
                Some(format!("it is a second intent of the event {event}, as record {before} is"))
            }
            Kind::Outcome if self.open.remove(&event).is_none() && self.is_known(told) => {
                Some(format!(
                    "it is a second outcome of the event {event}, or its outcome without an intent"
                ))
            }
            _ => None,
        }
    }

    /// Tells that records could not be read, so that those which follow prove nothing.
    pub fn lose_track(&mut self) {
        *self = Self { has_begun: true, ..Self::default() };
    }

    /// How many intents have no outcome.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// The first of these intents of which the store neither says that they are under way nor
    /// has an outcome by now: of each the log, the index in that, and the event.
    pub async fn forgotten(self, pool: &Pool) -> Result<Vec<(usize, u64, Uuid)>, StoreError> {
        let place = |(event, (log, index))| (log, index, event);
        let mut open: Vec<_> = self.open.into_iter().map(place).collect();
        open.sort_unstable();
        let mut forgotten = Vec::new();
        for intent in open {
            if forgotten.len() < MOST_NAMED && !is_accounted_for(pool, intent.2).await? {
                forgotten.push(intent);
            }
        }
        Ok(forgotten)
    }

    fn is_known(&self, outcome: &Told) -> bool {
        self.known_since.is_some_and(|since| outcome.time().is_none_or(|time| time >= since))
    }
}

/// Since when all events are known to a reader who begins with this record.
fn begin(told: &Told, entry: &[u8]) -> Option<OffsetDateTime> {
    let start = LogStart::of_entry(entry)?;
    if start.previous.is_none() {
        return Some(OffsetDateTime::UNIX_EPOCH);
    }
    told.time().map(|begun| begun.saturating_add(DIFFERENCE))
}

/// Whether the store says that a change is under way, or has its outcome.
async fn is_accounted_for(pool: &Pool, event: Uuid) -> Result<bool, StoreError> {
    // One statement, because an outcome and the end of that row are written together.
    let (found,): (i64,) = both!(pool, pool => {
        sqlx::query_as(
            "SELECT (SELECT count(*) FROM audit_open WHERE event = $1) \
             + (SELECT count(*) FROM audit_entry WHERE event = $1 AND kind = $2)",
        )
        .bind(event.as_bytes().to_vec())
        .bind(Kind::Outcome as i64)
        .fetch_one(pool)
        .await?
    });
    Ok(found > 0)
}

/// The first changes that the store wrongly takes for being under way: of each where its intent
/// ought to be, and why it is not under way. A gateway would record an outcome of it.
pub(super) async fn not_under_way(
    pool: &Pool,
) -> Result<Vec<(Position, &'static str)>, StoreError> {
    let rows: Vec<(i64, i64)> = both!(pool, pool => {
        sqlx::query_as(
            "SELECT o.position, (SELECT count(*) FROM audit_entry e WHERE e.event = o.event \
                 AND e.position = o.position AND e.kind = $1) AS intents \
             FROM audit_open o \
             WHERE NOT EXISTS (SELECT 1 FROM audit_entry e WHERE e.event = o.event \
                 AND e.position = o.position AND e.kind = $1) \
             OR EXISTS (SELECT 1 FROM audit_entry e WHERE e.event = o.event AND e.kind = $2) \
             ORDER BY o.position LIMIT $3",
        )
        .bind(Kind::Intent as i64)
        .bind(Kind::Outcome as i64)
        .bind(MOST_NAMED as i64)
        .fetch_all(pool)
        .await?
    });
    let told = |(position, intents)| {
        let why = if intents == 0 {
            "the store takes it for a change that is under way, and it is not that intent"
        } else {
            "the store takes it for a change that is under way, and it has its outcome"
        };
        (Position::from_i64(position), why)
    };
    Ok(rows.into_iter().map(told).collect())
}
