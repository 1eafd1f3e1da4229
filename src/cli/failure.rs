//! Why a subcommand ended early, and the exit code that says so.

use crate::app::StartError;

/// The exit code of a configuration that cannot be used: `EX_USAGE` of sysexits.
const BAD_CONFIGURATION: u8 = 64;

/// The exit code of a store that is not there: `EX_UNAVAILABLE` of sysexits.
const UNAVAILABLE: u8 = 69;

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
            StartError::Store(store) if store.is_unavailable() => {
                let advice = "start PostgreSQL, or correct store.url; then start the gateway again";
                let message = format!("the store (store.url) is not there: {store}; {advice}");
                Self { message, code: UNAVAILABLE }
            }
            StartError::Policies(_)
            | StartError::GatewayKeys(_)
            | StartError::Accounts(_)
            | StartError::LifecycleRules(_)
            | StartError::Revocations(_)
            | StartError::Store(_)
            | StartError::Tls(_) => Self::configuration(error.to_string()),
            _ => Self::other(error),
        }
    }
}
