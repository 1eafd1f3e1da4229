//! Verification of a folder: of an export with a folder for each log, or of one log's
//! folder of tiles.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    changes::Changes,
    check::upper_tiles,
    plan::{Found, Kept, Report, by_name, dropped, plan},
    told::Told,
};
use crate::{
    audit::log::{
        Checkpoint, Hash, LogPath, TILE_WIDTH, TrustedKeys, entries_of_bundle, tile_width,
    },
    files,
    store::MAX_ENTRY,
};

/// The most that a file of a log may hold, in bytes: 256 records, each with its length.
const LONGEST: u64 = TILE_WIDTH * (MAX_ENTRY as u64 + 2);

/// A folder that cannot be verified.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It holds no log.
    #[error("{}: there is no log here: no file `checkpoint`, here or one folder below", path.display())]
    NoLog {
        /// The folder.
        path: PathBuf,
    },
}

/// Verifies the logs in a folder, against their own checkpoints and `kept` ones. Without
/// `keys` no signature is verified.
///
/// # Errors
/// A folder without a log, or a file that is there and cannot be read.
pub fn verify_folder(
    folder: &Path,
    kept: &[Kept],
    keys: Option<&TrustedKeys>,
) -> Result<Report, FolderError> {
    let mut logs = Vec::new();
    for folder in log_folders(folder)? {
        logs.push((found(&folder)?, folder));
    }
    logs.sort_by(|(a, _), (b, _)| by_name(a, b));
    let (found, folders): (Vec<Found>, Vec<PathBuf>) = logs.into_iter().unzip();
    // A single log's folder says nothing about others.
    let single = folders.first().is_some_and(|only| only == folder);
    let about = |kept: &&Kept| !single || kept.checkpoint.origin == found[0].origin;
    let kept: Vec<Kept> = kept.iter().filter(about).cloned().collect();
    let plan = plan(&found, &kept, keys);
    let mut report = plan.report;
    let mut changes = Changes::default();
    for (i, mut check) in plan.checks.into_iter().enumerate() {
        let next = found.get(i + 1);
        if found[i].dropped {
            report.logs.push(dropped(&found[i], check, next));
            continue;
        }
        let Some(size) = found[i].checkpoint.as_ref().map(|checkpoint| checkpoint.size) else {
            check.missing(0, "the log's checkpoint is none".to_owned());
            report.logs.push(check.finish(0));
            changes.lose_track();
            continue;
        };
        let files = Files(&folders[i]);
        for index in 0..size.div_ceil(TILE_WIDTH) {
            let width = tile_width(0, index, size);
            let leaves = files.hashes(LogPath::Tile { level: 0, index, width })?;
            let path = LogPath::Entries { index, width };
            let Some(bundle) = files.read(path)? else {
                check.missing(index * TILE_WIDTH, format!("it is missing, with the file {path}"));
                break;
            };
            let mut entries = entries_of_bundle(&bundle);
            for place in 0..u64::from(width) {
                let index = index * TILE_WIDTH + place;
                match entries.next().flatten() {
                    Some(entry) => {
                        let stored = leaves
                            .as_ref()
                            .map(|hashes| hashes.get(place as usize).copied().unwrap_or_default());
                        check.record(index, entry, stored);
                        let told = Told::of(entry);
                        let wrong = told.and_then(|told| changes.pass(i, index, &told, entry));
                        if let Some(wrong) = wrong {
                            check.wrong_record(index, wrong);
                        }
                    }
                    None => check.missing(index, format!("it is missing in the file {path}")),
                }
                if check.has_stopped() {
                    break;
                }
            }
            if check.has_stopped() {
                break;
            }
            if leaves.is_none() {
                let tile = LogPath::Tile { level: 0, index, width };
                check.wrong_tile(index * TILE_WIDTH, format!("the file {tile} is missing"));
            }
            if entries.next().is_some() {
                let end = index * TILE_WIDTH + u64::from(width);
                check.missing(end, format!("it is in the file {path}, where it does not belong"));
                break;
            }
        }
        for (level, index, width) in upper_tiles(size, check.size()) {
            let path = LogPath::Tile { level, index, width };
            let hashes = files.hashes(path)?.unwrap_or_default();
            check.tile(level, index, &hashes);
            if hashes.len() != usize::from(width) {
                let first = (index * TILE_WIDTH + hashes.len() as u64) << (8 * u32::from(level));
                check.wrong_tile(first, format!("the file {path} is missing or cut"));
            }
        }
        let checked = check.finish(size);
        if !checked.wrong.is_empty() {
            changes.lose_track();
        }
        report.logs.push(checked);
    }
    report.under_way = changes.open();
    Ok(report)
}

/// The folders with a checkpoint: this one, or those in it.
fn log_folders(folder: &Path) -> Result<Vec<PathBuf>, FolderError> {
    let unreadable = |source| FolderError::Unreadable { path: folder.to_owned(), source };
    if folder.join("checkpoint").exists() {
        return Ok(vec![folder.to_owned()]);
    }
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.retain(|folder| folder.join("checkpoint").exists() || folder.join("tile").exists());
    if folders.is_empty() {
        return Err(FolderError::NoLog { path: folder.to_owned() });
    }
    Ok(folders)
}

fn found(folder: &Path) -> Result<Found, FolderError> {
    let files = Files(folder);
    let checkpoint = files.read(LogPath::Checkpoint)?;
    let checkpoint = checkpoint.and_then(|note| String::from_utf8(note).ok());
    let checkpoint = checkpoint.and_then(|note| Checkpoint::parse(&note).ok());
    let size = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size);
    let width = tile_width(0, 0, size);
    let bundle = files.read(LogPath::Entries { index: 0, width })?.unwrap_or_default();
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    Ok(Found {
        origin: checkpoint.as_ref().map_or_else(|| name.into(), |known| known.origin.clone()),
        first: entries_of_bundle(&bundle).next().flatten().map(<[u8]>::to_vec),
        dropped: checkpoint.is_some() && !folder.join("tile").exists(),
        checkpoint,
    })
}

/// The files of a log.
struct Files<'a>(&'a Path);

impl Files<'_> {
    /// The file at a path of the log; `None` if there is none.
    fn read(&self, path: LogPath) -> Result<Option<Vec<u8>>, FolderError> {
        let path = self.0.join(path.to_string());
        match files::read(&path, LONGEST) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FolderError::Unreadable { path, source }),
        }
    }

    /// The hashes in a tile.
    fn hashes(&self, path: LogPath) -> Result<Option<Vec<Hash>>, FolderError> {
        Ok(self.read(path)?.map(|tile| crate::audit::log::hashes_of_tile(&tile)))
    }
}
