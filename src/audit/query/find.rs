//! One event.

use uuid::Uuid;

use super::{
    filter::Outcomes,
    record::{self, Record},
};
use crate::audit::log::{
    Hash,
    rows::{self, LogRow},
};
use crate::store::{Kind, Position, Store, StoreError, both};

/// The most entries of an event: the gateway itself writes three.
const MOST: i64 = 100;

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
    type Row = (i64, i64, String, Vec<u8>, Vec<u8>);
    let rows: Vec<Row> = both!(store, pool => {
        let query = sqlx::query_as(
            "SELECT position, kind, teams, leaf, entry FROM audit_entry WHERE event = $1 \
             ORDER BY position LIMIT $2",
        );
        query.bind(id.as_bytes().to_vec()).bind(MOST).fetch_all(pool).await?
    });
    // Outcomes alone are left if retention has dropped what they are about.
    let outcome = |kind: i64| [Kind::Outcome, Kind::LateOutcome].map(|k| k as i64).contains(&kind);
    let first = rows.iter().find(|(_, kind, ..)| !outcome(*kind));
    let event = first.and_then(|(.., entry)| record::read(entry));
    let Some((mut event, teams)) = event.zip(first.map(|(_, _, teams, ..)| teams.clone())) else {
        return Ok(None);
    };
    let logs = rows::logs(store.pool()).await?;
    let mut outcomes = Outcomes::default();
    let mut entries = Vec::new();
    for (position, kind, _, leaf, entry) in rows {
        outcomes.note(kind, record::read(&entry));
        let Some(log) = logs.iter().find(|log| log.positions().contains(&position)) else {
            continue;
        };
        let position = Position::from_i64(position);
        entries.push(Entry {
            log: log.name().to_owned(),
            position,
            leaf,
            text: String::from_utf8_lossy(&entry).into_owned(),
            proof: proof(store, log, position).await?,
        });
    }
    outcomes.add_to(&mut event);
    let teams = teams.split('/').filter(|team| !team.is_empty()).map(str::to_owned).collect();
    Ok(Some(FoundEvent { event, teams, entries }))
}

/// That an entry is in its log, as of the log's last checkpoint.
async fn proof(
    store: &Store,
    log: &LogRow,
    position: Position,
) -> Result<Option<Proof>, StoreError> {
    let index = u64::try_from(position.index).unwrap_or(u64::MAX);
    let checkpoint = log.checkpoint.as_ref().filter(|checkpoint| index < checkpoint.size);
    let Some(checkpoint) = checkpoint else { return Ok(None) };
    let hashes = rows::inclusion_proof(store.pool(), log.log, index, checkpoint.size).await?;
    let (checkpoint, size) = (checkpoint.note.clone(), checkpoint.size);
    Ok(hashes.map(|hashes| Proof { checkpoint, size, hashes }))
}
