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
    Checkpoint, CheckpointKeys, LogName, SealError, UnusableKey,
    outside::{Largest, Outside, keep},
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
    /// Why the log cannot be sealed, or the checkpoint not kept outside.
    pub trouble: Option<String>,
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
    /// What this process knows to have been signed, by itself or another.
    known: Largest,
    /// Whether the file outside has been read.
    outside_read: bool,
    /// What this process last wrote to it.
    kept: Largest,
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
            outside_read: false,
            kept: Largest::new(),
            sealing: None,
        };
        let unread = sealer.read_outside().await;
        sealer.tell(unread);
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
                Ok(Ok(trouble)) => trouble,
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
        if let Some(outside) = self.outside.as_ref().filter(|_| self.outside_read) {
            let ours = self.known.iter().filter(|(_, known)| self.is_ours(known));
            let ours: Largest =
                ours.map(|(origin, known)| (origin.clone(), known.clone())).collect();
            if ours != self.kept {
                match outside.keep(ours.values().cloned().collect()).await {
                    Ok(()) => self.kept = ours,
                    Err(error) => {
                        trouble = Some(format!("{}: {error}", outside.path().display()));
                    }
                }
            }
        }
        Ok(trouble)
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

    /// Learns what the file outside keeps, once.
    async fn read_outside(&mut self) -> Option<String> {
        let outside = self.outside.as_ref().filter(|_| !self.outside_read)?;
        match outside.read().await {
            Ok(kept) => {
                kept.into_values().for_each(|checkpoint| keep(&mut self.known, checkpoint));
                self.outside_read = true;
                None
            }
            Err(error) => Some(format!("{}: {error}", outside.path().display())),
        }
    }

    /// Looks whether the store bears out what is known. `None` if it does not: then the
    /// log is not to be sealed, and changes are refused.
    async fn look(&mut self) -> Result<Option<(Head, Vec<LogRow>)>, SealError> {
        let pool = self.store.pool();
        let Some(head) = rows::head(pool).await? else { return Ok(None) };
        let rows = rows::logs(pool).await?;
        let noted = rows::lost(pool).await?;
        let mut lost: Vec<Checkpoint> = Vec::new();
        for (_, notes) in noted.iter().filter(|(log, _)| *log == head.log) {
            lost.extend(notes.iter().cloned());
        }
        let ours: Vec<Checkpoint> = self
            .known
            .values()
            .filter(|known| self.is_ours(known) && !is_accepted(known, &noted, head))
            .filter(|known| !lost.iter().any(|lost| lost.note == known.note))
            .cloned()
            .collect();
        let mut found = Vec::new();
        for known in ours {
            if !self.is_borne_out(&known, head, &rows).await? {
                found.push(known);
            }
        }
        if !found.is_empty() {
            lost.extend(found);
            writing::note_lost(pool, head, &lost).await?;
        }
        let row = rows.iter().find(|row| row.log == head.log);
        {
            let mut status = self.state.edit();
            status.origin = row.map(|row| row.origin.clone()).unwrap_or_default();
            status.next = head.next;
            status.sealed = row.and_then(|row| row.checkpoint.as_ref()).map_or(0, |last| last.size);
            let newest = lost.last().map(|lost| {
                let Checkpoint { origin, size, .. } = lost;
                format!(
                    "the store is older than a checkpoint that was kept: {origin} had {size} \
                     records. Restore a newer copy, or accept the loss with \
                     `glacier-gateway audit accept-loss`"
                )
            });
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
        for checkpoint in rows.iter().filter_map(|row| row.checkpoint.clone()) {
            keep(&mut self.known, checkpoint);
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
        if row
            .checkpoint
            .as_ref()
            .is_some_and(|stored| (stored.size, stored.root) == (known.size, known.root))
        {
            return Ok(true);
        }
        let size = row.size.unwrap_or(head.next);
        if size < known.size || row.dropped {
            return Ok(size >= known.size);
        }
        // The store has a newer checkpoint, or has lost this one and gone on.
        let edge = rows::edge(self.store.pool(), row.log, known.size).await?;
        Ok(edge.size() == known.size && edge.root() == known.root)
    }
}

/// Whether the trail says already that what a checkpoint vouches for was lost.
fn is_accepted(known: &Checkpoint, noted: &[(i64, Vec<Checkpoint>)], head: Head) -> bool {
    let earlier = noted.iter().filter(|(log, _)| *log < head.log).flat_map(|(_, lost)| lost);
    let mut same_log = earlier.filter(|lost| lost.origin == known.origin);
    same_log.any(|lost| known.size <= lost.size)
}

/// Begins a new log after checkpoints that the store does not bear out, and says so in
/// its first record. Gives the new log's origin.
///
/// # Errors
/// If there is nothing to accept, or the store does not answer.
pub async fn accept_loss(
    pool: &Pool,
    prefix: &str,
    kept: &[Checkpoint],
) -> Result<Accepted, AcceptError> {
    let store = |error| AcceptError::Seal(SealError::Store(error));
    let head = rows::head(pool).await.map_err(store)?.ok_or(AcceptError::Nothing)?;
    let rows = rows::logs(pool).await.map_err(store)?;
    let row = rows.iter().find(|row| row.log == head.log).ok_or(AcceptError::Nothing)?;
    let mut all = Largest::new();
    let noted = rows::lost(pool).await.map_err(store)?;
    for (_, notes) in noted.iter().filter(|(log, _)| *log == head.log) {
        notes.iter().for_each(|lost| keep(&mut all, lost.clone()));
    }
    for kept in kept.iter().filter(|kept| !is_accepted(kept, &noted, head)) {
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
