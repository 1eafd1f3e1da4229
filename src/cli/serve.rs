//! `serve` and `check-config`.

use std::path::Path;

use super::{
    config_file::{ConfigFile, settings, unusable},
    failure::Failure,
    last_words::logged,
};
use crate::{
    app::{self, StartError},
    audit::log::CheckpointKeys,
    authn::{Authenticator, GatewayKeys},
    config::Settings,
    glacier::{Accounts, Probe, ROLE_CAUSES, Upstream},
    lifecycle,
    policy::LivePolicies,
    telemetry::traces,
    tls,
};

/// Runs the gateway until it is told to stop.
pub(super) fn serve(file: Option<&Path>) -> Result<(), Failure> {
    let settings = settings(file)?;
    let (log, limit) = (settings.log.clone(), settings.server.shutdown_timeout);
    logged(&log, async {
        let signalled = app::start(settings, None).await?.until_signalled().await?;
        Ok(limit.saturating_sub(signalled.elapsed()))
    })
}

/// What is checked.
#[derive(clap::Args)]
pub(super) struct Check {
    #[command(flatten)]
    file: ConfigFile,
    /// Assume the role of each account once, as ".check-config", and report which roles
    /// work. Takes the AWS credentials of the environment that it runs in.
    ///
    /// An account without a role is reached with the gateway's own credentials; there is
    /// nothing to assume, and it is not asked. If a role does not work, the exit code is 1.
    #[arg(long)]
    probe: bool,
}

/// Reports every mistake of the configuration, of the files that it names, and of the
/// policies; then, if wanted, which roles can be assumed.
pub(super) fn check(wanted: &Check) -> Result<(), Failure> {
    let file = wanted.file.config.as_deref();
    check_files(file)?;
    if !wanted.probe {
        return Ok(());
    }
    let settings = settings(file)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::other)?.block_on(probe(&settings))
}

async fn probe(settings: &Settings) -> Result<(), Failure> {
    let upstream = Upstream::open(settings, None).await.map_err(StartError::from)?;
    let (mut works, mut fails) = (0, 0);
    let tell = |Probe { name, id, role }: Probe| {
        let told = match role {
            None => "no role; the gateway's own credentials are used".to_owned(),
            Some(Ok(())) => {
                works += 1;
                "the role can be assumed".to_owned()
            }
            Some(Err(cause)) => {
                fails += 1;
                format!("the role cannot be assumed: {cause}")
            }
        };
        println!("{name} ({id}): {told}");
    };
    upstream.probe(tell).await;
    let roles = works + fails;
    match fails {
        0 => {
            println!("Roles that can be assumed: {works} of {roles}.");
            Ok(())
        }
        _ => {
            let told = format!("Roles that cannot be assumed: {fails} of {roles}. {ROLE_CAUSES}");
            Err(Failure::other(told))
        }
    }
}

fn check_files(file: Option<&Path>) -> Result<(), Failure> {
    let examined = Settings::examine(file);
    let mut wrong = Vec::new();
    let mut files = |result: Result<(), StartError>| wrong.extend(result.err());
    if let Some(settings) = examined.sound("keys") {
        files(GatewayKeys::load(&settings.keys).map(drop).map_err(Into::into));
    }
    if let Some(settings) = examined.sound("tokens.revocation_file") {
        files(Authenticator::check(settings).map_err(Into::into));
    }
    if let Some(tls) = examined.sound("server.tls").and_then(|s| s.server.tls.as_ref()) {
        files(tls::check(tls).map_err(Into::into));
    }
    if let Some(settings) = examined.sound("telemetry") {
        files(traces::check(&settings.telemetry).map_err(Into::into));
    }
    let mut accounts = None;
    if let Some(settings) = examined.sound("accounts").and(examined.sound("aws")) {
        match Accounts::check(settings) {
            Err(unusable) => files(Err(unusable.into())),
            Ok((settings, known)) => {
                accounts = Some(known);
                if examined.sound("lifecycle").is_some() {
                    match lifecycle::check(&settings) {
                        Ok(warnings) => {
                            warnings.iter().for_each(|told| eprintln!("warning: {told}"));
                        }
                        Err(unusable) => files(Err(unusable.into())),
                    }
                }
            }
        }
    }
    if let Some(settings) = examined.sound("policy.directory") {
        match LivePolicies::open(&settings.policy.directory) {
            Ok((policies, mut warnings)) => {
                let policies = policies.current();
                warnings.extend(accounts.iter().flat_map(|known| policies.unknown_accounts(known)));
                warnings.iter().for_each(|warning| eprintln!("{warning}"));
            }
            Err(diagnostics) => files(Err(StartError::Policies(diagnostics))),
        }
    }
    let mut told: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    if let Some(settings) = examined.sound("audit") {
        let unusable = CheckpointKeys::load(&settings.audit.key_files).err();
        told.extend(unusable.map(|error| error.to_string()));
    }
    if !examined.mistakes.is_empty() {
        told.insert(0, unusable(&examined.mistakes));
    }
    if told.is_empty() {
        println!("The configuration and the policies are good.");
        Ok(())
    } else {
        Err(Failure::configuration(told.join("\n")))
    }
}
