//! `policy`: lint and simulate policies without a running gateway.

use std::{
    io::{self, BufRead, Write},
    path::PathBuf,
};

use super::Failure;
use crate::policy::{self, Format, PolicySet};

/// Lint and simulate policies.
#[derive(clap::Subcommand, Debug)]
pub enum PolicyCommand {
    /// Report what is wrong in a policy folder; fails if there are errors.
    Lint(LintArgs),
    /// Decide cases read from standard input.
    Simulate(SimulateArgs),
}

/// The arguments of `policy lint`.
#[derive(clap::Args, Debug)]
pub struct LintArgs {
    /// The policy folder.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// How to print.
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
    /// Fail on warnings, too.
    #[arg(long)]
    deny_warnings: bool,
}

/// The arguments of `policy simulate`.
#[derive(clap::Args, Debug)]
pub struct SimulateArgs {
    /// Read one JSON case a line and print one JSON answer a line, in order.
    #[arg(long)]
    jsonl: bool,
}

impl PolicyCommand {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        match self {
            PolicyCommand::Lint(args) => args.run(),
            PolicyCommand::Simulate(_) => jsonl().map_err(Failure::other),
        }
    }
}

impl LintArgs {
    fn run(self) -> Result<(), Failure> {
        let loaded = PolicySet::load(&self.folder);
        let (usable, diagnostics) = match loaded {
            Ok((_, warnings)) => (true, warnings),
            Err(diagnostics) => (false, diagnostics),
        };
        print!("{}", policy::render(&diagnostics, self.format));
        if !usable {
            Err(Failure::other("the policies have errors"))
        } else if self.deny_warnings && !diagnostics.is_empty() {
            Err(Failure::other("the policies have warnings"))
        } else {
            Ok(())
        }
    }
}

fn jsonl() -> io::Result<()> {
    let mut output = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        writeln!(output, "{}", policy::simulate_line(&line?))?;
    }
    output.flush()
}
