//! One event.

use std::ops::Range;

use uuid::Uuid;

use super::{
    join, range,
    record::{self, Record},
};
use crate::audit::log::{Hash, rows};
use crate::store::{Position, Store, StoreError, both};

/// By how much, in microseconds, the time in an event's ID may differ from the event's.
const NEAR: i64 = 1_000_000;
/// How many entries one statement looks at.
const STEP: i64 = 50_000;

/// An event, and all that the log has of it.
#[derive(Debug)]
pub struct FoundEvent {
    /// What happened, with the outcome if it is known.
    pub event: Record,
    /// The teams that may read it.
    pub teams: Vec<String>,
    /// The entries, in the order of the log.
    pub entries: Vec<Entry>,
}

/// An entry in its place.
#[derive(Debug)]
pub struct Entry {
    /// The name of the log: `2026-11`.
    pub log: String,
    /// Where it is.
    pub position: Position,
    /// The hash of the leaf.
    pub leaf: Vec<u8>,
    /// The entry.
    pub text: String,
    /// That the log holds it; none if it is younger than the log's last checkpoint.
    pub proof: Option<Proof>,
}

/// That a log holds an entry (RFC 6962, section 2.1.1).
#[derive(Debug)]
pub struct Proof {
    /// The signed checkpoint of the log.
    pub checkpoint: String,
    /// How many entries the log has, by the checkpoint.
    pub size: u64,
    /// The hashes beside the way from the leaf to the root, from below.
    pub hashes: Vec<Hash>,
}

/// The event with this ID.
///
/// # Errors
/// When the store does not answer.
pub async fn find(store: &Store, id: Uuid) -> Result<Option<FoundEvent>, StoreError> {
    // An ID that tells no time is none of the gateway's (RFC 9562, section 5.7).
    let Some(at) = id.get_timestamp().filter(|_| id.get_version_num() == 7) else {
        return Ok(None);
    };
    let (seconds, nanoseconds) = at.to_unix();
    let at = i64::try_from(seconds).unwrap_or(i64::MAX / 2_000_000) * 1_000_000
        + i64::from(nanoseconds) / 1000;
    let logs = range::logs(store).await?;
    let ranges = range::narrow(store, &logs, Some(at - NEAR), Some(at + NEAR)).await?;
    let mut first = None;
    for piece in range::steps(&ranges, 0, STEP) {
        first = first_entry(store, id, &piece).await?;
        if first.is_some() {
            break;
        }
    }
    let Some((position, teams)) = first else { return Ok(None) };
    let outcomes = join::outcomes(store, &logs, &[(id, position)]).await?.remove(&id);
    let outcomes = outcomes.unwrap_or_default();
    let mut entries = Vec::new();
    for position in [position].iter().chain(&outcomes.positions) {
        entries.extend(entry(store, &logs, *position).await?);
    }
    let Some(mut event) = entries.first().and_then(|first| record::read(first.text.as_bytes()))
    else {
        return Ok(None);
    };
    outcomes.add_to(&mut event);
    let teams = teams.split('/').filter(|team| !team.is_empty()).map(str::to_owned).collect();
    Ok(Some(FoundEvent { event, teams, entries }))
}

/// Where the event is in a range of positions, and its teams.
async fn first_entry(
    store: &Store,
    id: Uuid,
    range: &Range<i64>,
) -> Result<Option<(i64, String)>, StoreError> {
    both!(store, pool => {
        let query = sqlx::query_as(
            "SELECT position, teams FROM audit_entry WHERE position >= $1 AND position < $2 \
             AND event = $3 AND kind NOT IN (2, 3) ORDER BY position LIMIT 1",
        );
        let query = query.bind(range.start).bind(range.end).bind(id.as_bytes().to_vec());
        Ok(query.fetch_optional(pool).await?)
    })
}

/// The entry at a position.
async fn entry(
    store: &Store,
    logs: &[range::Log],
    position: i64,
) -> Result<Option<Entry>, StoreError> {
    let row: Option<(Vec<u8>, Vec<u8>)> = both!(store, pool => {
        sqlx::query_as("SELECT leaf, entry FROM audit_entry WHERE position = $1")
            .bind(position)
            .fetch_optional(pool)
            .await?
    });
    let log = logs.iter().find(|log| log.positions.contains(&position));
    let Some(((leaf, entry), log)) = row.zip(log) else { return Ok(None) };
    let position = Position::from_i64(position);
    Ok(Some(Entry {
        log: log.name.clone(),
        position,
        leaf,
        text: String::from_utf8_lossy(&entry).into_owned(),
        proof: proof(store, position).await?,
    }))
}

/// That an entry is in its log, as of the log's last checkpoint.
async fn proof(store: &Store, position: Position) -> Result<Option<Proof>, StoreError> {
    let pool = store.pool();
    let logs = rows::logs(pool).await?;
    let log = logs.into_iter().find(|log| log.log == position.log);
    let Some(checkpoint) = log.and_then(|log| log.checkpoint) else { return Ok(None) };
    let index = u64::try_from(position.index).unwrap_or(u64::MAX);
    if index >= checkpoint.size {
        return Ok(None);
    }
    let hashes = rows::inclusion_proof(pool, position.log, index, checkpoint.size).await?;
    let (checkpoint, size) = (checkpoint.note, checkpoint.size);
    Ok(hashes.map(|hashes| Proof { checkpoint, size, hashes }))
}
