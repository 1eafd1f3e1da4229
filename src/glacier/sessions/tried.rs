//! How it went with each role: whether it can be used, and how many sessions it gave.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use super::assume::DURATION;
use crate::config::RoleArn;

/// Of how many identities that failed is known at once of a role.
const MOST_FAILING: usize = 100;

/// How it went with a role since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleStatus {
    /// STS's own code, or what became of the request, if the role could not be assumed the
    /// last time for some identity, and that was within the last hour.
    pub trouble: Option<String>,
    /// Sessions for identities that had none, or whose last one had expired.
    pub new: u64,
    /// Sessions that took the place of one that is still good.
    pub refreshed: u64,
    /// Sessions that were not to be had.
    pub failed: u64,
}

/// What became of one attempt to assume a role.
pub(super) enum Outcome {
    New,
    Refreshed,
    /// With what STS said.
    Failed(String),
}

/// A role that somebody has tried to assume.
#[derive(Default)]
struct Role {
    counts: RoleStatus,
    /// The identities for which it could not be assumed the last time: when that was, and
    /// what STS said.
    failing: HashMap<String, (Instant, String)>,
}

/// All roles that somebody has tried to assume.
#[derive(Default)]
pub(super) struct Tried(Mutex<HashMap<RoleArn, Role>>);

impl Tried {
    /// Notes what became of an attempt to assume `role` for the identity of this name.
    pub(super) fn note(&self, role: &RoleArn, name: &str, outcome: Outcome) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Role { counts, failing } = all.entry(role.clone()).or_default();
        failing.remove(name);
        match outcome {
            Outcome::New => counts.new += 1,
            Outcome::Refreshed => counts.refreshed += 1,
            Outcome::Failed(said) => {
                counts.failed += 1;
                failing.retain(|_, (when, _)| when.elapsed() < DURATION);
                // If that many fail, it does not matter which of them are known.
                if failing.len() < MOST_FAILING {
                    failing.insert(name.to_owned(), (Instant::now(), said));
                }
            }
        }
    }

    /// How it went with `role`, of which the latest trouble is told.
    pub(super) fn status(&self, role: &RoleArn) -> Option<RoleStatus> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Role { counts, failing } = all.get(role)?;
        let recent = failing.values().filter(|(when, _)| when.elapsed() < DURATION);
        let trouble = recent.max_by_key(|(when, _)| *when).map(|(_, said)| said.clone());
        Some(RoleStatus { trouble, ..counts.clone() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_in_trouble_until_no_identity_fails_whoever_was_the_last() {
        let role = RoleArn::try_from("arn:aws:iam::444455556666:role/a".to_owned()).unwrap();
        let tried = Tried::default();
        let trouble = || tried.status(&role).unwrap().trouble;
        tried.note(&role, "films", Outcome::New);
        assert_eq!(trouble(), None);
        tried.note(&role, "songs", Outcome::Failed("AccessDenied".to_owned()));
        tried.note(&role, "films", Outcome::Refreshed);
        assert_eq!(trouble().as_deref(), Some("AccessDenied"));
        tried.note(&role, "songs", Outcome::New);
        assert_eq!(trouble(), None);
        for n in 0..2 * MOST_FAILING {
            tried.note(&role, &n.to_string(), Outcome::Failed("Throttling".to_owned()));
        }
        assert_eq!(tried.0.lock().unwrap()[&role].failing.len(), MOST_FAILING);
        assert_eq!(tried.status(&role).unwrap().failed, 2 * MOST_FAILING as u64 + 1);
    }
}
