//! SQLite: a file of the gateway's own.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};
use rustix::fs::{FlockOperation, flock, statfs};
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use uuid::Uuid;

use super::{
    append::{Append, Kind, Position},
    error::StoreError,
    status::now,
};
use crate::config;

/// The schema, a migration a file.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/sqlite/0001_audit.sql")];
/// The oldest version that can work with the schema as it is.
const OLDEST_READER: i64 = 1;
/// The first SQLite whose write-ahead log cannot be corrupted by a reset at the wrong
/// moment (SQLite's release notes, 3.51.3).
const OLDEST_SQLITE: i32 = 3_051_003;
/// How often the file's lock is asked for while another connection has it.
const BUSY: Duration = Duration::from_micros(200);
/// How often at most: for five seconds.
const BUSY_TRIES: i32 = 25_000;

/// File systems of networks, by the numbers of statfs(2), on which SQLite's locks and
/// its shared memory do not work.
const NETWORK: [(i64, &str); 7] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x517b, "SMB"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
];

/// The database file, locked for this process.
pub(super) struct Sqlite {
    path: PathBuf,
    /// The file's device and number, to notice that it was removed or replaced.
    identity: (u64, u64),
    /// Held as long as this lives.
    _lock: File,
}

impl Sqlite {
    /// Opens or creates the file, and brings its schema up to date.
    pub fn open(path: &Path, settings: &config::Store) -> Result<Self, StoreError> {
        let file =
            |source: io::Error| StoreError::File { path: path.display().to_string(), source };
        if rusqlite::version_number() < OLDEST_SQLITE {
            let reason = format!("SQLite {} can corrupt its log", rusqlite::version());
            return Err(StoreError::unusable(reason));
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let kind = statfs(folder).map_err(|error| file(error.into()))?.f_type;
        let accepted = settings.accept.contains(&config::Accepted::NetworkFileSystem);
        let network = NETWORK.iter().find(|(number, _)| *number == kind);
        if let (Some((_, name)), false) = (network, accepted) {
            let reason = format!(
                "{} is on {name}, on which SQLite can lose what it has acknowledged; use a local \
                 disk or PostgreSQL, or write store.accept = [\"network-file-system\"]",
                path.display()
            );
            return Err(StoreError::unusable(reason));
        }
        let lock = lock(path).map_err(file)?;
        let mut connection = connect(path, OpenFlags::SQLITE_OPEN_CREATE)?;
        migrate(&mut connection)?;
        let identity = identity(path).map_err(file)?;
        Ok(Self { path: path.to_owned(), identity, _lock: lock })
    }

    /// Connections for everything but the trail's entries. They leave checkpoints of the
    /// write-ahead log to the writer.
    pub async fn pool(&self, connections: u32) -> Result<SqlitePool, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(&self.path)
            .busy_timeout(BUSY * BUSY_TRIES.unsigned_abs())
            .pragma("synchronous", "FULL")
            .pragma("wal_autocheckpoint", "0");
        let pool = SqlitePoolOptions::new().max_connections(connections).min_connections(0);
        Ok(pool.connect_with(options).await?)
    }

    /// A connection for the writer.
    pub fn writer(&self) -> Result<Appender, StoreError> {
        self.check()?;
        let connection = connect(&self.path, OpenFlags::empty())?;
        Ok(Appender { connection })
    }

    /// Whether the file is still the one that was opened.
    pub fn check(&self) -> Result<(), StoreError> {
        let path = || self.path.display().to_string();
        match identity(&self.path) {
            Ok(identity) if identity == self.identity => Ok(()),
            Ok(_) => Err(StoreError::unusable(format!("{}: the file was replaced", path()))),
            Err(source) => Err(StoreError::File { path: path(), source }),
        }
    }
}

/// Connections to a file that another process may have locked. SQLite's own locks keep
/// the two from getting into each other's way.
pub(super) async fn beside(path: &Path) -> Result<SqlitePool, StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY * BUSY_TRIES.unsigned_abs())
        .pragma("synchronous", "FULL")
        .pragma("wal_autocheckpoint", "0");
    Ok(SqlitePoolOptions::new().max_connections(2).connect_with(options).await?)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Keeps other processes from the file.
fn lock(path: &Path) -> io::Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).open(PathBuf::from(name))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        rustix::io::Errno::WOULDBLOCK => {
            io::Error::other("another process has it open; SQLite is for one gateway")
        }
        error => error.into(),
    })?;
    Ok(file)
}

