//! The numbers of the jobs.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// What is counted of the jobs that this process works for.
#[derive(Debug)]
pub(super) struct JobMetrics {
    items: Family<ItemState, Counter>,
    jobs: Family<JobState, Gauge>,
    lanes: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobState {
    state: String,
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
        let jobs = Family::default();
        registry.register(
            "jobs",
            "Jobs that have not ended, by state; the same in all replicas",
            jobs.clone(),
        );
        let lanes = Gauge::default();
        registry.register(
            "job_lanes",
            "Accounts and regions in which this process works for jobs",
            lanes.clone(),
        );
        Self { items, jobs, lanes }
    }

    pub fn set<'a>(&self, states: impl Iterator<Item = &'a str>, lanes: usize) {
        self.jobs.clear();
        for state in states {
            self.jobs.get_or_create(&JobState { state: state.to_owned() }).inc();
        }
        self.lanes.set(lanes.try_into().unwrap_or(i64::MAX));
    }

    pub fn item(&self, state: &'static str) {
        self.items.get_or_create(&ItemState { state }).inc();
    }
}
