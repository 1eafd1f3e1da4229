//! Which positions a range of time is at.

use std::{ops::Range, time::Duration};

use crate::audit::log::rows;
use crate::store::{Position, Store, StoreError, both};

/// By how much an event's place in the log may disagree with its time: how long a request
/// takes, and by how much the clocks of replicas differ.
const DISORDER: Duration = Duration::from_secs(120);
/// When to stop bisecting: so many entries are read as quickly as one more is looked at.
const NEAR: i64 = 512;

/// A log and its entries' positions.
pub(super) struct Log {
    /// The log's name: `2026-11`.
    pub name: String,
    /// The positions.
    pub positions: Range<i64>,
    /// The time of its first entry, in microseconds since 1970.
    begins: i64,
}

/// All logs whose entries are there, in order.
pub(super) async fn logs(store: &Store) -> Result<Vec<Log>, StoreError> {
    type Row = (i64, String, Option<i64>, Option<i64>);
    // First: what it counts is there by the time that the rows are read.
    let head = rows::head(store.pool()).await?;
    let rows: Vec<Row> = both!(store, pool => {
        let query = sqlx::query_as(
            "SELECT l.log, l.origin, l.size, e.at FROM audit_log l \
             LEFT JOIN audit_entry e ON e.position = l.log * 1099511627776 \
             WHERE l.dropped = 0 ORDER BY l.log",
        );
        query.fetch_all(pool).await?
    });
    let log = |(log, origin, size, begins): Row| {
        let open = || head.filter(|head| head.log == log).map(|head| head.next as i64);
        let size = size.or_else(open)?;
        let place = |index| Position { log, index }.to_i64();
        let name = origin.rsplit('/').next().unwrap_or_default().to_owned();
        Some(Log { name, positions: place(0)..place(size), begins: begins? })
    };
    Ok(rows.into_iter().filter_map(log).collect())
}

/// Leaves of `logs` the positions that events from `from` to before `to` may be at, in
/// microseconds since 1970.
pub(super) async fn narrow(
    store: &Store,
    logs: &[Log],
    from: Option<i64>,
    to: Option<i64>,
) -> Result<Vec<Range<i64>>, StoreError> {
    let disorder = i64::try_from(DISORDER.as_micros()).unwrap_or(i64::MAX);
    let (from, to) =
        (from.map(|from| from.saturating_sub(disorder)), to.map(|to| to.saturating_add(disorder)));
    let mut ranges = Vec::new();
    for (index, log) in logs.iter().enumerate() {
        let ends = logs.get(index + 1).map(|next| next.begins);
        if to.is_some_and(|to| log.begins >= to)
            || from.is_some_and(|from| ends.is_some_and(|ends| ends < from))
        {
            continue;
        }
        let mut range = log.positions.clone();
        if let Some(from) = from.filter(|from| log.begins < *from) {
            range.start = bisect(store, range.clone(), from).await?;
        }
        if let Some(to) = to {
            // Those in doubt are not left out.
            range.end = range.end.min(bisect(store, range.clone(), to).await? + NEAR);
        }
        ranges.push(range);
    }
    Ok(ranges)
}

/// A position before which no event is as late as `time`; nearly the last one.
async fn bisect(store: &Store, range: Range<i64>, time: i64) -> Result<i64, StoreError> {
    let (mut low, mut high) = (range.start, range.end);
    while high - low > NEAR {
        let middle = low + (high - low) / 2;
        match event_at(store, middle..high).await? {
            Some((position, at)) if at < time => low = position + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The first event of a range: its position and its time. Outcomes are passed over: they
/// may come long after their event.
async fn event_at(store: &Store, range: Range<i64>) -> Result<Option<(i64, i64)>, StoreError> {
    both!(store, pool => {
        let query = sqlx::query_as(
            "SELECT position, at FROM audit_entry WHERE position >= $1 AND position < $2 \
             AND kind NOT IN (2, 3) ORDER BY position LIMIT 1",
        );
        Ok(query.bind(range.start).bind(range.end).fetch_optional(pool).await?)
    })
}

/// Cuts ranges into pieces of at most `step` positions, from `start` on.
pub(super) fn steps(
    ranges: &[Range<i64>],
    start: i64,
    step: i64,
) -> impl Iterator<Item = Range<i64>> + '_ {
    ranges.iter().flat_map(move |range| {
        let mut at = range.start.max(start);
        std::iter::from_fn(move || {
            (at < range.end).then(|| {
                let piece = at..range.end.min(at + step);
                at = piece.end;
                piece
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_without_loss_or_repetition() {
        let ranges = [0..5, 10..10, 20..27];
        let cut = |start| steps(&ranges, start, 3).collect::<Vec<_>>();
        assert_eq!(cut(0), [0..3, 3..5, 20..23, 23..26, 26..27]);
        assert_eq!(cut(4), [4..5, 20..23, 23..26, 26..27]);
        assert_eq!(cut(24).first(), Some(&(24..27)));
        assert_eq!(cut(27), [0..0; 0]);
    }
}
