//! What the command line asks of an SQLite file.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rusqlite::{Connection, OpenFlags};

use super::{
    super::{error::StoreError, examined::Examined, room::Room, schema::COUNTS},
    connect,
    files::{Lock, companion, network},
    migrate::version,
    room_in,
};
use crate::config::Accepted;

/// Looks at everything, and changes nothing. A gateway may have the file open.
pub(in crate::store) fn examine(
    path: &Path,
    accept: &[Accepted],
    examined: &mut Examined,
) -> Result<(), StoreError> {
    examined.fact("store", format!("SQLite {}, {}", rusqlite::version(), path.display()));
    let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    examined.fact("bytes", size(path) + size(&companion(path, "-wal")));
    let in_use = Lock::is_taken(path);
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
    let room = room_in(path, &connection);
    examined.fact("free", room.map_or_else(|| "unknown".to_owned(), |room| room.to_string()));
    if room.is_some_and(Room::is_scarce) {
        examined
            .warnings
            .push("so little of the file system is free that only changes are recorded".to_owned());
    }
    Ok(())
}

/// Copies the file as it is at one moment. A gateway may have it open.
pub(in crate::store) fn backup(path: &Path, to: &Path) -> Result<(), StoreError> {
    let file = |path: &Path, source| StoreError::File { path: path.display().to_string(), source };
    // Whatever the file holds already is not to be overwritten.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    drop(made.map_err(|source| file(to, source))?);
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let name = to
        .to_str()
        .ok_or_else(|| StoreError::unusable("SQLite writes only to files whose names are UTF-8"))?;
    let copied = connection.execute("VACUUM INTO ?1", [name]).map_err(StoreError::from);
    let synced = copied.and_then(|_| {
        let synced = File::open(to).and_then(|copy| copy.sync_all());
        synced.map_err(|source| file(to, source))
    });
    if synced.is_err() {
        let _ = fs::remove_file(to);
    }
    synced
}
