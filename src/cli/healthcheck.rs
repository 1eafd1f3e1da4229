//! `healthcheck`: asks a running gateway how it is, for images without a shell.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use super::{
    config_file::{ConfigFile, settings},
    failure::Failure,
    remote::innermost,
};

/// How long the gateway may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What `healthcheck` can be told.
#[derive(clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    file: ConfigFile,
    /// Ask whether it can serve callers, not only whether it lives.
    #[arg(long)]
    ready: bool,
    /// Ask the gateway at this HOST:PORT instead of the configuration's
    /// server.management_listen.
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
}

/// Succeeds if the gateway answers 200.
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let address = match &options.address {
        Some(address) => address.clone(),
        None => {
            let settings = settings(options.file.config.as_deref())?;
            reachable(settings.server.management_listen).to_string()
        }
    };
    let path = if options.ready { "readyz" } else { "livez" };
    let url = format!("http://{address}/{path}");
    let asking = async {
        let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
        let reply = client.get(&url).send().await?;
        Ok((reply.status(), reply.text().await?))
    };
    let (status, text) = actix_web::rt::System::new()
        .block_on(asking)
        .map_err(|error: reqwest::Error| Failure::other(format!("{url}: {}", innermost(&error))))?;
    if status.is_success() {
        println!("{url}: {}", text.trim());
        Ok(())
    } else {
        Err(Failure::other(format!("{url}: {status}: {}", text.trim())))
    }
}

/// Where a listener on all addresses is reached from its own machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, listen.port())
}
