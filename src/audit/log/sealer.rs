//! The sealer: once a second it derives the tiles of what was appended, signs a
//! checkpoint, and keeps it outside of the store as well. Of all processes that share a
//! store one does so, under a lease; every one looks whether the store still bears out
//! the checkpoints that are known.

mod keeping;
mod look;
mod state;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub(super) use self::look::is_accepted;
pub use self::state::{LogState, LogStatus};
use super::{
    Checkpoint, CheckpointKeys, LogName, Month, SealError, UnusableKey,
    month::is_over,
    outside::{Largest, Outside, keep},
    rows,
    writing::{self, LEASE, Next, Sealing},
};
use crate::{
    config::{self, StoreUrl},
    store::{Lease, Store},
};

/// How often the log is sealed.
const EVERY: Duration = Duration::from_secs(1);
/// How long the lease is.
pub(super) const LEASE_LENGTH: Duration = Duration::from_secs(5);
/// How long one turn may take.
const TURN: Duration = Duration::from_secs(30);
/// How many leaves one checkpoint adds at most, so that the first one of a long log does
/// not take all memory.
const MOST_LEAVES: u64 = 1 << 16;
/// What follows the prefix in an origin.
const PREFIX_END: &str = "/audit/";

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

    /// One turn: looks, and seals if it is this process's turn. Gives what is wrong with
    /// the file outside.
    async fn turn(&mut self) -> Result<Option<String>, SealError> {
        let mut trouble = self.read_outside().await;
        let Some((head, rows)) = self.look().await? else { return Ok(trouble) };
        // After the disk has failed, nothing is to be written to it.
        if self.store.status().trouble.is_some() {
            return Ok(trouble);
        }
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
        let begun = rows::begun(self.store.pool(), head.log).await?;
        if let (Some(name), Some(begun)) = (LogName::of_origin(&sealing.origin), begun)
            && is_over(begun, now)
            && sealing.edge.size() == head.next
        {
            sealing = self.roll_over(sealing, name.next(now), &lease, [begun, now]).await?;
        }
        self.sealing = Some((lease.epoch, sealing));
        if let Some(error) = self.keep_outside(&rows).await {
            trouble = Some(error);
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

    /// Closes the log that began at `begun`, and begins `name`.
    async fn roll_over(
        &mut self,
        sealing: Sealing,
        name: LogName,
        lease: &Lease,
        [begun_at, now]: [i64; 2],
    ) -> Result<Sealing, SealError> {
        let pool = self.store.pool();
        let next = Next { name, prefix: &self.prefix, abandoned: &[], now };
        let begun = sealing.roll_over(pool, next, &self.keys, lease).await?;
        let rows = rows::logs(pool).await?;
        let last = rows.iter().find(|row| row.log == sealing.log);
        self.publish(last.and_then(|row| row.checkpoint.clone()));
        tracing::info!(origin = begun.origin, after = sealing.origin, "a new audit log begins");
        if begun_at > now || Month::of(begun_at).next() < Month::of(now) {
            tracing::warn!(
                "by the store's clock a month or more lies between the two logs, or the later one \
                 began first: if the clock was or is wrong, set it right"
            );
        }
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
}
