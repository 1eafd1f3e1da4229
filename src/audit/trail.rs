//! The trail, as the gateway writes it.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::oneshot, task::JoinHandle};

use super::{
    Event, System, Upstream,
    event::Unsettled,
    housekeeping::Keeper,
    log::{LogError, LogState, LogStatus, SealError, Sealer},
    rewrite::REWRITE,
};
use crate::{
    config,
    store::{Pending, Store, StoreError, StoreStatus, Unavailable},
};

/// How long the log may take to be sealed at the end.
const LAST_SEAL: Duration = Duration::from_secs(1);
/// How long the store may take at the end to copy its own log.
const LAST_COPY: Duration = Duration::from_secs(2);

/// The audit trail; cheap to clone.
#[derive(Clone)]
pub struct Trail(Option<Arc<Kept>>);

struct Kept {
    store: Store,
    keeper: Arc<Keeper>,
    log: LogState,
    /// What ends the sealer, until it is to end. If this is dropped, it ends as well.
    sealing: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
    deadline: Duration,
    intents: AtomicU64,
    refused_changes: AtomicU64,
}

/// How the trail is.
#[derive(Clone, Debug)]
pub struct TrailStatus {
    /// How its store is.
    pub store: StoreStatus,
    /// Whether so little room is left on its disk that only changes are recorded.
    pub scarce: bool,
    /// How its log is.
    pub log: LogStatus,
    /// How many changes were on record in time, so that they could be forwarded.
    pub intents: u64,
    /// How many changes were refused because their record was not durable in time.
    pub refused_changes: u64,
}

/// Why something could not be put on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unrecorded {
    /// Its record was not durable in time.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The store does not bear out a checkpoint that was signed, so that what is recorded
    /// now would contradict what was recorded before.
    #[error("the store is behind a checkpoint of its trail")]
    RolledBack,
}

impl Unrecorded {
    /// The stable code, as it stands in problem documents and in records.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unavailable(_) => "audit-unavailable",
            Self::RolledBack => "audit-rolled-back",
        }
    }
}

/// That a change is on record: what the client of Glacier asks for before it sends one.
/// If it is dropped before it is settled, its outcome is `unknown`.
///
/// Only a durable record makes one, or the lack of a store. Nobody else does:
///
/// ```compile_fail,E0451
/// use glacier_gateway::audit::{Intent, Trail};
///
/// fn forge(trail: Trail) -> Intent {
///     Intent { trail, unsettled: None }
/// }
/// ```
#[must_use]
pub struct Intent {
    trail: Trail,
    /// `None` without a store, and once it is settled.
    unsettled: Option<Unsettled>,
}

impl Trail {
    /// Opens the store that the settings name, and its log.
    ///
    /// # Errors
    /// A store that cannot be used.
    pub async fn open(settings: &config::Store, audit: &config::Audit) -> Result<Self, StoreError> {
        let Some(store) = Store::open(settings, REWRITE).await? else { return Ok(Self(None)) };
        let (sealer, log) = Sealer::start(store.clone(), audit, &settings.url).await.map_err(
            |error| match error {
                LogError::Seal(SealError::Store(error)) => error,
                error => StoreError::Unusable(error.to_string()),
            },
        )?;
        let (end, ending) = oneshot::channel::<()>();
        let sealing = tokio::spawn(sealer.run(async move { drop(ending.await) }));
        Ok(Self(Some(Arc::new(Kept {
            keeper: Keeper::start(store.clone()),
            store,
            log,
            sealing: Mutex::new(Some((end, sealing))),
            deadline: audit.deadline,
            intents: AtomicU64::new(0),
            refused_changes: AtomicU64::new(0),
        }))))
    }

    /// The store behind the trail, if there is one.
    pub fn store(&self) -> Option<&Store> {
        self.0.as_ref().map(|kept| &kept.store)
    }

    /// Leave for a change that is not recorded, if there is no store.
    pub fn unrecorded(&self) -> Option<Intent> {
        self.0.is_none().then(|| Intent { trail: self.clone(), unsettled: None })
    }

    /// Records that a change is about to be forwarded; what it gives waits until that is
    /// durable. Without a store nothing is recorded.
    ///
    /// # Errors
    /// When it is not durable in time, or the trail was rolled back. Then the change must
    /// not be forwarded.
    pub fn intent(
        &self,
        event: &Event<'_>,
    ) -> impl Future<Output = Result<Intent, Unrecorded>> + use<> {
        let begun = self.0.as_ref().map(|kept| kept.begin(event));
        let trail = self.clone();
        async move {
            let (Some(kept), Some(begun)) = (&trail.0, begun) else {
                return Ok(Intent { trail, unsettled: None });
            };
            let durable = async {
                let (pending, unsettled) = begun?;
                pending.durable(kept.deadline).await?;
                Ok(unsettled)
            };
            match durable.await {
                Ok(unsettled) => {
                    kept.intents.fetch_add(1, Relaxed);
                    Ok(Intent { trail, unsettled: Some(unsettled) })
                }
                Err(unrecorded) => {
                    kept.refused_changes.fetch_add(1, Relaxed);
                    Err(unrecorded)
                }
            }
        }
    }

