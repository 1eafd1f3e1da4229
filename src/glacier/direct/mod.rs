//! An abort's first attempt, past the SDK's orchestrator, which costs more than
//! all the rest of a request.
//!
//! The SDK stays the owner of everything difficult: it finds and refreshes
//! credentials, resolves endpoints, retries, reads errors and corrects clock skew.
//! Its own first abort shows what one looks like on the wire (`template`); what it
//! gets from the credential chain is seen on the way (`credentials`). From then on
//! an abort is signed (`signer`) and sent here first. Only Glacier's 204 counts;
//! anything else is no answer, and the call goes to the SDK, whose verdict stands.
//! Glacier lets an abort be repeated, so nothing is lost by that. If Glacier throttles
//! or fails, the SDK's turn comes after the time that the SDK itself would wait.

mod connection;
mod credentials;
mod signer;
mod template;

use std::{
    cell::{Cell, RefCell},
    sync::{Arc, OnceLock},
    time::Duration,
};

use aws_credential_types::Credentials;
use aws_sdk_glacier::{
    config::{SharedInterceptor, retry::RetryConfig},
    error::BoxError,
};
use thread_local::ThreadLocal;
use time::OffsetDateTime;
use tokio_rustls::TlsConnector;

pub(super) use self::{connection::tls, credentials::SeenCredentials};
use self::{
    connection::{Answer, Endpoint, NO_CONTENT, Pool},
    signer::Signers,
    template::{Learn, Template},
};
use super::{Reply, UpstreamError, UpstreamErrorKind, attempt_span};
use crate::{
    config::Aws,
    domain::{Operation, UploadId, VaultArn},
    telemetry::traces::{Span, TRACEPARENT, Trace},
};

/// The first attempts of one region's aborts.
pub(super) struct DirectAbort {
    template: Arc<OnceLock<Option<Template>>>,
    endpoint: OnceLock<Option<Endpoint>>,
    tls: Option<TlsConnector>,
    credentials: SeenCredentials,
    connect_timeout: Duration,
    timeout: Duration,
    threads: ThreadLocal<Thread>,
}

/// What each of the server's threads has for itself: a reply that another thread
/// would have to pass on costs both of them.
#[derive(Default)]
struct Thread {
    idle: RefCell<Pool>,
    signers: RefCell<Signers>,
}

/// What became of an attempt.
pub(super) enum Attempt {
    /// Nothing was sent: it is not known how.
    NotMade,
    /// The upload is aborted.
    Aborted(Reply<()>),
    /// Glacier answered something else.
    Refused(Refusal),
    /// No answer.
    Failed {
        /// Whether the request was sent.
        sent: bool,
    },
}

/// An answer that is not success.
pub(super) struct Refusal {
    pub(super) error: UpstreamError,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// How long the SDK would wait before it repeats a first attempt that ended like
    /// this (retry mode "standard"); `jitter` is between 0 and 1.
    pub(super) fn backoff(&self, retries: &RetryConfig, jitter: f64) -> Duration {
        match (self.error.kind, self.retry_after) {
            (UpstreamErrorKind::Throttled | UpstreamErrorKind::Unavailable, asked) => asked
                .unwrap_or(retries.initial_backoff().mul_f64(jitter))
                .min(retries.max_backoff()),
            _ => Duration::ZERO,
        }
    }
}

impl DirectAbort {
    /// Nothing is sent before [`Self::learn`] has seen the SDK do it, and nothing
    /// that takes TLS without `tls`.
    pub(super) fn new(
        settings: &Aws,
        credentials: SeenCredentials,
        tls: Option<TlsConnector>,
    ) -> Self {
        Self {
            template: Arc::default(),
            endpoint: OnceLock::new(),
            tls,
            credentials,
            connect_timeout: settings.connect_timeout,
            timeout: settings.attempt_timeout.min(settings.read_timeout),
            threads: ThreadLocal::new(),
        }
    }

    /// What reads the template off the SDK's own requests.
    pub(super) fn learn(&self) -> SharedInterceptor {
        SharedInterceptor::new(Learn(Arc::clone(&self.template)))
    }

