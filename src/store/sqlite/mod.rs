//! SQLite: a file of the gateway's own.

mod append;
mod chores;

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};
use rustix::fs::{FlockOperation, flock, statfs, statvfs};
use sqlx::{
    Connection as _, SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use uuid::Uuid;

pub(super) use self::{
    append::Appender,
    chores::{backup, examine},
};
use super::{
    error::StoreError,
    schema::{OLDEST_READER, VERSION, Version},
    status::now,
};
use crate::config::Accepted;

/// The schema, a migration a file.
const MIGRATIONS: [&str; 1] = [include_str!("../migrations/sqlite/0001_audit.sql")];
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
    /// The database and its write-ahead log, to notice that one was removed or replaced.
    files: [(PathBuf, Identity); 2],
    /// As long as a connection is open, SQLite keeps the write-ahead log.
    keeper: Mutex<Connection>,
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
        let known = |path: PathBuf| {
            let identity = identity(&path).map_err(file)?;
            Ok::<_, StoreError>((path, identity))
        };
        let files = [known(path.to_owned())?, known(companion(path, "-wal"))?];
        let keeper = Mutex::new(connection);
        Ok(Self { path: path.to_owned(), files, keeper, _lock: lock })
    }

    /// Connections for everything but the trail's entries. They leave checkpoints of the
    /// write-ahead log to the writer.
    pub async fn pool(&self, connections: u32) -> Result<SqlitePool, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(&self.path)
            .busy_timeout(BUSY * BUSY_TRIES.unsigned_abs())
            .pragma("synchronous", "FULL")
            .pragma("wal_autocheckpoint", "0");
        Ok(pool_options().max_connections(connections).connect_with(options).await?)
    }

    /// Whether the files are still those that were opened.
    fn check(&self) -> Result<(), StoreError> {
        let [database, log] = &self.files;
        is_still(database)?;
        is_still(log).inspect_err(|_| {
            // Whoever opens the file next would not find what only the log has.
            let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = keeper.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        })
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

fn is_still((path, known): &(PathBuf, Identity)) -> Result<(), StoreError> {
    let name = || path.display().to_string();
    match identity(path) {
        Ok(identity) if identity == *known => Ok(()),
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
    Ok(pool_options().max_connections(2).connect_with(options).await?)
}

/// A pool that takes no connection back which is in a transaction. A full disk makes
/// SQLite roll back by itself, of which sqlx learns nothing: with the next transaction
/// it would open a savepoint and never commit it, and so keep the file's lock.
/// If the disk is full, SQLite ends a transaction by itself, and sqlx does not notice. It would
/// begin the next one as a savepoint, and to roll that back does not give the file's lock
/// back. So such a connection is closed.
fn pool_options() -> SqlitePoolOptions {
    SqlitePoolOptions::new().min_connections(0).after_release(|connection, _| {
        Box::pin(async move {
            // After the rollback that may still be under way.
            connection.ping().await?;
            Ok(!connection.is_in_transaction())
        })
    })
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