fn connect(path: &Path, create: OpenFlags) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_handler(Some(|tries| {
        std::thread::sleep(BUSY);
        tries < BUSY_TRIES
    }))?;
    // The page size counts only before the file has content, and before the log's mode.
    connection.execute_batch(
        "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
         PRAGMA cache_size = -2048; PRAGMA wal_autocheckpoint = 2000;",
    )?;
    Ok(connection)
}

/// Applies the migrations that the file lacks, each or none.
fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS store_info (id INTEGER PRIMARY KEY CHECK (id = 1), \
         store_id TEXT NOT NULL, version INTEGER NOT NULL, oldest_reader INTEGER NOT NULL, \
         created INTEGER NOT NULL) STRICT;",
    )?;
    let found: Option<(i64, i64)> = transaction
        .query_row("SELECT version, oldest_reader FROM store_info", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let newest = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let version = match found {
        None => {
            transaction.execute(
                "INSERT INTO store_info VALUES (1, ?1, 0, ?2, ?3)",
                params![Uuid::new_v4().simple().to_string(), OLDEST_READER, now()],
            )?;
            0
        }
        Some((_, oldest)) if oldest > newest => {
            return Err(StoreError::unusable(format!(
                "the store's schema needs version {oldest} of the gateway's or later; this \
                 gateway knows {newest}"
            )));
        }
        Some((version, _)) => version,
    };
    let missing = usize::try_from(version).unwrap_or(usize::MAX);
    for migration in MIGRATIONS.iter().skip(missing) {
        transaction.execute_batch(migration)?;
    }
    if version < newest {
        transaction.execute(
            "UPDATE store_info SET version = ?1, oldest_reader = ?2",
            params![newest, OLDEST_READER],
        )?;
    }
    transaction.commit()?;
    Ok(())
}

/// What the writer writes with.
pub(super) struct Appender {
    connection: Connection,
}

impl Appender {
    /// Appends all entries, or none. Gives their positions; an outcome without an open
    /// intent is not appended and has none.
    pub fn commit(
        &mut self,
        entries: &[Append],
        replica: &str,
    ) -> Result<Vec<Option<Position>>, StoreError> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut positions = Vec::with_capacity(entries.len());
        {
            let mut head = transaction.prepare_cached("SELECT log, next FROM audit_head")?;
            let (log, mut next): (i64, i64) =
                head.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let mut close =
                transaction.prepare_cached("DELETE FROM audit_open WHERE event = ?1")?;
            let mut open =
                transaction.prepare_cached("INSERT INTO audit_open VALUES (?1, ?2, ?3)")?;
            let mut insert = transaction
                .prepare_cached("INSERT INTO audit_entry VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
            for Append { event, at, kind, teams, entry, leaf } in entries {
                let position = Position { log, index: next };
                match kind {
                    Kind::Outcome if close.execute([event.as_bytes()])? == 0 => {
                        positions.push(None);
                        continue;
                    }
                    Kind::Intent => {
                        open.execute(params![event.as_bytes(), replica, position.to_i64()])?;
                    }
                    _ => {}
                }
                let kind = *kind as i16;
                let row =
                    params![position.to_i64(), at, event.as_bytes(), kind, teams, leaf, entry];
                insert.execute(row)?;
                positions.push(Some(position));
                next += 1;
            }
            transaction.prepare_cached("UPDATE audit_head SET next = ?1")?.execute([next])?;
        }
        transaction.commit()?;
        Ok(positions)
    }

    /// Which of `entries` are in the log already, after a commit of which nobody knows
    /// whether it succeeded.
    pub fn present(&mut self, entries: &[Append]) -> Result<Vec<bool>, StoreError> {
        let mut head = self.connection.prepare_cached("SELECT log, next FROM audit_head")?;
        let (log, next): (i64, i64) = head.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let since = Position { log, index: (next - RECENT).max(0) }.to_i64();
        let mut recent = self
            .connection
            .prepare_cached("SELECT event, kind FROM audit_entry WHERE position >= ?1")?;
        let recent = recent.query_map([since], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let recent: HashSet<([u8; 16], i16)> = recent.collect::<Result<_, _>>()?;
        let is_present =
            |entry: &Append| recent.contains(&(entry.event.into_bytes(), entry.kind as i16));
        Ok(entries.iter().map(is_present).collect())
    }
}

/// How many of the last entries are searched for one that may have been written.
const RECENT: i64 = 20_000;
