//! What a simulator is started with.

use std::{net::SocketAddr, time::Duration};

use secrecy::SecretString;

use super::faults::Fault;
use crate::domain::AccountId;

/// Everything a simulator is started with.
pub struct Config {
    /// Where Glacier's API is served; port 0 takes a free one.
    pub bind: SocketAddr,
    /// Where the control endpoint is served; port 0 takes a free one.
    pub control_bind: SocketAddr,
    /// The credentials it accepts; an account may have several.
    pub accounts: Vec<Account>,
    /// The roles that may be assumed.
    pub roles: Vec<Role>,
    /// Glacier's behaviour where it has a choice.
    pub rules: Rules,
    /// The faults in force from the start and after a reset.
    pub faults: Vec<Fault>,
    /// How far the simulator's clock is ahead of the real one, in its `Date`
    /// headers and when it judges a signature's age.
    pub clock_skew: time::Duration,
}

/// An AWS account as one of its credentials shows it.
#[derive(Clone)]
pub struct Account {
    /// The account that requests with these credentials act for.
    pub account_id: AccountId,
    /// The access key ID, which tells whose request it is.
    pub access_key_id: String,
    /// The secret that requests are signed with.
    pub secret_access_key: SecretString,
    /// For temporary credentials, the session token that requests must carry.
    pub session_token: Option<SecretString>,
}

/// A role of an account, which all callers may assume.
#[derive(Clone)]
pub struct Role {
    /// The role's ARN.
    pub arn: String,
    /// The account that it belongs to.
    pub account_id: AccountId,
    /// The external ID that its trust policy asks for.
    pub external_id: Option<String>,
}

impl Role {
    /// The role of an ARN; `None` if it is no role's.
    pub fn new(arn: &str, external_id: Option<&str>) -> Option<Self> {
        let [_, _, "iam", "", account, _] = arn.split(':').collect::<Vec<_>>()[..] else {
            return None;
        };
        let external_id = external_id.map(str::to_owned);
        Some(Self { arn: arn.to_owned(), account_id: account.parse().ok()?, external_id })
    }
}

/// What Glacier's documentation leaves open.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How long after an abort a repeated abort still succeeds, and after a
    /// completion a repeated completion. 404 follows.
    pub abort_grace: Duration,
    /// After how long without a new part an upload vanishes. Glacier may remove an
    /// upload after 24 hours, and often does not: `None` keeps them all.
    pub idle_expiry: Option<Duration>,
    /// The reply to aborting a completed upload.
    pub abort_completed: AbortCompleted,
}

/// The reply to aborting an upload that is completed. It cannot be aborted, but
/// how Glacier says so is not documented.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum AbortCompleted {
    /// 404 `ResourceNotFoundException`, as for an unknown upload.
    NotFound,
    /// 400 `InvalidParameterValueException`.
    Invalid,
}

impl Default for Rules {
    /// A grace of five minutes, no expiry, and 404 for a completed upload.
    fn default() -> Self {
        Self {
            abort_grace: Duration::from_secs(300),
            idle_expiry: None,
            abort_completed: AbortCompleted::NotFound,
        }
    }
}
