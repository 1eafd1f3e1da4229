//! What Prometheus reads at `/metrics`.
//!
//! No label says who called or which vault or upload was meant: those are many,
//! and in the log.

mod accounts;
mod inventory;
mod jobs;
mod place;
mod trail;
mod upstream;

use std::{fmt, sync::atomic::Ordering, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter, exemplar::HistogramWithExemplars, family::Family, gauge::Gauge,
        histogram::Histogram, info::Info,
    },
    registry::{Registry, Unit},
};

use self::{
    accounts::AccountMetrics, inventory::InventoryMetrics, jobs::JobMetrics, trail::TrailMetrics,
    upstream::UpstreamMetrics,
};
pub use self::{inventory::InventoryLevel, upstream::UpstreamLevel};
use crate::{
    audit::TrailStatus, glacier::RoleStatus, policy::Status, reload::Followed, telemetry::LogStatus,
};

/// The media type of [`Metrics::text`] (OpenMetrics 1.0, "Overall Structure").
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the latencies' buckets, in seconds: from the gateway's own
/// refusals to the default time limit of all attempts upstream.
const BUCKETS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 40.0];

type Latencies<L> = Family<L, Histogram, fn() -> Histogram>;
type TracedLatencies<L> =
    Family<L, HistogramWithExemplars<TraceLabel>, fn() -> HistogramWithExemplars<TraceLabel>>;

/// The gateway's metrics; one for the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    trail: TrailMetrics,
    accounts: AccountMetrics,
    inventory: InventoryMetrics,
    jobs: JobMetrics,
    upstream: UpstreamMetrics,
    requests: Family<(Route, StatusCode), Counter>,
    request_duration: TracedLatencies<Route>,
    decisions: Family<DecisionLabels, Counter>,
    limited: Family<Limited, Counter>,
    upstream_requests: Family<(Upstream, UpstreamResult), Counter>,
    upstream_request_duration: Latencies<Upstream>,
    policies_loaded: Gauge,
    policies_valid: Gauge,
    policies_empty: Gauge,
    files_valid: Family<Setting, Gauge>,
    issuer_keys_usable: Family<IssuerLabel, Gauge>,
    rest_connections: Gauge,
    rest_connections_limit: Gauge,
    log_lines_lost: Counter,
    log_lines_waiting: Gauge,
    trace_spans_lost: Counter,
}

/// The trace of a request, beside a bucket of a histogram.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TraceLabel {
    trace_id: String,
}

