//! Traces: what the gateway does as spans, which a collector takes (`exporter`).
//!
//! Without `[telemetry.otlp]`, and for a trace that is not sampled, a [`Span`] is empty and
//! nothing is kept. Spans hold no secrets, no tokens, no descriptions of uploads, and not who
//! calls: the event's ID leads to the log and to the audit trail, which do. Names are those
//! of OpenTelemetry's semantic conventions 1.30 (HTTP and AWS SDK spans).

use std::{borrow::Cow, sync::Arc, time::SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use opentelemetry::{
    Context, InstrumentationScope, KeyValue, Value,
    propagation::{Extractor, TextMapPropagator},
    trace::{
        Link, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
        TraceState,
    },
};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{IdGenerator, RandomIdGenerator, SpanData, SpanEvents, SpanLinks},
};

use super::exporter::{self, EXPORT};
pub use super::exporter::{check, dropped, finish, start};

/// The header that names a trace and a span of it (W3C Trace Context, section 3.2).
pub const TRACEPARENT: &str = "traceparent";

/// The version of the conventions that attributes are named by.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.30.0";

/// A place in a trace, from which further spans go out; or none. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Trace(Option<Arc<SpanContext>>);

impl Trace {
    /// The trace of a job, which is the same in every process.
    pub fn of_job(job: &str) -> Self {
        let Some(export) = EXPORT.get() else { return Self(None) };
        let hash = digest(&SHA256, job.as_bytes());
        let mut ids = hash.as_ref().chunks(8).filter_map(|eight| eight.try_into().ok());
        let mut next = || u64::from_be_bytes(ids.next().unwrap_or_default());
        let id = TraceId::from(u128::from(next()) << 64 | u128::from(next()));
        let span = SpanId::from(next());
        export.sampling.keeps(&Context::new(), id).then(|| context(id, span)).into()
    }

    /// Begins a span within this one.
    pub fn span(&self, name: &'static str) -> Span {
        self.begin(name.into(), SpanKind::Internal)
    }

    /// Begins the span of a request to somebody else.
    pub fn client(&self, name: &'static str) -> Span {
        self.begin(name.into(), SpanKind::Client)
    }

    /// Whether it is kept.
    pub fn is_kept(&self) -> bool {
        self.0.is_some()
    }

    /// The trace's ID, as it stands in a `traceparent`.
    pub fn id(&self) -> Option<String> {
        self.0.as_ref().map(|context| context.trace_id().to_string())
    }

    /// The header `traceparent` (W3C Trace Context, section 3.2).
    pub fn traceparent(&self) -> Option<String> {
        let context = self.0.as_ref()?;
        Some(format!("00-{}-{}-01", context.trace_id(), context.span_id()))
    }

    fn begin(&self, name: Cow<'static, str>, kind: SpanKind) -> Span {
        let Some(parent) = &self.0 else { return Span(None) };
        let state = parent.trace_state().clone();
        let ids = RandomIdGenerator::default();
        let own = SpanContext::new(
            parent.trace_id(),
            ids.new_span_id(),
            TraceFlags::SAMPLED,
            false,
            state,
        );
        Span::begin(own, parent.span_id(), parent.is_remote(), name, kind)
    }
}

impl From<Option<SpanContext>> for Trace {
    fn from(context: Option<SpanContext>) -> Self {
        Self(context.map(Arc::new))
    }
}

/// A span under way, or none. It ends when it is dropped.
#[derive(Debug, Default)]
pub struct Span(Option<Box<SpanData>>);

impl Span {
    /// Begins a trace of something that nobody asked for, if it is to be kept.
    pub fn root(name: &'static str) -> Self {
        Self::continuing(None, name, SpanKind::Internal)
    }

    /// Begins the span of a request that came in, in the trace that its headers name.
    /// `header` gives a header's value.
    pub fn server<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Self {
        if EXPORT.get().is_none() {
            return Self(None);
        }
        let parent = header(TRACEPARENT).map(|parent| {
            let given = Given { parent, state: header("tracestate") };
            TraceContextPropagator::new().extract_with_context(&Context::new(), &given)
        });
        Self::continuing(parent, "request", SpanKind::Server)
    }

