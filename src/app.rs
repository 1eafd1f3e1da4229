//! Builds everything from the settings, in order; listens; and shuts down without
//! losing a request.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{App as ActixApp, HttpServer, dev::ServerHandle, http::KeepAlive, rt, web::Data};
use aws_credential_types::provider::SharedCredentialsProvider;
use rustix::process::{Resource, getrlimit};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    audit::{StoreError, System, Trail},
    authn::{Authenticator, GatewayKeys, UnusableKeys, UnusableRevocations},
    config::Settings,
    gateway::{Foundations, Gateway},
    glacier::{UnusableAccounts, Upstream},
    http::{self, connections::Connections, management},
    inventory,
    jobs::{Jobs, Runner},
    lifecycle::{Lifecycle, UnusableRules},
    policy::{Diagnostic, LivePolicies, Reload, Status},
    reload::Followed,
    signals::Signals,
    telemetry::{UnusableTelemetry, traces},
    tls::{self, TlsError},
};

/// How often the policy folder is looked at for changes.
const POLICY_INTERVAL: Duration = Duration::from_secs(2);

/// How long the last records of the trail may take to be written at the end.
const LAST_RECORDS: Duration = Duration::from_secs(5);

/// The most connections to the probes: an orchestrator's and Prometheus's, with room.
const MANAGEMENT_CONNECTIONS: usize = 16;
/// How long a connection to the management listener may be without a request.
const MANAGEMENT_TIMEOUT: Duration = Duration::from_secs(1);
/// actix's own limit to the connections of a worker.
const WORKER_CONNECTIONS: usize = 25_600;

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Policies that would not decide as they are meant to.
    #[error("{}", lines(.0))]
    Policies(Vec<Diagnostic>),
    /// An address that cannot be listened on.
    #[error("cannot listen on {address} ({setting}): {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The setting that named it.
        setting: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Revocations that would not revoke.
    #[error(transparent)]
    Revocations(#[from] UnusableRevocations),
    /// Accounts that would not be served as they are meant to.
    #[error(transparent)]
    Accounts(#[from] UnusableAccounts),
    /// Lifecycle rules that would not do what they are meant to.
    #[error(transparent)]
    LifecycleRules(#[from] UnusableRules),
    /// Certificates.
    #[error("cannot serve TLS: {0}")]
    Tls(#[from] TlsError),
    /// Gateway keys.
    #[error("the gateway keys cannot be used: {0}")]
    GatewayKeys(#[from] UnusableKeys),
    /// The OpenAPI document.
    #[error("cannot write the OpenAPI document: {0}")]
    Document(Box<dyn std::error::Error>),
    /// Too low a limit on open files.
    #[error(
        "the limit on open files (ulimit -n) is {limit}; with {workers} workers \
         (server.workers) the gateway needs {needed} or more"
    )]
    Descriptors {
        /// The limit.
        limit: usize,
        /// How many workers there would be.
        workers: usize,
        /// The lowest limit.
        needed: usize,
    },
    /// The store of the audit trail.
    #[error("cannot use the store (store.url): {0}")]
    Store(#[from] StoreError),
    /// Records that were not written at the end.
    #[error(
        "records of the last requests are lost, because the store cannot be written; changes \
         among them are settled at the next start"
    )]
    LastRecords,
    /// Where traces go.
    #[error(transparent)]
    Telemetry(#[from] UnusableTelemetry),
    /// Signal handlers.
    #[error("cannot set up the gateway: {0}")]
    System(#[from] io::Error),
}

fn lines(diagnostics: &[Diagnostic]) -> String {
    let lines: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// A gateway that listens.
pub struct Running {
    /// Where the REST API is.
    pub rest: SocketAddr,
    /// Where the probes are.
    pub management: SocketAddr,
    gateway: Data<Gateway>,
    recovery: JoinHandle<()>,
    /// What looks after the lifecycle rules.
    looked_after: JoinHandle<()>,
    /// What ends the work on inventory runs, and that work.
    inventory: (oneshot::Sender<()>, JoinHandle<()>),
    runner: Runner,
    rest_server: ServerHandle,
    management_server: ServerHandle,
    /// What becomes of either server.
    ended: mpsc::Receiver<io::Result<()>>,
    signals: Signals,
}

/// Builds the gateway and starts to listen. Must run inside an actix system.
///
/// # Errors
/// See [`StartError`].
pub async fn start(
    settings: Settings,
    credentials: Option<SharedCredentialsProvider>,
) -> Result<Running, StartError> {
    traces::start(&settings.telemetry)?;
    let (policies, warnings) =
        LivePolicies::open(&settings.policy.directory).map_err(StartError::Policies)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let (followed, in_force) = Followed::with_listener();
    let followed = Arc::new(followed);
    let authenticator = Authenticator::start(&settings, &followed)?;
    let keys = GatewayKeys::load(&settings.keys)?;
    let trail = Trail::open(&settings.store, &settings.audit).await?;
    if trail.store().is_none() {
        tracing::warn!(
            "there is no audit trail, because store.url is \"none\": the only record of a change is \
             its log line, which can be lost"
        );
    }
    let upstream = Upstream::open(&settings, credentials).await?;
    let server = settings.server.clone();
    let gateway = Gateway::new(settings, authenticator, keys, policies, trail, upstream, followed);
    let gateway = Data::new(gateway);
    let (trail, policies) = (gateway.trail.clone(), gateway.policies.status());
    let foundations = Arc::new(Foundations::begin(trail, &policies, &gateway.keys));
    let recorded = foundations.clone();
    rt::spawn(async move { recorded.follow(in_force).await });
    let told = gateway.clone();
    let looked = move |reload, status: &Status| {
        if reload == Reload::Replaced {
            told.authenticator.forget_tokens();
        }
        foundations.policies(reload, status);
    };
    rt::spawn(gateway.policies.clone().follow(POLICY_INTERVAL, looked)?);
    // Not on actix's own set of tasks, which is dropped when the runtime is gone: a
    // connection to the store cannot be given back there.
    let recovery = tokio::spawn(gateway.clone().into_inner().recover());
    let (end, ending) = oneshot::channel::<()>();
    let ending = async move { drop(ending.await) };
    let runs = tokio::spawn(inventory::serve(gateway.clone().into_inner(), ending));
    let inventory = (end, runs);
    let jobs = Data::new(Jobs::new(gateway.clone().into_inner()));
    let lifecycle = Lifecycle::new(gateway.clone().into_inner(), jobs.clone().into_inner())?;
    let lifecycle = Data::new(lifecycle);
    let looked_after = tokio::spawn(lifecycle.clone().into_inner().run());
    let runner = Runner::start(jobs.clone().into_inner())?;
    gateway.authenticator.first_reading().await;
    rt::spawn(follow_files(gateway.clone(), lifecycle.clone()));

    let workers = match server.workers {
        0 => std::thread::available_parallelism().map_or(2, Into::into),
        workers => workers,
    };
    // Whoever knows that the gateway listens may stop it.
    let signals = Signals::new()?;
    let shared = http::Shared::new(gateway.clone(), jobs, lifecycle.clone())
        .map_err(StartError::Document)?;
    let limits = gateway.settings.limits.server.clone();
    let most = connections(workers, limits.connections)?;
    let connections = Connections::new(workers * most);
    let counted = connections.clone();
    let rest = HttpServer::new(move || http::app(&shared))
        .workers(workers)
        .max_connections(most)
        .keep_alive(limits.keep_alive)
        .client_request_timeout(limits.head_timeout)
        // Who closes only the sending half waits for no answer: as proxies do, so that a
        // caller that left is noticed whichever way it left.
        .h1_allow_half_closed(false)
        .shutdown_timeout(server.shutdown_timeout.as_secs())
        .disable_signals();
    let rest = match &server.tls {
        None => rest.on_connect(move |_, data| counted.count(data)).bind(server.listen),
        Some(tls) => {
            let (tls, verifier) = tls::server_config(tls, gateway.followed.clone())?;
            rest.on_connect(move |connection, data| {
                counted.count(data);
                tls::note_certificate(connection, data, &verifier);
            })
            .bind_rustls_0_23(server.listen, tls)
        }
    }
    .map_err(|source| StartError::Listen {
        address: server.listen,
        setting: "server.listen",
        source,
    })?;
    let (probes, connections) = (gateway.clone(), Data::new(connections));
    let management = HttpServer::new(move || {
        ActixApp::new()
            .app_data(probes.clone())
            .app_data(connections.clone())
            .configure(management::routes)
    })
    .workers(1)
    .max_connections(MANAGEMENT_CONNECTIONS)
    // So that connections which ask nothing do not keep probes waiting.
    .keep_alive(KeepAlive::Disabled)
    .client_request_timeout(MANAGEMENT_TIMEOUT)
    .shutdown_timeout(1)
    .disable_signals()
    .bind(server.management_listen)
    .map_err(|source| StartError::Listen {
        address: server.management_listen,
        setting: "server.management_listen",
        source,
    })?;
    let (rest_address, management_address) = (rest.addrs()[0], management.addrs()[0]);
    let (rest, management) = (rest.run(), management.run());
    let (ending, ended) = mpsc::channel(2);
    let running = Running {
        rest: rest_address,
        management: management_address,
        gateway,
        recovery,
        looked_after,
        inventory,
        runner,
        rest_server: rest.handle(),
        management_server: management.handle(),
        ended,
        signals,
    };
    for server in [rest, management] {
        let ending = ending.clone();
        rt::spawn(async move { ending.send(server.await).await });
    }
    tracing::info!(rest = %running.rest, management = %running.management, "listening");
    Ok(running)
}

impl Running {
    /// Serves until SIGTERM or Ctrl-C, then lets requests in flight finish within
    /// `server.shutdown_timeout`. A second signal ends that wait. Gives the moment of the
    /// first.
    ///
    /// # Errors
    /// When a server ends before it is told to: there were no descriptors for it. When
    /// records of the last requests are lost.
    pub async fn until_signalled(mut self) -> Result<Instant, StartError> {
        let name = tokio::select! {
            name = self.signals.next() => name,
            Some(ended) = self.ended.recv() => {
                ended?;
                return Err(io::Error::other("a server has ended").into());
            }
        };
        let signalled = Instant::now();
        tracing::info!(signal = name, "shutting down");
        let Self { gateway, recovery, inventory, looked_after, runner, .. } = self;
        looked_after.abort();
        let _ = looked_after.await;
        let (rest, management) = (&self.rest_server, &self.management_server);
        let stopped = stop(&gateway, recovery, inventory, runner, rest, management);
        tokio::select! {
            stopped = stopped => stopped?,
            name = self.signals.next() => tracing::warn!(signal = name, "not waiting any longer"),
        }
        Ok(signalled)
    }
}

/// Stops: readiness turns red, the REST listener closes, requests in flight finish, the
/// trail is written, the probes go last.
///
/// # Errors
/// When records of the last requests are lost.
async fn stop(
    gateway: &Gateway,
    recovery: JoinHandle<()>,
    (end_inventory, inventory): (oneshot::Sender<()>, JoinHandle<()>),
    runner: Runner,
    rest: &ServerHandle,
    management: &ServerHandle,
) -> Result<(), StartError> {
    gateway.drain();
    // Until load balancers know, their requests still come.
    tokio::time::sleep(gateway.settings.server.shutdown_delay).await;
    // Another replica may go on with it meanwhile.
    drop(end_inventory);
    let limit = gateway.settings.server.shutdown_timeout;
    let jobs = tokio::time::timeout(limit, runner.stop());
    let (jobs, ()) = tokio::join!(jobs, rest.stop(true));
    if jobs.is_err() {
        tracing::warn!(
            "calls of jobs are under way; the next process finds out what became of them"
        );
    }
    // Not before: until here it tells others that this process lives.
    recovery.abort();
    let _ = recovery.await;
    let _ = inventory.await;
    gateway.trail.system("Stop", System::default());
    let written = gateway.trail.stop(LAST_RECORDS).await;
    let lost = (!written).then_some(StartError::LastRecords);
    if let Some(lost) = &lost {
        tracing::error!("{lost}");
    }
    management.stop(false).await;
    lost.map_or(Ok(()), Err)
}

/// How many REST connections a worker may have. Each may need a second descriptor for a
/// connection to Glacier, so that connections alone never use up what the process may
/// open (`RLIMIT_NOFILE`). Idle, with its listeners and event loops, the process has
/// about 20 and 4 for each worker; there is room for probes and for files beside those.
/// `wanted` is how many all workers may have at most, or 0.
///
/// # Errors
/// When there is no room for one connection: a server without descriptors ends in a panic.
fn connections(workers: usize, wanted: usize) -> Result<usize, StartError> {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let own = 48 + 4 * workers;
    match limit.saturating_sub(own) / 2 / workers {
        0 => Err(StartError::Descriptors { limit, workers, needed: own + 2 * workers }),
        possible => {
            let wanted = if wanted == 0 { usize::MAX } else { wanted.div_ceil(workers) };
            Ok(possible.min(WORKER_CONNECTIONS).min(wanted))
        }
    }
}

async fn follow_files(gateway: Data<Gateway>, lifecycle: Data<Lifecycle>) {
    tokio::join!(
        lifecycle.keep_rules_fresh(&gateway.followed),
        gateway.upstream.keep_accounts_fresh(&gateway.followed),
        gateway.keys.keep_revocations_fresh(&gateway.followed),
        gateway.authenticator.keep_revocations_fresh(&gateway.followed),
    );
}
