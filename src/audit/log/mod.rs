//! The transparency log that the audit trail is kept in, as C2SP's `tlog-tiles`,
//! `tlog-checkpoint` and `signed-note` have it (<https://c2sp.org>), so that others'
//! tools can verify it.
//!
//! There is one log for each month. Its leaves are the records. Tiles are derived from
//! them, and a signed checkpoint vouches for all records up to its size.

mod accept;
mod checkpoint;
mod keys;
mod month;
mod outside;
mod path;
mod proof;
pub mod rows;
mod sealer;
mod start;
mod tree;
mod writing;

pub use self::{
    accept::{AcceptError, Accepted, accept_loss},
    checkpoint::{BadSignature, Checkpoint, MalformedCheckpoint, Unsigned},
    keys::{CheckpointKeys, TrustedKeys, UnusableKey, VerifierKey},
    month::{LogName, Month, MonthError},
    outside::read as read_checkpoint_file,
    path::{LogPath, append_to_bundle, entries_of_bundle},
    proof::{Tiles, tiles_for_proof},
    sealer::{LogError, LogState, LogStatus, Sealer},
    start::{LogEnd, LogStart},
    tree::{Edge, Node, TILE_WIDTH, hashes_of_tile, leaf_hash, tile_width},
    writing::SealError,
};
pub use tlog_tiles::Hash;

/// Keys for the tests of other modules.
#[cfg(test)]
pub(super) mod tests {
    pub use super::keys::tests::keys;
}
