//! Proofs that a log contains a record, made from its tiles.

use std::collections::{BTreeMap, BTreeSet};

use tlog_tiles::{Error, Hash, HashReader, Tile, prove_record, split_stored_hash_index};

use super::tree::{Node, TILE_WIDTH, tile_width};

/// Some of a log's tiles, by level and index.
#[derive(Clone, Debug, Default)]
pub struct Tiles(BTreeMap<(u8, u64), Vec<Hash>>);

impl Tiles {
    /// Adds the hashes of a tile, in order.
    pub fn insert(&mut self, level: u8, index: u64, hashes: Vec<Hash>) {
        self.0.insert((level, index), hashes);
    }

    /// Adds the next hash of a tile.
    pub fn push(&mut self, node: Node) {
        self.0.entry((node.level, node.index / TILE_WIDTH)).or_default().push(node.hash);
    }

    /// The hashes of a tile; none if it is not here.
    pub fn hashes(&self, level: u8, index: u64) -> &[Hash] {
        self.0.get(&(level, index)).map_or(&[], Vec::as_slice)
    }

    /// Every tile, by level and then by index.
    pub fn iter(&self) -> impl Iterator<Item = (u8, u64, &[Hash])> {
        self.0.iter().map(|((level, index), hashes)| (*level, *index, hashes.as_slice()))
    }

    /// The proof that the record `index` is in the log as it was with `size` records:
    /// the hashes beside the way from its leaf to the root, from below. The tiles that
    /// [`tiles_for_proof`] names must be here. `None` without them, and if there is no
    /// such record.
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Option<Vec<Hash>> {
        prove_record(size, index, self).ok()
    }
}

impl HashReader for Tiles {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        let hash = |stored: &u64| {
            let (height, n) = split_stored_hash_index(*stored);
            // A node within a tile is the subtree above some of the tile's hashes.
            let (level, above) = (height / 8, u32::from(height % 8));
            let first = n << above;
            let start = (first % TILE_WIDTH) as usize;
            let tile = self.hashes(level, first / TILE_WIDTH);
            let below = tile.get(start..start + (1 << above)).ok_or(Error::IndexesNotInTree)?;
            let below: Vec<u8> = below.iter().flat_map(|hash| hash.0).collect();
            Ok(Tile::subtree_hash(&below))
        };
        indexes.iter().map(hash).collect()
    }
}

/// The tiles that a proof for the record `index` in a log of `size` records is made of,
/// as level, index and width: on each level the tile on the way to the root and the last
/// one.
pub fn tiles_for_proof(index: u64, size: u64) -> Vec<(u8, u64, u16)> {
    let mut wanted = BTreeSet::new();
    for level in 0..8 {
        let hashes = size >> (8 * u32::from(level));
        if hashes == 0 {
            break;
        }
        let on_the_way = (index >> (8 * u32::from(level))) / TILE_WIDTH;
        for tile in [on_the_way, hashes / TILE_WIDTH] {
            let width = tile_width(level, tile, size);
            if width > 0 {
                wanted.insert((level, tile, width));
            }
        }
    }
    wanted.into_iter().collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::audit::log::tree::{Edge, leaf_hash};

    #[test]
    fn a_proof_is_made_of_few_tiles_and_another_implementation_accepts_it() {
        let mut edge = Edge::default();
        let mut all = Tiles::default();
        let mut roots = vec![edge.root()];
        for i in 0..66_000_u64 {
            let leaf = leaf_hash(&i.to_be_bytes());
            all.push(Node { level: 0, index: i, hash: leaf });
            edge.push(leaf, |node| all.push(node));
            roots.push(if i < 1000 || i % 997 == 0 { edge.root() } else { Hash::default() });
        }
        for size in [1, 2, 255, 256, 257, 511, 512, 513, 997 + 1, 997 * 60 + 1, 997 * 66 + 1] {
            let root = roots[size as usize];
            for index in [0, 1, 254, 255, 256, 300, size / 2, size - 1] {
                if index >= size {
                    continue;
                }
                let mut few = Tiles::default();
                for (level, tile, width) in tiles_for_proof(index, size) {
                    let hashes = &all.hashes(level, tile)[..usize::from(width)];
                    few.insert(level, tile, hashes.to_vec());
                }
                let proof = few.inclusion_proof(index, size).unwrap();
                let leaf = leaf_hash(&index.to_be_bytes());
                tlog_tiles::check_record(&proof, size, root, index, leaf).unwrap();
            }
            assert_eq!(all.inclusion_proof(size, size), None);
        }
        assert_eq!(Tiles::default().inclusion_proof(0, 300), None);
    }
}
