//! The span of an attempt at Glacier (OpenTelemetry semantic conventions, "AWS SDK").

use crate::{
    domain::{Operation, Region},
    telemetry::traces::{Span, Trace},
};

/// Begins the span of an attempt that `before` others were made before.
pub(super) fn begin(
    trace: &Trace,
    operation: Operation,
    region: &Region,
    host: &str,
    before: u32,
) -> Span {
    let mut span = trace.client(operation.name());
    if span.is_kept() {
        span.rename(&["Glacier.", operation.name()]);
        span.set("rpc.system", "aws-api");
        span.set("rpc.service", "Glacier");
        span.set("rpc.method", operation.name());
        span.set("cloud.region", region.as_str().to_owned());
        span.set("server.address", host.to_owned());
        if before > 0 {
            span.set("http.request.resend_count", i64::from(before));
        }
    }
    span
}

/// Ends it with the answer's status, if there was one, and AWS's ID of the attempt.
pub(super) fn end(mut span: Span, status: Option<u16>, request_id: Option<&str>) {
    if let Some(status) = status {
        span.set("http.response.status_code", i64::from(status));
    }
    span.text("aws.request_id", request_id);
    match status {
        Some(..400) => {}
        Some(_) => span.fail("refused"),
        None => span.fail("no-answer"),
    }
}
