//! Export of a log as the folder of files that `tlog-tiles` has.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::log::{
    Checkpoint, Edge, Hash, LogPath, Node, TILE_WIDTH, Tiles, append_to_bundle, leaf_hash,
};

/// A log's folder that is being written. It is told every record, in order, and at the
/// end the checkpoint of exactly these.
pub struct LogFolder {
    path: PathBuf,
    edge: Edge,
    upper: Tiles,
    /// Of the records of the last bundle.
    bundle: Vec<u8>,
    leaves: Vec<Hash>,
}

impl LogFolder {
    /// Begins the folder.
    ///
    /// # Errors
    /// If it exists, or cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        fs::create_dir(path)?;
        Ok(Self {
            path: path.to_owned(),
            edge: Edge::default(),
            upper: Tiles::default(),
            bundle: Vec::new(),
            leaves: Vec::new(),
        })
    }

    /// How many records were told so far.
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Tells the next record.
    ///
    /// # Errors
    /// If it is longer than a bundle can hold, or cannot be written.
    pub fn push(&mut self, entry: &[u8]) -> io::Result<()> {
        append_to_bundle(&mut self.bundle, entry)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let hash = leaf_hash(entry);
        self.leaves.push(hash);
        let upper = &mut self.upper;
        self.edge.push(hash, |node: Node| upper.push(node));
        if self.leaves.len() as u64 == TILE_WIDTH { self.write_bundle() } else { Ok(()) }
    }

    /// Writes what is left and the checkpoint.
    ///
    /// # Errors
    /// If the records are not those that the checkpoint vouches for, and if something
    /// cannot be written.
    pub fn finish(mut self, checkpoint: &Checkpoint) -> io::Result<()> {
        if (self.edge.size(), self.edge.root()) != (checkpoint.size, checkpoint.root) {
            let reason = format!(
                "{} is not the log that its checkpoint vouches for; `glacier-gateway audit verify` \
                 names the first record that is wrong",
                checkpoint.origin
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        if !self.leaves.is_empty() {
            self.write_bundle()?;
        }
        for (level, index, hashes) in self.upper.iter() {
            let path = LogPath::Tile { level, index, width: hashes.len() as u16 };
            write(&self.path, path, &bytes(hashes))?;
        }
        write(&self.path, LogPath::Checkpoint, checkpoint.note.as_bytes())
    }

    fn write_bundle(&mut self) -> io::Result<()> {
        let width = self.leaves.len() as u16;
        let index = (self.edge.size() - 1) / TILE_WIDTH;
        write(&self.path, LogPath::Entries { index, width }, &self.bundle)?;
        write(&self.path, LogPath::Tile { level: 0, index, width }, &bytes(&self.leaves))?;
        self.bundle.clear();
        self.leaves.clear();
        Ok(())
    }
}

/// Writes the final checkpoint of a log whose records were dropped.
///
/// # Errors
/// If the folder exists, or cannot be written.
pub fn write_dropped(path: &Path, checkpoint: &Checkpoint) -> io::Result<()> {
    fs::create_dir(path)?;
    write(path, LogPath::Checkpoint, checkpoint.note.as_bytes())
}

fn bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

fn write(folder: &Path, path: LogPath, content: &[u8]) -> io::Result<()> {
    let path = folder.join(path.to_string());
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(named)?;
    }
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).open(&path).map_err(named)?;
    file.write_all(content).map_err(named)
}
