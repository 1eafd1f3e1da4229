//! The sealer: once a second it derives the tiles of what was appended, signs a
//! checkpoint, and keeps it outside of the store as well. Of all processes that share a
//! store one does so, under a lease; every one looks whether the store still bears out
//! the checkpoints that are known.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    Checkpoint, CheckpointKeys, LogName, SealError, TrustedKeys, UnusableKey,
    outside::{self, Largest, Outside, keep},
    rows::{self, Head, LogRow},
    writing::{self, LEASE, Next, Sealing},
};
use crate::{
    config::{self, StoreUrl},
    store::{Lease, Pool, Store},
};

/// How often the log is sealed.
const EVERY: Duration = Duration::from_secs(1);
/// How long the lease is.
const LEASE_LENGTH: Duration = Duration::from_secs(5);
/// How long one turn may take.
const TURN: Duration = Duration::from_secs(30);
/// How many leaves one checkpoint adds at most, so that the first one of a long log does
/// not take all memory.
const MOST_LEAVES: u64 = 1 << 16;
/// How many checkpoints are doubted at most: a file may be full of forged ones.
const MOST_DOUBTS: usize = 3;
/// What follows the prefix in an origin.
const PREFIX_END: &str = "/audit/";

/// How the log is; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LogState(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    status: Mutex<LogStatus>,
    rolled_back: AtomicBool,
}

/// How the log is.
#[derive(Clone, Debug, Default)]
pub struct LogStatus {
    /// The log that is written.
    pub origin: String,
    /// How many records it has.
    pub next: u64,
    /// How many of them the last checkpoint vouches for.
    pub sealed: u64,
    /// What the store does not bear out, if changes are to be refused for that.
    pub rolled_back: Option<String>,
    /// Why the log cannot be sealed.
    pub trouble: Option<String>,
    /// Why checkpoints cannot be kept outside of the store.
    pub outside: Option<String>,
    /// What else is strange about the checkpoints.
    pub doubts: Option<String>,
}

impl LogState {
    /// How the log is.
    pub fn status(&self) -> LogStatus {
        self.edit().clone()
    }

    /// Whether changes are to be refused because the store does not bear out what was
    /// signed.
    pub fn is_rolled_back(&self) -> bool {
        self.0.rolled_back.load(Relaxed)
    }

