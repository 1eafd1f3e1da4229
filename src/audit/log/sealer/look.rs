//! What the store bears out of what was signed.

use super::{
    super::{
        outside::keep,
        rows::{self, Head, LogRow},
        writing,
    },
    Checkpoint, SealError, Sealer,
};

/// How many checkpoints are doubted at most: a file may be full of forged ones.
const MOST_DOUBTS: usize = 3;

impl Sealer {
    /// Looks whether the store bears out what is known. `None` if it does not: then the
    /// log is not to be sealed, and changes are refused.
    pub(super) async fn look(&mut self) -> Result<Option<(Head, Vec<LogRow>)>, SealError> {
        let pool = self.store.pool();
        let Some(head) = rows::head(pool).await? else { return Ok(None) };
        let rows = rows::logs(pool).await?;
        let noted = rows::lost(pool).await?;
        let mut doubts = Vec::new();
        let mut lost: Vec<Checkpoint> = Vec::new();
        for note in noted.iter().filter(|(log, _)| *log == head.log).flat_map(|(_, notes)| notes) {
            if self.is_signed(note) {
                lost.push(note.clone());
            } else {
                doubts.push(unsigned(note, "the store's table audit_lost"));
            }
        }
        // Only what a key has signed counts: whoever can write the file, or the database,
        // could otherwise keep the gateway from changing anything.
        let accepted: Vec<(i64, Vec<Checkpoint>)> = noted
            .iter()
            .map(|(log, notes)| {
                (*log, notes.iter().filter(|note| self.is_signed(note)).cloned().collect())
            })
            .collect();
        let found = self.found.iter().flatten().filter(|found| {
            self.is_ours(found) && self.known.get(&found.origin).is_none_or(|known| known != *found)
        });
        let (signed, strange): (Vec<_>, Vec<_>) =
            found.cloned().partition(|found| self.is_signed(found));
        let path = self.outside.as_ref().map(|outside| outside.path().display().to_string());
        for found in strange.iter().filter(|found| !is_accepted(found, &noted, head)) {
            if doubts.len() >= MOST_DOUBTS {
                break;
            }
            // A key that was taken out of the settings has signed what the store bears out.
            if !self.is_borne_out(found, head, &rows).await? {
                doubts.push(unsigned(found, path.as_deref().unwrap_or_default()));
            }
        }
        let known = self.known.values().filter(|known| self.is_ours(known));
        let signed: Vec<Checkpoint> = known
            .chain(&signed)
            .filter(|signed| !is_accepted(signed, &accepted, head))
            .filter(|signed| !lost.iter().any(|lost| lost.note == signed.note))
            .cloned()
            .collect();
        let mut missing = Vec::new();
        for signed in signed {
            if !self.is_borne_out(&signed, head, &rows).await? {
                missing.push(signed);
                continue;
            }
            if rows.iter().any(|row| row.origin == signed.origin && row.checkpoint.is_none()) {
                let Checkpoint { origin, size, .. } = &signed;
                doubts.push(format!(
                    "the store has no checkpoint of {origin}, though one of {size} records was \
                     signed: it was deleted, or the log was sealed without a key since"
                ));
            }
            keep(&mut self.known, signed);
        }
        if !missing.is_empty() {
            lost.extend(missing);
            writing::note_lost(pool, head, &lost).await?;
        }
        let row = rows.iter().find(|row| row.log == head.log);
        {
            let mut status = self.state.edit();
            status.origin = row.map(|row| row.origin.clone()).unwrap_or_default();
            status.next = head.next;
            status.sealed = row.and_then(|row| row.checkpoint.as_ref()).map_or(0, |last| last.size);
            let newest = lost.last().map(|lost| rolled_back(lost, head, &rows));
            let doubts = (!doubts.is_empty()).then(|| doubts.join("; "));
            if doubts != status.doubts
                && let Some(doubts) = &doubts
            {
                tracing::warn!(%doubts, "the audit trail's checkpoints are not as they should be");
            }
            status.doubts = doubts;
            if newest != status.rolled_back {
                match &newest {
                    Some(reason) => tracing::error!(%reason, "changes are refused"),
                    None => tracing::warn!("changes are accepted again"),
                }
            }
            self.state.refuse_changes(newest.is_some());
            status.rolled_back = newest;
        }
        if !lost.is_empty() {
            self.sealing = None;
            return Ok(None);
        }
        for checkpoint in rows.iter().filter_map(|row| row.checkpoint.as_ref()) {
            if self.known.get(&checkpoint.origin) != Some(checkpoint) && self.is_signed(checkpoint)
            {
                keep(&mut self.known, checkpoint.clone());
            }
        }
        Ok(Some((head, rows)))
    }

    /// Whether the store still has what a checkpoint vouches for.
    async fn is_borne_out(
        &self,
        known: &Checkpoint,
        head: Head,
        rows: &[LogRow],
    ) -> Result<bool, SealError> {
        let Some(row) = rows.iter().find(|row| row.origin == known.origin) else {
            return Ok(false);
        };
        let stored = row.checkpoint.as_ref().map(|stored| (stored.size, stored.root));
        if row.size.is_some() && stored == Some((known.size, known.root)) {
            return Ok(true);
        }
        let size = row.size.unwrap_or(head.next);
        if size < known.size || row.dropped {
            return Ok(size >= known.size);
        }
        // The store has a newer checkpoint, or has lost this one and gone on. Even if it has
        // this one, the log that is written may have others' records: the next checkpoint
        // would vouch for them, and take this one's place.
        let edge = rows::edge(self.store.pool(), row.log, known.size).await?;
        Ok(edge.size() == known.size && edge.root() == known.root)
    }
}

/// Says that a checkpoint is ignored.
fn unsigned(checkpoint: &Checkpoint, place: &str) -> String {
    let Checkpoint { origin, size, .. } = checkpoint;
    format!(
        "{place} holds a checkpoint of {origin} with {size} records that none of audit.key_files \
         signed, and that is ignored: somebody forged it, or its key was taken out of the settings"
    )
}

/// Says what the store does not bear out.
fn rolled_back(lost: &Checkpoint, head: Head, rows: &[LogRow]) -> String {
    const REST: &str = "or accept the loss with `glacier-gateway audit accept-loss`";
    let Checkpoint { origin, size, .. } = lost;
    let row = rows.iter().find(|row| row.origin == *origin);
    if row.is_some_and(|row| row.size.unwrap_or(head.next) >= *size) {
        return format!(
            "the store was changed: the first {size} records of {origin} are not those of a \
             checkpoint that was kept. Restore a copy that has them, {REST}"
        );
    }
    format!(
        "the store is older than a checkpoint that was kept: {origin} had {size} records. Restore \
         a newer copy, {REST}"
    )
}

/// Whether the trail says already that what a checkpoint vouches for was lost.
pub(in crate::audit::log) fn is_accepted(
    known: &Checkpoint,
    noted: &[(i64, Vec<Checkpoint>)],
    head: Head,
) -> bool {
    let earlier = noted.iter().filter(|(log, _)| *log < head.log).flat_map(|(_, lost)| lost);
    let mut same_log = earlier.filter(|lost| lost.origin == known.origin);
    same_log.any(|lost| known.size <= lost.size)
}
