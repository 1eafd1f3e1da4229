//! Retention: the records of whole months are dropped, oldest first. What is left can
//! still be verified, because a log's final checkpoint stays, and the next log begins
//! with it.

use std::time::Duration;

use super::log::rows::{self, LogRow};
use crate::store::{Pool, Position, StoreError, both};

/// How many records one transaction deletes, so that whoever writes need not wait long, and that
/// there is room for it on a disk that is nearly full.
const AT_ONCE: i64 = 1_000;

/// How much later than the one before a log begins at most, in microseconds, if the gateway
/// runs all the time and its clock is right; with a month to spare.
const GAP: i64 = 62 * 24 * 3_600_000_000;

/// Drops the records of each log that ended longer ago than `keep`. Gives the origins of the
/// logs and how many records they had. Whoever runs it must be allowed to delete records; a
/// serving gateway need not be.
///
/// All times of an SQLite store are one host's. If its clock was far ahead, logs that are young
/// seem to be old: so there nothing is dropped before a gap between logs, unless somebody who
/// knows of it says `despite_gap`.
///
/// # Errors
/// When the store does not answer. What was dropped by then stays dropped, and the rest
/// is dropped the next time. When there is such a gap.
pub async fn retain(
    pool: &Pool,
    keep: Duration,
    despite_gap: bool,
) -> Result<Vec<(String, u64)>, StoreError> {
    let keep = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
    let logs = rows::logs(pool).await?;
    // Two clocks must agree: this one, and those of the gateways that wrote last.
    let last = logs.last().and_then(|log| log.times).map_or(i64::MAX, |times| times.latest);
    let until = rows::now(pool).await?.min(last).saturating_sub(keep);
    let mut there = Vec::new();
    for row in &logs {
        if row.dropped {
            // The last time not all could be deleted, perhaps.
            delete(pool, row.log, row.records).await?;
        } else if let Some(begun) = rows::begun(pool, row.log).await? {
            there.push((row, begun));
        }
    }
    let begun: Vec<i64> = there.iter().map(|(_, begun)| *begun).collect();
    let lies = |pair: &&[(&LogRow, i64)]| pair[1].1.saturating_sub(pair[0].1) > GAP;
    let gap = there.windows(2).rfind(lies).filter(|_| !despite_gap);
    let gap = gap.map(|pair| [pair[0].0.origin.clone(), pair[1].0.origin.clone()]);
    let mut dropped = Vec::new();
    for ((row, _), ended) in there.into_iter().zip(ended(&begun)) {
        if ended >= until {
            break;
        }
        if let (Some([before, after]), Pool::Sqlite(_)) = (&gap, pool) {
            return Err(StoreError::Unusable(format!(
                "{} would be dropped, but the log {after} began more than two months after \
                 {before}. If the host's clock was far ahead, set it right, and drop nothing until \
                 the next month. If the gateway did not run for so long, add --despite-gap",
                row.origin
            )));
        }
        both!(pool, pool => {
            sqlx::query("UPDATE audit_log SET dropped = 1 WHERE log = $1")
                .bind(row.log)
                .execute(pool)
                .await?;
        });
        delete(pool, row.log, row.records).await?;
        dropped.push((row.origin.clone(), row.records));
    }
    Ok(dropped)
}

/// When logs have ended that began at these times, all but the last: when another began. If
/// a clock was wrong when a log began, that time is out of order and tells nothing; if it is
/// the last log's, nothing is known until the next one begins.
fn ended(begun: &[i64]) -> Vec<i64> {
    let Some((last, before)) = begun.split_last() else { return Vec::new() };
    if before.last().is_some_and(|begun| begun > last) {
        return Vec::new();
    }
    let end = |index: usize| {
        let since = begun[..=index].iter().filter(|begun| *begun <= last).max();
        let later = begun[index + 1..].iter().filter(|begun| since.is_none_or(|s| *begun >= s));
        later.copied().min().unwrap_or(*last)
    };
    (0..before.len()).map(end).collect()
}

async fn delete(pool: &Pool, log: i64, size: u64) -> Result<(), StoreError> {
    let size = size as i64;
    let begin = Position { log, index: 0 }.to_i64();
    let end = Position { log: log + 1, index: 0 }.to_i64();
    for index in (0..size).step_by(AT_ONCE as usize) {
        let to = Position { log, index: (index + AT_ONCE).min(size) }.to_i64();
        let deleted = both!(pool, pool => {
            sqlx::query("DELETE FROM audit_entry WHERE position >= $1 AND position < $2")
                .bind(begin)
                .bind(to)
                .execute(pool)
                .await?
                .rows_affected()
        });
        if deleted > 0 {
            copy(pool).await;
        }
    }
    both!(pool, pool => {
        sqlx::query("DELETE FROM audit_tile WHERE log = $1").bind(log).execute(pool).await?;
        sqlx::query("DELETE FROM audit_open WHERE position >= $1 AND position < $2")
            .bind(begin)
            .bind(end)
            .execute(pool)
            .await?;
    });
    Ok(())
}

/// Copies SQLite's write-ahead log into the file, so that the log does not grow meanwhile. What
/// others still read, and what finds no room, stays in the log until later.
async fn copy(pool: &Pool) {
    if let Pool::Sqlite(pool) = pool {
        let _ = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(pool).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_ends_when_another_begins_and_a_wrong_clock_tells_nothing() {
        assert_eq!(ended(&[]), [0; 0]);
        assert_eq!(ended(&[1]), [0; 0]);
        assert_eq!(ended(&[10, 20, 30]), [20, 30]);
        // Far ahead, and set right in the same month.
        assert_eq!(ended(&[10, 900]), [900]);
        assert_eq!(ended(&[10, 900, 15]), [0; 0]);
        assert_eq!(ended(&[10, 900, 15, 20]), [15, 15, 20]);
        // Far behind.
        assert_eq!(ended(&[10, 20, 0]), [0; 0]);
        assert_eq!(ended(&[10, 20, 0, 25, 30]), [20, 25, 25, 30]);
    }
}
