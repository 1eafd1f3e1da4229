//! What the operators say of AWS accounts.

use std::collections::{BTreeMap, HashMap};

use super::AccountId;

/// An account as its operators know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountFacts {
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// What is known of all accounts.
pub type AccountDirectory = HashMap<AccountId, AccountFacts>;
