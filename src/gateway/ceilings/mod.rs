//! How many calls of Glacier are under way in an account and region: as many as it takes,
//! and no more than a setting says. Who finds no room waits, if it is likely to find some in
//! time; teams take turns. If calls only fail, none is made for a while ([`breaker`]). If all
//! hang, one is made without room now and then; if it is answered, those that hang take no room
//! any more.
//!
//! Whoever finds room takes a mutex twice and allocates nothing.

mod breaker;
mod ceiling;
mod concurrency;
mod flow;
mod queue;
mod state;

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;

use self::ceiling::Ceiling;
pub use self::{
    breaker::OpenSince,
    ceiling::{Caller, CeilingStatus, Slot, Took},
    concurrency::Concurrency,
    queue::Held,
};
use crate::{
    config::UpstreamLimits,
    domain::{AccountId, Region},
};

/// The ceilings of all accounts and regions that were called.
pub struct Ceilings {
    settings: Arc<UpstreamLimits>,
    known: ArcSwap<HashMap<AccountId, Vec<Arc<Ceiling>>>>,
}

impl Ceilings {
    /// None yet.
    pub fn new(settings: &UpstreamLimits) -> Self {
        Self { settings: Arc::new(settings.clone()), known: ArcSwap::default() }
    }

    /// The ceiling of an account and region.
    pub fn of(&self, account: &AccountId, region: &Region) -> Arc<Ceiling> {
        let find = |known: &HashMap<AccountId, Vec<Arc<Ceiling>>>| {
            known.get(account)?.iter().find(|ceiling| ceiling.region == *region).cloned()
        };
        if let Some(found) = find(&self.known.load()) {
            return found;
        }
        let made = Arc::new(Ceiling::new(account.clone(), region.clone(), self.settings.clone()));
        self.known.rcu(|known| {
            let mut known = HashMap::clone(known);
            if find(&known).is_none() {
                known.entry(account.clone()).or_default().push(made.clone());
            }
            known
        });
        find(&self.known.load()).unwrap_or(made)
    }

    /// How it stands with each.
    pub fn statuses(&self) -> Vec<CeilingStatus> {
        self.known.load().values().flatten().map(|ceiling| ceiling.status()).collect()
    }
}
