//! `policy`: lint and simulate policies without a running gateway.

use std::{
    io::{self, BufRead, Write},
    path::PathBuf,
    str::FromStr,
};

use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::failure::Failure;
use crate::{
    domain::{InvalidTeam, Operation, Principal, check_team},
    policy::{self, Context, Decision, Format, Layer, PolicySet, Resource, Severity, Simulation},
};

/// Lint and simulate policies.
#[derive(clap::Subcommand)]
pub enum PolicyCommand {
    /// Report what is wrong in a policy folder; fail if there are errors.
    #[command(after_help = LINT_STATUS)]
    Lint(LintArgs),
    /// Say what a policy folder decides, or decide cases from standard input.
    Simulate(Box<SimulateArgs>),
}

const LINT_STATUS: &str = "\
Exit status:
   0  the policies have no errors (with --deny-warnings: no warnings either)
   1  they have
  64  the folder or file does not exist or cannot be read";

/// The arguments of `policy lint`.
#[derive(clap::Args)]
pub struct LintArgs {
    /// The policy folder, or one team's policy file.
    #[arg(value_name = "DIR")]
    path: PathBuf,
    /// How to print.
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
    /// Fail on warnings, too.
    #[arg(long)]
    deny_warnings: bool,
}

/// The arguments of `policy simulate`.
#[derive(clap::Args)]
pub struct SimulateArgs {
    /// Read one JSON case a line and print one JSON answer a line, in order.
    #[arg(long, conflicts_with_all = ["folder", "team", "action", "resource"])]
    jsonl: bool,
    /// The policy folder.
    #[arg(value_name = "DIR", required_unless_present = "jsonl")]
    folder: Option<PathBuf>,
    /// A team of the caller; repeat it for several.
    #[arg(long, required_unless_present = "jsonl", value_parser = team)]
    team: Vec<String>,
    /// The caller's name.
    #[arg(long, default_value = "someone")]
    subject: String,
    /// An action such as glacier:AbortMultipartUpload; all five by default.
    #[arg(long, value_parser = operation)]
    action: Vec<Operation>,
    /// The vault's ARN.
    #[arg(long, value_name = "ARN", required_unless_present = "jsonl")]
    resource: Option<Resource>,
    /// A context key and its value, which is JSON or plain text.
    #[arg(long, value_name = "KEY=VALUE", value_parser = context_key)]
    context: Vec<(String, Value)>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl PolicyCommand {
    /// Runs the command.
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self {
            PolicyCommand::Lint(args) => args.run(),
            PolicyCommand::Simulate(args) if args.jsonl => jsonl().map_err(Failure::other),
            PolicyCommand::Simulate(args) => args.run(),
        }
    }
}

impl LintArgs {
    fn run(self) -> Result<(), Failure> {
        let unreadable =
            |error| Failure::configuration(format!("cannot read {}: {error}", self.path.display()));
        let diagnostics = if self.path.is_file() {
            let text = std::fs::read_to_string(&self.path).map_err(unreadable)?;
            policy::lint_document(&self.path, &text, Layer::Policies)
        } else {
            std::fs::read_dir(&self.path).map_err(unreadable)?;
            let mut found = match PolicySet::load(&self.path) {
                Ok((_, warnings)) => warnings,
                Err(diagnostics) => diagnostics,
            };
            // A code host knows the repository's files, not the folder's.
            if self.format == Format::Sarif {
                found.iter_mut().for_each(|found| found.file = self.path.join(&found.file));
            }
            found
        };
        print!("{}", policy::render(&diagnostics, self.format));
        if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
            Err(Failure::other("the policies have errors"))
        } else if self.deny_warnings && !diagnostics.is_empty() {
            Err(Failure::other("the policies have warnings"))
        } else {
            Ok(())
        }
    }
}

impl SimulateArgs {
    fn run(self) -> Result<(), Failure> {
        let (Some(folder), Some(resource)) = (&self.folder, &self.resource) else {
            return Err(Failure::other("name a policy folder and a resource"));
        };
        let (set, _) = PolicySet::load(folder).map_err(|diagnostics| {
            Failure::configuration(policy::render(&diagnostics, Format::Human))
        })?;
        let principal = Principal {
            issuer: "simulation".to_owned(),
            subject: self.subject,
            teams: self.team,
            tags: Default::default(),
            claims: Map::default(),
        };
        let context = Context::new(OffsetDateTime::now_utc(), true)
            .simulate(self.context)
            .map_err(|error| Failure::configuration(format!("--context: {error}")))?;
        let operations = match self.action.is_empty() {
            true => Operation::ALL.to_vec(),
            false => self.action,
        };
        let simulations: Vec<Simulation> = operations
            .into_iter()
            .map(|operation| {
                let resource = resource.for_operation(operation);
                set.simulate(&principal, operation, resource, &context)
            })
            .collect();
        if self.json {
            println!("{:#}", serde_json::json!(simulations));
        } else {
            simulations.iter().for_each(print);
        }
        Ok(())
    }
}

fn print(simulation: &Simulation) {
    let Simulation { action, decision, matched, missing_context_keys, .. } = simulation;
    let decision = match decision {
        Decision::Allowed => "allowed",
        Decision::ExplicitDeny => "explicitDeny",
        Decision::ImplicitDeny => "implicitDeny",
    };
    let by = matched.as_ref().map(|statement| format!(" by {statement}")).unwrap_or_default();
    println!("{decision:12} {action}{by}");
    if simulation.limited_by_guardrails {
        println!("             a policy allows it, but no guardrail does");
    }
    for near in &simulation.near_misses {
        match &near.missed {
            policy::Missed::Resource => {
                println!("             {} is about other resources", near.statement);
            }
            policy::Missed::Condition { key } => {
                println!("             {}: its condition on {key} does not hold", near.statement);
            }
        }
    }
    if !missing_context_keys.is_empty() {
        let keys: Vec<&str> = missing_context_keys.iter().map(String::as_str).collect();
        println!("             the request has no value for: {}", keys.join(", "));
    }
}

fn team(text: &str) -> Result<String, InvalidTeam> {
    check_team(text).map(|()| text.to_owned())
}

/// Reads an action of Glacier's, with or without its prefix.
fn operation(text: &str) -> Result<Operation, String> {
    let (service, name) = text.split_once(':').unwrap_or(("glacier", text));
    let named = |operation: &Operation| {
        service.eq_ignore_ascii_case("glacier") && operation.name().eq_ignore_ascii_case(name)
    };
    Operation::ALL.into_iter().find(named).ok_or_else(|| {
        let names = Operation::ALL.map(Operation::action).join(", ");
        format!("the gateway performs only {names}")
    })
}

fn context_key(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    let value = Value::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((key.to_owned(), value))
}

fn jsonl() -> io::Result<()> {
    let mut output = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().split(b'\n') {
        writeln!(output, "{}", policy::simulate_line(&line?))?;
    }
    output.flush()
}
