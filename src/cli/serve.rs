//! `serve` and `check-config`.

use std::path::Path;

use super::{
    config_file::{settings, unusable},
    failure::Failure,
    last_words::logged,
};
use crate::{
    app::{self, StartError},
    audit::log::CheckpointKeys,
    authn::{Authenticator, GatewayKeys},
    config::Settings,
    glacier::Accounts,
    policy::LivePolicies,
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

/// Reports every mistake of the configuration, of the files that it names, and of the
/// policies.
pub(super) fn check(file: Option<&Path>) -> Result<(), Failure> {
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
    if let Some(settings) = examined.sound("accounts").and(examined.sound("aws")) {
        files(Accounts::check(settings).map_err(Into::into));
    }
    if let Some(settings) = examined.sound("policy.directory") {
        match LivePolicies::open(&settings.policy.directory) {
            Ok((_, warnings)) => warnings.iter().for_each(|warning| eprintln!("{warning}")),
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
