//! The command line, for the time being.

use clap::Parser;

#[derive(clap::Parser)]
enum Command {
    #[cfg(feature = "simulator")]
    Simulator(glacier_gateway::simulator::cli::SimulatorArgs),
    #[command(subcommand)]
    Policy(glacier_gateway::cli::policy::PolicyCommand),
}

#[tokio::main]
async fn main() -> std::io::Result<std::process::ExitCode> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    match Command::parse() {
        #[cfg(feature = "simulator")]
        Command::Simulator(arguments) => arguments.run().await.map(|()| 0.into()),
        Command::Policy(command) => command.run().map(Into::into),
    }
}
