//! How it went with each role: whether it can be used, and how many sessions it gave.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::config::RoleArn;

/// How it went with a role since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleStatus {
    /// STS's own code, or what became of the request, if the role could not be assumed the
    /// last time.
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

/// All roles that somebody has tried to assume.
#[derive(Default)]
pub(super) struct Tried(Mutex<HashMap<RoleArn, RoleStatus>>);

impl Tried {
    pub(super) fn note(&self, role: &RoleArn, outcome: Outcome) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let status = all.entry(role.clone()).or_default();
        status.trouble = None;
        match outcome {
            Outcome::New => status.new += 1,
            Outcome::Refreshed => status.refreshed += 1,
            Outcome::Failed(said) => {
                status.failed += 1;
                status.trouble = Some(said);
            }
        }
    }

    pub(super) fn status(&self, role: &RoleArn) -> Option<RoleStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(role).cloned()
    }
}
