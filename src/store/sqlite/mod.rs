//! SQLite: a file of the gateway's own.

mod append;
mod chores;
mod copier;
mod files;
mod migrate;

use std::{
    mem,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, Row, config::DbConfig};
use sqlx::{
    Connection as _, SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

pub(super) use self::{
    append::Appender,
    chores::{backup, examine},
};
use self::{
    files::{Known, Lock, companion, network, read_from_disk, room},
    migrate::migrate,
};
use super::{error::StoreError, room::Room};
use crate::config::Accepted;

/// The first SQLite whose write-ahead log cannot be corrupted by a reset at the wrong
/// moment (SQLite's release notes, 3.51.3).
const OLDEST_SQLITE: i32 = 3_051_003;
/// How often the file's lock is asked for while another connection has it.
const BUSY: Duration = Duration::from_micros(200);
/// How often at most: for five seconds.
const BUSY_TRIES: i32 = 25_000;

/// The database file, locked for this process.
///
/// SQLite acknowledges what the disk has of its write-ahead log, and later copies that into
/// the file. If a write fails, nobody knows what the disk has. Linux takes what it could not
/// write for written; ext4 even loses what is then written over it, though it syncs that; and
/// SQLite goes on with a copy that it has begun. So after such a failure this process neither
/// writes nor copies anything any more, not even when connections are closed. The next one reads
/// the log from the disk, and copies all of it.
pub(super) struct Sqlite {
    path: PathBuf,
    /// The database and its write-ahead log, to notice that one was removed or replaced.
    files: [Known; 2],
    /// As long as it is open, no other connection of this process copies the write-ahead log
    /// when it is closed. It is closed only after all is copied.
    keeper: Mutex<Option<Connection>>,
    lock: Mutex<Lock>,
}

impl Sqlite {
    /// Opens or creates the file, and brings its schema up to date.
    pub fn open(path: &Path, accept: &[Accepted]) -> Result<Self, StoreError> {
        if rusqlite::version_number() < OLDEST_SQLITE {
            let reason = format!("SQLite {} can corrupt its log", rusqlite::version());
            return Err(StoreError::unusable(reason));
        }
        if let Some(refusal) = network(path, accept)? {
            return Err(StoreError::Unusable(refusal));
        }
        let lock = Mutex::new(Lock::take(path)?);
        let log = companion(path, "-wal");
        read_from_disk(path)?;
        read_from_disk(&log)?;
        let mut connection = connect(path, OpenFlags::SQLITE_OPEN_CREATE)?;
        migrate(&mut connection)?;
        // If the system has not forgotten all that it held in memory, the disk has it now.
        if !checkpoint(&connection, "TRUNCATE")? {
            return Err(StoreError::unusable(
                "another program reads the store all the time: end it, and start again",
            ));
        }
        let files = [Known::of(path.to_owned())?, Known::of(log)?];
        let keeper = Mutex::new(Some(connection));
        Ok(Self { path: path.to_owned(), files, keeper, lock })
    }

    /// Connections for everything but the trail's entries. They leave checkpoints of the
    /// write-ahead log to the writer.
    pub async fn pool(&self, connections: u32) -> Result<SqlitePool, StoreError> {
        pool(&self.path, connections).await
    }

    /// Whether the files are still those that were opened.
    fn check(&self) -> Result<(), StoreError> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        lock.keep(&self.path)?;
        let [database, log] = &self.files;
        database.check()?;
        log.check().map_err(|gone| {
            // Whoever opens the file next would not find what only the log has.
            let copied = self.keeper().as_ref().map(|keeper| checkpoint(keeper, "PASSIVE"));
            match copied {
                Some(Err(failure)) if failure.is_failed_disk() => failure,
                _ => gone,
            }
        })
    }

    /// The room for further entries.
    pub fn room(&self) -> Option<Room> {
        let keeper = self.keeper();
        room_in(&self.path, keeper.as_ref()?)
    }

    /// Copies what the write-ahead log holds into the file, so that a copy of the file alone
    /// is whole. For a clean stop: not after the disk has failed.
    ///
    /// # Errors
    /// When not all can be copied. The log has the rest.
    pub fn finish(&self) -> Result<(), StoreError> {
        let mut keeper = self.keeper();
        if let Some(connection) = &*keeper
            && !checkpoint(connection, "TRUNCATE")?
        {
            return Err(StoreError::unusable("another program reads the store"));
        }
        *keeper = None;
        Ok(())
    }

    fn keeper(&self) -> MutexGuard<'_, Option<Connection>> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        // Else the last of the others copied the log when it is closed.
        mem::forget(self.keeper().take());
    }
}

/// Copies what the write-ahead log holds into the file. Gives false if somebody reads, so that
/// not all could be copied.
fn checkpoint(connection: &Connection, mode: &str) -> Result<bool, StoreError> {
    let checkpoint = format!("PRAGMA wal_checkpoint({mode})");
    let busy: i64 = connection.query_row(&checkpoint, [], |row| row.get(0))?;
    Ok(busy == 0)
}

/// The room for further entries: on the file system, and in pages of the file that hold nothing
/// since records were dropped. The file does not shrink.
fn room_in(path: &Path, connection: &Connection) -> Option<Room> {
    let Room { free, size } = room(path)?;
    let bytes = "SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size";
    let within = connection.query_row(bytes, [], |row| row.get::<_, i64>(0)).unwrap_or(0);
    Some(Room { free: free.saturating_add(u64::try_from(within).unwrap_or(0)), size })
}

/// Copies as much as can be without waiting for anybody. Gives how many pages are left.
fn copy(connection: &Connection) -> Result<i64, StoreError> {
    let left = |row: &Row<'_>| Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?);
    Ok(connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], left)?)
}

/// Connections to a file that another process may have locked. SQLite's own locks keep
/// the two from getting into each other's way.
pub(super) async fn beside(path: &Path) -> Result<SqlitePool, StoreError> {
    pool(path, 2).await
}

/// If the disk is full, SQLite ends a transaction by itself, and sqlx does not notice. It would
/// begin the next one as a savepoint, and to roll that back does not give the file's lock
/// back. So such a connection is closed.
async fn pool(path: &Path, connections: u32) -> Result<SqlitePool, StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY * BUSY_TRIES.unsigned_abs())
        .pragma("synchronous", "FULL")
        .pragma("cache_size", "-512")
        .pragma("wal_autocheckpoint", "0");
    let pool = SqlitePoolOptions::new()
        .max_connections(connections)
        .min_connections(0)
        .after_release(|connection, _| {
            Box::pin(async move {
                // After the rollback that may still be under way.
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        });
    Ok(pool.connect_with(options).await?)
}

fn connect(path: &Path, create: OpenFlags) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_handler(Some(|tries| {
        std::thread::sleep(BUSY);
        tries < BUSY_TRIES
    }))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // The page size counts only before the file has content, and before the log's mode. What
    // fails in a checkpoint that SQLite makes by itself is told to nobody.
    connection.execute_batch(
        "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
         PRAGMA cache_size = -2048; PRAGMA wal_autocheckpoint = 0; \
         PRAGMA journal_size_limit = 67108864;",
    )?;
    Ok(connection)
}
