//! `policy`: lint and simulate policies without a running gateway.

use std::io::{self, BufRead, Write};

use crate::policy;

/// Lint and simulate policies.
#[derive(clap::Subcommand, Debug)]
pub enum PolicyCommand {
    /// Decide cases read from standard input.
    Simulate(SimulateArgs),
}

/// The arguments of `policy simulate`.
#[derive(clap::Args, Debug)]
pub struct SimulateArgs {
    /// Read one JSON case a line and print one JSON answer a line, in order.
    #[arg(long)]
    jsonl: bool,
}

impl PolicyCommand {
    /// Runs the command; gives its exit code.
    ///
    /// # Errors
    /// Standard input or output failing.
    pub fn run(self) -> io::Result<u8> {
        match self {
            PolicyCommand::Simulate(_) => {
                let mut output = io::BufWriter::new(io::stdout().lock());
                for line in io::stdin().lock().lines() {
                    writeln!(output, "{}", policy::simulate_line(&line?))?;
                }
                output.flush()?;
                Ok(0)
            }
        }
    }
}
