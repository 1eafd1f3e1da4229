//! What the sealer writes: tiles and checkpoints, and the beginning of a log. Each is
//! one transaction, and its first statement is a write, so that no other writer comes in
//! between.

use std::collections::BTreeSet;

use super::{
    Checkpoint, CheckpointKeys, Edge, Hash, LogEnd, LogName, LogStart, Node, TILE_WIDTH, Tiles,
    leaf_hash,
    rows::{self, Head, LogRow},
};
use crate::store::{Kind, Lease, Pool, Position, StoreError, both};

/// The lease under which the log is sealed.
pub(super) const LEASE: &str = "audit-sealer";

/// Makes sure that nobody else has taken the lease, and that nobody will before the
/// transaction ends.
macro_rules! fence {
    ($transaction:ident, $lease:expr) => {
        let fenced = sqlx::query("UPDATE lease SET epoch = epoch WHERE name = $1 AND epoch = $2")
            .bind(LEASE)
            .bind($lease.epoch)
            .execute(&mut *$transaction)
            .await?;
        if fenced.rows_affected() == 0 {
            return Err(SealError::Overtaken);
        }
    };
}

/// Stores tiles, and the size up to which they reach with its checkpoint.
macro_rules! store_seal {
    ($transaction:ident, $log:expr, $edge:expr, $tiles:expr, $checkpoint:expr) => {
        for (level, index, hashes) in $tiles.iter() {
            let hashes: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
            sqlx::query(
                "INSERT INTO audit_tile (log, level, idx, hashes) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (log, level, idx) DO UPDATE SET hashes = excluded.hashes",
            )
            .bind($log)
            .bind(i64::from(level))
            .bind(index as i64)
            .bind(hashes)
            .execute(&mut *$transaction)
            .await?;
        }
        let note = $checkpoint.as_ref().map(|checkpoint| checkpoint.note.clone());
        sqlx::query(
            "INSERT INTO audit_checkpoint (log, size, note) VALUES ($1, $2, $3) \
             ON CONFLICT (log) DO UPDATE SET size = excluded.size, note = excluded.note",
        )
        .bind($log)
        .bind($edge.size() as i64)
        .bind(note.unwrap_or_default())
        .execute(&mut *$transaction)
        .await?;
    };
}

/// Stores a log and its first record.
macro_rules! begin_log {
    ($transaction:ident, $log:expr, $origin:expr, $name:expr, $start:expr, $now:expr) => {
        sqlx::query("INSERT INTO audit_log (log, origin, month) VALUES ($1, $2, $3)")
            .bind($log)
            .bind($origin.clone())
            .bind($name.month.to_string())
            .execute(&mut *$transaction)
            .await?;
        let first = $start.append($now);
        sqlx::query(
            "INSERT INTO audit_entry (position, at, event, kind, teams, leaf, entry) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(Position { log: $log, index: 0 }.to_i64())
        .bind(first.at)
        .bind(first.event.as_bytes().to_vec())
        .bind(Kind::LogStart as i64)
        .bind(first.teams)
        .bind(leaf_hash(&first.entry).0.to_vec())
        .bind(first.entry)
        .execute(&mut *$transaction)
        .await?;
    };
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The store.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Another process holds the lease by now.
    #[error("another process seals the log by now")]
    Overtaken,
    /// The checkpoint cannot be signed.
    #[error("{0}")]
    Unsigned(#[from] super::Unsigned),
    /// The store lacks records.
    #[error(
        "{origin}: record {index} is missing in the store; no further checkpoint is signed. \
         `glacier-gateway audit verify` says more"
    )]
    Missing {
        /// The log.
        origin: String,
        /// The first that is missing.
        index: u64,
    },
}

impl From<sqlx::Error> for SealError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A log that is being sealed.
#[derive(Clone, Debug)]
pub(super) struct Sealing {
    pub log: i64,
    pub origin: String,
    /// Of all records that the tiles in the store cover.
    pub edge: Edge,
    /// The last checkpoint.
    pub checkpoint: Option<Checkpoint>,
}

/// The log that is to follow.
pub(super) struct Next<'a> {
    pub name: LogName,
    /// How its origin begins.
    pub prefix: &'a str,
    /// What the store does not bear out, if that is why it follows.
    pub abandoned: &'a [Checkpoint],
    /// The time, in microseconds since 1970.
    pub now: i64,
}

/// What a log has grown by.
struct Growth {
    edge: Edge,
    /// The tiles above level 0 that have changed, with all their hashes.
    tiles: Tiles,
}

impl Sealing {
    /// The log of this row, as far as it was sealed.
    pub async fn read(pool: &Pool, row: &LogRow) -> Result<Self, SealError> {
        let edge = rows::edge(pool, row.log, row.tiled).await?;
        if edge.size() != row.tiled {
            return Err(SealError::Missing { origin: row.origin.clone(), index: edge.size() });
        }
        let checkpoint = row.checkpoint.clone();
        Ok(Self { log: row.log, origin: row.origin.clone(), edge, checkpoint })
    }

    /// What these leaves add.
    fn grow(&self, leaves: &[Hash]) -> Growth {
        let mut edge = self.edge.clone();
        let mut tiles = Tiles::default();
        let mut begun = BTreeSet::new();
        for leaf in leaves {
            edge.push(*leaf, |node| {
                let index = node.index / TILE_WIDTH;
                if begun.insert((node.level, index)) && node.index % TILE_WIDTH > 0 {
                    tiles.insert(node.level, index, self.edge.tile(node.level).to_vec());
                }
                tiles.push(Node { ..node });
            });
        }
        Growth { edge, tiles }
    }

