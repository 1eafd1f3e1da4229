//! Why a subcommand ended early, and the exit code that says so.

use crate::app::StartError;

/// The exit code of a configuration that cannot be used: `EX_USAGE` of sysexits.
const BAD_CONFIGURATION: u8 = 64;

/// Why a subcommand ended early.
pub(super) struct Failure {
    pub(super) message: String,
    pub(super) code: u8,
}

impl Failure {
    pub(super) fn configuration(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: BAD_CONFIGURATION }
    }

    pub(super) fn other(error: impl std::fmt::Display) -> Self {
        Self { message: error.to_string(), code: 1 }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Policies(_)
            | StartError::GatewayKeys(_)
            | StartError::Accounts(_)
            | StartError::Revocations(_)
            | StartError::Store(_)
            | StartError::Tls(_) => Self::configuration(error.to_string()),
            _ => Self::other(error),
        }
    }
}