    fn edit(&self) -> std::sync::MutexGuard<'_, LogStatus> {
        self.0.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there can be no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A key file.
    #[error("{0}")]
    Key(#[from] UnusableKey),
    /// The store.
    #[error("{0}")]
    Seal(#[from] SealError),
}

/// What seals the log of a store.
pub struct Sealer {
    store: Store,
    prefix: String,
    keys: CheckpointKeys,
    outside: Option<Outside>,
    state: LogState,
    /// What this process knows to have been signed, by one of the keys.
    known: Largest,
    /// What the file outside held when this turn began; `None` if it could not be read.
    found: Option<Vec<Checkpoint>>,
    /// What is being sealed, and under which epoch of the lease.
    sealing: Option<(i64, Sealing)>,
}

impl Sealer {
    /// Begins the store's first log if there is none, and looks whether the store bears
    /// out the checkpoints that are kept outside.
    ///
    /// # Errors
    /// A key that cannot be used, and a store that does not answer.
    pub async fn start(
        store: Store,
        settings: &config::Audit,
        url: &StoreUrl,
    ) -> Result<(Self, LogState), LogError> {
        let keys = CheckpointKeys::load(&settings.key_files)?;
        if keys.is_empty() {
            tracing::warn!(
                "the audit trail has no checkpoints, so nothing shows whether it was tampered \
                 with: make a key with `glacier-gateway audit key create`, and name its file in \
                 audit.key_files"
            );
        }
        let outside = settings.checkpoint_file.clone().map(Outside::new);
        if outside.is_none() && !keys.is_empty() {
            tracing::warn!(
                "audit.checkpoint_file is not set: after a start nothing shows whether an older \
                 copy of the store was put in its place, or one that somebody rewrote"
            );
        }
        if let (Some(outside), StoreUrl::Sqlite(file)) = (&outside, url)
            && outside.is_on_the_volume_of(file).await
        {
            tracing::warn!(
                path = %outside.path().display(),
                "audit.checkpoint_file lies on the store's volume: whoever restores or loses the \
                 one does so to the other"
            );
        }
        let prefix = settings.origin.clone().unwrap_or_else(|| store.id().to_owned());
        let now = rows::now(store.pool()).await.map_err(SealError::from)?;
        writing::begin_first(store.pool(), &prefix, now).await?;
        let state = LogState::default();
        let mut sealer = Self {
            store,
            prefix,
            keys,
            outside,
            state: state.clone(),
            known: Largest::new(),
            found: None,
            sealing: None,
        };
        let unread = sealer.read_outside().await;
        sealer.tell_outside(unread);
        sealer.look().await?;
        Ok((sealer, state))
    }

    /// Seals the log until `ending` is done, then a last time, and lets another process
    /// seal.
    pub async fn run(mut self, ending: impl Future<Output = ()>) {
        tokio::pin!(ending);
        loop {
            let turn = tokio::time::timeout(TURN, self.turn()).await;
            let trouble = match turn {
                Ok(Ok(unkept)) => {
                    self.tell_outside(unkept);
                    None
                }
                Ok(Err(SealError::Overtaken)) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("sealing has not ended within {TURN:?}")),
            };
            if trouble.is_some() {
                // What was being sealed may be stored or not.
                self.sealing = None;
            }
            self.tell(trouble);
            if tokio::time::timeout(EVERY, &mut ending).await.is_ok() {
                break;
            }
        }
        if let Err(error) = self.turn().await {
            tracing::warn!(%error, "the last records of the audit trail are not sealed yet");
        }
        if let Err(error) = self.store.release(LEASE).await {
            tracing::debug!(%error, "the lease of the sealer is not released");
        }
    }

    fn tell(&self, trouble: Option<String>) {
        let mut status = self.state.edit();
        if trouble != status.trouble {
            match &trouble {
                Some(trouble) => tracing::warn!(%trouble, "the audit trail's log cannot be sealed"),
                None => tracing::info!("the audit trail's log is sealed again"),
            }
        }
        status.trouble = trouble;
    }

    fn tell_outside(&self, trouble: Option<String>) {
        let mut status = self.state.edit();
        if trouble != status.outside {
            match &trouble {
                Some(trouble) => tracing::warn!(%trouble, "checkpoints are not kept outside"),
                None => tracing::info!("checkpoints are kept outside again"),
            }
        }
        status.outside = trouble;
    }

    /// One turn: looks, and seals if it is this process's turn. Gives what is wrong with
    /// the file outside.
    async fn turn(&mut self) -> Result<Option<String>, SealError> {
        let mut trouble = self.read_outside().await;
        let Some((head, rows)) = self.look().await? else { return Ok(trouble) };
        let Some(lease) = self.store.lease(LEASE, LEASE_LENGTH).await? else {
            self.sealing = None;
            return Ok(trouble);
        };
        let Some(row) = rows.iter().find(|row| row.log == head.log) else { return Ok(trouble) };
        let mut sealing = match self.sealing.take() {
            Some((epoch, sealing)) if epoch == lease.epoch && sealing.log == head.log => sealing,
            _ => Sealing::read(self.store.pool(), row).await?,
        };
        sealing = self.seal_up_to(sealing, head.next, &lease).await?;
        let now = rows::now(self.store.pool()).await?;
        if let Some(name) = LogName::of_origin(&sealing.origin)
            && name.at(now) != name
            && sealing.edge.size() == head.next
        {
            sealing = self.roll_over(sealing, name.at(now), &lease, now).await?;
        }
        self.sealing = Some((lease.epoch, sealing));
        if let Some(error) = self.keep_outside(&rows).await {
            trouble = Some(error);
        }
        Ok(trouble)
    }

    /// Keeps outside what is known. What the file holds was looked at when this turn began.
    /// Others' checkpoints, and those that none of the keys signed, stay there.
    async fn keep_outside(&mut self, rows: &[LogRow]) -> Option<String> {
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

    async fn seal_up_to(
        &mut self,
        mut sealing: Sealing,
        next: u64,
        lease: &Lease,
    ) -> Result<Sealing, SealError> {
        while sealing.edge.size() < next || self.owes_signature(&sealing) {
            let from = sealing.edge.size();
            let to = next.min(from + MOST_LEAVES);
            let leaves = rows::leaves(self.store.pool(), sealing.log, from, to).await?;
            if leaves.len() as u64 != to - from {
                let index = from + leaves.len() as u64;
                return Err(SealError::Missing { origin: sealing.origin, index });
            }
            sealing = sealing.seal(self.store.pool(), &leaves, &self.keys, lease).await?;
            self.publish(sealing.checkpoint.clone());
            self.state.edit().sealed = sealing.checkpoint.as_ref().map_or(0, |last| last.size);
        }
        Ok(sealing)
    }

    /// Whether there is a key now and was none when the log was sealed.
    fn owes_signature(&self, sealing: &Sealing) -> bool {
        !self.keys.is_empty() && sealing.checkpoint.is_none() && sealing.edge.size() > 0
    }

    async fn roll_over(
        &mut self,
        sealing: Sealing,
        name: LogName,
        lease: &Lease,
        now: i64,
    ) -> Result<Sealing, SealError> {
        let pool = self.store.pool();
        let next = Next { name, prefix: &self.prefix, abandoned: &[], now };
        let begun = sealing.roll_over(pool, next, &self.keys, lease).await?;
        let rows = rows::logs(pool).await?;
        let last = rows.iter().find(|row| row.log == sealing.log);
        self.publish(last.and_then(|row| row.checkpoint.clone()));
        tracing::info!(origin = begun.origin, after = sealing.origin, "a new audit log begins");
        Ok(begun)
    }

    /// Logs a checkpoint, so that it is kept wherever logs are.
    fn publish(&mut self, checkpoint: Option<Checkpoint>) {
        let Some(checkpoint) = checkpoint else { return };
        tracing::info!(
            target: "glacier_gateway::checkpoint",
            origin = checkpoint.origin,
            size = checkpoint.size,
            note = checkpoint.note,
            "checkpoint"
        );
        keep(&mut self.known, checkpoint);
    }

    fn is_ours(&self, checkpoint: &Checkpoint) -> bool {
        let rest = checkpoint.origin.strip_prefix(&self.prefix);
        rest.is_some_and(|rest| rest.starts_with(PREFIX_END))
    }

    fn is_signed(&self, checkpoint: &Checkpoint) -> bool {
        checkpoint.verify(&self.keys.trusted()).is_ok()
    }

    /// Reads what the file outside holds.
    async fn read_outside(&mut self) -> Option<String> {
        let outside = self.outside.as_ref()?;
        let read = outside.read().await;
        let error =
            read.as_ref().err().map(|error| format!("{}: {error}", outside.path().display()));
        self.found = read.ok();
        error
    }

    /// Looks whether the store bears out what is known. `None` if it does not: then the
    /// log is not to be sealed, and changes are refused.
    async fn look(&mut self) -> Result<Option<(Head, Vec<LogRow>)>, SealError> {
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
            self.state.0.rolled_back.store(newest.is_some(), Relaxed);
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
fn is_accepted(known: &Checkpoint, noted: &[(i64, Vec<Checkpoint>)], head: Head) -> bool {
    let earlier = noted.iter().filter(|(log, _)| *log < head.log).flat_map(|(_, lost)| lost);
    let mut same_log = earlier.filter(|lost| lost.origin == known.origin);
    same_log.any(|lost| known.size <= lost.size)
}

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
    let name = if newest.at(now) == newest { newest.successor() } else { newest.at(now) };
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

#[cfg(test)]
#[path = "sealer_tests.rs"]
mod tests;
