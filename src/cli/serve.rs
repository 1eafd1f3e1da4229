//! `serve` and `check-config`.

use std::path::Path;

use super::Failure;
use crate::{
    app::{self, StartError},
    authn::{Authenticator, GatewayKeys},
    config::{Mistake, Settings},
    policy::PolicySet,
    telemetry, tls,
};

/// Runs the gateway until it is told to stop.
pub(super) fn serve(file: Option<&Path>) -> Result<(), Failure> {
    let settings = settings(file)?;
    telemetry::init(&settings.log);
    actix_web::rt::System::new().block_on(async {
        app::start(settings, None).await?.until_signalled().await?;
        Ok(())
    })
}

/// Reports every mistake of the configuration and of the policies.
pub(super) fn check(file: Option<&Path>) -> Result<(), Failure> {
    let settings = settings(file)?;
    GatewayKeys::load(&settings.keys).map_err(|error| Failure::configuration(error.to_string()))?;
    actix_web::rt::System::new().block_on(check_files(&settings))?;
    match PolicySet::load(&settings.policy.directory) {
        Ok((_, warnings)) => {
            for warning in warnings {
                eprintln!("{warning}");
            }
            println!("The configuration and the policies are good.");
            Ok(())
        }
        Err(errors) => Err(Failure::configuration(
            errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        )),
    }
}

/// Checks the files that are read again while the gateway runs.
async fn check_files(settings: &Settings) -> Result<(), Failure> {
    Authenticator::check(settings).map_err(StartError::from)?;
    if let Some(tls) = &settings.server.tls {
        tls::server_config(tls).await.map_err(StartError::from)?;
    }
    Ok(())
}

/// Reads the configuration.
pub(super) fn settings(file: Option<&Path>) -> Result<Settings, Failure> {
    Settings::load(file).map_err(|mistakes| unusable(&mistakes))
}

/// Reports `mistakes`, one a line.
fn unusable(mistakes: &[Mistake]) -> Failure {
    let mut message = "The configuration cannot be used:".to_owned();
    for mistake in mistakes {
        message.push_str(&format!("\n  {mistake}"));
    }
    Failure::configuration(message)
}
