//! `store`: what operators do with the store.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{
    Failure,
    config_file::{self, ConfigFile},
};
use crate::{
    audit::retention,
    config::{self, Settings},
    store::{Pool, StoreError, chores},
};

#[derive(Subcommand)]
pub(super) enum Chore {
    /// Tell which store there is, how it is, and every problem that it has.
    Check(ConfigFile),
    /// Create the schema, or bring it up to date, as a gateway does when it starts.
    Migrate(Migrate),
    /// Write a copy of an SQLite store to a new file. The gateway may be running.
    Backup(Backup),
    /// Drop the trail's records of months that ended longer ago than audit.keep. Their
    /// final checkpoints stay.
    ///
    /// On PostgreSQL, run it under the role that owns the tables.
    Retain(Retain),
}

#[derive(Args)]
pub(super) struct Retain {
    #[command(flatten)]
    file: ConfigFile,
    /// Drop records of SQLite also if more than two months lie between the beginnings of two
    /// logs. Say so if the gateway did not run for that long, and not if its clock was wrong.
    #[arg(long)]
    despite_gap: bool,
}

#[derive(Args)]
pub(super) struct Migrate {
    #[command(flatten)]
    file: ConfigFile,
    /// Grant this PostgreSQL role what a gateway needs to serve. It can neither change nor
    /// delete the trail's entries.
    #[arg(long, value_name = "ROLE")]
    grant_to: Option<String>,
}

#[derive(Args)]
pub(super) struct Backup {
    #[command(flatten)]
    file: ConfigFile,
    /// The file to write. It must not exist.
    #[arg(value_name = "FILE")]
    to: PathBuf,
}

pub(super) fn run(chore: Chore) -> Result<(), Failure> {
    match chore {
        Chore::Check(file) => check(&settings(&file)?),
        Chore::Migrate(Migrate { file, grant_to }) => {
            wait(chores::migrate(&settings(&file)?, grant_to.as_deref()))?;
            println!("The schema is up to date.");
            Ok(())
        }
        Chore::Backup(Backup { file, to }) => {
            chores::backup(&settings(&file)?, &to).map_err(Failure::other)?;
            println!("The copy is {}.", Path::display(&to));
            Ok(())
        }
        Chore::Retain(Retain { file, despite_gap }) => {
            retain(&config_file::settings(file.config.as_deref())?, despite_gap)
        }
    }
}

fn check(settings: &config::Store) -> Result<(), Failure> {
    let examined = wait(chores::check(settings))?;
    for (name, value) in &examined.facts {
        println!("{name}: {value}");
    }
    for warning in &examined.warnings {
        println!("warning: {warning}");
    }
    match &examined.problems[..] {
        [] => Ok(()),
        problems => Err(Failure::other(problems.join("\n"))),
    }
}

fn retain(settings: &Settings, despite_gap: bool) -> Result<(), Failure> {
    let dropped = wait(async {
        match Pool::beside(&settings.store).await? {
            Some(pool) => retention::retain(&pool, settings.audit.keep, despite_gap).await,
            None => Ok(Vec::new()),
        }
    })?;
    for (origin, records) in &dropped {
        println!("{origin}: dropped {records} records");
    }
    if dropped.is_empty() {
        println!("No month ended longer ago than audit.keep.");
    }
    Ok(())
}

fn settings(file: &ConfigFile) -> Result<config::Store, Failure> {
    Ok(config_file::settings(file.config.as_deref())?.store)
}

fn wait<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, Failure> {
    actix_web::rt::System::new().block_on(work).map_err(Failure::other)
}
