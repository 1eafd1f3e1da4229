//! The numbers of the accounts' roles.

use std::sync::atomic::Ordering;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::glacier::RoleStatus;

/// What is counted of the accounts whose roles somebody has tried to assume. Their names
/// come from the configuration.
#[derive(Debug)]
pub(super) struct AccountMetrics {
    usable: Family<Account, Gauge>,
    sessions: Family<Sessions, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Account {
    account: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Sessions {
    account: String,
    result: &'static str,
}

impl AccountMetrics {
    pub fn new(registry: &mut Registry) -> Self {
        let accounts = Self { usable: Family::default(), sessions: Family::default() };
        registry.register(
            "account_usable",
            "1 if the account's role could be assumed the last time, 0 if not",
            accounts.usable.clone(),
        );
        registry.register(
            "account_sessions",
            "Sessions of the account's role that were asked for, by result",
            accounts.sessions.clone(),
        );
        accounts
    }

    /// Accounts that are not among these any more are not told of.
    pub fn set(&self, accounts: impl Iterator<Item = (String, RoleStatus)>) {
        self.usable.clear();
        self.sessions.clear();
        for (account, status) in accounts {
            let RoleStatus { trouble, new, refreshed, failed } = status;
            for (result, count) in [("new", new), ("refreshed", refreshed), ("failed", failed)] {
                let sessions = Sessions { account: account.clone(), result };
                let counter = self.sessions.get_or_create(&sessions);
                counter.inner().store(count, Ordering::Relaxed);
            }
            self.usable.get_or_create(&Account { account }).set(trouble.is_none().into());
        }
    }
}
