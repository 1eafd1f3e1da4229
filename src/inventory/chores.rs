//! What is to be done again and again: runs on schedule, dropping what is old, and telling
//! the metrics.

use std::{sync::Arc, time::Duration};

use sqlx::AssertSqlSafe;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::{
    run::{self, Created, Order},
    summary,
    target::Target,
};
use crate::{
    config::Detail,
    domain::{AccountId, Schedule},
    gateway::{Actor, Gateway},
    metrics::InventoryLevel,
    store::{Store, StoreError, both, micros},
};

/// The name by which policies know the schedule: `service/inventory`.
const SERVICE: &str = "inventory";
/// How often the metrics are told.
const TOLD: Duration = Duration::from_secs(30);
/// How often what is old is dropped, and for how long nobody else does it.
const DROPPED: Duration = Duration::from_secs(3600);
const DROPPING: Duration = Duration::from_secs(60);
/// How much is dropped at once.
const AT_ONCE: i64 = 1_000;

/// The chores of a process.
pub(super) struct Chores {
    gateway: Arc<Gateway>,
    store: Store,
    schedule: Option<Schedule>,
    /// Since when this process serves, and the last time of the schedule that it has seen to.
    since: OffsetDateTime,
    seen_to: Option<OffsetDateTime>,
    tell: Instant,
    drop: Instant,
}

impl Chores {
    pub fn new(gateway: Arc<Gateway>, store: Store) -> Self {
        let settings = &gateway.settings.inventory;
        let zone = settings.time_zone.clone();
        let schedule = settings.schedule.clone().map(|pattern| Schedule::new(pattern, zone));
        let (since, now) = (OffsetDateTime::now_utc(), Instant::now());
        Self { gateway, store, schedule, since, seen_to: None, tell: now, drop: now }
    }

    /// There is something to tell the metrics.
    pub fn stir(&mut self) {
        self.tell = Instant::now();
    }

    /// Does what is due.
    pub async fn look(&mut self) {
        let due = self.due().await;
        self.log("cannot make the scheduled inventory run", due);
        let now = Instant::now();
        if self.tell <= now {
            self.tell = now + TOLD;
            let told = self.tell_metrics().await;
            self.log("cannot tell the metrics of the inventory", told);
        }
        if self.drop <= now {
            self.drop = now + DROPPED;
            let dropped = self.drop_old().await;
            self.log("cannot drop what is old of the inventory", dropped);
        }
    }

    fn log(&self, what: &str, done: Result<(), StoreError>) {
        match done {
            Ok(()) => {}
            // The trail has said so, and the next look may succeed.
            Err(error) if error.is_unavailable() => tracing::debug!(%error, "{what}"),
            Err(error) => tracing::warn!(%error, "{what}"),
        }
    }

    /// Makes the run of the schedule's last time, if it has none. Times that were missed
    /// become one run.
    async fn due(&mut self) -> Result<(), StoreError> {
        let Some(schedule) = &self.schedule else { return Ok(()) };
        let due = schedule.last(OffsetDateTime::now_utc());
        let Some(due) = due.filter(|due| self.seen_to != Some(*due)) else { return Ok(()) };
        let tick = micros(due);
        match what_of(tick, run::last_tick(&self.store).await?, micros(self.since)) {
            Due::Run => self.order(tick).await?,
            Due::Overlaps => {
                tracing::warn!(%due, "the inventory run before this one is not done: it is left out");
            }
            Due::Nothing => {}
        }
        self.seen_to = Some(due);
        Ok(())
    }

    async fn order(&self, tick: i64) -> Result<(), StoreError> {
        let settings = &self.gateway.settings.inventory;
        let Some(team) = &settings.team else { return Ok(()) };
        let order = Order {
            actor: Actor::service(SERVICE, team),
            target: Target::default(),
            sizes: settings.detail == Detail::Sizes,
        };
        let upstream = &self.gateway.upstream;
        let places = order.target.places(upstream);
        let created = run::create(&self.store, &order, Some(tick), None, &places).await?;
        if let Created::New(id) = created {
            tracing::info!(id, "the scheduled inventory run begins");
        }
        Ok(())
    }

