//! What an answer must be like to be Glacier's.

use std::{
    error::Error,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use aws_sdk_glacier::{
    config::http::HttpResponse,
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{
            BeforeDeserializationInterceptorContextMut, BeforeTransmitInterceptorContextMut,
            BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
        },
    },
    error::{BoxError, ProvideErrorMetadata, SdkError},
    operation::RequestId,
    primitives::SdkBody,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use http_body_util::Limited;

use super::{Reply, UpstreamError, UpstreamErrorKind, attempt_span, error::lacks_connection};
use crate::{
    domain::{Operation, Region},
    telemetry::traces::{Span, TRACEPARENT, Trace},
};

/// A longer body is not read to its end. Glacier's longest page is far shorter.
const MAX_BODY: usize = 8 * 1024 * 1024;
/// The same for a session of STS's, of which the token is the longest part.
const MAX_SESSION: usize = 256 * 1024;

/// Refuses what Glacier would not answer. The SDK takes any 2xx for success, and a
/// body of any length.
#[derive(Debug)]
pub(super) struct CheckResponse;

impl Intercept for CheckResponse {
    fn name(&self) -> &'static str {
        "CheckResponse"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = config.load::<Metadata>().map(Metadata::name);
        let success = match operation {
            Some(name) if name == Operation::AbortMultipartUpload.name() => 204,
            _ => 200,
        };
        let response = context.response_mut();
        let status = response.status();
        if status.is_success() && status.as_u16() != success {
            return Err(format!("Glacier's success is {success}, not {status}").into());
        }
        limit(response, MAX_BODY);
        Ok(())
    }
}

/// Refuses an answer of STS's that is longer than any of a role's session.
#[derive(Debug)]
pub(super) struct ShortAnswer;

impl Intercept for ShortAnswer {
    fn name(&self) -> &'static str {
        "ShortAnswer"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        limit(context.response_mut(), MAX_SESSION);
        Ok(())
    }
}

/// Lets no more than `most` bytes of the body be read.
fn limit(response: &mut HttpResponse, most: usize) {
    let body = Limited::new(response.take_body(), most);
    *response.body_mut() = SdkBody::from_body_1_x(body);
}

/// Counts a call's attempts, and notes whether one ended without Glacier's refusal, so that
/// it may have been carried out whatever a later attempt says.
#[derive(Clone, Debug)]
pub(super) struct Attempts(Arc<Seen>);

#[derive(Debug)]
struct Seen {
    trace: Trace,
    operation: Operation,
    /// The region, if there is a trace.
    region: Option<Region>,
    /// The present attempt's.
    span: Mutex<Span>,
    made: AtomicU32,
    /// Whether the present attempt came as far as to be sent: without credentials it
    /// does not.
    under_way: AtomicBool,
    unsettled: AtomicBool,
    throttled: AtomicBool,
}

impl Attempts {
    /// Those of a call of `operation`, each a span of `trace`.
    pub(super) fn new(trace: Trace, operation: Operation, region: &Region) -> Self {
        let region = trace.is_kept().then(|| region.clone());
        Self(Arc::new(Seen {
            trace,
            operation,
            region,
            span: Mutex::default(),
            made: AtomicU32::default(),
            under_way: AtomicBool::default(),
            unsettled: AtomicBool::default(),
            throttled: AtomicBool::default(),
        }))
    }

    fn span(&self) -> MutexGuard<'_, Span> {
        self.0.span.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an attempt that the SDK did not make.
    pub(super) fn made(&self, unsettled: bool, throttled: bool) {
        self.0.made.fetch_add(1, Ordering::Relaxed);
        self.0.unsettled.fetch_or(unsettled, Ordering::Relaxed);
        self.0.throttled.fetch_or(throttled, Ordering::Relaxed);
    }

    /// Glacier's answer, with the ID that `output` has.
    pub(super) fn reply<T>(&self, output: &impl RequestId, value: T) -> Reply<T> {
        let request_id = output.request_id().map(str::to_owned);
        let attempts = self.0.made.load(Ordering::Relaxed);
        Reply { value, request_id, attempts, throttled: self.0.throttled.load(Ordering::Relaxed) }
    }

    /// The error that the last attempt ended with.
    pub(super) fn error<E>(
        &self,
        operation: Operation,
        error: SdkError<E, HttpResponse>,
    ) -> UpstreamError
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
        SdkError<E, HttpResponse>: RequestId + ProvideErrorMetadata,
    {
        let is_abort = operation == Operation::AbortMultipartUpload;
        let error = UpstreamError::from_sdk(operation, error);
        // An attempt that all attempts' time ended is still under way.
        let unsettled = [&self.0.unsettled, &self.0.under_way];
        UpstreamError {
            unsettled: is_abort && unsettled.iter().any(|is| is.load(Ordering::Relaxed)),
            attempts: self.0.made.load(Ordering::Relaxed),
            throttled: error.throttled || self.0.throttled.load(Ordering::Relaxed),
            ..error
        }
    }
}

impl Intercept for Attempts {
    fn name(&self) -> &'static str {
        "Attempts"
    }

    /// Begins the attempt's span. What it adds to the request is not signed.
    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(region) = &self.0.region else { return Ok(()) };
        let request = context.request_mut();
        let host: Option<http::Uri> = request.uri().parse().ok();
        let host = host.as_ref().and_then(http::Uri::host).unwrap_or_default();
        let before = self.0.made.load(Ordering::Relaxed);
        let span = attempt_span::begin(&self.0.trace, self.0.operation, region, host, before);
        if let Some(traceparent) = span.trace().traceparent() {
            request.headers_mut().insert(TRACEPARENT, traceparent);
        }
        *self.span() = span;
        Ok(())
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.under_way.store(true, Ordering::Relaxed);
        self.0.made.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let span = std::mem::take(&mut *self.span());
        if span.is_kept() {
            let response = context.response();
            let status = response.map(|response| response.status().as_u16());
            attempt_span::end(span, status, response.and_then(RequestId::request_id));
        }
        let sent = self.0.under_way.swap(false, Ordering::Relaxed);
        let refused = context.response().filter(|response| response.status().is_client_error());
        let connector =
            context.output_or_error().and_then(|output| output.err()?.as_connector_error());
        let sent = sent && !connector.is_some_and(|error| lacks_connection(error));
        match refused {
            Some(refused) if throttles(refused) => self.0.throttled.store(true, Ordering::Relaxed),
            None if sent => self.0.unsettled.store(true, Ordering::Relaxed),
            _ => {}
        }
        Ok(())
    }
}

/// Whether Glacier wants to be asked less.
fn throttles(refused: &HttpResponse) -> bool {
    let body = refused.body().bytes().unwrap_or_default();
    UpstreamErrorKind::Throttled == UpstreamErrorKind::of(refused.status().as_u16(), body)
}

/// Reads what Glacier always sends in its answer to an operation. The SDK's model
/// does not say so, and takes `{}` and no body at all for an answer.
pub(super) struct Sent(pub(super) Operation);

impl Sent {
    pub(super) fn text(&self, field: Option<&str>) -> Result<String, UpstreamError> {
        self.required(field).map(str::to_owned)
    }

    pub(super) fn list<'a, T>(&self, list: &'a Option<Vec<T>>) -> Result<&'a [T], UpstreamError> {
        self.required(list.as_deref())
    }

    fn required<T>(&self, field: Option<T>) -> Result<T, UpstreamError> {
        let cause = "the answer lacks what Glacier always sends";
        field.ok_or_else(|| UpstreamError::invalid_response(self.0, cause))
    }
}
