//! The numbers of the audit trail.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use crate::audit::TrailStatus;

/// What is counted of the trail. Without a store there is none of the first two, whose 0
/// means trouble, and all others stay 0.
#[derive(Debug)]
pub(super) struct TrailMetrics {
    available: Family<Unlabelled, Gauge>,
    log_sound: Family<Unlabelled, Gauge>,
    rolled_back: Gauge,
    unsealed: Gauge,
    scarce: Gauge,
    entries: Counter,
    commits: Counter,
    waiting: Gauge,
    dropped: Counter,
    intents: Counter,
    refused_changes: Counter,
    longest_commit: Gauge<f64, AtomicU64>,
}

/// The label set of a metric that is not there from the beginning.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Unlabelled {}

impl TrailMetrics {
    pub fn new(registry: &mut Registry) -> Self {
        let trail = Self {
            available: Family::default(),
            log_sound: Family::default(),
            rolled_back: Gauge::default(),
            unsealed: Gauge::default(),
            scarce: Gauge::default(),
            entries: Counter::default(),
            commits: Counter::default(),
            waiting: Gauge::default(),
            dropped: Counter::default(),
            intents: Counter::default(),
            refused_changes: Counter::default(),
            longest_commit: Gauge::default(),
        };
        registry.register(
            "audit_available",
            "1 if the audit trail can be written, 0 if changes are refused",
            trail.available.clone(),
        );
        registry.register(
            "audit_log_sound",
            "1 if the trail's log is sealed and its checkpoints are kept and agree, 0 if not",
            trail.log_sound.clone(),
        );
        registry.register(
            "audit_rolled_back",
            "1 if the store is behind a checkpoint of the trail, so that changes are refused",
            trail.rolled_back.clone(),
        );
        registry.register(
            "audit_entries_unsealed",
            "Entries that no checkpoint vouches for yet",
            trail.unsealed.clone(),
        );
        registry.register(
            "audit_room_scarce",
            "1 if so little room is left on the store's disk that only changes are recorded",
            trail.scarce.clone(),
        );
        registry.register("audit_entries", "Entries written to the trail", trail.entries.clone());
        registry.register("audit_commits", "Commits of the trail", trail.commits.clone());
        registry.register(
            "audit_entries_waiting",
            "Entries of the trail that are not yet written",
            trail.waiting.clone(),
        );
        registry.register(
            "audit_entries_not_taken",
            "Entries that were not taken because too many waited; the trail counts them",
            trail.dropped.clone(),
        );
        registry.register(
            "audit_intents",
            "Changes that were on record in time, so that they could be forwarded",
            trail.intents.clone(),
        );
        registry.register(
            "audit_changes_refused",
            "Changes that were refused because their record was not durable in time",
            trail.refused_changes.clone(),
        );
        registry.register_with_unit(
            "audit_longest_commit",
            "The longest commit of the trail since the start, also of those that failed",
            Unit::Seconds,
            trail.longest_commit.clone(),
        );
        trail
    }

    pub fn set(&self, status: Option<&TrailStatus>) {
        let Some(TrailStatus { store, log, scarce, intents, refused_changes }) = status else {
            return;
        };
        self.available.get_or_create(&Unlabelled {}).set(store.trouble.is_none().into());
        let sound = log.trouble.is_none() && log.outside.is_none() && log.doubts.is_none();
        self.log_sound.get_or_create(&Unlabelled {}).set(sound.into());
        self.rolled_back.set(log.rolled_back.is_some().into());
        let unsealed = log.next.saturating_sub(log.sealed);
        self.unsealed.set(unsealed.try_into().unwrap_or(i64::MAX));
        self.scarce.set((*scarce).into());
        self.entries.inner().store(store.entries, Ordering::Relaxed);
        self.commits.inner().store(store.commits, Ordering::Relaxed);
        self.waiting.set(store.waiting.try_into().unwrap_or(i64::MAX));
        self.dropped.inner().store(store.refused, Ordering::Relaxed);
        self.intents.inner().store(*intents, Ordering::Relaxed);
        self.refused_changes.inner().store(*refused_changes, Ordering::Relaxed);
        self.longest_commit.set(store.longest_commit.as_secs_f64());
    }
}
