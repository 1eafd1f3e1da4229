//! The command line: one subcommand for each chore.

mod audit;
mod config_file;
#[cfg(feature = "simulator")]
mod dev;
mod events;
mod failure;
mod healthcheck;
mod inventory;
mod jobs;
mod key;
mod last_words;
mod policy;
mod remote;
mod serve;
mod store;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::{config_file::ConfigFile, failure::Failure, last_words::tell};

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
    CheckConfig(serve::Check),
    /// Make and inspect gateway keys, which AWS SDKs sign with.
    #[command(subcommand)]
    Key(key::Chore),
    /// Verify and export the audit trail, and make its keys.
    #[command(subcommand)]
    Audit(audit::Chore),
    /// Abort uploads in bulk, at any gateway.
    #[command(subcommand)]
    Jobs(jobs::Chore),
    /// Look after the store, in which the audit trail is kept.
    #[command(subcommand)]
    Store(store::Chore),
    /// See what was seen in the vaults, and have them looked through, by way of a running
    /// gateway.
    #[command(subcommand)]
    Inventory(inventory::Chore),
    /// Ask a running gateway how it is; the exit code is 0 if it is well.
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

/// Runs the subcommand that the command line names.
pub fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(file) => serve::serve(file.config.as_deref()),
        Command::CheckConfig(wanted) => serve::check(&wanted),
        Command::Key(chore) => key::run(chore),
        Command::Audit(chore) => audit::run(chore),
        Command::Jobs(chore) => jobs::run(chore),
        Command::Store(chore) => store::run(chore),
        Command::Inventory(chore) => inventory::run(chore),
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

fn openapi(json: bool) -> Result<(), Failure> {
    let document = crate::http::document();
    if json {
        println!("{}", document.to_pretty_json().map_err(Failure::other)?);
    } else {
        print!("{}", document.to_yaml().map_err(Failure::other)?);
    }
    Ok(())
}