    fn continuing(parent: Option<Context>, name: &'static str, kind: SpanKind) -> Self {
        let Some(export) = EXPORT.get() else { return Self(None) };
        let (parent, ids) = (parent.unwrap_or_default(), RandomIdGenerator::default());
        let (remote, span) = (parent.span().span_context().clone(), ids.new_span_id());
        let id = if remote.is_valid() { remote.trace_id() } else { ids.new_trace_id() };
        if !export.sampling.keeps(&parent, id) {
            return Self(None);
        }
        let state = remote.trace_state().clone();
        let own = SpanContext::new(id, span, TraceFlags::SAMPLED, false, state);
        Self::begin(own, remote.span_id(), remote.is_remote(), name.into(), kind)
    }

    /// The span of a job, from its request to its end. Its parts refer to it before it is
    /// there.
    pub fn of_job(job: &str, began: SystemTime) -> Self {
        let Trace(Some(own)) = Trace::of_job(job) else { return Self(None) };
        let own = SpanContext::clone(&own);
        let mut span = Self::begin(own, SpanId::INVALID, false, "job".into(), SpanKind::Internal);
        if let Some(data) = &mut span.0 {
            data.start_time = began;
        }
        span
    }

    fn begin(
        span_context: SpanContext,
        parent_span_id: SpanId,
        parent_span_is_remote: bool,
        name: Cow<'static, str>,
        span_kind: SpanKind,
    ) -> Self {
        let now = SystemTime::now();
        let scope = InstrumentationScope::builder("glacier-gateway").with_schema_url(SCHEMA);
        Self(Some(Box::new(SpanData {
            span_context,
            parent_span_id,
            parent_span_is_remote,
            span_kind,
            name,
            start_time: now,
            end_time: now,
            attributes: Vec::with_capacity(8),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: scope.build(),
        })))
    }

    /// Whether there is one.
    pub fn is_kept(&self) -> bool {
        self.0.is_some()
    }

    /// Where further spans go out from.
    pub fn trace(&self) -> Trace {
        self.0.as_ref().map(|data| data.span_context.clone()).into()
    }

    /// Names it.
    pub fn rename(&mut self, parts: &[&str]) {
        if let Some(data) = &mut self.0 {
            data.name = parts.concat().into();
        }
    }

    /// Adds an attribute.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(data) = &mut self.0 {
            data.attributes.push(KeyValue::new(key, value));
        }
    }

    /// Adds a text, if it is known.
    pub fn text(&mut self, key: &'static str, text: Option<&str>) {
        if let (Some(data), Some(text)) = (&mut self.0, text) {
            data.attributes.push(KeyValue::new(key, text.to_owned()));
        }
    }

    /// Notes that it failed, by a stable code.
    pub fn fail(&mut self, code: &'static str) {
        if let Some(data) = &mut self.0 {
            data.status = Status::error(code);
            data.attributes.push(KeyValue::new("error.type", code));
        }
    }

    /// Notes that it has to do with another, in a trace of its own.
    pub fn link(&mut self, other: &Trace) {
        if let (Some(data), Trace(Some(other))) = (&mut self.0, other) {
            data.links.links.push(Link::with_context(SpanContext::clone(other)));
        }
    }

    /// Forgets it, since nothing happened.
    pub fn discard(mut self) {
        self.0 = None;
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(mut data) = self.0.take() {
            data.end_time = SystemTime::now();
            exporter::send(*data);
        }
    }
}

/// A context that is sampled, and that others refer to from afar.
fn context(id: TraceId, span: SpanId) -> SpanContext {
    SpanContext::new(id, span, TraceFlags::SAMPLED, false, TraceState::default())
}

/// The headers of a request that name its trace.
struct Given<'a> {
    parent: &'a str,
    state: Option<&'a str>,
}

impl Extractor for Given<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        if key == TRACEPARENT { Some(self.parent) } else { self.state }
    }

    fn keys(&self) -> Vec<&str> {
        Vec::new()
    }
}
