//! What a log is made of for those who read it: paths and entry bundles, as
//! `tlog-tiles` has them (<https://c2sp.org/tlog-tiles>).

use std::{fmt, str::FromStr};

use super::tree::TILE_WIDTH;

/// A path below a log's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogPath {
    /// `checkpoint`
    Checkpoint,
    /// `tile/1/x001/x234/067.p/12`: hashes of a level.
    Tile {
        /// From 0 to 63; 0 holds the hashes of the leaves.
        level: u8,
        /// Which tile of the level.
        index: u64,
        /// How many hashes, from 1 to 256. Those with fewer than 256 are partial.
        width: u16,
    },
    /// `tile/entries/x001/x234/067.p/12`: the entries below a tile of level 0.
    Entries {
        /// Which bundle.
        index: u64,
        /// How many entries, from 1 to 256.
        width: u16,
    },
}

/// A path that leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a log has a checkpoint, tile/LEVEL/INDEX and tile/entries/INDEX")]
pub struct NoSuchPath;

impl LogPath {
    /// Whether it is a full tile or bundle, which never changes.
    pub fn is_full(self) -> bool {
        match self {
            Self::Checkpoint => false,
            Self::Tile { width, .. } | Self::Entries { width, .. } => {
                u64::from(width) == TILE_WIDTH
            }
        }
    }
}

impl fmt::Display for LogPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint => f.write_str("checkpoint"),
            Self::Tile { level, index, width } => {
                write!(f, "tile/{level}/")?;
                write_place(f, *index, *width)
            }
            Self::Entries { index, width } => {
                f.write_str("tile/entries/")?;
                write_place(f, *index, *width)
            }
        }
    }
}

/// `x001/x234/067`, and `.p/12` after it if the tile is partial.
fn write_place(f: &mut fmt::Formatter<'_>, index: u64, width: u16) -> fmt::Result {
    let mut groups = vec![index % 1000];
    let mut rest = index / 1000;
    while rest > 0 {
        groups.push(rest % 1000);
        rest /= 1000;
    }
    for group in groups[1..].iter().rev() {
        write!(f, "x{group:03}/")?;
    }
    write!(f, "{:03}", groups[0])?;
    if u64::from(width) < TILE_WIDTH { write!(f, ".p/{width}") } else { Ok(()) }
}

impl FromStr for LogPath {
    type Err = NoSuchPath;

    fn from_str(path: &str) -> Result<Self, NoSuchPath> {
        if path == "checkpoint" {
            return Ok(Self::Checkpoint);
        }
        // The longest: an index of 20 digits, and a level or `entries`.
        let rest = path.strip_prefix("tile/").filter(|rest| rest.len() < 64).ok_or(NoSuchPath)?;
        let (kind, place) = rest.split_once('/').ok_or(NoSuchPath)?;
        let (place, width) = match place.split_once(".p/") {
            None => (place, TILE_WIDTH as u16),
            Some((place, width)) => (place, width.parse().map_err(|_| NoSuchPath)?),
        };
        let mut index: u64 = 0;
        for group in place.split('/') {
            let digits: u64 = group.trim_start_matches('x').parse().map_err(|_| NoSuchPath)?;
            let longer = index.checked_mul(1000).and_then(|index| index.checked_add(digits));
            index = longer.ok_or(NoSuchPath)?;
        }
        let parsed = match kind {
            "entries" => Self::Entries { index, width },
            level => Self::Tile { level: level.parse().map_err(|_| NoSuchPath)?, index, width },
        };
        let level_exists = !matches!(parsed, Self::Tile { level: 64.., .. });
        // What is left over shows in another spelling: leading zeros, signs, a group too
        // many, a width of 256.
        let exists = level_exists && width > 0 && parsed.to_string() == path;
        exists.then_some(parsed).ok_or(NoSuchPath)
    }
}

/// Adds an entry to a bundle: its length in two bytes, then itself.
///
/// # Errors
/// An entry longer than 65,535 bytes, which no bundle can hold.
pub fn append_to_bundle(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), EntryTooLong> {
    let length = u16::try_from(entry.len()).map_err(|_| EntryTooLong(entry.len()))?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// An entry is longer than a bundle can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry of {0} bytes is longer than 65,535")]
pub struct EntryTooLong(usize);

/// The entries of a bundle. The last is `None` if the bundle ends within it.
pub fn entries_of_bundle(mut bundle: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    std::iter::from_fn(move || {
        if bundle.is_empty() {
            return None;
        }
        let entry = bundle.split_first_chunk().and_then(|(length, rest)| {
            rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        });
        bundle = entry.map_or(&[], |(_, rest)| rest);
        Some(entry.map(|(entry, _)| entry))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        let tile = |level, index, width| LogPath::Tile { level, index, width };
        for (path, parsed) in [
            ("checkpoint", LogPath::Checkpoint),
            ("tile/0/x001/x234/067", tile(0, 1_234_067, 256)),
            ("tile/0/x001/x234/067.p/12", tile(0, 1_234_067, 12)),
            ("tile/63/000.p/255", tile(63, 0, 255)),
            ("tile/1/x001/000", tile(1, 1000, 256)),
            ("tile/entries/x001/x234/067.p/1", LogPath::Entries { index: 1_234_067, width: 1 }),
            ("tile/0/x018/x446/x744/x073/x709/x551/615", tile(0, u64::MAX, 256)),
        ] {
            assert_eq!(path.parse(), Ok(parsed), "{path}");
            assert_eq!(parsed.to_string(), path);
        }
    }

    #[test]
    fn a_path_has_one_spelling() {
        for path in [
            "",
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "tile/0/0",
            "tile/0/1000",
            "tile/0/x000/001",
            "tile/0/001/002",
            "tile/0/xx001/002",
            "tile/0/x001",
            "tile/0/+01",
            "tile/00/001",
            "tile/64/001",
            "tile/8/0/001",
            "tile/0/001.p/0",
            "tile/0/001.p/256",
            "tile/0/001.p/012",
            "tile/0/001.p/",
            "tile/0/001.p",
            "tile/0/001.p/1/",
            "tile/data/001",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
            "checkpoint/",
            "/checkpoint",
            "tile/0/../../checkpoint",
        ] {
            assert!(path.parse::<LogPath>().is_err(), "{path}");
        }
    }

    #[test]
    fn a_bundle_gives_its_entries_back_and_shows_where_it_ends_early() {
        let mut bundle = Vec::new();
        let long = vec![b'x'; 65_535];
        for entry in [b"a".as_slice(), b"", &long] {
            append_to_bundle(&mut bundle, entry).unwrap();
        }
        let entries: Vec<_> = entries_of_bundle(&bundle).collect();
        assert_eq!(entries, [Some(b"a".as_slice()), Some(b""), Some(&long)]);
        let cut: Vec<_> = entries_of_bundle(&bundle[..bundle.len() - 1]).collect();
        assert_eq!(cut, [Some(b"a".as_slice()), Some(b""), None]);
        assert_eq!(entries_of_bundle(&bundle[..1]).collect::<Vec<_>>(), [None]);
        assert!(append_to_bundle(&mut bundle, &[0; 65_536]).is_err());
    }
}
