//! `key`: make gateway keys and look into their IDs.

use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::json;
use time::format_description::well_known::Rfc3339;

use super::{
    config_file::{ConfigFile, settings},
    failure::Failure,
};
use crate::authn::{AccessKey, GatewayKeys};

/// What can be done with gateway keys.
#[derive(clap::Subcommand)]
pub(super) enum Chore {
    /// Make a key for a team. The secret is printed now and never again.
    ///
    /// Prints lines for ~/.aws/credentials.
    Create(Create),
    /// Print what a key's ID carries, as JSON. The ID is not verified.
    Inspect {
        /// The access key ID.
        id: AccessKey,
    },
}

/// What a new key is to be.
#[derive(clap::Args)]
pub(super) struct Create {
    #[command(flatten)]
    file: ConfigFile,
    /// The team that the key acts for.
    #[arg(long)]
    team: String,
    /// Who or what uses the key; policies and the log see it. Left out, it is named
    /// after the key.
    #[arg(long)]
    subject: Option<String>,
    /// How long the key is valid, from one second to 366 days.
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = humantime::parse_duration)]
    expires: Duration,
    /// Print JSON in the form that an AWS `credential_process` prints.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(chore: Chore) -> Result<(), Failure> {
    match chore {
        Chore::Create(wanted) => create(&wanted),
        Chore::Inspect { id } => {
            println!("{}", serde_json::to_string_pretty(&id).map_err(Failure::other)?);
            Ok(())
        }
    }
}

fn create(wanted: &Create) -> Result<(), Failure> {
    let settings = settings(wanted.file.config.as_deref())?;
    let keys = GatewayKeys::load(&settings.keys)
        .map_err(|error| Failure::configuration(error.to_string()))?;
    let (id, secret) = keys
        .create(&wanted.team, wanted.subject.as_deref(), wanted.expires)
        .map_err(|error| Failure::configuration(error.to_string()))?;
    let key: AccessKey = id.parse().map_err(Failure::other)?;
    let expires = key.expires.format(&Rfc3339).map_err(Failure::other)?;
    if wanted.json {
        let credentials = json!({
            "Version": 1,
            "AccessKeyId": id,
            "SecretAccessKey": secret.expose_secret(),
            "Expiration": expires,
        });
        println!("{credentials}");
    } else {
        let AccessKey { team, subject, .. } = key;
        println!("# A gateway key of team {team} for {subject}, valid until {expires}.");
        println!("aws_access_key_id = {id}");
        println!("aws_secret_access_key = {}", secret.expose_secret());
    }
    Ok(())
}
