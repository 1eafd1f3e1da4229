//! A simulator of Amazon Glacier: vaults and multipart uploads over Glacier's own
//! REST API, for `dev` and the tests. It verifies signatures and tree hashes for
//! real, keeps all state in memory and no payloads at all, and fails on request.
//!
//! One endpoint serves every region and account: the region is the one the
//! request is signed for, the account the one its access key belongs to. A second
//! port takes orders, see [`control`].
//!
//! What Glacier does comes from the Glacier Developer Guide. Where that leaves a
//! choice, [`Rules`] names it.

mod api;
pub mod cli;
mod clock;
pub mod control;
mod error;
mod faults;
mod listing;
mod operation;
mod received;
mod reply;
mod seed;
mod signature;
mod tree_hash;
mod uploads;
mod vaults;

use std::{
    any::Any,
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix_web::{
    App, HttpServer,
    dev::{Extensions, ServerHandle},
    rt::net::TcpStream,
    web,
};
use secrecy::SecretString;
use socket2::{SockRef, Socket};

use self::{
    clock::Clock,
    faults::Faults,
    received::{Received, Requests},
    vaults::Vaults,
};
pub use self::{
    error::GlacierError,
    faults::{Effect, Fault},
    operation::Operation,
    seed::{SeedUpload, SeedVault},
};
use crate::domain::{AccountId, UploadId};

/// Everything a simulator is started with.
pub struct Config {
    /// Where Glacier's API is served; port 0 takes a free one.
    pub bind: SocketAddr,
    /// Where the control endpoint is served; port 0 takes a free one.
    pub control_bind: SocketAddr,
    /// The credentials it accepts; an account may have several.
    pub accounts: Vec<Account>,
    /// Glacier's behaviour where it has a choice.
    pub rules: Rules,
    /// The faults in force from the start and after a reset.
    pub faults: Vec<Fault>,
    /// How far the simulator's clock is ahead of the real one, in its `Date`
    /// headers and when it judges a signature's age.
    pub clock_skew: time::Duration,
}

/// An AWS account as one of its credentials shows it.
#[derive(Clone)]
pub struct Account {
    /// The account that requests with these credentials act for.
    pub account_id: AccountId,
    /// The access key ID, which tells whose request it is.
    pub access_key_id: String,
    /// The secret that requests are signed with.
    pub secret_access_key: SecretString,
    /// For temporary credentials, the session token that requests must carry.
    pub session_token: Option<SecretString>,
}

/// What Glacier's documentation leaves open.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How long after an abort a repeated abort still succeeds, and after a
    /// completion a repeated completion. 404 follows.
    pub abort_grace: Duration,
    /// After how long without a new part an upload vanishes. Glacier may remove an
    /// upload after 24 hours, and often does not: `None` keeps them all.
    pub idle_expiry: Option<Duration>,
    /// The reply to aborting a completed upload.
    pub abort_completed: AbortCompleted,
}

/// The reply to aborting an upload that is completed. It cannot be aborted, but
/// how Glacier says so is not documented.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum AbortCompleted {
    /// 404 `ResourceNotFoundException`, as for an unknown upload.
    NotFound,
    /// 400 `InvalidParameterValueException`.
    Invalid,
}

impl Default for Rules {
    /// A grace of five minutes, no expiry, and 404 for a completed upload.
    fn default() -> Self {
        Self {
            abort_grace: Duration::from_secs(300),
            idle_expiry: None,
            abort_completed: AbortCompleted::NotFound,
        }
    }
}

/// A simulator's state, shared by its two endpoints and whoever embeds it.
#[derive(Clone)]
pub struct Simulator {
    config: Arc<Config>,
    state: Arc<Mutex<State>>,
}

struct State {
    vaults: Vaults,
    faults: Faults,
    received: Requests,
    clock: Clock,
}

/// A simulator that is listening.
pub struct Running {
    /// The URL of Glacier's API, such as `http://127.0.0.1:40123`.
    pub endpoint: String,
    /// The URL of the control endpoint.
    pub control: String,
    /// Its state, for seeding.
    pub simulator: Simulator,
    servers: [ServerHandle; 2],
}

impl Simulator {
    /// Binds both listeners and serves them until [`Running::stop`], each on a
    /// thread of its own. Needs a tokio runtime.
    ///
    /// # Errors
    /// An address that cannot be bound.
    pub fn start(config: Config) -> io::Result<Running> {
        let glacier = TcpListener::bind(config.bind)?;
        let control = TcpListener::bind(config.control_bind)?;
        let url = |listener: &TcpListener| {
            Ok::<_, io::Error>(format!("http://{}", listener.local_addr()?))
        };
        let (endpoint, control_url) = (url(&glacier)?, url(&control)?);
        let state = Arc::new(Mutex::new(State::new(&config)));
        let simulator = Self { config: Arc::new(config), state };

        let data = web::Data::new(simulator.clone());
        let glacier = HttpServer::new({
            let data = data.clone();
            move || App::new().app_data(data.clone()).default_service(web::to(api::serve))
        })
        .on_connect(keep_connection)
        .workers(1)
        .disable_signals()
        .listen(glacier)?
        .run();
        let control =
            HttpServer::new(move || App::new().app_data(data.clone()).configure(control::routes))
                .workers(1)
                .disable_signals()
                .listen(control)?
                .run();
        let servers = [glacier.handle(), control.handle()];
        tokio::spawn(glacier);
        tokio::spawn(control);
        Ok(Running { endpoint, control: control_url, simulator, servers })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything: vaults, requests, added faults, and the clock.
    fn reset(&self) {
        *self.state() = State::new(&self.config);
    }

    /// Creates a vault unless there is one, and starts uploads in it. Returns
    /// their IDs in order.
    ///
    /// # Errors
    /// What Glacier would refuse: a part size or description against its rules.
    pub fn seed(&self, seed: &SeedVault) -> Result<Vec<UploadId>, GlacierError> {
        let mut state = self.state();
        let now = state.clock.now();
        seed.plant(&mut state.vaults, now)
    }
}

impl State {
    fn new(config: &Config) -> Self {
        let mut faults = Faults::default();
        config.faults.iter().cloned().for_each(|fault| faults.add(fault));
        Self {
            vaults: Vaults::new(config.rules),
            faults,
            received: Requests::default(),
            clock: Clock::new(config.clock_skew),
        }
    }
}

impl Running {
    /// Stops both endpoints at once; connections still open are dropped.
    pub async fn stop(self) {
        for server in self.servers {
            server.stop(false).await;
        }
    }
}

/// A connection's socket, kept with its requests so that a fault can reset it.
struct Connection(Socket);

fn keep_connection(stream: &dyn Any, data: &mut Extensions) {
    let stream = stream.downcast_ref::<TcpStream>();
    if let Some(Ok(socket)) = stream.map(|stream| SockRef::from(stream).try_clone()) {
        data.insert(Connection(socket));
    }
}
