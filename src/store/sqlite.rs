//! SQLite: a file of the gateway's own.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};
use rustix::fs::{FlockOperation, flock, statfs, statvfs};
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use uuid::Uuid;

use super::{
    append::{Append, Kind, Position},
    error::StoreError,
    examined::Examined,
    schema::{COUNTS, OLDEST_READER, VERSION, Version},
    status::now,
};
use crate::config::Accepted;

/// The schema, a migration a file.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/sqlite/0001_audit.sql")];
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
    /// To notice that the file was removed or replaced.
    identity: Identity,
    /// Held as long as this lives.
    _lock: File,
}

impl Sqlite {
    /// Opens or creates the file, and brings its schema up to date.
    pub fn open(path: &Path, accept: &[Accepted]) -> Result<Self, StoreError> {
        let file =
            |source: io::Error| StoreError::File { path: path.display().to_string(), source };
        if rusqlite::version_number() < OLDEST_SQLITE {
            let reason = format!("SQLite {} can corrupt its log", rusqlite::version());
            return Err(StoreError::unusable(reason));
        }
        if let Some(refusal) = network(path, accept)? {
            return Err(StoreError::Unusable(refusal));
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

    /// Whether the files are still those that were opened.
    fn check(&self, log: Option<Identity>) -> Result<(), StoreError> {
        is_still(&self.path, self.identity)?;
        log.map_or(Ok(()), |log| is_still(&self.log(), log))
    }

    /// The write-ahead log.
    fn log(&self) -> PathBuf {
        companion(&self.path, "-wal")
    }

    /// How much of the file system is free, in hundredths.
    pub fn free_space(&self) -> Option<u8> {
        free_space(&self.path)
    }
}

/// Why the file system of the file at `path` will not do, if so.
fn network(path: &Path, accept: &[Accepted]) -> Result<Option<String>, StoreError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let kind = statfs(folder).map_err(|error| StoreError::File {
        path: folder.display().to_string(),
        source: error.into(),
    })?;
    let found = NETWORK.iter().find(|(number, _)| *number == kind.f_type);
    Ok(found.filter(|_| !accept.contains(&Accepted::NetworkFileSystem)).map(|(_, name)| {
        format!(
            "{} is on {name}, on which SQLite can lose what it has acknowledged: use a local disk \
             or PostgreSQL, or write store.accept = [\"network-file-system\"]",
            path.display()
        )
    }))
}

/// A file's device and number.
type Identity = (u64, u64);

fn is_still(path: &Path, known: Identity) -> Result<(), StoreError> {
    let name = || path.display().to_string();
    match identity(path) {
        Ok(identity) if identity == known => Ok(()),
        Ok(_) => Err(StoreError::unusable(format!(
            "{}: the file was replaced; put the old one back, or restart the gateway",
            name()
        ))),
        Err(source) => Err(StoreError::File { path: name(), source }),
    }
}

/// The path of a file that belongs to the one at `path`.
fn companion(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
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

fn identity(path: &Path) -> io::Result<Identity> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Keeps other processes from the file.
fn lock(path: &Path) -> io::Result<File> {
    let path = companion(path, ".lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
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

/// Looks at everything, and changes nothing. A gateway may have the file open.
pub(super) fn examine(
    path: &Path,
    accept: &[Accepted],
    examined: &mut Examined,
) -> Result<(), StoreError> {
    examined.fact("store", format!("SQLite {}, {}", rusqlite::version(), path.display()));
    let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    examined.fact("bytes", size(path) + size(&companion(path, "-wal")));
    let in_use = lock(path).is_err();
    examined.fact("in use by a gateway", if in_use { "yes" } else { "no" });
    let connection = connect(path, OpenFlags::empty())?;
    let value = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0));
    examined.fact("journal", value("PRAGMA journal_mode")?);
    let exists = "SELECT count(*) FROM sqlite_schema WHERE name = 'store_info'";
    let exists: i64 = connection.query_row(exists, [], |row| row.get(0))?;
    let found = if exists == 0 { None } else { version(&connection)? };
    examined.version(found);
    if found.is_some_and(|found| found.version > 0) {
        let (entries, open): (i64, i64) =
            connection.query_row(COUNTS, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        examined.fact("entries", entries);
        examined.fact("open intents", open);
    }
    let sound = value("PRAGMA quick_check(1)")?;
    if sound != "ok" {
        examined.problems.push(format!("the file is damaged: {sound}"));
    }
    examined.problems.extend(network(path, accept)?);
    let free = free_space(path);
    examined.fact("free", free.map_or_else(|| "unknown".to_owned(), |free| format!("{free} %")));
    if free.is_some_and(|free| free < 5) {
        examined.warnings.push("less than 5 % of the file system is free".to_owned());
    }
    Ok(())
}

/// Copies the file as it is at one moment. A gateway may have it open.
pub(super) fn backup(path: &Path, to: &Path) -> Result<(), StoreError> {
    let file = |path: &Path, source| StoreError::File { path: path.display().to_string(), source };
    // SQLite would take an empty file for a new database.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    drop(made.map_err(|source| file(to, source))?);
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let copied = to.to_str().map(|to| connection.execute("VACUUM INTO ?1", [to]));
    let copied = copied.unwrap_or(Ok(0)).map_err(StoreError::from);
    let synced = copied.and_then(|_| {
        let synced = File::open(to).and_then(|copy| copy.sync_all());
        synced.map_err(|source| file(to, source))
    });
    if synced.is_err() {
        let _ = fs::remove_file(to);
    }
    synced
}

fn version(connection: &Connection) -> Result<Option<Version>, StoreError> {
    let found = connection.query_row("SELECT version, oldest_reader FROM store_info", [], |row| {
        Ok(Version { version: row.get(0)?, oldest_reader: row.get(1)? })
    });
    Ok(found.optional()?)
}

/// How much of the file system of the file at `path` is free, in hundredths.
fn free_space(path: &Path) -> Option<u8> {
    let system = statvfs(path).ok()?;
    let hundredths = system.f_bavail.saturating_mul(100).checked_div(system.f_blocks)?;
    u8::try_from(hundredths).ok()
}

/// Applies the migrations that the file lacks, each or none.
fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS store_info (id INTEGER PRIMARY KEY CHECK (id = 1), \
         store_id TEXT NOT NULL, version INTEGER NOT NULL, oldest_reader INTEGER NOT NULL, \
         created INTEGER NOT NULL) STRICT;",
    )?;
    let found = match version(&transaction)? {
        Some(found) => found,
        None => {
            transaction.execute(
                "INSERT INTO store_info VALUES (1, ?1, 0, ?2, ?3)",
                params![Uuid::new_v4().simple().to_string(), OLDEST_READER, now()],
            )?;
            Version { version: 0, oldest_reader: OLDEST_READER }
        }
    };
    for migration in MIGRATIONS.iter().skip(found.applied()?) {
        transaction.execute_batch(migration)?;
    }
    if found.version < VERSION {
        transaction.execute(
            "UPDATE store_info SET version = ?1, oldest_reader = ?2",
            params![VERSION, OLDEST_READER],
        )?;
    }
    transaction.commit()?;
    Ok(())
}

/// What the writer writes with.
pub(super) struct Appender {
    file: Arc<Sqlite>,
    /// The write-ahead log's identity.
    log: Identity,
    connection: Connection,
    replica: String,
}

impl Appender {
    pub fn new(file: Arc<Sqlite>, replica: String) -> Result<Self, StoreError> {
        file.check(None)?;
        let connection = connect(&file.path, OpenFlags::empty())?;
        // After a failed fsync nobody knows which pages of the log the disk has, though all
        // can be read. So the log is copied into the file, and begun anew.
        let busy: i64 =
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if busy != 0 {
            return Err(StoreError::unusable(
                "SQLite's log is read by somebody else; trying again",
            ));
        }
        let path = file.log();
        let log = identity(&path)
            .map_err(|source| StoreError::File { path: path.display().to_string(), source })?;
        Ok(Self { file, log, connection, replica })
    }

    pub fn commit(&mut self, entries: &[Append]) -> Result<Vec<Option<Position>>, StoreError> {
        self.file.check(Some(self.log))?;
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
                        open.execute(params![event.as_bytes(), self.replica, position.to_i64()])?;
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

    pub fn present(&mut self, entries: &[Append], since: i64) -> Result<Vec<bool>, StoreError> {
        let mut recent = self
            .connection
            .prepare_cached("SELECT event, kind FROM audit_entry WHERE position >= ?1")?;
        let recent = recent.query_map([since], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let recent: HashSet<([u8; 16], i16)> = recent.collect::<Result<_, _>>()?;
        let is_present =
            |entry: &Append| recent.contains(&(entry.event.into_bytes(), entry.kind as i16));
        Ok(entries.iter().map(is_present).collect())
    }

    pub fn head(&mut self) -> Result<i64, StoreError> {
        self.file.check(Some(self.log))?;
        let mut head = self.connection.prepare_cached("SELECT log, next FROM audit_head")?;
        let head = head.query_row([], |row| Ok(Position { log: row.get(0)?, index: row.get(1)? }));
        Ok(head.optional()?.map_or(0, Position::to_i64))
    }
}
