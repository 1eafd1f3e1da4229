//! `glacier-gateway simulator`.

use std::{fs, io, net::SocketAddr, path::PathBuf};

use clap::Args;
use serde_json::json;

use crate::signals::Signals;

use super::{AbortCompleted, Account, Config, Fault, Role, Rules, SeedVault, Simulator};

/// Run the Glacier simulator alone, until interrupted.
///
/// Prints one line of JSON on standard output once it listens: `endpoint`,
/// `control` and `credentials`.
#[derive(Args)]
pub struct SimulatorArgs {
    /// Port of Glacier's API on the loopback address; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Port of the control endpoint; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    control_port: u16,
    /// Credentials to accept, as ACCOUNT:ACCESS_KEY_ID:SECRET[:SESSION_TOKEN]. May
    /// be repeated.
    #[arg(
        long = "credentials",
        value_name = "CREDENTIALS",
        value_parser = parse_account,
        default_value = "111122223333:AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    )]
    accounts: Vec<Account>,
    /// A role that may be assumed, as ARN or ARN#EXTERNAL_ID. May be repeated.
    #[arg(long = "role", value_name = "ROLE", value_parser = parse_role)]
    roles: Vec<Role>,
    /// A JSON file with an array of vaults to begin with, each as the control
    /// endpoint's POST /vaults takes it.
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
    /// A fault in force from the start, as the control endpoint's POST /faults
    /// takes it, e.g. '{"effect": "throttle", "rate": 0.1}'. May be repeated.
    #[arg(long = "fault", value_name = "JSON", value_parser = parse_fault)]
    faults: Vec<Fault>,
    /// How long a repeated abort still succeeds.
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    abort_grace: humantime::Duration,
    /// After how long without a new part an upload vanishes; never if absent.
    #[arg(long, value_name = "DURATION")]
    idle_expiry: Option<humantime::Duration>,
    /// The reply to aborting a completed upload.
    #[arg(long, value_enum, default_value_t = AbortCompleted::NotFound)]
    abort_completed: AbortCompleted,
    /// How many seconds the simulator's clock is ahead.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, allow_negative_numbers = true)]
    clock_skew: i32,
}

impl SimulatorArgs {
    /// Runs the simulator until SIGINT or SIGTERM.
    ///
    /// # Errors
    /// A port that is taken, a seed file that cannot be read or is refused.
    pub async fn run(self) -> io::Result<()> {
        // Whoever knows that the simulator listens may stop it.
        let mut signals = Signals::new()?;
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let running = Simulator::start(Config {
            bind: loopback(self.port),
            control_bind: loopback(self.control_port),
            accounts: self.accounts.clone(),
            roles: self.roles,
            rules: Rules {
                abort_grace: self.abort_grace.into(),
                idle_expiry: self.idle_expiry.map(Into::into),
                abort_completed: self.abort_completed,
            },
            faults: self.faults,
            clock_skew: time::Duration::seconds(self.clock_skew.into()),
        })?;
        if let Some(path) = self.seed {
            let vaults: Vec<SeedVault> = serde_json::from_slice(&fs::read(path)?)?;
            for vault in vaults {
                running.simulator.seed(&vault).map_err(io::Error::other)?;
            }
        }
        let credentials = self.accounts.iter().map(|account| {
            json!({
                "accountId": account.account_id,
                "accessKeyId": account.access_key_id,
            })
        });
        println!(
            "{}",
            json!({
                "endpoint": running.endpoint,
                "control": running.control,
                "credentials": credentials.collect::<serde_json::Value>(),
            })
        );
        signals.next().await;
        running.stop().await;
        Ok(())
    }
}

fn parse_account(text: &str) -> Result<Account, String> {
    let mut fields = text.splitn(4, ':');
    let mut field = |name| {
        fields.next().filter(|field| !field.is_empty()).ok_or(format!("the {name} is missing"))
    };
    Ok(Account {
        account_id: field("account")?.parse().map_err(|error| format!("{error}"))?,
        access_key_id: field("access key ID")?.to_owned(),
        secret_access_key: field("secret")?.into(),
        session_token: fields.next().map(Into::into),
    })
}

fn parse_role(text: &str) -> Result<Role, &'static str> {
    let (arn, external_id) = match text.split_once('#') {
        Some((arn, external_id)) => (arn, Some(external_id)),
        None => (text, None),
    };
    Role::new(arn, external_id).ok_or("this is not the ARN of a role")
}

fn parse_fault(text: &str) -> Result<Fault, serde_json::Error> {
    serde_json::from_str(text)
}
