//! What the sealer has to do with the file outside of the store.

use super::{
    super::{outside, rows::LogRow},
    Checkpoint, Sealer,
};

impl Sealer {
    /// Reads what the file outside holds.
    pub(super) async fn read_outside(&mut self) -> Option<String> {
        let outside = self.outside.as_ref()?;
        let read = outside.read().await;
        let error =
            read.as_ref().err().map(|error| format!("{}: {error}", outside.path().display()));
        self.found = read.ok();
        error
    }

    /// Keeps outside what is known. What the file holds was looked at when this turn began.
    /// Others' checkpoints, and those that none of the keys signed, stay there.
    pub(super) async fn keep_outside(&mut self, rows: &[LogRow]) -> Option<String> {
        let outside = self.outside.as_ref()?;
        let found = self.found.take()?;
        let ours: Vec<&Checkpoint> =
            self.known.values().filter(|known| self.is_ours(known)).collect();
        let replaces = |known: &Checkpoint, found: &Checkpoint| {
            known.origin == found.origin
                && (known.size > found.size || (known.size, known.root) == (found.size, found.root))
        };
        let is_replaced = |found: &Checkpoint| {
            ours.iter().any(|known| replaces(known, found)) && self.is_signed(found)
        };
        let stay = found.iter().filter(|found| !is_replaced(found));
        let mut wanted: Vec<Checkpoint> = stay.chain(ours.iter().copied()).cloned().collect();
        outside::sort(&mut wanted);
        if wanted == found {
            return None;
        }
        if found.is_empty() && rows.iter().any(|row| row.checkpoint.is_some()) {
            tracing::warn!(
                path = %outside.path().display(),
                "audit.checkpoint_file holds nothing, though the store has checkpoints: it is \
                 begun anew"
            );
        }
        let error = outside.replace(found, wanted).await.err()?;
        Some(format!("{}: {error}", outside.path().display()))
    }

    /// Notes what is wrong with the file.
    pub(super) fn tell_outside(&self, trouble: Option<String>) {
        let mut status = self.state.edit();
        if trouble != status.outside {
            match &trouble {
                Some(trouble) => tracing::warn!(%trouble, "checkpoints are not kept outside"),
                None => tracing::info!("checkpoints are kept outside again"),
            }
        }
        status.outside = trouble;
    }
}
