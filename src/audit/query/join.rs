//! What became of changes: the outcomes of their intents.

use std::collections::HashMap;

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{filter::Outcomes, record};
use crate::store::{Store, StoreError, both};

/// The outcomes of these events, however long they took.
pub(super) async fn outcomes(
    store: &Store,
    events: &[Uuid],
) -> Result<HashMap<Uuid, Outcomes>, StoreError> {
    let mut found: HashMap<Uuid, Outcomes> = HashMap::new();
    if events.is_empty() {
        return Ok(found);
    }
    let places: Vec<String> = (1..=events.len()).map(|number| format!("${number}")).collect();
    let sql = format!(
        "SELECT event, kind, entry FROM audit_entry \
         WHERE event IN ({}) AND kind IN (2, 3) ORDER BY position",
        places.join(", ")
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
        found.entry(event).or_default().note(kind, record::read(&entry));
    }
    Ok(found)
}