    /// Stores the tiles and the checkpoint of the log with these leaves, which follow
    /// the ones before.
    pub async fn seal(
        &self,
        pool: &Pool,
        leaves: &[Hash],
        keys: &CheckpointKeys,
        lease: &Lease,
    ) -> Result<Self, SealError> {
        let Growth { edge, tiles } = self.grow(leaves);
        let checkpoint = sign(&self.origin, &edge, keys)?;
        if !lease.holds() {
            return Err(SealError::Overtaken);
        }
        both!(pool, pool => {
            let mut transaction = pool.begin().await?;
            fence!(transaction, lease);
            store_seal!(transaction, self.log, edge, tiles, checkpoint);
            transaction.commit().await?;
        }, SealError);
        Ok(Self { edge, checkpoint, ..self.clone() })
    }

    /// Closes the log, with all records that it has by then, and begins the next one.
    pub async fn roll_over(
        &self,
        pool: &Pool,
        next: Next<'_>,
        keys: &CheckpointKeys,
        lease: &Lease,
    ) -> Result<Self, SealError> {
        let Next { name, prefix, abandoned, now } = next;
        let origin = name.origin(prefix);
        let log = self.log + 1;
        if !lease.holds() {
            return Err(SealError::Overtaken);
        }
        both!(pool, pool => {
            let mut transaction = pool.begin().await?;
            fence!(transaction, lease);
            // Whoever appends waits for this row.
            let (head, size): (i64, i64) =
                sqlx::query_as("UPDATE audit_head SET next = next RETURNING log, next")
                    .fetch_one(&mut *transaction)
                    .await?;
            if head != self.log {
                return Err(SealError::Overtaken);
            }
            let from = Position { log: head, index: self.edge.size() as i64 }.to_i64();
            let leaves: Vec<(Vec<u8>,)> = sqlx::query_as(
                "SELECT leaf FROM audit_entry WHERE position >= $1 AND position < $2 \
                 ORDER BY position",
            )
            .bind(from)
            .bind(Position { log: head, index: size }.to_i64())
            .fetch_all(&mut *transaction)
            .await?;
            let leaves: Vec<Hash> = leaves
                .iter()
                .map(|(leaf,)| leaf.as_slice().try_into().map_or_else(|_| Hash::default(), Hash))
                .collect();
            let Growth { edge, tiles } = self.grow(&leaves);
            // If a loss is accepted, the log may be a part of another one that was signed.
            let checkpoint =
                if abandoned.is_empty() { sign(&self.origin, &edge, keys)? } else { None };
            if abandoned.is_empty() {
                if edge.size() != size as u64 {
                    let index = edge.size();
                    return Err(SealError::Missing { origin: self.origin.clone(), index });
                }
                store_seal!(transaction, self.log, edge, tiles, checkpoint);
            }
            let end = LogEnd {
                origin: self.origin.clone(),
                size: edge.size(),
                root_hash: edge.root().to_string(),
                checkpoint: checkpoint.as_ref().map(|checkpoint| checkpoint.note.clone()),
            };
            let abandoned = abandoned.iter().map(|lost| lost.note.clone()).collect();
            let start = LogStart { origin: origin.clone(), previous: Some(end), abandoned };
            sqlx::query(
                "UPDATE audit_log SET size = $1, earliest = (SELECT earliest FROM audit_head), \
                 latest = (SELECT latest FROM audit_head), \
                 disorder = (SELECT disorder FROM audit_head) WHERE log = $2",
            )
            .bind(size)
            .bind(self.log)
            .execute(&mut *transaction)
            .await?;
            begin_log!(transaction, log, origin, name, start, now);
            sqlx::query(
                "UPDATE audit_head SET log = $1, next = 1, earliest = $2, latest = $2, \
                 disorder = 0",
            )
            .bind(log)
            .bind(now)
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await?;
        }, SealError);
        Ok(Self { log, origin, edge: Edge::default(), checkpoint: None })
    }
}

fn sign(
    origin: &str,
    edge: &Edge,
    keys: &CheckpointKeys,
) -> Result<Option<Checkpoint>, super::Unsigned> {
    if keys.is_empty() {
        return Ok(None);
    }
    Checkpoint::sign(origin, edge.size(), edge.root(), keys).map(Some)
}

/// Begins the store's first log, unless there is one.
pub(super) async fn begin_first(pool: &Pool, prefix: &str, now: i64) -> Result<(), SealError> {
    if rows::head(pool).await?.is_some() {
        return Ok(());
    }
    let name = LogName::first_of(super::Month::of(now));
    let origin = name.origin(prefix);
    let start = LogStart { origin: origin.clone(), previous: None, abandoned: Vec::new() };
    both!(pool, pool => {
        let mut transaction = pool.begin().await?;
        // Of several that begin at once, the others wait here, and then find it done.
        let begun = sqlx::query(
            "INSERT INTO audit_head (id, log, next, earliest, latest, disorder) \
             VALUES (1, 1, 1, $1, $1, 0) ON CONFLICT (id) DO NOTHING",
        )
        .bind(now)
        .execute(&mut *transaction)
        .await?;
        if begun.rows_affected() == 1 {
            begin_log!(transaction, 1_i64, origin, name, start, now);
        }
        transaction.commit().await?;
    });
    Ok(())
}

/// Notes that the store does not bear these checkpoints out.
pub(super) async fn note_lost(
    pool: &Pool,
    head: Head,
    lost: &[Checkpoint],
) -> Result<(), SealError> {
    let notes: Vec<&str> = lost.iter().map(|lost| lost.note.as_str()).collect();
    both!(pool, pool => {
        sqlx::query("INSERT INTO audit_lost (log, notes) VALUES ($1, $2) \
                     ON CONFLICT (log) DO UPDATE SET notes = excluded.notes")
            .bind(head.log)
            .bind(notes.join("\n"))
            .execute(pool)
            .await?;
    });
    Ok(())
}
