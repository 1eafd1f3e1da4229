//! Events in the order of the log.

use std::{fmt, ops::Range, str::FromStr};

use data_encoding::BASE64URL_NOPAD;
use uuid::Uuid;

use super::{
    filter::Filter,
    join, range,
    record::{self, Record},
};
use crate::audit::log::rows;
use crate::store::{Store, StoreError, both};

/// How many entries a request looks at. A page may be short for it.
const MOST_SCANNED: i64 = 50_000;
/// How many entries one statement looks at.
const STEP: i64 = 10_000;
/// How many entries one statement gives.
const BATCH: usize = 1_000;

/// Where a listing goes on: the next position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker(i64);

/// A text is no marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("send the marker of the page before as it was, or none for the first page")]
pub struct NoMarker;

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(&self.0.to_be_bytes()))
    }
}

impl FromStr for Marker {
    type Err = NoMarker;

    fn from_str(text: &str) -> Result<Self, NoMarker> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| NoMarker)?;
        let position = i64::from_be_bytes(bytes.try_into().map_err(|_| NoMarker)?);
        if position < 0 { Err(NoMarker) } else { Ok(Self(position)) }
    }
}

/// Some of the events that were asked for.
#[derive(Debug, Default)]
pub struct Page {
    /// The events, in the order of the log.
    pub events: Vec<Record>,
    /// Where to go on; none if there are no more.
    pub marker: Option<Marker>,
}

/// An event's first entry.
struct First {
    position: i64,
    event: Uuid,
    record: Record,
}

/// Lists at most `limit` events that fit `filter` and that `may_read`, which is asked for
/// the teams of an event; an event of no team has none. A change comes with its outcome if
/// there is one.
///
/// # Errors
/// When the store does not answer.
pub async fn list(
    store: &Store,
    filter: &Filter,
    marker: Option<Marker>,
    limit: usize,
    mut may_read: impl FnMut(&[&str]) -> bool,
) -> Result<Page, StoreError> {
    let logs = rows::logs(store.pool()).await?;
    let start = marker.map_or(0, |marker| marker.0);
    // Where the listing goes on was found by its first request.
    let from = filter.from.filter(|_| marker.is_none());
    let ranges = range::narrow(store, &logs, from, filter.to).await?;
    let mut page = Page::default();
    let mut firsts = Vec::new();
    let mut scanned = 0;
    'scan: for piece in range::steps(&ranges, start, STEP) {
        let mut rest = piece;
        while !rest.is_empty() {
            if page.events.len() + firsts.len() >= limit || scanned >= MOST_SCANNED {
                page.marker = Some(Marker(rest.start));
                break 'scan;
            }
            let wanted = limit - page.events.len() - firsts.len();
            let most = if filter.is_simple() { wanted.min(BATCH) } else { BATCH };
            let rows = rows(store, filter, &rest, most).await?;
            let end = match rows.last() {
                Some(last) if rows.len() == most => last.0 + 1,
                _ => rest.end,
            };
            for (position, event, teams, entry) in rows {
                let teams: Vec<&str> = teams.split('/').filter(|team| !team.is_empty()).collect();
                if !may_read(&teams) {
                    continue;
                }
                let event = Uuid::from_slice(&event).unwrap_or_default();
                let record = record::read(&entry).filter(|record| filter.fits(record));
                firsts.extend(record.map(|record| First { position, event, record }));
            }
            if filter.outcome.is_some() {
                complete(store, filter, &mut firsts, &mut page, limit).await?;
            } else if firsts.len() > limit {
                page.marker = Some(Marker(firsts[limit].position));
                firsts.truncate(limit);
            }
            if page.marker.is_some() {
                break 'scan;
            }
            scanned += end - rest.start;
            rest = end..rest.end;
        }
    }
    complete(store, filter, &mut firsts, &mut page, limit).await?;
    Ok(page)
}

/// Moves events to the page with what became of them, those that fit. If there are too
/// many, the page's marker is at the first that is left over.
async fn complete(
    store: &Store,
    filter: &Filter,
    firsts: &mut Vec<First>,
    page: &mut Page,
    limit: usize,
) -> Result<(), StoreError> {
    let is_change =
        |first: &&First| first.record.get("eventType").is_some_and(|kind| kind == "Intent");
    let intents: Vec<Uuid> = firsts.iter().filter(is_change).map(|first| first.event).collect();
    let mut outcomes = join::outcomes(store, &intents).await?;
    for First { position, event, mut record } in firsts.drain(..) {
        if let Some(outcomes) = outcomes.remove(&event) {
            outcomes.add_to(&mut record);
        }
        if !filter.fits_outcome(&record) {
            continue;
        }
        if page.events.len() == limit {
            page.marker = Some(Marker(position));
            break;
        }
        page.events.push(record);
    }
    Ok(())
}

type Row = (i64, Vec<u8>, String, Vec<u8>);

/// The first entries of events in a range of positions: those of the time and the team
/// that are asked for.
async fn rows(
    store: &Store,
    filter: &Filter,
    range: &Range<i64>,
    most: usize,
) -> Result<Vec<Row>, StoreError> {
    let team = filter.team.as_ref().map(|team| format!("/{team}/")).unwrap_or_default();
    both!(store, pool => {
        // LIKE takes `_` for any character, and has a case only in PostgreSQL.
        let query = sqlx::query_as(
            "SELECT position, event, teams, entry FROM audit_entry \
             WHERE position >= $1 AND position < $2 AND kind NOT IN (2, 3) \
             AND at >= $3 AND at < $4 AND ($5 = '' OR replace(teams, $5, '') <> teams) \
             ORDER BY position LIMIT $6",
        );
        let query = query
            .bind(range.start)
            .bind(range.end)
            .bind(filter.from.unwrap_or(i64::MIN))
            .bind(filter.to.unwrap_or(i64::MAX))
            .bind(team)
            .bind(i64::try_from(most).unwrap_or(i64::MAX));
        Ok(query.fetch_all(pool).await?)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_back_and_nothing_else_is_one() {
        for position in [0, 1 << 40, i64::MAX] {
            let marker = Marker(position);
            assert_eq!(marker.to_string().parse(), Ok(marker));
        }
        for text in ["", "a", "AAAAAAAAAA", "AAAAAAAAAAA=", "__________8", "AAAAAAAAAAB"] {
            assert_eq!(text.parse::<Marker>(), Err(NoMarker), "{text}");
        }
    }
}