    async fn tell_metrics(&self) -> Result<(), StoreError> {
        let accounts = self.gateway.upstream.accounts();
        let name = |id: &str| {
            let account = accounts.get(&id.parse::<AccountId>().ok()?)?;
            Some(accounts.name(account).to_owned())
        };
        let levels = summary::by_place(&self.store).await?.into_iter().filter_map(|place| {
            let (account, region) = (name(&place.account)?, place.region);
            let stale = super::AGES.into_iter().zip(place.levels.older).collect();
            Some(InventoryLevel {
                account,
                region,
                uploads: place.levels.uploads,
                bytes: place.levels.bytes,
                oldest: place.levels.oldest.map(|at| at / 1_000_000),
                as_of: place.levels.as_of / 1_000_000,
                stale,
            })
        });
        self.gateway.metrics.inventory(levels);
        Ok(())
    }

    /// Drops what has been gone for longer than the settings keep it, vaults that nobody has
    /// looked through for as long, and runs as old.
    async fn drop_old(&self) -> Result<(), StoreError> {
        if self.store.serving_lease("inventory-chores", DROPPING).await?.is_none() {
            return Ok(());
        }
        let keep = self.gateway.settings.inventory.keep.as_micros();
        let now = super::seen::now(&self.store).await?;
        let before = now.saturating_sub(i64::try_from(keep).unwrap_or(i64::MAX));
        self.drop_uploads("gone < $1", before).await?;
        let forgotten = "SELECT account, region, vault FROM inventory_vault WHERE tried < $1";
        self.drop_uploads(&format!("(account, region, vault) IN ({forgotten})"), before).await?;
        for (table, old) in [
            ("inventory_vault", "tried < $1"),
            ("inventory_lane", "run IN (SELECT id FROM inventory_run WHERE finished < $1)"),
            ("job_key", "job IN (SELECT id FROM inventory_run WHERE finished < $1)"),
            ("inventory_run", "finished < $1"),
        ] {
            let sql = format!("DELETE FROM {table} WHERE {old}");
            both!(self.store, pool => {
                sqlx::query(AssertSqlSafe(sql)).bind(before).execute(pool).await?;
            });
        }
        Ok(())
    }

    /// Deletes some uploads at a time, so that whoever writes need not wait long.
    async fn drop_uploads(&self, which: &str, before: i64) -> Result<(), StoreError> {
        let sql = format!(
            "DELETE FROM upload_seen WHERE (account, region, vault, upload) IN \
             (SELECT account, region, vault, upload FROM upload_seen WHERE {which} LIMIT $2)"
        );
        loop {
            let deleted = both!(self.store, pool => {
                let query = sqlx::query(AssertSqlSafe(sql.clone())).bind(before).bind(AT_ONCE);
                query.execute(pool).await?.rows_affected()
            });
            if deleted == 0 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// What is to be done at a time of the schedule.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    Run,
    Overlaps,
    Nothing,
}

/// What is to be done at `tick`. `last` is the last time that has a run, and whether that is
/// not done yet; `since` is when this process began. Before the first run nothing was missed.
fn what_of(tick: i64, last: Option<(i64, bool)>, since: i64) -> Due {
    match last {
        Some((last, _)) if last >= tick => Due::Nothing,
        Some((_, true)) => Due::Overlaps,
        None if tick < since => Due::Nothing,
        _ => Due::Run,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_the_schedule_is_made_up_for_once_and_left_out_while_a_run_goes_on() {
        for (last, since, expected) in [
            // A new schedule has missed nothing.
            (None, 20, Due::Nothing),
            (None, 10, Due::Run),
            // The gateway was away, or another replica was first.
            (Some((3, false)), 20, Due::Run),
            (Some((10, false)), 20, Due::Nothing),
            (Some((11, true)), 5, Due::Nothing),
            (Some((3, true)), 5, Due::Overlaps),
        ] {
            assert_eq!(what_of(10, last, since), expected, "{last:?} {since}");
        }
    }
}
