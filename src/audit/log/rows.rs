//! The log's rows in the store.

use std::{convert::Infallible, ops::Range};

use data_encoding::HEXUPPER;
use sqlx::AssertSqlSafe;

use super::{Checkpoint, Edge, Hash, TILE_WIDTH, Tiles, hashes_of_tile, tile_width};
use crate::store::{Pool, Position, StoreError, both};

/// A log as the store has it.
#[derive(Clone, Debug)]
pub struct LogRow {
    /// Its number, from 1.
    pub log: i64,
    /// The name under which its checkpoints are signed.
    pub origin: String,
    /// Its final size, once it is closed.
    pub size: Option<u64>,
    /// How many records it has by now.
    pub records: u64,
    /// The times of its events; none before there is one.
    pub times: Option<Times>,
    /// Whether retention has dropped its records.
    pub dropped: bool,
    /// Its last checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// How many records its stored tiles cover: the checkpoint's size if there is one.
    pub tiled: u64,
}

/// The times of a log's events, in microseconds since 1970. An outcome has its intent's, and
/// does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// No event is earlier.
    pub earliest: i64,
    /// No event is later.
    pub latest: i64,
    /// No event is earlier by more than this than one that stands before it.
    pub disorder: i64,
}

/// Where the next record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The log's number.
    pub log: i64,
    /// The index in that log.
    pub next: u64,
}

/// A record as the store has it.
#[derive(Clone, Debug)]
pub struct RecordRow {
    /// Its index in its log.
    pub index: u64,
    /// The hash of its leaf.
    pub leaf: Hash,
    /// The record.
    pub entry: Vec<u8>,
}

fn position(log: i64, index: u64) -> i64 {
    Position { log, index: index as i64 }.to_i64()
}

fn hash(bytes: &[u8]) -> Hash {
    bytes.try_into().map_or_else(|_| Hash::default(), Hash)
}

impl LogRow {
    /// Its name within the store: `2026-11`.
    pub fn name(&self) -> &str {
        self.origin.rsplit('/').next().unwrap_or_default()
    }

    /// The positions of its records.
    pub fn positions(&self) -> Range<i64> {
        position(self.log, 0)..position(self.log, self.records)
    }
}

/// All logs, from the oldest. As one statement tells it, so that a log which ends meanwhile
/// is told as it was before or as it is afterwards.
///
/// # Errors
/// When the store does not answer.
pub async fn logs(pool: &Pool) -> Result<Vec<LogRow>, StoreError> {
    type Number = Option<i64>;
    type Row = (i64, String, i64, i64, Number, Number, Number, Number, Number, Option<String>);
    let rows: Vec<Row> = both!(pool, pool => {
        sqlx::query_as(
            "SELECT l.log, l.origin, l.dropped, coalesce(l.size, h.next, 0), l.size, \
             coalesce(l.earliest, h.earliest), coalesce(l.latest, h.latest), \
             coalesce(l.disorder, h.disorder), c.size, c.note FROM audit_log l \
             LEFT JOIN audit_checkpoint c ON c.log = l.log \
             LEFT JOIN audit_head h ON h.log = l.log ORDER BY l.log",
        )
        .fetch_all(pool)
        .await?
    });
    let row = |row: Row| {
        let (log, origin, dropped, records, size, earliest, latest, disorder, tiled, note) = row;
        let times = earliest.zip(latest).zip(disorder);
        LogRow {
            log,
            origin,
            size: size.map(|size| size as u64),
            records: records as u64,
            times: times.map(|((earliest, latest), disorder)| Times { earliest, latest, disorder }),
            dropped: dropped != 0,
            checkpoint: note.and_then(|note| Checkpoint::parse(&note).ok()),
            tiled: tiled.unwrap_or(0) as u64,
        }
    };
    Ok(rows.into_iter().map(row).collect())
}

/// Where the next record goes; `None` before the first log is begun.
///
/// # Errors
/// When the store does not answer.
pub async fn head(pool: &Pool) -> Result<Option<Head>, StoreError> {
    let head: Option<(i64, i64)> = both!(pool, pool => {
        sqlx::query_as("SELECT log, next FROM audit_head").fetch_optional(pool).await?
    });
    Ok(head.map(|(log, next)| Head { log, next: next as u64 }))
}

/// How many leaves the store joins at once: each takes three times its room meanwhile.
const SOME_LEAVES: usize = 4_096;

/// The hashes of the leaves from `from`, inclusive, to `to`, exclusive; fewer if one is
/// missing.
///
/// # Errors
/// When the store does not answer.
pub async fn leaves(pool: &Pool, log: i64, from: u64, to: u64) -> Result<Vec<Hash>, StoreError> {
    let mut leaves = Vec::new();
    for from in (from..to).step_by(SOME_LEAVES) {
        let to = to.min(from + SOME_LEAVES as u64);
        let some = some_leaves(pool, position(log, from), position(log, to)).await?;
        let are_all = some.len() as u64 == to - from;
        leaves.extend(some);
        if !are_all {
            break;
        }
    }
    Ok(leaves)
}

/// The leaves between two positions. The store joins them: a row for each would cost several
/// times as much, every second.
async fn some_leaves(pool: &Pool, from: i64, to: i64) -> Result<Vec<Hash>, StoreError> {
    const ENTRIES: &str = "FROM audit_entry WHERE position >= $1 AND position < $2 \
                           AND length(leaf) = 32";
    let joined = match pool {
        Pool::Sqlite(pool) => {
            let sql = format!("SELECT group_concat(hex(leaf), '' ORDER BY position) {ENTRIES}");
            let (hex,): (Option<String>,) =
                sqlx::query_as(AssertSqlSafe(sql)).bind(from).bind(to).fetch_one(pool).await?;
            hex.and_then(|hex| HEXUPPER.decode(hex.as_bytes()).ok())
        }
        Pool::Postgres(pool) => {
            let sql = format!("SELECT string_agg(leaf, ''::bytea ORDER BY position) {ENTRIES}");
            let (bytes,): (Option<Vec<u8>>,) =
                sqlx::query_as(AssertSqlSafe(sql)).bind(from).bind(to).fetch_one(pool).await?;
            bytes
        }
    };
    Ok(joined.map(|bytes| hashes_of_tile(&bytes)).unwrap_or_default())
}

