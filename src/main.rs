//! The `glacier-gateway` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    glacier_gateway::cli::run()
}
