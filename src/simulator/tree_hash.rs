//! SHA-256 tree hashes (Glacier Developer Guide, "Computing Checksums"): the
//! hash of each 1 MiB of the payload, then pairwise hashes of the hashes up to
//! one root.

use std::sync::LazyLock;

use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN, digest};

/// The leaves of a tree hash cover this many bytes each; the last may be short.
pub(super) const LEAF: u64 = 1024 * 1024;

pub(super) type Hash = [u8; SHA256_OUTPUT_LEN];

/// Hashes a payload as it arrives and keeps none of it.
pub(super) struct Hasher {
    whole: Context,
    leaf: Context,
    leaves: Vec<Hash>,
    length: u64,
}

/// What is left of a payload once it has been hashed.
pub(super) struct Payload {
    /// Its length in bytes.
    pub(super) length: u64,
    /// Its plain SHA-256, which `x-amz-content-sha256` announces and SigV4 signs.
    pub(super) sha256: Hash,
    /// Its tree hash.
    pub(super) tree_hash: Hash,
}

impl Hasher {
    pub(super) fn new() -> Self {
        Self {
            whole: Context::new(&SHA256),
            leaf: Context::new(&SHA256),
            leaves: Vec::new(),
            length: 0,
        }
    }

    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        self.whole.update(bytes);
        while !bytes.is_empty() {
            let room = (LEAF - self.length % LEAF) as usize;
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.leaf.update(now);
            self.length += now.len() as u64;
            if self.length.is_multiple_of(LEAF) {
                let full = std::mem::replace(&mut self.leaf, Context::new(&SHA256));
                self.leaves.push(hash(full));
            }
            bytes = rest;
        }
    }

    pub(super) fn finish(mut self) -> Payload {
        if !self.length.is_multiple_of(LEAF) || self.length == 0 {
            self.leaves.push(hash(self.leaf));
        }
        Payload { length: self.length, sha256: hash(self.whole), tree_hash: root(self.leaves) }
    }
}

/// The root over `hashes`, which stand side by side at one level of the tree. The
/// parts of an archive but the last are equal and a power of two in MiB, so the
/// root over their tree hashes is the archive's.
pub(super) fn root(mut hashes: Vec<Hash>) -> Hash {
    while hashes.len() > 1 {
        hashes = hashes
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => sha256(&[left.as_slice(), right].concat()),
                odd => odd[0],
            })
            .collect();
    }
    hashes.first().copied().unwrap_or_else(|| sha256(b""))
}

/// The tree hash of `leaves` MiB of zeros, the content of seeded parts.
pub(super) fn zeros(leaves: u64) -> Hash {
    static LEAF_OF_ZEROS: LazyLock<Hash> = LazyLock::new(|| sha256(&vec![0; LEAF as usize]));
    root(vec![*LEAF_OF_ZEROS; leaves as usize])
}

fn sha256(bytes: &[u8]) -> Hash {
    to_array(digest(&SHA256, bytes).as_ref())
}

fn hash(context: Context) -> Hash {
    to_array(context.finish().as_ref())
}

fn to_array(bytes: &[u8]) -> Hash {
    let mut hash = [0; SHA256_OUTPUT_LEN];
    hash.copy_from_slice(bytes);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(payload: &[u8], chunk: usize) -> Payload {
        let mut hasher = Hasher::new();
        payload.chunks(chunk).for_each(|bytes| hasher.update(bytes));
        hasher.finish()
    }

    #[test]
    fn up_to_one_mib_the_tree_hash_is_the_plain_hash() {
        for payload in [&b""[..], b"glacier", &[7; LEAF as usize]] {
            let hashed = of(payload, 1000);
            assert_eq!(hashed.tree_hash, hashed.sha256);
            assert_eq!(hashed.length, payload.len() as u64);
        }
    }

    #[test]
    fn an_odd_leaf_is_promoted_unhashed() {
        let mib = LEAF as usize;
        let payload: Vec<u8> = (0..2 * mib + 5).map(|i| (i / mib) as u8).collect();
        let leaves: Vec<Hash> = payload.chunks(mib).map(sha256).collect();
        let left = sha256(&[leaves[0], leaves[1]].concat());
        let expected = sha256(&[left, leaves[2]].concat());
        assert_eq!(of(&payload, mib).tree_hash, expected);
        assert_eq!(of(&payload, 4097).tree_hash, expected, "however the payload is cut");
    }

    #[test]
    fn the_root_over_equal_parts_is_the_archives() {
        let archive: Vec<u8> = (0..5 * LEAF + 3).map(|i| (i % 251) as u8).collect();
        let parts = archive.chunks(2 * LEAF as usize).map(|part| of(part, 65536).tree_hash);
        assert_eq!(root(parts.collect()), of(&archive, 65536).tree_hash);
        assert_eq!(zeros(4), of(&vec![0; 4 * LEAF as usize], 65536).tree_hash);
    }
}
