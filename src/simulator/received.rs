//! The requests the simulator received, for tests to look at.

use std::collections::{BTreeMap, VecDeque};

use actix_web::HttpRequest;
use serde::Serialize;
use time::OffsetDateTime;

use super::{clock::timestamp, operation::Operation};

/// Older requests are forgotten.
const KEPT: usize = 10_000;

/// The last requests, oldest first.
#[derive(Default)]
pub(super) struct Requests(VecDeque<Received>);

/// A request as it arrived, without its signature, session token and payload.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Received {
    at: String,
    method: String,
    /// Path and query as sent.
    target: String,
    operation: Option<Operation>,
    headers: BTreeMap<String, String>,
    /// The body, of requests to STS alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
}

impl Received {
    pub(super) fn new(
        request: &HttpRequest,
        headers: &[(String, String)],
        operation: Option<Operation>,
        at: OffsetDateTime,
    ) -> Self {
        let headers = headers.iter().map(|(name, value)| {
            let shown = match name.as_str() {
                // SigV4 up to its signature; of anything else only the scheme.
                "authorization" if value.starts_with("AWS4-HMAC-SHA256 ") => {
                    value.split("Signature=").next().unwrap_or_default()
                }
                "authorization" => value.split(' ').next().unwrap_or_default(),
                "x-amz-security-token" => "",
                _ => value,
            };
            (name.clone(), shown.to_owned())
        });
        Self {
            at: timestamp(at),
            method: request.method().to_string(),
            target: request.uri().to_string(),
            operation,
            headers: headers.collect(),
            body: None,
        }
    }

    pub(super) fn with_body(self, body: String) -> Self {
        Self { body: Some(body), ..self }
    }
}

impl Requests {
    pub(super) fn push(&mut self, request: Received) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(request);
    }

    pub(super) fn list(&self) -> Vec<Received> {
        self.0.iter().cloned().collect()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
