//! The command line: one subcommand for each chore.

#[cfg(feature = "simulator")]
mod dev;
mod healthcheck;
mod key;
mod policy;
mod serve;
mod store;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::mpsc,
    thread,
    time::Duration,
};

use clap::{Parser, Subcommand};

use crate::{app::StartError, config::Log, telemetry};

/// The exit code of a configuration that cannot be used: `EX_USAGE` of sysexits.
const BAD_CONFIGURATION: u8 = 64;
/// How long standard error is waited for at the end, at the least.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Lets a company's teams abort Amazon Glacier multipart uploads under IAM-like
/// policies, without AWS credentials of their own.
#[derive(Parser)]
#[command(name = "glacier-gateway", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway.
    Serve(ConfigFile),
    /// Check configuration and policies, reporting every mistake at once.
    CheckConfig(ConfigFile),
    /// Make and inspect gateway keys, which AWS SDKs sign with.
    #[command(subcommand)]
    Key(key::Chore),
    /// Look after the store, in which the audit trail is kept.
    #[command(subcommand)]
    Store(store::Chore),
    /// Ask a running gateway how it is; the exit code is 0 where it is well.
    Healthcheck(healthcheck::Options),
    /// Try the gateway: with a Glacier simulator, three teams and their tokens.
    #[cfg(feature = "simulator")]
    Dev(dev::Options),
    #[cfg(feature = "simulator")]
    Simulator(crate::simulator::cli::SimulatorArgs),
    /// Lint and simulate policies.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Print the OpenAPI document.
    Openapi {
        /// Print JSON instead of YAML.
        #[arg(long)]
        json: bool,
    },
}

/// Where the configuration is.
#[derive(clap::Args)]
struct ConfigFile {
    /// The TOML file; GATEWAY__SECTION__KEY variables override it.
    #[arg(long, value_name = "FILE", env = "GATEWAY_CONFIG")]
    config: Option<PathBuf>,
}

/// Runs the subcommand that the command line names.
pub fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(file) => serve::serve(file.config.as_deref()),
        Command::CheckConfig(file) => serve::check(file.config.as_deref()),
        Command::Key(chore) => key::run(chore),
        Command::Store(chore) => store::run(chore),
        Command::Healthcheck(options) => healthcheck::run(&options),
        #[cfg(feature = "simulator")]
        Command::Dev(options) => dev::run(options),
        #[cfg(feature = "simulator")]
        Command::Simulator(arguments) => dev::simulator(arguments),
        Command::Policy(command) => command.run(),
        Command::Openapi { json } => openapi(json),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tell(failure.message);
            ExitCode::from(failure.code)
        }
    }
}

/// Prints a message on standard error, which may be broken, or blocked by a log that
/// nobody reads.
fn tell(message: String) {
    let (told, telling) = mpsc::channel::<()>();
    thread::spawn(move || {
        let _ = writeln!(io::stderr(), "{message}");
        drop(told);
    });
    let _ = telling.recv_timeout(LAST_WORDS);
}

/// Runs `work` with a log, which is written to its end in what `work` leaves of the time
/// to shut down.
fn logged(log: &Log, work: impl Future<Output = Result<Duration, Failure>>) -> Result<(), Failure> {
    telemetry::init(log).map_err(Failure::other)?;
    let left = actix_web::rt::System::new().block_on(work);
    let limit = left.as_ref().map_or(LAST_WORDS, |left| LAST_WORDS.max(*left));
    let finished = telemetry::finish(limit).map_err(Failure::other);
    left.and(finished)
}

/// Why a subcommand ended early.
pub(crate) struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    fn configuration(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: BAD_CONFIGURATION }
    }

    fn other(error: impl std::fmt::Display) -> Self {
        Self { message: error.to_string(), code: 1 }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Policies(_)
            | StartError::GatewayKeys(_)
            | StartError::Revocations(_)
            | StartError::Tls(_) => Self::configuration(error.to_string()),
            _ => Self::other(error),
        }
    }
}

fn openapi(json: bool) -> Result<(), Failure> {
    let document = crate::http::document();
    if json {
        println!("{}", document.to_pretty_json().map_err(Failure::other)?);
    } else {
        print!("{}", document.to_yaml().map_err(Failure::other)?);
    }
    Ok(())
}
