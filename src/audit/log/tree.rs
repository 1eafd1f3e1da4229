//! The Merkle tree of a log (RFC 6962), as far as it has to be known to make it grow.

use aws_lc_rs::digest;
use tlog_tiles::{EMPTY_HASH, Hash};

/// The hashes of a full tile: a tile is a subtree of height 8.
pub const TILE_WIDTH: u64 = 256;

/// The hash of a leaf that holds `entry`.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    sha256(&[&[0], entry])
}

/// The hash of a node above two others.
fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], &left.0, &right.0])
}

fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut hash = Hash::default();
    hash.0.copy_from_slice(context.finish().as_ref());
    hash
}

/// How many hashes the tile `index` of `level` has in a tree of `size` leaves: 256 if it
/// is full, 0 if there is no such tile.
pub fn tile_width(level: u8, index: u64, size: u64) -> u16 {
    let hashes = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
    let width = hashes.saturating_sub(index.saturating_mul(TILE_WIDTH)).min(TILE_WIDTH);
    width as u16
}

/// The hashes in the bytes of a tile. What is left over of a cut hash is left out.
pub fn hashes_of_tile(tile: &[u8]) -> Vec<Hash> {
    tile.as_chunks().0.iter().map(|hash| Hash(*hash)).collect()
}

/// A hash in a tile: that of the `index`th full subtree of 256<sup>level</sup> leaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Node {
    /// The level of its tile.
    pub level: u8,
    /// Its place among the level's hashes.
    pub index: u64,
    /// The hash.
    pub hash: Hash,
}

/// The right edge of a tree: the hashes of the tiles that are not full yet, one tile a
/// level. They are all that one has to know of a tree to add leaves and to tell its root.
#[derive(Clone, Debug, Default)]
pub struct Edge {
    size: u64,
    /// From level 0; each has fewer than 256 hashes.
    tiles: Vec<Vec<Hash>>,
}

impl Edge {
    /// The edge of a tree of `size` leaves, of which `tile` gives the hashes of the tile
    /// at a level and an index: at least as many as it has at that size.
    ///
    /// # Errors
    /// Those of `tile`; a tile with too few hashes is an edge of a smaller tree, which
    /// [`Edge::size`] tells.
    pub fn read<E>(
        size: u64,
        mut tile: impl FnMut(u8, u64) -> Result<Vec<Hash>, E>,
    ) -> Result<Self, E> {
        let mut edge = Self { size: 0, tiles: Vec::new() };
        let mut hashes = size;
        let mut level = 0;
        while hashes > 0 {
            let width = (hashes % TILE_WIDTH) as usize;
            let mut read = Vec::new();
            if width > 0 {
                read = tile(level, hashes / TILE_WIDTH)?;
                read.truncate(width);
            }
            edge.size += (read.len() as u64) << (8 * u32::from(level));
            edge.tiles.push(read);
            hashes /= TILE_WIDTH;
            level += 1;
        }
        Ok(edge)
    }

    /// How many leaves the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of the tile at this level that is not full.
    pub fn tile(&self, level: u8) -> &[Hash] {
        self.tiles.get(usize::from(level)).map_or(&[], Vec::as_slice)
    }

    /// Adds a leaf. `grown` is told each hash that this adds to a tile above level 0.
    pub fn push(&mut self, leaf: Hash, mut grown: impl FnMut(Node)) {
        self.push_subtree(0, leaf, &mut grown);
    }

    /// Adds the hash of a full subtree to the tile at a level, below which there must be
    /// no partial tile.
    pub fn push_subtree(&mut self, level: u8, hash: Hash, grown: &mut impl FnMut(Node)) {
        self.size += 1 << (8 * u32::from(level));
        let mut hash = hash;
        for level in usize::from(level).. {
            if self.tiles.len() <= level {
                self.tiles.resize_with(level + 1, Vec::new);
            }
            if level > 0 {
                let index = (self.size >> (8 * level)) - 1;
                grown(Node { level: level as u8, index, hash });
            }
            let tile = &mut self.tiles[level];
            tile.push(hash);
            if (tile.len() as u64) < TILE_WIDTH {
                break;
            }
            hash = full_subtree(tile);
            tile.clear();
        }
    }

