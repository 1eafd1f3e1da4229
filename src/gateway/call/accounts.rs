//! Listing the accounts that the gateway serves.

use std::collections::BTreeMap;

use super::{super::refusal::Refusal, Call};
use crate::{
    domain::{AccountId, GatewayAction::ListAccounts, Region},
    policy::{Context, Reach},
};

/// An account that the caller may see.
#[derive(Debug)]
pub struct SeenAccount {
    /// The account.
    pub id: AccountId,
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its regions that the gateway serves.
    pub regions: Vec<Region>,
}

impl Call {
    /// The accounts that the caller may see, by their numbers.
    ///
    /// # Errors
    /// It may see none, whatever the accounts are.
    pub fn list_accounts(&self) -> Result<Vec<SeenAccount>, Refusal> {
        let accounts = &self.accounts;
        let about = |id: &AccountId| self.context.clone().about(id.clone());
        let may_see = |id: &AccountId, context: &Context| {
            let reach = Reach::Team(id.as_str());
            self.policies.decide_own(&self.principal, ListAccounts, reach, context).is_ok()
        };
        let mut seen = Vec::new();
        for account in accounts.iter().filter(|account| may_see(&account.id, &about(&account.id))) {
            let facts = accounts.directory().get(&account.id).cloned().unwrap_or_default();
            seen.push(SeenAccount {
                id: account.id.clone(),
                name: facts.name,
                tags: facts.tags,
                regions: account.regions().cloned().collect(),
            });
        }
        seen.sort_by(|one, other| one.id.cmp(&other.id));
        // What is decided is on record of one of them.
        match seen.first() {
            Some(SeenAccount { id, .. }) => {
                self.may_in(ListAccounts, Reach::Team(id.as_str()), &about(id))?;
            }
            None => self.may(ListAccounts, Reach::Any)?,
        }
        self.recorder.edit().result = Some("ok");
        Ok(seen)
    }
}
