//! The command line, for the time being the simulator's.

#[cfg(feature = "simulator")]
#[tokio::main]
async fn main() -> std::io::Result<()> {
    use clap::Parser;

    #[derive(clap::Parser)]
    enum Command {
        Simulator(glacier_gateway::simulator::cli::SimulatorArgs),
    }
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    let Command::Simulator(arguments) = Command::parse();
    arguments.run().await
}

#[cfg(not(feature = "simulator"))]
fn main() {}