/// The records from `from`, inclusive, to `to`, exclusive.
///
/// # Errors
/// When the store does not answer.
pub async fn records(
    pool: &Pool,
    log: i64,
    from: u64,
    to: u64,
) -> Result<Vec<RecordRow>, StoreError> {
    let rows: Vec<(i64, Vec<u8>, Vec<u8>)> = both!(pool, pool => {
        sqlx::query_as(
            "SELECT position, leaf, entry FROM audit_entry WHERE position >= $1 \
             AND position < $2 ORDER BY position",
        )
        .bind(position(log, from))
        .bind(position(log, to))
        .fetch_all(pool)
        .await?
    });
    let row = |(at, leaf, entry): (i64, Vec<u8>, Vec<u8>)| RecordRow {
        index: Position::from_i64(at).index as u64,
        leaf: hash(&leaf),
        entry,
    };
    Ok(rows.into_iter().map(row).collect())
}

/// The first `width` hashes of a tile; fewer if the store has no more.
///
/// # Errors
/// When the store does not answer.
pub async fn tile(
    pool: &Pool,
    log: i64,
    level: u8,
    index: u64,
    width: u16,
) -> Result<Vec<Hash>, StoreError> {
    if level == 0 {
        let first = index * TILE_WIDTH;
        return leaves(pool, log, first, first + u64::from(width)).await;
    }
    let row: Option<(Vec<u8>,)> = both!(pool, pool => {
        sqlx::query_as("SELECT hashes FROM audit_tile WHERE log = $1 AND level = $2 AND idx = $3")
            .bind(log)
            .bind(i64::from(level))
            .bind(index as i64)
            .fetch_optional(pool)
            .await?
    });
    let mut hashes = row.map(|(hashes,)| hashes_of_tile(&hashes)).unwrap_or_default();
    hashes.truncate(usize::from(width));
    Ok(hashes)
}

/// The right edge of a log as it was with `size` records. Where the store has fewer, it
/// is a smaller one's.
///
/// # Errors
/// When the store does not answer.
pub async fn edge(pool: &Pool, log: i64, size: u64) -> Result<Edge, StoreError> {
    let mut tiles = Tiles::default();
    for level in 0..8 {
        let index = (size >> (8 * u32::from(level))) / TILE_WIDTH;
        let width = tile_width(level, index, size);
        if width > 0 {
            tiles.insert(level, index, tile(pool, log, level, index, width).await?);
        }
    }
    let read = |level, index| Ok::<_, Infallible>(tiles.hashes(level, index).to_vec());
    Ok(match Edge::read(size, read) {
        Ok(edge) => edge,
        Err(never) => match never {},
    })
}

/// The proof that a log contains a record, as of `size` records, as hashes from below.
/// `None` if there is no such record, or its tiles are not stored.
///
/// # Errors
/// When the store does not answer.
pub async fn inclusion_proof(
    pool: &Pool,
    log: i64,
    index: u64,
    size: u64,
) -> Result<Option<Vec<Hash>>, StoreError> {
    let mut tiles = Tiles::default();
    for (level, place, width) in super::tiles_for_proof(index, size) {
        tiles.insert(level, place, tile(pool, log, level, place, width).await?);
    }
    Ok(tiles.inclusion_proof(index, size))
}

/// The checkpoints that the store does not bear out, by the number of the log that was
/// written when that was found.
///
/// # Errors
/// When the store does not answer.
pub async fn lost(pool: &Pool) -> Result<Vec<(i64, Vec<Checkpoint>)>, StoreError> {
    let rows: Vec<(i64, String)> = both!(pool, pool => {
        sqlx::query_as("SELECT log, notes FROM audit_lost ORDER BY log").fetch_all(pool).await?
    });
    let parse =
        |(log, notes): (i64, String)| (log, Checkpoint::parse_all(&notes).unwrap_or_default());
    Ok(rows.into_iter().map(parse).collect())
}

/// When a log began, in microseconds since 1970; `None` if its first record is not there.
///
/// # Errors
/// When the store does not answer.
pub async fn begun(pool: &Pool, log: i64) -> Result<Option<i64>, StoreError> {
    let row: Option<(i64,)> = both!(pool, pool => {
        sqlx::query_as("SELECT at FROM audit_entry WHERE position = $1")
            .bind(position(log, 0))
            .fetch_optional(pool)
            .await?
    });
    Ok(row.map(|(at,)| at))
}

/// The store's random ID.
///
/// # Errors
/// When the store does not answer.
pub async fn store_id(pool: &Pool) -> Result<String, StoreError> {
    let (id,): (String,) = both!(pool, pool => {
        sqlx::query_as("SELECT store_id FROM store_info").fetch_one(pool).await?
    });
    Ok(id)
}

/// The time as the store tells it, in microseconds since 1970.
///
/// # Errors
/// When the store does not answer.
pub async fn now(pool: &Pool) -> Result<i64, StoreError> {
    let sql = format!("SELECT {}", pool.now());
    let (now,): (i64,) = both!(pool, pool => {
        sqlx::query_as(AssertSqlSafe(sql)).fetch_one(pool).await?
    });
    Ok(now)
}