    /// Asks Glacier once to abort an upload, with the credentials of `session` or else the
    /// gateway's own.
    pub(super) async fn attempt(
        &self,
        vault: &VaultArn,
        upload: &UploadId,
        session: Option<&Arc<Credentials>>,
        trace: &Trace,
    ) -> Attempt {
        let thread = self.threads.get_or_default();
        let Some((endpoint, mut request)) = self.request(thread, vault, upload, session) else {
            return Attempt::NotMade;
        };
        let mut span = Span::default();
        if trace.is_kept() {
            span = self.span(trace, vault, &mut request);
        }
        let sent = Cell::new(false);
        let answer = self.answer(thread, endpoint, &request, &sent);
        let answer = tokio::time::timeout(self.timeout, answer);
        let answer = answer.await.map_err(BoxError::from).flatten();
        if span.is_kept() {
            let answer = answer.as_ref().ok();
            let request_id = answer.and_then(|answer| answer.request_id.as_deref());
            attempt_span::end(span, answer.map(|answer| answer.status), request_id);
        }
        match answer {
            Ok(Answer { status: NO_CONTENT, request_id, .. }) => {
                Attempt::Aborted(Reply { value: (), request_id, attempts: 1, throttled: false })
            }
            Ok(Answer { status, request_id, retry_after, body, .. }) => {
                tracing::debug!(status, "the SDK repeats an abort");
                let operation = Operation::AbortMultipartUpload;
                let error = UpstreamError::from_answer(operation, status, request_id, &body);
                Attempt::Refused(Refusal { error, retry_after })
            }
            Err(reason) => {
                tracing::debug!(reason, "the SDK repeats an abort");
                Attempt::Failed { sent: sent.get() }
            }
        }
    }

    /// Begins the attempt's span, of which the request tells. What is added is not signed.
    fn span(&self, trace: &Trace, vault: &VaultArn, request: &mut String) -> Span {
        let template = self.template.get().and_then(Option::as_ref);
        let host = template.map_or("", |template| template.authority.host());
        let operation = Operation::AbortMultipartUpload;
        let span = attempt_span::begin(trace, operation, &vault.region, host, 0);
        if let Some(traceparent) = span.trace().traceparent() {
            request.truncate(request.len() - "\r\n".len());
            request.extend([TRACEPARENT, ": ", &traceparent, "\r\n\r\n"]);
        }
        span
    }

    /// The request on the wire, and where to send it.
    fn request(
        &self,
        thread: &Thread,
        VaultArn { account, vault, .. }: &VaultArn,
        upload: &UploadId,
        session: Option<&Arc<Credentials>>,
    ) -> Option<(&Endpoint, String)> {
        let template = self.template.get()?.as_ref()?;
        let Template { scheme, authority, path, .. } = template;
        let tls = self.tls.as_ref();
        let endpoint = self.endpoint.get_or_init(|| Endpoint::new(scheme, authority, tls));
        let endpoint = endpoint.as_ref()?;
        let now = OffsetDateTime::now_utc();
        let credentials = match session {
            Some(session) => session.clone(),
            None => self.credentials.at(now)?,
        };
        let mut signers = thread.signers.borrow_mut();
        let signer = signers.of(template, credentials, now)?;
        let path = [
            path,
            "/",
            account.as_str(),
            "/vaults/",
            vault.as_str(),
            "/multipart-uploads/",
            upload.as_str(),
        ]
        .concat();
        Some((endpoint, signer.sign(&path)))
    }

    async fn answer(
        &self,
        thread: &Thread,
        endpoint: &Endpoint,
        request: &str,
        sent: &Cell<bool>,
    ) -> Result<Answer, BoxError> {
        let idle = thread.idle.borrow_mut().take();
        let connection = match idle {
            Some(connection) => connection,
            // In a box, since it is large and few requests need it.
            None => {
                Box::pin(tokio::time::timeout(self.connect_timeout, endpoint.connect())).await??
            }
        };
        sent.set(true);
        let (answer, connection) = connection.send(request.as_bytes()).await?;
        if let Some(connection) = connection {
            thread.idle.borrow_mut().put(connection);
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backoff_is_that_of_the_sdks_first_attempt() {
        let retries = RetryConfig::standard();
        let backoff = |status, body: &str, retry_after: Option<u64>| {
            let operation = Operation::AbortMultipartUpload;
            let error = UpstreamError::from_answer(operation, status, None, body.as_bytes());
            let retry_after = retry_after.map(Duration::from_millis);
            Refusal { error, retry_after }.backoff(&retries, 0.5).as_millis()
        };
        let throttled = r#"{"code": "ThrottlingException", "message": "Rate exceeded"}"#;
        assert_eq!(backoff(400, throttled, None), 500);
        assert_eq!(backoff(429, "", None), 500);
        assert_eq!(backoff(503, "<html>", None), 500);
        assert_eq!(backoff(503, "", Some(70)), 70);
        assert_eq!(backoff(503, "", Some(60_000)), 20_000);
        // There is nothing to wait for.
        assert_eq!(backoff(400, r#"{"code": "InvalidParameterValueException"}"#, Some(70)), 0);
        assert_eq!(backoff(403, "", None), 0);
    }
}
