//! An abort's first attempt, past the SDK's orchestrator, which costs more than
//! all the rest of a request.
//!
//! The SDK stays the owner of everything difficult: it finds and refreshes
//! credentials, resolves endpoints, retries, reads errors and corrects clock skew.
//! Its own first abort shows what one looks like on the wire (`template`); what it
//! gets from the credential chain is seen on the way (`credentials`). From then on
//! an abort is signed (`signer`) and sent here first. Only Glacier's 204 counts;
//! anything else is no answer, and the call goes to the SDK, whose verdict stands.
//! Glacier lets an abort be repeated, so nothing is lost by that.

mod credentials;
mod signer;
mod template;

use std::{
    cell::RefCell,
    sync::{Arc, OnceLock},
    time::Duration,
};

use aws_sdk_glacier::{config::SharedInterceptor, error::BoxError};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use thread_local::ThreadLocal;
use time::OffsetDateTime;

pub(super) use self::credentials::SeenCredentials;
use self::{
    signer::Signer,
    template::{Learn, Template},
};
use super::{Reply, UploadId, VaultArn};
use crate::config::Aws;

/// The body of an error is read this far, to keep its connection.
const MAX_BODY: usize = 64 * 1024;

/// The first attempts of one region's aborts.
pub(super) struct DirectAbort {
    template: Arc<OnceLock<Option<Template>>>,
    credentials: SeenCredentials,
    connector: HttpsConnector<HttpConnector>,
    timeout: Duration,
    threads: ThreadLocal<Thread>,
}

/// What each of the server's threads has for itself: a reply that another thread
/// would have to pass on costs both of them.
struct Thread {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    signer: RefCell<Option<Signer>>,
}

/// What became of an attempt.
pub(super) enum Attempt {
    /// Nothing was sent: it is not known how.
    NotMade,
    /// The upload is aborted.
    Aborted(Reply<()>),
    /// No verdict.
    Failed,
}

impl DirectAbort {
    /// Nothing is sent before [`Self::learn`] has seen the SDK do it.
    pub(super) fn new(
        settings: &Aws,
        credentials: SeenCredentials,
        connector: HttpsConnector<HttpConnector>,
    ) -> Self {
        let timeout = settings.attempt_timeout.min(settings.read_timeout);
        Self {
            template: Arc::default(),
            credentials,
            connector,
            timeout,
            threads: ThreadLocal::new(),
        }
    }

    /// What reads the template off the SDK's own requests.
    pub(super) fn learn(&self) -> SharedInterceptor {
        SharedInterceptor::new(Learn(Arc::clone(&self.template)))
    }

    /// Asks Glacier once to abort an upload.
    pub(super) async fn attempt(&self, vault: &VaultArn, upload: &UploadId) -> Attempt {
        let thread = self.threads.get_or(|| Thread::new(self.connector.clone()));
        let Some(request) = self.request(thread, vault, upload) else { return Attempt::NotMade };
        let answer = tokio::time::timeout(self.timeout, thread.answer(request)).await;
        match answer.map_err(Into::into).flatten() {
            Ok(reply) => Attempt::Aborted(reply),
            Err(reason) => {
                tracing::debug!(reason, "the SDK repeats an abort");
                Attempt::Failed
            }
        }
    }

    fn request(
        &self,
        thread: &Thread,
        VaultArn { account, vault, .. }: &VaultArn,
        upload: &UploadId,
    ) -> Option<Request<Empty<Bytes>>> {
        let template = self.template.get()?.as_ref()?;
        let now = OffsetDateTime::now_utc();
        let credentials = self.credentials.at(now)?;
        let mut signer = thread.signer.borrow_mut();
        if !signer.as_ref().is_some_and(|signer| signer.signs(&credentials, now)) {
            *signer = Some(Signer::new(template, credentials, now)?);
        }
        let path = format!("{}/{account}/vaults/{vault}/multipart-uploads/{upload}", template.path);
        signer.as_ref()?.sign(path, now)
    }
}

impl Thread {
    fn new(connector: HttpsConnector<HttpConnector>) -> Self {
        let client =
            Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Self { client, signer: RefCell::default() }
    }

    async fn answer(&self, request: Request<Empty<Bytes>>) -> Result<Reply<()>, BoxError> {
        let response = self.client.request(request).await?;
        if response.status() == StatusCode::NO_CONTENT {
            let request_id = response.headers().get("x-amzn-requestid");
            let request_id = request_id.and_then(|id| id.to_str().ok()).map(str::to_owned);
            return Ok(Reply { value: (), request_id });
        }
        let status = response.status();
        // Read to its end, the body leaves a connection to use again.
        let _ = Limited::new(response.into_body(), MAX_BODY).collect().await;
        Err(format!("Glacier answered {status}").into())
    }
}

/// Connects to Glacier as the SDK does: by the system's root certificates. `None`
/// where there are none.
pub(super) fn connector(settings: &Aws) -> Option<HttpsConnector<HttpConnector>> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(settings.connect_timeout));
    let tls = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(rustls::crypto::aws_lc_rs::default_provider())
        .ok()?;
    Some(tls.https_or_http().enable_http1().wrap_connector(tcp))
}
