//! The numbers of the jobs.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// What is counted of the jobs that this process works for.
#[derive(Debug)]
pub(super) struct JobMetrics {
    items: Family<ItemState, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ItemState {
    state: &'static str,
}

impl JobMetrics {
    pub fn new(registry: &mut Registry) -> Self {
        let items = Family::default();
        registry.register(
            "job_items",
            "Attempts of jobs' items, by the state of the item afterwards; waiting ones are tried \
             again",
            items.clone(),
        );
        Self { items }
    }

    pub fn item(&self, state: &'static str) {
        self.items.get_or_create(&ItemState { state }).inc();
    }
}
