//! Retention: the records of whole months are dropped, oldest first. What is left can
//! still be verified, because a log's final checkpoint stays, and the next log begins
//! with it.

use std::time::Duration;

use super::log::rows;
use crate::store::{Pool, Position, StoreError, both};

/// How many records one transaction deletes, so that whoever writes need not wait long.
const AT_ONCE: i64 = 5_000;

/// Drops the records of each log that ended longer ago than `keep`: the next log began
/// before then. Gives the origins of the logs and how many records they had. Whoever
/// runs it must be allowed to delete records; a serving gateway need not be.
///
/// # Errors
/// When the store does not answer. What was dropped by then stays dropped, and the rest
/// is dropped the next time.
pub async fn retain(pool: &Pool, keep: Duration) -> Result<Vec<(String, u64)>, StoreError> {
    let keep = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
    let until = rows::now(pool).await?.saturating_sub(keep);
    let logs = rows::logs(pool).await?;
    let mut dropped = Vec::new();
    for (row, next) in logs.iter().zip(logs.iter().skip(1)) {
        let Some(size) = row.size else { break };
        if !row.dropped {
            if rows::begun(pool, next.log).await?.is_none_or(|begun| begun >= until) {
                break;
            }
            both!(pool, pool => {
                sqlx::query("UPDATE audit_log SET dropped = 1 WHERE log = $1")
                    .bind(row.log)
                    .execute(pool)
                    .await?;
            });
            dropped.push((row.origin.clone(), size));
        }
        // Also of a log of which the last time not all could be deleted.
        delete(pool, row.log, size).await?;
    }
    Ok(dropped)
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
            tokio::task::yield_now().await;
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
