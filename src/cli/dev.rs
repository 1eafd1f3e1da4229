//! `dev` and `simulator`.

use std::time::Duration;

use super::{failure::Failure, last_words::logged};
use crate::{
    config::{Log, LogFormat},
    dev::Dev,
    simulator::cli::SimulatorArgs,
};

/// What `dev` can be told.
#[derive(clap::Args)]
pub(super) struct Options {
    /// The gateway's port on the loopback address; the others follow it. 0 takes
    /// free ports.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Print where everything is as one line of JSON on standard output, for
    /// scripts.
    #[arg(long)]
    json: bool,
    /// Which events are logged, in the syntax of tracing's EnvFilter.
    #[arg(long, default_value = "info,actix_server=warn")]
    log: String,
}

/// Runs until Ctrl-C.
pub(super) fn run(options: Options) -> Result<(), Failure> {
    let log = Log { format: LogFormat::Human, filter: options.log };
    logged(&log, async {
        let dev = Dev::start(options.port).await.map_err(Failure::other)?;
        if options.json {
            println!("{}", serde_json::to_string(&dev.facts).map_err(Failure::other)?);
        } else {
            println!("{}", dev.facts);
        }
        dev.until_signalled().await.map_err(Failure::other)?;
        Ok(Duration::ZERO)
    })
}

/// Runs the simulator alone until Ctrl-C.
pub(super) fn simulator(arguments: SimulatorArgs) -> Result<(), Failure> {
    let log = Log { format: LogFormat::Human, filter: "info".to_owned() };
    logged(&log, async {
        arguments.run().await.map_err(Failure::other)?;
        Ok(Duration::ZERO)
    })
}