    /// Records a read or a denial without waiting. In a flood it is counted.
    pub fn record(&self, event: &Event<'_>) {
        if let Some(kept) = &self.0 {
            kept.keeper.record(event);
        }
    }

    /// Records an event; what it gives waits until that is durable.
    ///
    /// # Errors
    /// When it is not durable in time.
    pub fn record_durably(
        &self,
        event: &Event<'_>,
    ) -> impl Future<Output = Result<(), Unrecorded>> + use<> {
        let kept = self.0.as_ref();
        let begun = kept.map(|kept| (kept.store.append(event.append()), kept.deadline));
        async move {
            if let Some((pending, deadline)) = begun {
                pending.durable(deadline).await?;
            }
            Ok(())
        }
    }

    /// Counts a request whose caller proved nothing. `issuer` is the configured one that
    /// the request names, if it names one.
    pub fn refused_authentication(
        &self,
        source: Option<IpAddr>,
        issuer: Option<&str>,
        code: &'static str,
    ) {
        if let Some(kept) = &self.0 {
            kept.keeper.refused_authentication(source, issuer, code);
        }
    }

    /// Records what happened to the gateway itself, without waiting.
    pub fn system(&self, name: &'static str, system: System) {
        if let Some(kept) = &self.0 {
            kept.keeper.system(name, system);
        }
    }

    /// How the trail is; `None` without a store.
    pub fn status(&self) -> Option<TrailStatus> {
        self.0.as_ref().map(|kept| TrailStatus {
            store: kept.store.status(),
            scarce: kept.keeper.is_scarce(),
            log: kept.log.status(),
            intents: kept.intents.load(Relaxed),
            refused_changes: kept.refused_changes.load(Relaxed),
        })
    }

    /// Writes what waits. Blocks until then, but no longer than `limit`. Gives false if
    /// something was not written.
    pub fn close(&self, limit: Duration) -> bool {
        let Some(kept) = &self.0 else { return true };
        kept.keeper.record_counted();
        kept.store.close(limit)
    }

    /// Writes what waits, as [`Self::close`], while other tasks go on; then seals it, and
    /// lets another process seal. Nothing is
    /// written after that.
    pub async fn stop(&self, limit: Duration) -> bool {
        let trail = self.clone();
        let written = tokio::task::spawn_blocking(move || trail.close(limit)).await;
        let written = written.is_ok_and(|written| written);
        let sealing = self.0.as_ref().and_then(|kept| {
            let mut sealing = kept.sealing.lock().unwrap_or_else(PoisonError::into_inner);
            sealing.take()
        });
        if let Some((end, mut sealing)) = sealing {
            drop(end);
            // A store that cannot be written cannot be sealed either.
            let limit = if written { LAST_SEAL } else { Duration::ZERO };
            if tokio::time::timeout(limit, &mut sealing).await.is_err() {
                tracing::warn!("the last records of the audit trail are not sealed yet");
                sealing.abort();
                let _ = sealing.await;
            }
        }
        if let Some(kept) = &self.0 {
            kept.store.finish(LAST_COPY).await;
        }
        written
    }
}

impl Kept {
    /// Hands the intent of a change to the store.
    fn begin(&self, event: &Event<'_>) -> Result<(Pending, Unsettled), Unrecorded> {
        if self.log.is_rolled_back() {
            let unrecorded = Unrecorded::RolledBack;
            let (outcome, error_code) = (Some("not-attempted"), Some(unrecorded.code()));
            self.keeper.record(&Event { outcome, error_code, ..event.clone() });
            return Err(unrecorded);
        }
        let (intent, unsettled) = event.intent();
        Ok((self.store.append(intent), unsettled))
    }
}

impl Intent {
    /// Records what became of the change, without waiting.
    pub fn settle(
        mut self,
        outcome: &'static str,
        error_code: Option<&'static str>,
        upstream: Option<Upstream<'_>>,
    ) {
        self.write(outcome, error_code, upstream);
    }

    fn write(
        &mut self,
        outcome: &'static str,
        error_code: Option<&'static str>,
        upstream: Option<Upstream<'_>>,
    ) {
        if let (Some(kept), Some(unsettled)) = (&self.trail.0, self.unsettled.take()) {
            kept.store.append_later(unsettled.outcome(outcome, error_code, upstream));
        }
    }
}

impl Drop for Intent {
    fn drop(&mut self) {
        self.write("unknown", None, None);
    }
}
