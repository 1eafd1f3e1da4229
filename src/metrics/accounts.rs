//! The numbers of the accounts' roles.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError, atomic::Ordering},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::glacier::RoleStatus;

/// What becomes of a session that is asked for.
const RESULTS: [&str; 3] = ["new", "refreshed", "failed"];

/// What is counted of the accounts whose roles somebody has tried to assume. Their names
/// come from the configuration.
#[derive(Debug)]
pub(super) struct AccountMetrics {
    usable: Family<Account, Gauge>,
    sessions: Family<Sessions, Counter>,
    /// Those that are told of.
    shown: Mutex<BTreeSet<String>>,
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
        let accounts = Self {
            usable: Family::default(),
            sessions: Family::default(),
            shown: Mutex::default(),
        };
        registry.register(
            "account_usable",
            "0 if the account's role could not be assumed the last time, for some team or subject",
            accounts.usable.clone(),
        );
        registry.register(
            "account_sessions",
            "Sessions of the account's role that were asked for, by result",
            accounts.sessions.clone(),
        );
        accounts
    }

    /// Accounts that are not among these any more are not told of. Whoever reads meanwhile
    /// finds all others.
    pub fn set(&self, accounts: impl Iterator<Item = (String, RoleStatus)>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gone = std::mem::take(&mut *shown);
        for (account, status) in accounts {
            let RoleStatus { trouble, new, refreshed, failed } = status;
            for (result, count) in RESULTS.into_iter().zip([new, refreshed, failed]) {
                let sessions = Sessions { account: account.clone(), result };
                let counter = self.sessions.get_or_create(&sessions);
                counter.inner().store(count, Ordering::Relaxed);
            }
            let label = Account { account: account.clone() };
            self.usable.get_or_create(&label).set(trouble.is_none().into());
            gone.remove(&account);
            shown.insert(account);
        }
        for account in gone {
            for result in RESULTS {
                self.sessions.remove(&Sessions { account: account.clone(), result });
            }
            self.usable.remove(&Account { account });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::thread;

    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn whoever_reads_while_they_are_set_finds_all() {
        let mut registry = Registry::default();
        let metrics = AccountMetrics::new(&mut registry);
        let set = |names: &[&str]| {
            let status = |name: &&str| ((*name).to_owned(), RoleStatus::default());
            metrics.set(names.iter().map(status));
        };
        let read = || {
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            text
        };
        let samples = |text: &str, name: &str| text.matches(&format!("account=\"{name}\"")).count();
        set(&["films", "songs"]);
        thread::scope(|scope| {
            let setting = scope.spawn(|| (0..2_000).for_each(|_| set(&["films", "songs"])));
            while !setting.is_finished() {
                let text = read();
                assert_eq!((samples(&text, "films"), samples(&text, "songs")), (4, 4), "{text}");
            }
        });
        set(&["songs"]);
        assert_eq!((samples(&read(), "films"), samples(&read(), "songs")), (0, 4));
    }
}
