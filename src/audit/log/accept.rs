//! The way out if the store has lost what was signed.

use super::{
    Checkpoint, CheckpointKeys, LogName, SealError, TrustedKeys,
    outside::{Largest, keep},
    rows,
    sealer::{LEASE_LENGTH, is_accepted},
    writing::{self, LEASE, Next, Sealing},
};
use crate::store::Pool;

/// Begins a new log after checkpoints that the store does not bear out, and says so in
/// its first record. Gives the new log's origin. Checkpoints that none of the keys signed
/// are ignored: nobody could verify the new log's first record.
///
/// # Errors
/// If there is nothing to accept, or the store does not answer.
pub async fn accept_loss(
    pool: &Pool,
    prefix: &str,
    kept: &[Checkpoint],
    keys: &TrustedKeys,
) -> Result<Accepted, AcceptError> {
    let store = |error| AcceptError::Seal(SealError::Store(error));
    let head = rows::head(pool).await.map_err(store)?.ok_or(AcceptError::Nothing)?;
    let rows = rows::logs(pool).await.map_err(store)?;
    let row = rows.iter().find(|row| row.log == head.log).ok_or(AcceptError::Nothing)?;
    let mut all = Largest::new();
    let is_signed = |checkpoint: &Checkpoint| checkpoint.verify(keys).is_ok();
    let mut noted = rows::lost(pool).await.map_err(store)?;
    noted.iter_mut().for_each(|(_, notes)| notes.retain(is_signed));
    for (_, notes) in noted.iter().filter(|(log, _)| *log == head.log) {
        notes.iter().for_each(|lost| keep(&mut all, lost.clone()));
    }
    let kept = kept.iter().filter(|kept| is_signed(kept) && !is_accepted(kept, &noted, head));
    for kept in kept {
        let stored = rows.iter().find(|row| row.origin == kept.origin);
        let size = stored.map(|row| row.size.unwrap_or(head.next));
        if size.is_none_or(|size| size < kept.size) {
            keep(&mut all, kept.clone());
        }
    }
    let lost: Vec<Checkpoint> = all.into_values().collect();
    if lost.is_empty() {
        return Err(AcceptError::Nothing);
    }
    let now = rows::now(pool).await.map_err(store)?;
    let names = rows.iter().map(|row| &row.origin).chain(lost.iter().map(|lost| &lost.origin));
    let newest = names.filter_map(|origin| LogName::of_origin(origin)).max();
    let newest = newest.ok_or(AcceptError::Nothing)?;
    let name = newest.next(now);
    writing::note_lost(pool, head, &lost).await?;
    // Nothing is signed: nobody knows whether what is left is what was signed before.
    let keys = CheckpointKeys::default();
    let lease = pool.seize(LEASE, "accept-loss", LEASE_LENGTH).await.map_err(store)?;
    let next = Next { name, prefix, abandoned: &lost, now };
    let begun = Sealing::read(pool, row).await?.roll_over(pool, next, &keys, &lease).await?;
    Ok(Accepted { origin: begun.origin, lost, left: head.next, before: row.origin.clone() })
}

/// A loss that was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// The log that begins.
    pub origin: String,
    /// What the store does not bear out.
    pub lost: Vec<Checkpoint>,
    /// The log that was written before, and how many records it has.
    pub before: String,
    /// How many records that log has.
    pub left: u64,
}

/// Why no loss can be accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// There is none.
    #[error(
        "the store bears out every checkpoint that is known: there is no loss to accept. Name a \
         file with further checkpoints with --checkpoint"
    )]
    Nothing,
    /// It cannot be written.
    #[error("{0}")]
    Seal(#[from] SealError),
}
