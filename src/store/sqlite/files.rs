//! What the file system says of the database and of the files beside it.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::fs::{Advice, FlockOperation, fadvise, flock, statfs, statvfs};

use super::super::{error::StoreError, room::Room};
use crate::config::Accepted;

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

/// A file by its path, and which one it was when it was opened.
pub(super) struct Known {
    path: PathBuf,
    /// The device and the number.
    identity: (u64, u64),
}

impl Known {
    pub fn of(path: PathBuf) -> Result<Self, StoreError> {
        let identity = identity(&path).map_err(|source| error(&path, source))?;
        Ok(Self { path, identity })
    }

    /// Whether the path still leads to the file.
    ///
    /// # Errors
    /// When it does not.
    pub fn check(&self) -> Result<(), StoreError> {
        match identity(&self.path) {
            Ok(identity) if identity == self.identity => Ok(()),
            Ok(_) => Err(StoreError::unusable(format!(
                "{}: the file was replaced; put the old one back, or restart the gateway",
                self.path.display()
            ))),
            Err(source) => Err(error(&self.path, source)),
        }
    }
}

/// Keeps other processes from the database, by a lock on the file `.lock` beside it.
pub(super) struct Lock {
    known: Known,
    _file: File,
}

impl Lock {
    /// Takes the lock.
    ///
    /// # Errors
    /// When another process has it.
    pub fn take(database: &Path) -> Result<Self, StoreError> {
        let path = companion(database, ".lock");
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(|source| error(&path, source))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|errno| {
            let source = match errno {
                rustix::io::Errno::WOULDBLOCK => {
                    io::Error::other("another process has it open; SQLite is for one gateway")
                }
                errno => errno.into(),
            };
            error(database, source)
        })?;
        Ok(Self { known: Known::of(path)?, _file: file })
    }

    /// Takes the lock again if its file was removed: else another process could take it, too.
    ///
    /// # Errors
    /// When another process has it by now.
    pub fn keep(&mut self, database: &Path) -> Result<(), StoreError> {
        if self.known.check().is_err() {
            *self = Self::take(database)?;
        }
        Ok(())
    }

    /// Whether a process has the lock.
    pub fn is_taken(database: &Path) -> bool {
        let lock = File::open(companion(database, ".lock"));
        lock.is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockShared).is_err())
    }
}

/// Has the system forget what it holds of a file in memory, so that the file is read from
/// the disk: after a failed write the memory holds what the disk does not have.
///
/// # Errors
/// When the file cannot be opened.
pub(super) fn read_from_disk(path: &Path) -> Result<(), StoreError> {
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(|source| error(path, source))?,
    };
    // Only what is written can be forgotten. What cannot be was never acknowledged.
    let _ = file.sync_all();
    fadvise(&file, 0, None, Advice::DontNeed).map_err(|errno| error(path, errno.into()))
}

/// The path of a file that belongs to the one at `path`.
pub(super) fn companion(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The room on the file system of the file at `path`.
pub(super) fn room(path: &Path) -> Option<Room> {
    let system = statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(system.f_frsize);
    Some(Room { free: bytes(system.f_bavail), size: bytes(system.f_blocks) })
}

/// Why the file system of the file at `path` will not do, if so.
pub(super) fn network(path: &Path, accept: &[Accepted]) -> Result<Option<String>, StoreError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let kind = statfs(folder).map_err(|errno| error(folder, errno.into()))?;
    let found = NETWORK.iter().find(|(number, _)| *number == kind.f_type);
    Ok(found.filter(|_| !accept.contains(&Accepted::NetworkFileSystem)).map(|(_, name)| {
        format!(
            "{} is on {name}, on which SQLite can lose what it has acknowledged: use a local disk \
             or PostgreSQL, or write store.accept = [\"network-file-system\"]",
            path.display()
        )
    }))
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

fn error(path: &Path, source: io::Error) -> StoreError {
    StoreError::File { path: path.display().to_string(), source }
}
