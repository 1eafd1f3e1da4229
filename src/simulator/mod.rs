//! A simulator of Amazon Glacier: vaults and multipart uploads over Glacier's own
//! REST API, for `dev` and the tests. It verifies signatures and tree hashes for
//! real, keeps all state in memory and no payloads at all, and fails on request.
//!
//! One endpoint serves every region and account: the region is the one the
//! request is signed for, the account the one its access key belongs to. The same
//! endpoint assumes roles, as AWS STS does. A second port takes orders, see [`control`].
//!
//! What Glacier does comes from the Glacier Developer Guide. Where that leaves a
//! choice, [`Rules`] names it.

mod api;
pub mod cli;
mod clock;
mod config;
pub mod control;
mod error;
mod faults;
mod listing;
mod operation;
mod received;
mod reply;
mod seed;
mod sessions;
mod signature;
mod state;
mod sts;
mod tree_hash;
mod uploads;
mod vaults;

use std::{io, net::TcpListener};

use actix_web::{App, HttpServer, dev::ServerHandle, web};

use self::reply::keep_connection;
pub use self::{
    config::{AbortCompleted, Account, Config, Role, Rules},
    error::GlacierError,
    faults::{Activity, Effect, Fault},
    operation::Operation,
    seed::{SeedUpload, SeedVault},
    state::Simulator,
};

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
        let simulator = Self::new(config);

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
}

impl Running {
    /// Stops both endpoints at once; connections still open are dropped.
    pub async fn stop(self) {
        for server in self.servers {
            server.stop(false).await;
        }
    }
}
