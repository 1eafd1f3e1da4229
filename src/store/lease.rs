//! Leases: of all processes that share the store, one at a time does a chore.

use std::time::{Duration, Instant};

use sqlx::AssertSqlSafe;

use super::{Pool, Store, both, error::StoreError};

/// The right to do a chore until a moment. Whatever is written under it says
/// `epoch = mine`, so that a holder that was stopped for too long changes nothing.
#[derive(Clone, Debug)]
pub struct Lease {
    /// Goes up with each new holder.
    pub epoch: i64,
    /// By this process's own clock, earlier than the store's.
    expires: Instant,
}

impl Lease {
    /// Whether the lease still holds, as far as this process can know.
    pub fn holds(&self) -> bool {
        Instant::now() < self.expires
    }
}

impl Store {
    /// Takes or extends the lease `name` for `length`, which is always the same for a name.
    /// `None` if another process has it. A lease that ends later than one that is taken
    /// now is from before the clock was set back, and would last as long as it was.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn lease(&self, name: &str, length: Duration) -> Result<Option<Lease>, StoreError> {
        let asked = Instant::now();
        let now = self.now();
        let sql = format!(
            "INSERT INTO lease (name, owner, epoch, until) VALUES ($1, $2, 1, {now} + $3) \
             ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until, \
             epoch = lease.epoch + CASE WHEN lease.owner = excluded.owner THEN 0 ELSE 1 END \
             WHERE lease.owner = excluded.owner OR lease.until < {now} \
             OR lease.until > excluded.until RETURNING epoch"
        );
        let micros = i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
        let held: Option<(i64,)> = both!(self, pool => {
            sqlx::query_as(AssertSqlSafe(sql))
                .bind(name)
                .bind(self.replica())
                .bind(micros)
                .fetch_optional(pool)
                .await?
        });
        // Counted from before the question, so that it ends before the store's does.
        Ok(held.map(|(epoch,)| Lease { epoch, expires: asked + length * 3 / 4 }))
    }

    /// The same for a chore of those who serve. In SQLite, whose file a process locks,
    /// another process that has the lease is gone.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn serving_lease(
        &self,
        name: &str,
        length: Duration,
    ) -> Result<Option<Lease>, StoreError> {
        let lease = self.lease(name, length).await?;
        if let (None, Pool::Sqlite(pool)) = (&lease, self.pool()) {
            let end = "UPDATE lease SET until = 0 WHERE name = $1";
            sqlx::query(end).bind(name).execute(pool).await?;
            return self.lease(name, length).await;
        }
        Ok(lease)
    }

    /// Gives the lease `name` up, so that another need not wait for its end.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn release(&self, name: &str) -> Result<(), StoreError> {
        both!(self, pool => {
            sqlx::query("UPDATE lease SET until = 0 WHERE name = $1 AND owner = $2")
                .bind(name)
                .bind(self.replica())
                .execute(pool)
                .await?;
        });
        Ok(())
    }
}

impl Pool {
    /// Takes the lease `name` from whoever has it, for a chore that `owner` names. What
    /// the holder writes under it from now on is refused.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn seize(
        &self,
        name: &str,
        owner: &str,
        length: Duration,
    ) -> Result<Lease, StoreError> {
        let asked = Instant::now();
        let now = self.now();
        let sql = format!(
            "INSERT INTO lease (name, owner, epoch, until) VALUES ($1, $2, 1, {now} + $3) \
             ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until, \
             epoch = lease.epoch + 1 RETURNING epoch"
        );
        let micros = i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
        let (epoch,): (i64,) = both!(self, pool => {
            sqlx::query_as(AssertSqlSafe(sql))
                .bind(name)
                .bind(owner)
                .bind(micros)
                .fetch_one(pool)
                .await?
        });
        Ok(Lease { epoch, expires: asked + length * 3 / 4 })
    }
}
