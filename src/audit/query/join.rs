//! What became of changes: the outcomes of their intents.

use std::{collections::HashMap, ops::Range};

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{filter::Outcomes, range, record};
use crate::store::{Store, StoreError, both};

/// How many entries after its intent an outcome is searched for. After that only those
/// that came late are found, which have an index.
const LOOK_AHEAD: i64 = 100_000;
/// How many entries one statement looks at.
const STEP: i64 = 5_000;

/// An intent whose outcome is searched for.
struct Wanted {
    event: Uuid,
    position: i64,
    /// How many entries after it have been looked at.
    looked_at: i64,
}

/// The outcomes of intents, each given by its event and its position in ascending order.
pub(super) async fn outcomes(
    store: &Store,
    logs: &[range::Log],
    intents: &[(Uuid, i64)],
) -> Result<HashMap<Uuid, Outcomes>, StoreError> {
    let mut found: HashMap<Uuid, Outcomes> = HashMap::new();
    let Some((_, first)) = intents.first() else { return Ok(found) };
    for (event, position, entry) in late(store, intents).await? {
        let outcomes = found.entry(event).or_default();
        outcomes.positions.push(position);
        outcomes.late = record::read(&entry);
    }
    let open = open(store).await?;
    let mut wanted: Vec<Wanted> = intents
        .iter()
        .filter(|(event, _)| !open.contains(event))
        .map(|(event, position)| Wanted { event: *event, position: *position, looked_at: 0 })
        .collect();
    let ranges: Vec<Range<i64>> = logs.iter().map(|log| log.positions.clone()).collect();
    for piece in range::steps(&ranges, first + 1, STEP) {
        if wanted.is_empty() {
            break;
        }
        if wanted.iter().all(|wanted| wanted.position >= piece.end) {
            continue;
        }
        let here = outcomes_in(store, &piece).await?.into_iter();
        let here: HashMap<Uuid, (i64, Vec<u8>)> =
            here.map(|(event, position, entry)| (event, (position, entry))).collect();
        wanted.retain_mut(|wanted| {
            if wanted.position >= piece.end {
                return true;
            }
            wanted.looked_at += piece.end - piece.start.max(wanted.position);
            let Some((position, entry)) = here.get(&wanted.event) else {
                return wanted.looked_at < LOOK_AHEAD;
            };
            let outcomes = found.entry(wanted.event).or_default();
            outcomes.positions.insert(0, *position);
            outcomes.outcome = record::read(entry);
            false
        });
    }
    Ok(found)
}

/// Every intent that has no outcome yet: as many as there are changes under way.
async fn open(store: &Store) -> Result<Vec<Uuid>, StoreError> {
    let rows: Vec<(Vec<u8>,)> = both!(store, pool => {
        sqlx::query_as("SELECT event FROM audit_open").fetch_all(pool).await?
    });
    Ok(rows.iter().filter_map(|(event,)| Uuid::from_slice(event).ok()).collect())
}

/// An outcome: its event, position and entry.
type Found = (Uuid, i64, Vec<u8>);

async fn outcomes_in(store: &Store, piece: &Range<i64>) -> Result<Vec<Found>, StoreError> {
    let rows: Vec<(Vec<u8>, i64, Vec<u8>)> = both!(store, pool => {
        let query = sqlx::query_as(
            "SELECT event, position, entry FROM audit_entry \
             WHERE position >= $1 AND position < $2 AND kind = 2",
        );
        query.bind(piece.start).bind(piece.end).fetch_all(pool).await?
    });
    Ok(by_event(rows))
}

/// The late outcomes, however long they took.
async fn late(store: &Store, intents: &[(Uuid, i64)]) -> Result<Vec<Found>, StoreError> {
    let places: Vec<String> = (1..=intents.len()).map(|number| format!("${number}")).collect();
    let sql = format!(
        "SELECT event, position, entry FROM audit_entry \
         WHERE kind = 3 AND event IN ({}) ORDER BY position",
        places.join(", ")
    );
    let rows: Vec<(Vec<u8>, i64, Vec<u8>)> = both!(store, pool => {
        let mut query = sqlx::query_as(AssertSqlSafe(sql)).persistent(false);
        for (event, _) in intents {
            query = query.bind(event.as_bytes().to_vec());
        }
        query.fetch_all(pool).await?
    });
    Ok(by_event(rows))
}

fn by_event(rows: Vec<(Vec<u8>, i64, Vec<u8>)>) -> Vec<Found> {
    let row = |(event, position, entry): (Vec<u8>, i64, Vec<u8>)| {
        Some((Uuid::from_slice(&event).ok()?, position, entry))
    };
    rows.into_iter().filter_map(row).collect()
}
