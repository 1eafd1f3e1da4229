//! The file that keeps checkpoints outside of the store: the last one of each log, and
//! whatever else somebody put there.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::Checkpoint;
use crate::files::{self, Reader};

/// The most that the file may hold, in bytes: centuries of checkpoints.
const MAX_SIZE: u64 = 4 << 20;

/// The checkpoint file. It may lie on a disk that hangs: whoever waits for it waits for a
/// bounded time, and it occupies one thread at most.
#[derive(Clone, Debug)]
pub struct Outside {
    path: PathBuf,
    reader: Reader,
}

/// Checkpoints by their origins: of each the largest.
pub type Largest = BTreeMap<String, Checkpoint>;

/// Adds a checkpoint, unless there is a larger one.
pub fn keep(all: &mut Largest, checkpoint: Checkpoint) {
    let known = all.get(&checkpoint.origin).is_some_and(|known| known.size >= checkpoint.size);
    if !known {
        all.insert(checkpoint.origin.clone(), checkpoint);
    }
}

impl Outside {
    /// The file at this path, whether it exists or not.
    pub fn new(path: PathBuf) -> Self {
        Self { path, reader: Reader::default() }
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file keeps; nothing if it does not exist yet.
    ///
    /// # Errors
    /// A file that cannot be read in time, or that holds something else; a folder that does
    /// not exist.
    pub async fn read(&self) -> io::Result<Vec<Checkpoint>> {
        let path = self.path.clone();
        self.reader.read(move |_| read(&path)).await?
    }

    /// Puts these checkpoints in the place of those that were read.
    ///
    /// # Errors
    /// If the file cannot be read or written in time, and if it holds others by now: those
    /// are to be looked at first.
    pub async fn replace(&self, was: Vec<Checkpoint>, now: Vec<Checkpoint>) -> io::Result<()> {
        let path = self.path.clone();
        self.reader.read(move |_| write(&path, &was, &now)).await?
    }

    /// Whether the file lies on the same volume as another.
    pub async fn is_on_the_volume_of(&self, other: &Path) -> bool {
        let folder = folder(&self.path).to_owned();
        let other = folder_or_file(other);
        let volume = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev());
        let same = self.reader.read(move |_| Some(volume(&folder).ok()? == volume(&other).ok()?));
        same.await.ok().flatten().unwrap_or(false)
    }
}

/// Reads such a file: its checkpoints by origin and size.
///
/// # Errors
/// A file that cannot be read, or that holds something else. A folder that does not exist
/// may be one that is not mounted, so it is not taken for an empty one.
pub fn read(path: &Path) -> io::Result<Vec<Checkpoint>> {
    let wrong = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
    let file = match files::read(path, MAX_SIZE) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if !folder(path).is_dir() {
                return Err(io::Error::new(error.kind(), "its folder does not exist"));
            }
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let text = String::from_utf8(file).map_err(|_| wrong("it is no text".to_owned()))?;
    let mut checkpoints = Checkpoint::parse_all(&text)
        .map_err(|line| wrong(format!("line {line} begins something that is no checkpoint")))?;
    sort(&mut checkpoints);
    Ok(checkpoints)
}

/// Sorts checkpoints as they stand in the file.
pub fn sort(checkpoints: &mut [Checkpoint]) {
    checkpoints.sort_by(|a, b| (&a.origin, a.size, &a.note).cmp(&(&b.origin, b.size, &b.note)));
}

fn write(path: &Path, was: &[Checkpoint], now: &[Checkpoint]) -> io::Result<()> {
    if read(path)? != was {
        return Err(io::Error::other("it was written by somebody else just now"));
    }
    let notes: Vec<&str> = now.iter().map(|checkpoint| checkpoint.note.as_str()).collect();
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary)?;
    file.write_all(notes.join("\n").as_bytes())?;
    file.sync_all()?;
    drop(file);
    fs::rename(&temporary, path)?;
    File::open(folder(path))?.sync_all()
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn folder_or_file(path: &Path) -> PathBuf {
    if path.exists() { path.to_owned() } else { folder(path).to_owned() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::audit::log::{leaf_hash, tests::keys};

    #[tokio::test]
    async fn what_the_file_holds_is_replaced_only_by_whoever_has_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let outside = Outside::new(folder.path().join("checkpoints"));
        assert_eq!(outside.read().await.unwrap(), []);
        let keys = keys(1);
        let sign =
            |log: &str, size| Checkpoint::sign(log, size, leaf_hash(&[size as u8]), &keys).unwrap();
        let first = vec![sign("a", 5), sign("b", 7)];
        outside.replace(Vec::new(), first.clone()).await.unwrap();
        assert_eq!(outside.read().await.unwrap(), first);
        assert!(outside.replace(Vec::new(), vec![sign("a", 6)]).await.is_err());
        assert_eq!(outside.read().await.unwrap(), first);
        outside.replace(first, vec![sign("b", 8)]).await.unwrap();
        assert_eq!(outside.read().await.unwrap(), [sign("b", 8)]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

        fs::write(outside.path(), "something else\n").unwrap();
        assert!(outside.replace(Vec::new(), vec![sign("a", 9)]).await.is_err());
        assert_eq!(fs::read_to_string(outside.path()).unwrap(), "something else\n");
        assert!(outside.is_on_the_volume_of(&folder.path().join("store.sqlite")).await);
        assert!(!outside.is_on_the_volume_of(Path::new("/proc/self/status")).await);
        // A volume that is not mounted is not an empty one.
        let error = read(&folder.path().join("unmounted/checkpoints")).unwrap_err();
        assert_eq!(error.to_string(), "its folder does not exist");
    }
}
