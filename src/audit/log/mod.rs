//! The transparency log that the audit trail is kept in, as C2SP's `tlog-tiles`,
//! `tlog-checkpoint` and `signed-note` have it (<https://c2sp.org>), so that others'
//! tools can verify it.
//!
//! There is one log for each month. Its leaves are the records. Tiles are derived from
//! them, and a signed checkpoint vouches for all records up to its size.

mod checkpoint;
mod keys;
mod month;
mod path;
mod proof;
mod start;
mod tree;

pub use self::{
    checkpoint::{BadSignature, Checkpoint, MalformedCheckpoint},
    keys::{CheckpointKeys, TrustedKeys, UnusableKey, VerifierKey},
    month::{LogName, Month, MonthError},
    path::{LogPath, append_to_bundle, entries_of_bundle},
    proof::{Tiles, tiles_for_proof},
    start::{LogEnd, LogStart},
    tree::{Edge, Node, TILE_WIDTH, hashes_of_tile, leaf_hash, tile_width},
};
pub use tlog_tiles::Hash;

/// Keys for the tests of other modules.
#[cfg(test)]
pub(super) mod tests {
    pub use super::keys::tests::keys;
}
