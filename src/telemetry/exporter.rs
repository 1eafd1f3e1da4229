//! Sends spans to a collector, in a thread of its own. Whoever ends a span never waits: if
//! too many wait because the collector is down or slow, further ones are dropped and counted.

use std::{
    io,
    path::PathBuf,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc as std_mpsc,
    },
    thread,
    time::Duration,
};

use opentelemetry::KeyValue;
use opentelemetry_otlp::{
    ExporterBuildError, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::{
    Resource,
    resource::EnvResourceDetector,
    trace::{SpanData, SpanExporter as _},
};
use reqwest::{
    Client,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
    tls::Certificate,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use super::sampling::Sampling;
use crate::config::{Otlp, Telemetry};

/// How many spans may wait.
const QUEUE: usize = 4096;
/// How many are sent at once.
const BATCH: usize = 512;
/// How long a batch waits for more.
const LINGER: Duration = Duration::from_millis(500);
/// How long nothing is sent after a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// The most bytes of a file with headers or certificates.
const MAX_FILE: u64 = 1024 * 1024;

/// What takes the process's spans, once that was started.
pub(super) static EXPORT: OnceLock<Export> = OnceLock::new();

/// How many spans were lost.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Why no traces can be sent.
#[derive(Debug, thiserror::Error)]
pub enum UnusableTelemetry {
    /// A file.
    #[error("cannot read {} (telemetry.otlp.{setting}): {error}", path.display())]
    File {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Headers that are not headers. Their values are secrets.
    #[error("line {0} of telemetry.otlp.headers_file is not a header: write \"Name: value\"")]
    Header(usize),
    /// Certificates, or the client of HTTP.
    #[error("traces cannot be sent (telemetry.otlp): {0}")]
    Client(#[from] reqwest::Error),
    /// What OpenTelemetry's own variables say.
    #[error("traces cannot be sent (telemetry.otlp): {0}")]
    Exporter(#[from] ExporterBuildError),
    /// No thread.
    #[error("traces cannot be sent: {0}")]
    Thread(#[from] io::Error),
}

/// What takes spans.
#[derive(Debug)]
pub(super) struct Export {
    pub(super) sampling: Sampling,
    queue: mpsc::Sender<SpanData>,
    ending: Mutex<Option<(oneshot::Sender<()>, std_mpsc::Receiver<()>)>>,
}

/// Begins to send traces, if the settings say where to. A second call changes nothing.
///
/// # Errors
/// See [`UnusableTelemetry`].
pub fn start(settings: &Telemetry) -> Result<(), UnusableTelemetry> {
    let Some(otlp) = &settings.otlp else { return Ok(()) };
    let exporter = exporter(otlp)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (queue, spans) = mpsc::channel(QUEUE);
    let (end, ending) = oneshot::channel();
    let (ended, is_ended) = std_mpsc::channel::<()>();
    let sampling = Sampling::new(otlp.sample_ratio);
    let export = Export { sampling, queue, ending: Mutex::new(Some((end, is_ended))) };
    if EXPORT.set(export).is_err() {
        return Ok(());
    }
    let limit = otlp.timeout;
    thread::Builder::new().name("traces".to_owned()).spawn(move || {
        runtime.block_on(run(exporter, limit, spans, ending));
        drop(ended);
    })?;
    Ok(())
}

/// Checks what [`start`] needs, and sends nothing.
///
/// # Errors
/// See [`UnusableTelemetry`].
pub fn check(settings: &Telemetry) -> Result<(), UnusableTelemetry> {
    settings.otlp.as_ref().map_or(Ok(()), |otlp| exporter(otlp).map(drop))
}

/// Sends what waits. Blocks until then, but no longer than `limit`.
pub fn finish(limit: Duration) {
    let ending = EXPORT
        .get()
        .and_then(|export| export.ending.lock().unwrap_or_else(PoisonError::into_inner).take());
    if let Some((end, ended)) = ending {
        drop(end);
        if ended.recv_timeout(limit) == Err(std_mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("the last spans of traces could not be sent in time");
        }
    }
}

/// How many spans were dropped or could not be sent since the start.
pub fn dropped() -> u64 {
    DROPPED.load(Relaxed)
}

/// Takes a span that has ended.
pub(super) fn send(span: SpanData) {
    if EXPORT.get().is_none_or(|export| export.queue.try_send(span).is_err()) {
        DROPPED.fetch_add(1, Relaxed);
    }
}

async fn run(
    exporter: SpanExporter,
    limit: Duration,
    mut spans: mpsc::Receiver<SpanData>,
    mut ending: oneshot::Receiver<()>,
) {
    let (mut fails, mut ends) = (false, false);
    loop {
        let mut batch = Vec::with_capacity(BATCH);
        tokio::select! {
            _ = &mut ending, if !ends => ends = true,
            () = fill(&mut spans, &mut batch) => {}
        }
        if ends {
            spans.close();
        }
        let number = batch.len() as u64;
        if number == 0 {
            if spans.is_closed() && spans.is_empty() {
                return;
            }
            continue;
        }
        let failure = match timeout(limit, exporter.export(batch)).await {
            Ok(sent) => sent.err().map(|error| error.to_string()),
            Err(_) => Some("the collector does not answer in time".to_owned()),
        };
        match &failure {
            Some(error) if !fails => tracing::warn!(error, "traces cannot be sent"),
            None if fails => tracing::info!("traces can be sent again"),
            _ => {}
        }
        fails = failure.is_some();
        if fails {
            DROPPED.fetch_add(number, Relaxed);
            ends = ends || timeout(PAUSE, &mut ending).await.is_ok();
        }
    }
}

/// Waits for spans, and a while for more.
async fn fill(spans: &mut mpsc::Receiver<SpanData>, batch: &mut Vec<SpanData>) {
    spans.recv_many(batch, BATCH).await;
    if batch.len() < BATCH && !spans.is_closed() {
        sleep(LINGER).await;
    }
    while batch.len() < BATCH
        && let Ok(span) = spans.try_recv()
    {
        batch.push(span);
    }
}

fn exporter(settings: &Otlp) -> Result<SpanExporter, UnusableTelemetry> {
    let read = |setting, path: &PathBuf| {
        let file = |error| UnusableTelemetry::File { setting, path: path.clone(), error };
        crate::files::read(path, MAX_FILE).map_err(file)
    };
    let mut client = Client::builder().redirect(Policy::none()).timeout(settings.timeout);
    if let Some(path) = &settings.headers_file {
        client = client.default_headers(headers(&read("headers_file", path)?)?);
    }
    if let Some(path) = &settings.ca_file {
        let certificates = Certificate::from_pem_bundle(&read("ca_file", path)?)?;
        client = client.tls_certs_only(certificates);
    }
    let mut endpoint = settings.endpoint.clone();
    if endpoint.path() == "/" {
        endpoint.set_path("/v1/traces");
    }
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client.build()?)
        .with_endpoint(endpoint)
        .with_timeout(settings.timeout)
        .with_retry_policy(RetryPolicy::disabled())
        .build()?;
    let resource = Resource::builder_empty()
        .with_service_name(env!("CARGO_PKG_NAME"))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_detector(Box::new(EnvResourceDetector::new()));
    exporter.set_resource(&resource.build());
    Ok(exporter)
}

/// Reads headers, one `Name: value` a line.
fn headers(file: &[u8]) -> Result<HeaderMap, UnusableTelemetry> {
    let mut headers = HeaderMap::new();
    for (number, line) in file.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let wrong = || UnusableTelemetry::Header(number + 1);
        let colon = line.iter().position(|byte| *byte == b':').ok_or_else(wrong)?;
        let name = HeaderName::from_bytes(line[..colon].trim_ascii());
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        let (Ok(name), Ok(mut value)) = (name, value) else { return Err(wrong()) };
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}
