//! The numbers of what bounds calls of Glacier.

use std::sync::atomic::Ordering;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::place::Place;

/// How it stands with the calls of Glacier in an account and region.
#[derive(Clone, Debug)]
pub struct UpstreamLevel {
    /// The account's configured name.
    pub account: String,
    /// The region.
    pub region: String,
    /// How many calls may be under way.
    pub limit: usize,
    /// How many are.
    pub under_way: usize,
    /// How many callers wait for room.
    pub waiting: usize,
    /// Whether calls are refused because they only fail.
    pub is_open: bool,
    /// How many calls were not made because there were too many.
    pub overloaded: u64,
    /// How many were not made because calls only failed.
    pub circuit_open: u64,
}

/// What is told of each account and region. There are as many as the configuration names.
#[derive(Debug)]
pub(super) struct UpstreamMetrics {
    limit: Family<Place, Gauge>,
    under_way: Family<Place, Gauge>,
    waiting: Family<Place, Gauge>,
    open: Family<Place, Gauge>,
    refused: Family<Refused, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    account: String,
    region: String,
    reason: &'static str,
}

impl UpstreamMetrics {
    pub fn new(registry: &mut Registry) -> Self {
        let upstream = Self {
            limit: Family::default(),
            under_way: Family::default(),
            waiting: Family::default(),
            open: Family::default(),
            refused: Family::default(),
        };
        registry.register(
            "upstream_calls_limit",
            "How many calls of Glacier may be under way; fewer than configured if it throttles",
            upstream.limit.clone(),
        );
        registry.register(
            "upstream_calls_under_way",
            "Calls of Glacier that are under way",
            upstream.under_way.clone(),
        );
        registry.register(
            "upstream_calls_waiting",
            "Callers that wait until fewer calls of Glacier are under way",
            upstream.waiting.clone(),
        );
        registry.register(
            "upstream_circuit_open",
            "1 if calls of Glacier are refused because they only fail, else 0",
            upstream.open.clone(),
        );
        registry.register(
            "upstream_calls_refused",
            "Calls of Glacier that were not made, by reason: overloaded or circuit-open",
            upstream.refused.clone(),
        );
        upstream
    }

    /// Sets what is told of each, and of no others.
    pub fn set(&self, levels: impl Iterator<Item = UpstreamLevel>) {
        for gauges in [&self.limit, &self.under_way, &self.waiting, &self.open] {
            gauges.clear();
        }
        self.refused.clear();
        let gauge = |number: usize| number.try_into().unwrap_or(i64::MAX);
        for level in levels {
            let UpstreamLevel { account, region, .. } = level;
            let refused = [("overloaded", level.overloaded), ("circuit-open", level.circuit_open)];
            for (reason, count) in refused {
                let refused = Refused { account: account.clone(), region: region.clone(), reason };
                self.refused.get_or_create(&refused).inner().store(count, Ordering::Relaxed);
            }
            let place = Place { account, region };
            self.limit.get_or_create(&place).set(gauge(level.limit));
            self.under_way.get_or_create(&place).set(gauge(level.under_way));
            self.waiting.get_or_create(&place).set(gauge(level.waiting));
            self.open.get_or_create(&place).set(level.is_open.into());
        }
    }
}
