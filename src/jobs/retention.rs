//! Dropping jobs that ended long ago.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use crate::store::{Store, StoreError, both};

/// How many items are dropped at once.
const CHUNK: i64 = 2_000;
/// How long a job that is being made may get no further item, in microseconds.
const CREATING: i64 = 60_000_000;

/// Drops jobs that ended longer than `keep` ago, and those that were never made to the end.
pub(super) async fn tidy(store: &Store, keep: Duration) -> Result<(), StoreError> {
    let keep = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
    let now = store.now();
    let old = format!(
        "SELECT id FROM job WHERE finished < {now} - $1 \
         OR (state = 'creating' AND changed < {now} - $2) ORDER BY id LIMIT 100"
    );
    let old: Vec<(String,)> = both!(store, pool => {
        sqlx::query_as(AssertSqlSafe(old)).bind(keep).bind(CREATING).fetch_all(pool).await?
    });
    for (job,) in old {
        // In pieces, so that nobody waits for long.
        let items = "DELETE FROM job_item WHERE job = $1 AND n < $2";
        let last = "SELECT coalesce(max(n), -1) FROM job_item WHERE job = $1";
        let (last,): (i64,) = both!(store, pool => {
            sqlx::query_as(last).bind(&job).fetch_one(pool).await?
        });
        let mut n = 0;
        while n <= last {
            n += CHUNK;
            both!(store, pool => {
                sqlx::query(items).bind(&job).bind(n).execute(pool).await?;
            });
        }
        both!(store, pool => {
            sqlx::query("DELETE FROM job_lane WHERE job = $1").bind(&job).execute(pool).await?;
            sqlx::query("DELETE FROM job_key WHERE job = $1").bind(&job).execute(pool).await?;
            sqlx::query("DELETE FROM lease WHERE name = $1")
                .bind(format!("job/{job}"))
                .execute(pool)
                .await?;
            sqlx::query("DELETE FROM job WHERE id = $1").bind(&job).execute(pool).await?;
        });
    }
    Ok(())
}
