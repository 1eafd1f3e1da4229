//! The file that keeps checkpoints outside of the store: the last one of each log.

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
    /// A file that cannot be read in time, or that holds something else.
    pub async fn read(&self) -> io::Result<Largest> {
        let path = self.path.clone();
        self.reader.read(move |_| read(&path)).await?
    }

    /// Keeps these checkpoints, and all that the file keeps already, of each log the
    /// largest.
    ///
    /// # Errors
    /// If the file cannot be read or written in time.
    pub async fn keep(&self, checkpoints: Vec<Checkpoint>) -> io::Result<()> {
        let path = self.path.clone();
        self.reader.read(move |_| write(&path, checkpoints)).await?
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

/// Reads such a file.
///
/// # Errors
/// A file that cannot be read, or that holds something else.
pub fn read(path: &Path) -> io::Result<Largest> {
    let file = match files::read(path, MAX_SIZE) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Largest::new()),
        Err(error) => return Err(error),
    };
    let wrong = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
    let text = String::from_utf8(file).map_err(|_| wrong("it is no text".to_owned()))?;
    let checkpoints = Checkpoint::parse_all(&text)
        .map_err(|line| wrong(format!("line {line} begins something that is no checkpoint")))?;
    let mut all = Largest::new();
    checkpoints.into_iter().for_each(|checkpoint| keep(&mut all, checkpoint));
    Ok(all)
}

fn write(path: &Path, checkpoints: Vec<Checkpoint>) -> io::Result<()> {
    let mut all = read(path)?;
    checkpoints.into_iter().for_each(|checkpoint| keep(&mut all, checkpoint));
    let notes: Vec<&str> = all.values().map(|checkpoint| checkpoint.note.as_str()).collect();
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
    async fn the_largest_checkpoint_of_each_log_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let outside = Outside::new(folder.path().join("checkpoints"));
        assert_eq!(outside.read().await.unwrap(), Largest::new());
        let keys = keys(1);
        let sign =
            |log: &str, size| Checkpoint::sign(log, size, leaf_hash(&[size as u8]), &keys).unwrap();
        outside.keep(vec![sign("a", 5)]).await.unwrap();
        outside.keep(vec![sign("b", 7), sign("a", 4)]).await.unwrap();
        outside.keep(vec![sign("b", 8)]).await.unwrap();
        let kept = outside.read().await.unwrap();
        let sizes: Vec<_> = kept.values().map(|kept| (kept.origin.as_str(), kept.size)).collect();
        assert_eq!(sizes, [("a", 5), ("b", 8)]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

        fs::write(outside.path(), "something else\n").unwrap();
        assert!(outside.keep(vec![sign("a", 9)]).await.is_err());
        assert_eq!(fs::read_to_string(outside.path()).unwrap(), "something else\n");
        assert!(outside.is_on_the_volume_of(&folder.path().join("store.sqlite")).await);
        assert!(!outside.is_on_the_volume_of(Path::new("/proc/self/status")).await);
    }
}