    /// The hash of the tree.
    pub fn root(&self) -> Hash {
        let mut root = None;
        // From the right: first the smallest of the full subtrees.
        for tile in &self.tiles {
            let mut rest = tile.as_slice();
            while !rest.is_empty() {
                let (left, right) = rest.split_at(rest.len() - (1 << rest.len().trailing_zeros()));
                let subtree = full_subtree(right);
                root = Some(match root {
                    None => subtree,
                    Some(right) => node_hash(&subtree, &right),
                });
                rest = left;
            }
        }
        root.unwrap_or(EMPTY_HASH)
    }
}

/// The hash of a full subtree: a power of two of hashes.
fn full_subtree(hashes: &[Hash]) -> Hash {
    let mut row = [Hash::default(); TILE_WIDTH as usize];
    let mut width = hashes.len().min(row.len());
    row[..width].copy_from_slice(&hashes[..width]);
    while width > 1 {
        width /= 2;
        for i in 0..width {
            row[i] = node_hash(&row[2 * i], &row[2 * i + 1]);
        }
    }
    row[0]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::audit::log::proof::Tiles;

    #[test]
    fn hashes_are_those_of_rfc_6962() {
        assert_eq!(leaf_hash(b"entry"), tlog_tiles::record_hash(b"entry"));
        let (a, b) = (leaf_hash(b"a"), leaf_hash(b"b"));
        assert_eq!(node_hash(&a, &b), tlog_tiles::node_hash(a, b));
    }

    /// The tiles of a tree of `size` leaves, all as wide as they are.
    fn tiles(size: u64) -> (Tiles, Edge) {
        let mut edge = Edge::default();
        let mut tiles = Tiles::default();
        for i in 0..size {
            let leaf = leaf_hash(&i.to_be_bytes());
            tiles.push(Node { level: 0, index: i, hash: leaf });
            edge.push(leaf, |node| tiles.push(node));
        }
        (tiles, edge)
    }

    #[test]
    fn the_root_is_the_one_of_another_implementation_at_every_size() {
        let mut edge = Edge::default();
        let mut tiles = Tiles::default();
        for i in 0..2500_u64 {
            let root = tlog_tiles::tree_hash(i, &tiles).unwrap();
            assert_eq!(edge.root(), root, "{i}");
            let leaf = leaf_hash(&i.to_be_bytes());
            tiles.push(Node { level: 0, index: i, hash: leaf });
            edge.push(leaf, |node| tiles.push(node));
        }
        // Three levels.
        let (tiles, edge) = self::tiles(65_536 + 300);
        assert_eq!(edge.root(), tlog_tiles::tree_hash(edge.size(), &tiles).unwrap());
        assert_eq!(edge.tile(2).len(), 1);
        assert_eq!(edge.tile(1).len(), 1);
        assert_eq!(edge.tile(0).len(), 44);
    }

    #[test]
    fn an_edge_is_read_from_tiles_and_a_lack_of_hashes_shows_in_its_size() {
        for size in [0, 1, 255, 256, 257, 512, 1000, 65_536, 65_537] {
            let (tiles, edge) = tiles(size);
            let read = |level, index| Ok::<_, Infallible>(tiles.hashes(level, index).to_vec());
            let again = Edge::read(size, read).unwrap();
            assert_eq!(again.size(), size);
            assert_eq!(again.root(), edge.root(), "{size}");
        }
        let (tiles, _) = tiles(300);
        let short = |level, index| {
            let hashes = tiles.hashes(level, index);
            Ok::<_, Infallible>(hashes[..hashes.len() - 1].to_vec())
        };
        assert_eq!(Edge::read(300, short).unwrap().size(), 43);
    }

    #[test]
    fn a_tile_is_as_wide_as_the_tree_lets_it_be() {
        for (level, index, size, width) in [
            (0, 0, 0, 0),
            (0, 0, 1, 1),
            (0, 0, 256, 256),
            (0, 1, 256, 0),
            (0, 1, 300, 44),
            (1, 0, 255, 0),
            (1, 0, 300, 1),
            (1, 0, 65_536, 256),
            (2, 0, 65_536, 1),
            (7, 0, u64::MAX, 255),
            (8, 0, u64::MAX, 0),
            (63, u64::MAX, u64::MAX, 0),
        ] {
            assert_eq!(tile_width(level, index, size), width, "{level} {index} {size}");
        }
    }
}