/// What a request asked for, as its method and URL name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Route {
    /// Through which door it came: `rest` or `glacier`.
    pub door: &'static str,
    /// The HTTP method.
    pub method: &'static str,
    /// The route's pattern; empty where no route fits.
    pub route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusCode {
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    action: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Limited {
    limit: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Upstream {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamResult {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Setting {
    setting: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IssuerLabel {
    issuer: String,
}

impl Default for Metrics {
    fn default() -> Self {
        let latencies: fn() -> Histogram = || Histogram::new(BUCKETS);
        let mut registry = Registry::with_prefix("glacier_gateway");
        let requests = Family::default();
        registry.register(
            "requests",
            "Requests answered, by status; 499 if the client left before the answer",
            requests.clone(),
        );
        let traced: fn() -> HistogramWithExemplars<TraceLabel> =
            || HistogramWithExemplars::new(BUCKETS.into_iter());
        let request_duration = Family::new_with_constructor(traced);
        registry.register_with_unit(
            "request_duration",
            "Time from a request's arrival to its answer",
            Unit::Seconds,
            request_duration.clone(),
        );
        let decisions = Family::default();
        registry.register("decisions", "Policy decisions", decisions.clone());
        let limited = Family::default();
        registry.register(
            "requests_limited",
            "Requests refused with 429 by a limit of callers, by the limit",
            limited.clone(),
        );
        let upstream_requests = Family::default();
        registry.register(
            "upstream_requests",
            "Calls of Glacier, by result: ok or a problem's code",
            upstream_requests.clone(),
        );
        let upstream_request_duration = Family::new_with_constructor(latencies);
        registry.register_with_unit(
            "upstream_request_duration",
            "Time that Glacier took for a call, retries included",
            Unit::Seconds,
            upstream_request_duration.clone(),
        );
        let policies_loaded = Gauge::default();
        registry.register_with_unit(
            "policies_loaded_timestamp",
            "When the policies in use were loaded, in seconds since 1970",
            Unit::Seconds,
            policies_loaded.clone(),
        );
        let policies_valid = Gauge::default();
        registry.register(
            "policies_valid",
            "1 if the policies in use are the folder's, 0 if it was refused or cannot be read",
            policies_valid.clone(),
        );
        let policies_empty = Gauge::default();
        registry.register(
            "policies_empty",
            "1 if no policy in use allows anything, so that every request is denied",
            policies_empty.clone(),
        );
        let files_valid = Family::default();
        registry.register(
            "files_valid",
            "1 if what the setting's files say is in force, 0 if they cannot be read or used",
            files_valid.clone(),
        );
        let issuer_keys_usable = Family::default();
        registry.register(
            "issuer_keys_usable",
            "1 if tokens of the issuer can be verified, 0 if its keys are unknown or too old",
            issuer_keys_usable.clone(),
        );
        let rest_connections = Gauge::default();
        registry.register(
            "rest_connections",
            "Connections to the REST listener",
            rest_connections.clone(),
        );
        let rest_connections_limit = Gauge::default();
        registry.register(
            "rest_connections_limit",
            "How many of those are served at once; further ones wait",
            rest_connections_limit.clone(),
        );
        let log_lines_lost = Counter::default();
        registry.register(
            "log_lines_lost",
            "Log lines that could not be written, or found too many others waiting",
            log_lines_lost.clone(),
        );
        let log_lines_waiting = Gauge::default();
        registry.register(
            "log_lines_waiting",
            "Log lines that are not yet written",
            log_lines_waiting.clone(),
        );
        let trace_spans_lost = Counter::default();
        registry.register(
            "trace_spans_lost",
            "Spans of traces that could not be sent, or found too many others waiting",
            trace_spans_lost.clone(),
        );
        let build = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("revision", option_env!("GLACIER_GATEWAY_REVISION").unwrap_or("unknown")),
        ];
        registry.register("build", "What is running", Info::new(build));
        let trail = TrailMetrics::new(&mut registry);
        let accounts = AccountMetrics::new(&mut registry);
        let inventory = InventoryMetrics::new(&mut registry);
        let jobs = JobMetrics::new(&mut registry);
        let upstream = UpstreamMetrics::new(&mut registry);
        Self {
            registry,
            trail,
            accounts,
            inventory,
            jobs,
            upstream,
            requests,
            request_duration,
            decisions,
            limited,
            upstream_requests,
            upstream_request_duration,
            policies_loaded,
            policies_valid,
            policies_empty,
            files_valid,
            issuer_keys_usable,
            rest_connections,
            rest_connections_limit,
            log_lines_lost,
            log_lines_waiting,
            trace_spans_lost,
        }
    }
}

impl Metrics {
    /// Counts a request that ended with `status` after `duration`. Its trace, if it is kept,
    /// is the exemplar of its bucket.
    pub fn request(&self, route: Route, status: u16, duration: Duration, trace_id: Option<String>) {
        let exemplar = trace_id.map(|trace_id| TraceLabel { trace_id });
        let seconds = duration.as_secs_f64();
        self.request_duration.get_or_create(&route).observe(seconds, exemplar, None);
        self.requests.get_or_create(&(route, StatusCode { status })).inc();
    }

    /// Counts a policy decision about `action`: `allowed`, `explicitDeny` or
    /// `implicitDeny`.
    pub fn decision(&self, action: &'static str, outcome: &'static str) {
        self.decisions.get_or_create(&DecisionLabels { action, outcome }).inc();
    }

    /// Counts a request that was refused because of `limit`.
    pub fn limited(&self, limit: &'static str) {
        self.limited.get_or_create(&Limited { limit }).inc();
    }

    /// Counts a call of Glacier's `operation` that ended with `result` after
    /// `duration`.
    pub fn upstream(&self, operation: &'static str, result: &'static str, duration: Duration) {
        let upstream = Upstream { operation };
        self.upstream_request_duration.get_or_create(&upstream).observe(duration.as_secs_f64());
        self.upstream_requests.get_or_create(&(upstream, UpstreamResult { result })).inc();
    }

    /// Says how the last reload of the policies went.
    pub fn policies(&self, status: &Status) {
        self.policies_loaded.set(status.loaded_at.unix_timestamp());
        self.policies_valid.set((status.errors.is_empty() && status.unread.is_none()).into());
        self.policies_empty.set(status.allows_nothing.into());
    }

    /// Says of the settings whose files are followed whether what these say is in force.
    pub fn followed(&self, followed: &Followed) {
        for (setting, trouble) in followed.all() {
            self.files_valid.get_or_create(&Setting { setting }).set(trouble.is_none().into());
        }
    }

    /// Says of each issuer, by its configured name, whether its keys are usable.
    pub fn issuers<'a>(&self, issuers: impl Iterator<Item = (&'a str, bool)>) {
        for (issuer, usable) in issuers {
            let issuer = IssuerLabel { issuer: issuer.to_owned() };
            self.issuer_keys_usable.get_or_create(&issuer).set(usable.into());
        }
    }

    /// Says of each account, by its configured name, how it went with its role.
    pub fn accounts(&self, accounts: impl Iterator<Item = (String, RoleStatus)>) {
        self.accounts.set(accounts);
    }

    /// Says how it stands with the calls of Glacier, in each account and region.
    pub fn upstream_levels(&self, levels: impl Iterator<Item = UpstreamLevel>) {
        self.upstream.set(levels);
    }

    /// Says what was seen in the vaults, of each account and region.
    pub fn inventory(&self, levels: impl Iterator<Item = InventoryLevel>) {
        self.inventory.set(levels);
    }

    /// Says how many REST connections there are and may be.
    pub fn connections(&self, open: usize, limit: usize) {
        let gauge = |number: usize| number.try_into().unwrap_or(i64::MAX);
        self.rest_connections.set(gauge(open));
        self.rest_connections_limit.set(gauge(limit));
    }

    /// Counts an attempt of a job's item, by the state that the item is in afterwards.
    pub fn job_item(&self, state: &'static str) {
        self.jobs.item(state);
    }

    /// Says in which states the jobs are that have not ended, and in how many accounts and
    /// regions this process works for them.
    pub fn jobs<'a>(&self, states: impl Iterator<Item = &'a str>, lanes: usize) {
        self.jobs.set(states, lanes);
    }

    /// Says how the audit trail is, if there is one.
    pub fn trail(&self, status: Option<&TrailStatus>) {
        self.trail.set(status);
    }

    /// Says how the log is.
    pub fn log(&self, log: &LogStatus) {
        self.log_lines_lost.inner().store(log.lost, Ordering::Relaxed);
        self.log_lines_waiting.set(log.waiting.try_into().unwrap_or(i64::MAX));
    }

    /// Says how many spans of traces are lost.
    pub fn spans(&self, lost: u64) {
        self.trace_spans_lost.inner().store(lost, Ordering::Relaxed);
    }

    /// All of it in the OpenMetrics text format.
    ///
    /// # Errors
    /// When it cannot be written out.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
