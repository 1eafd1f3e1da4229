//! Which traces are kept.

use opentelemetry::{
    Context,
    trace::{SpanKind, TraceId},
};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};

/// Decides which traces are kept.
#[derive(Debug)]
pub(super) struct Sampling(Sampler);

impl Sampling {
    /// What a caller's `sampled` flag says, else `ratio` of all.
    pub(super) fn new(ratio: f64) -> Self {
        Self(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))))
    }

    /// Whether the trace is kept. `parent` holds what the caller's headers said.
    pub(super) fn keeps(&self, parent: &Context, id: TraceId) -> bool {
        let kind = SpanKind::Internal;
        let result = self.0.should_sample(Some(parent), id, "", &kind, &[], &[]);
        matches!(result.decision, SamplingDecision::RecordAndSample)
    }
}
