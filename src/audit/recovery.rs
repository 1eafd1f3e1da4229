//! Changes of which nobody recorded what became of them, because the process that was to
//! do so is gone.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::rewrite::recovered;
use crate::{
    domain::Principal,
    policy::StatementId,
    store::{Append, Kind, Lease, Pool, Store, StoreError, both},
};

/// How long after it was last heard of a process counts as gone, in microseconds.
const GONE: i64 = 30_000_000;
/// How long a process that is gone is remembered if it left nothing behind.
const FORGOTTEN: i64 = 24 * 3_600_000_000;
/// The lease of whoever settles what others left behind.
const LEASE: &str = "recovery";
const LEASE_LENGTH: Duration = Duration::from_secs(30);
/// How many are read at once.
const PAGE: i64 = 64;

/// What tells the processes that share a store of each other, and of what they left.
pub struct Recovery {
    store: Store,
}

/// A change whose outcome is not on record.
pub struct Abandoned {
    position: i64,
    age: Duration,
    intent: Append,
    entry: Map<String, Value>,
}

impl Recovery {
    /// For the processes that share `store`.
    pub fn of(store: Store) -> Self {
        Self { store }
    }

    /// Whether no other process can share the store.
    pub fn is_alone(&self) -> bool {
        matches!(self.store.pool(), Pool::Sqlite(_))
    }

    /// Whether what is settled now is written soon. If not, the same changes would be found open
    /// again and again, and settled each time.
    pub fn can_settle(&self) -> bool {
        self.store.status().trouble.is_none()
    }

    /// Lets the others know that this process lives, and tells how many do.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn beat(&self) -> Result<u32, StoreError> {
        let now = self.store.now();
        let beat = format!(
            "INSERT INTO replica (id, seen) VALUES ($1, {now}) \
             ON CONFLICT (id) DO UPDATE SET seen = excluded.seen"
        );
        let forget = format!(
            "DELETE FROM replica WHERE seen < {now} - $1 \
             AND NOT EXISTS (SELECT 1 FROM audit_open WHERE replica = replica.id)"
        );
        let count = format!("SELECT count(*) FROM replica WHERE seen > {now} - $1");
        let living: i64 = both!(self.store, pool => {
            sqlx::query(AssertSqlSafe(beat)).bind(self.store.replica()).execute(pool).await?;
            sqlx::query(AssertSqlSafe(forget)).bind(FORGOTTEN).execute(pool).await?;
            sqlx::query_scalar(AssertSqlSafe(count)).bind(GONE).fetch_one(pool).await?
        });
        Ok(u32::try_from(living).unwrap_or(u32::MAX))
    }

    /// The right to settle, which one process at a time has.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn lease(&self) -> Result<Option<Lease>, StoreError> {
        self.store.serving_lease(LEASE, LEASE_LENGTH).await
    }

    /// Some changes that processes that are gone have left without an outcome, the oldest
    /// first; after those up to a position, if one is given.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn abandoned(&self, after: Option<i64>) -> Result<Vec<Abandoned>, StoreError> {
        let now = self.store.now();
        let heard_of = match self.is_alone() {
            true => "$2 IS NULL".to_owned(),
            false => format!(
                "EXISTS (SELECT 1 FROM replica r WHERE r.id = o.replica AND r.seen > {now} - $2)"
            ),
        };
        let sql = format!(
            "SELECT o.position, {now} - e.at, e.event, e.at, e.teams, e.entry FROM audit_open o \
             JOIN audit_entry e ON e.position = o.position \
             WHERE o.replica <> $1 AND NOT ({heard_of}) AND o.position > $4 \
             ORDER BY o.position LIMIT $3"
        );
        type Row = (i64, i64, Vec<u8>, i64, String, Vec<u8>);
        let rows: Vec<Row> = both!(self.store, pool => {
            sqlx::query_as(AssertSqlSafe(sql))
                .bind(self.store.replica())
                .bind(GONE)
                .bind(PAGE)
                .bind(after.unwrap_or(-1))
                .fetch_all(pool)
                .await?
        });
        let abandoned = |(position, age, event, at, teams, entry): Row| {
            let age = Duration::from_micros(u64::try_from(age).unwrap_or(0));
            let event = Uuid::from_slice(&event).unwrap_or_default();
            let json = serde_json::from_slice(&entry).unwrap_or_default();
            let intent = Append::new(event, at, Kind::Intent, teams, entry);
            Abandoned { position, age, intent, entry: json }
        };
        Ok(rows.into_iter().map(abandoned).collect())
    }

    /// Records what became of `abandoned`, as far as could be found out. If its own process
    /// has something to say after all, that becomes a late outcome.
    pub fn settle(
        &self,
        abandoned: &Abandoned,
        outcome: &'static str,
        error_code: Option<&'static str>,
    ) {
        let Abandoned { intent, entry, .. } = abandoned;
        let outcome = recovered(intent, entry, outcome, error_code, self.store.replica());
        self.store.append_later(outcome);
    }
}

impl Abandoned {
    /// The event's ID.
    pub fn id(&self) -> Uuid {
        self.intent.event
    }

    /// Where its intent is.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// How long ago the request for it began, by the store's clock and that of its process.
    pub fn age(&self) -> Duration {
        self.age
    }

    /// The resource that was to be changed, as policies see it.
    pub fn resource(&self) -> Option<&str> {
        self.entry.get("resource")?.as_str()
    }

    /// The upload that was to be changed.
    pub fn upload_id(&self) -> Option<&str> {
        self.entry.get("uploadId")?.as_str()
    }

    /// Who was to change it, as a member of the team whose permission decided.
    pub fn principal(&self) -> Option<Principal> {
        let identity = self.entry.get("userIdentity")?;
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        Some(Principal {
            issuer: text(identity.get("issuer"))?,
            subject: text(identity.get("subject")).unwrap_or_default(),
            teams: vec![text(self.entry.get("team"))?],
            tags: BTreeMap::new(),
            claims: Map::new(),
        })
    }

    /// The statement that allowed the change.
    pub fn statement(&self) -> Option<StatementId> {
        let decision = self.entry.get("decision")?;
        serde_json::from_value(decision.clone()).ok()
    }
}
