//! The numbers of the audit trail.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::{Registry, Unit},
};

use crate::audit::TrailStatus;

/// What is counted of the trail. Without a store all of it stays 0.
#[derive(Debug)]
pub(super) struct TrailMetrics {
    available: Gauge,
    rolled_back: Gauge,
    unsealed: Gauge,
    scarce: Gauge,
    entries: Counter,
    commits: Counter,
    waiting: Gauge,
    dropped: Counter,
    refused_changes: Counter,
    longest_commit: Gauge<f64, AtomicU64>,
}

impl TrailMetrics {
    pub fn new(registry: &mut Registry) -> Self {
        let trail = Self {
            available: Gauge::default(),
            rolled_back: Gauge::default(),
            unsealed: Gauge::default(),
            scarce: Gauge::default(),
            entries: Counter::default(),
            commits: Counter::default(),
            waiting: Gauge::default(),
            dropped: Counter::default(),
            refused_changes: Counter::default(),
            longest_commit: Gauge::default(),
        };
        registry.register(
            "audit_available",
            "1 if the audit trail can be written, 0 if changes are refused or there is no store",
            trail.available.clone(),
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
            "audit_changes_refused",
            "Changes that were refused because their record was not durable in time",
            trail.refused_changes.clone(),
        );
        registry.register_with_unit(
            "audit_longest_commit",
            "The longest commit of the trail since the start",
            Unit::Seconds,
            trail.longest_commit.clone(),
        );
        trail
    }

    pub fn set(&self, status: Option<&TrailStatus>) {
        let Some(TrailStatus { store, log, scarce, refused_changes }) = status else { return };
        self.available.set(store.trouble.is_none().into());
        self.rolled_back.set(log.rolled_back.is_some().into());
        let unsealed = log.next.saturating_sub(log.sealed);
        self.unsealed.set(unsealed.try_into().unwrap_or(i64::MAX));
        self.scarce.set((*scarce).into());
        self.entries.inner().store(store.entries, Ordering::Relaxed);
        self.commits.inner().store(store.commits, Ordering::Relaxed);
        self.waiting.set(store.waiting.try_into().unwrap_or(i64::MAX));
        self.dropped.inner().store(store.refused, Ordering::Relaxed);
        self.refused_changes.inner().store(*refused_changes, Ordering::Relaxed);
        self.longest_commit.set(store.longest_commit.as_secs_f64());
    }
}
