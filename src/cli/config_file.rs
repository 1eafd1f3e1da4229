//! The configuration that a command line names.

use std::path::{Path, PathBuf};

use super::failure::Failure;
use crate::config::{Mistake, Settings};

/// Where the configuration is.
#[derive(clap::Args)]
pub(super) struct ConfigFile {
    /// The TOML file; GATEWAY__SECTION__KEY variables override it.
    #[arg(long, value_name = "FILE", env = "GATEWAY_CONFIG")]
    pub(super) config: Option<PathBuf>,
}

/// Reads the configuration.
pub(super) fn settings(file: Option<&Path>) -> Result<Settings, Failure> {
    Settings::load(file).map_err(|mistakes| Failure::configuration(unusable(&mistakes)))
}

/// Reports `mistakes`, one a line.
pub(super) fn unusable(mistakes: &[Mistake]) -> String {
    let mut message = "The configuration cannot be used:".to_owned();
    for mistake in mistakes {
        message.push_str(&format!("\n  {mistake}"));
    }
    message
}
