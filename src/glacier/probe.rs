//! Whether the accounts' roles can be assumed, asked of STS once for each.

use std::{cmp::Reverse, sync::Arc};

use tokio::task::JoinSet;

use super::{
    Account, Upstream,
    sessions::{Identity, Role, Sessions},
};
use crate::{config::SessionFor, domain::AccountId};

/// Whom a probe is for: AWS's logs show it, and no team can have this name.
const NOBODY: &str = ".check-config";
/// How many roles are assumed at once.
const AT_ONCE: usize = 16;

/// What was found out about an account.
#[derive(Debug)]
pub struct Probe {
    /// The account's name.
    pub name: String,
    /// The account.
    pub id: AccountId,
    /// Whether its role can be assumed, or the whole story of why not; `None` if it has no
    /// role, so that there is nothing to assume.
    pub role: Option<Result<(), String>>,
}

impl Upstream {
    /// Assumes the role of each account once, and tells of each account once it is known.
    pub async fn probe(&self, mut tell: impl FnMut(Probe)) {
        let accounts = self.accounts();
        let mut waiting: Vec<&Account> = accounts.iter().collect();
        waiting.sort_by_key(|account| Reverse(accounts.name(account)));
        let mut under_way = JoinSet::new();
        loop {
            while under_way.len() < AT_ONCE
                && let Some(account) = waiting.pop()
            {
                let (name, id) = (accounts.name(account).to_owned(), account.id.clone());
                let session = accounts.session_for(account, NOBODY);
                let (role, sessions) = (account.role.clone(), self.sessions.clone());
                under_way.spawn(async move {
                    let role = match role {
                        Some(role) => Some(assume(&sessions, &role, session).await),
                        None => None,
                    };
                    Probe { name, id, role }
                });
            }
            match under_way.join_next().await {
                Some(Ok(probe)) => tell(probe),
                // Nothing in it panics, and nobody aborts it.
                Some(Err(_)) => {}
                None => return,
            }
        }
    }
}

async fn assume(sessions: &Sessions, role: &Arc<Role>, session: SessionFor) -> Result<(), String> {
    let identity = match session {
        SessionFor::Team => Identity::Team(NOBODY),
        SessionFor::Subject => Identity::Subject { team: NOBODY, issuer: NOBODY, subject: NOBODY },
    };
    match sessions.get(role, identity).await {
        Ok(_) => Ok(()),
        Err(unusable) => Err(unusable.cause().to_owned()),
    }
}
