//! Which positions a range of time is at.

use std::ops::Range;

use crate::audit::log::rows::LogRow;
use crate::store::{Store, StoreError, both};

/// When to stop bisecting: so many entries are read as quickly as one more is looked at.
const NEAR: i64 = 512;

/// Leaves of `logs` the positions that events from `from` to before `to` may be at, in
/// microseconds since 1970.
pub(super) async fn narrow(
    store: &Store,
    logs: &[LogRow],
    from: Option<i64>,
    to: Option<i64>,
) -> Result<Vec<Range<i64>>, StoreError> {
    let mut ranges = Vec::new();
    for log in logs.iter().filter(|log| !log.dropped) {
        let mut range = log.positions();
        let Some(times) = log.times else {
            ranges.push(range);
            continue;
        };
        if to.is_some_and(|to| times.earliest >= to) || from.is_some_and(|from| times.latest < from)
        {
            continue;
        }
        if let Some(from) = from.filter(|from| times.earliest < *from) {
            let surely = from.saturating_sub(times.disorder);
            range.start = bisect(store, range.clone(), surely).await?;
        }
        if let Some(to) = to.filter(|to| times.latest >= *to) {
            let surely = to.saturating_add(times.disorder);
            // Those in doubt are not left out.
            range.end = range.end.min(bisect(store, range.clone(), surely).await? + NEAR);
        }
        ranges.push(range);
    }
    Ok(ranges)
}

/// A position that an event before `time` stands right before, and less than [`NEAR`]
/// positions after which one of that time or later does; or as near to an end of the range.
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
