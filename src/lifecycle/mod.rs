//! Lifecycle rules: what S3 calls AbortIncompleteMultipartUpload. A rule's run is one ordinary
//! job, which the gateway's own service `lifecycle` asks for in the name of the rule's team.
//!
//! `rules` has the rules in force, `review` tells what is odd about them, `due` says when a
//! run is due, and `runner` begins it, on one replica at a time: by its lease, and since a rule
//! has one row for a time, a time has one job on however many replicas.

mod due;
pub mod model;
mod review;
mod rows;
mod rules;
mod runner;

use std::sync::Arc;

pub use self::rules::{UnusableRules, check};
use self::{
    model::{LifecycleRule, LifecycleRun, Paused},
    rows::Known,
    rules::{Rule, Rules},
};
use crate::{
    gateway::{Gateway, Refusal},
    jobs::{JobError, Jobs, model::Person},
    reload::{Followed, Reloaded},
    store::{Store, StoreError, time},
};

/// How many runs are shown of a rule.
const RUNS: i64 = 20;

/// The rules and what looks after them; one for the process.
pub struct Lifecycle {
    gateway: Arc<Gateway>,
    jobs: Arc<Jobs>,
    rules: Reloaded<Rules, UnusableRules>,
}

/// Why something that was asked of lifecycle rules is not done.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// The core refuses it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store cannot be used now.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such rule.
    #[error("there is no such lifecycle rule")]
    NotFound,
    /// A run of the rule has not ended.
    #[error("a run of the lifecycle rule has not ended")]
    Running,
}

impl LifecycleError {
    /// The stable code, as it stands in problem documents and in records.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Store(_) => "store-unavailable",
            Self::NotFound => "lifecycle-rule-not-found",
            Self::Running => "lifecycle-rule-running",
        }
    }
}

impl Lifecycle {
    /// Reads the rules of the settings and of their folder.
    ///
    /// # Errors
    /// Every mistake in the rules.
    pub fn new(gateway: Arc<Gateway>, jobs: Arc<Jobs>) -> Result<Self, UnusableRules> {
        let rules = Rules::follow(Arc::clone(&gateway))?;
        Ok(Self { gateway, jobs, rules })
    }

    /// Follows the folder of rules, if there is one, until dropped.
    pub async fn keep_rules_fresh(&self, followed: &Followed) {
        if self.gateway.settings.lifecycle.directory.is_some() {
            self.rules.keep_fresh(followed).await;
        }
    }

    /// The IDs of all rules.
    pub fn ids(&self) -> Vec<String> {
        self.rules.current().iter().map(|(id, _)| id.clone()).collect()
    }

    /// Shows rules, each with its newest run. Those that there are not are left out.
    ///
    /// # Errors
    /// When the store does not answer, or there is none.
    pub async fn list(&self, ids: &[String]) -> Result<Vec<LifecycleRule>, LifecycleError> {
        let store = self.store()?;
        let (rules, known) = (self.rules.current(), rows::known(store).await?);
        let mut shown = Vec::new();
        for id in ids {
            let Some(rule) = rules.get(id) else { continue };
            let known = known.iter().find(|known| known.rule == *id);
            shown.push(self.show(store, id, rule, known, 1).await?);
        }
        Ok(shown)
    }

    /// Shows a rule.
    ///
    /// # Errors
    /// No such rule, or a store that does not answer.
    pub async fn get(&self, id: &str) -> Result<LifecycleRule, LifecycleError> {
        let store = self.store()?;
        let rules = self.rules.current();
        let rule = rules.get(id).ok_or(LifecycleError::NotFound)?;
        let known = rows::known(store).await?;
        let known = known.iter().find(|known| known.rule == id);
        self.show(store, id, rule, known, RUNS).await
    }

    /// Begins a run of a rule, which `asked` asks for. It is durable when this returns.
    ///
    /// # Errors
    /// No such rule, a run that has not ended, or a store that does not answer.
    pub async fn run_now(&self, id: &str, asked: Person) -> Result<LifecycleRun, LifecycleError> {
        let store = self.store()?;
        let rule = self.rules.current().get(id).cloned().ok_or(LifecycleError::NotFound)?;
        rows::begin_anew(store, id, &rule.digest).await?;
        let known = rows::known(store).await?;
        let known = known.iter().find(|known| known.rule == id);
        let now = rows::now(store).await?;
        let begun = self.begin(store, id, &rule, known, now, Some(&asked), None).await?;
        let run = begun.ok_or(LifecycleError::Running)?;
        self.see_on(store, &run).await?;
        let runs = self.runs(store, id, 1).await?;
        runs.into_iter().next().ok_or(LifecycleError::NotFound)
    }

    async fn show(
        &self,
        store: &Store,
        id: &str,
        rule: &Rule,
        known: Option<&Known>,
        runs: i64,
    ) -> Result<LifecycleRule, LifecycleError> {
        let now = rows::now(store).await?;
        // What is known of another version of the rule does not count.
        let known = known.filter(|known| known.digest == rule.digest);
        let handled = known.map_or(now, Known::handled);
        let paused = known.and_then(|known| {
            let reason = known.why.clone().unwrap_or_default();
            known.paused.map(|since| Paused { since: time(since), reason })
        });
        let next_run = due::next(id, &rule.settings, handled, now).filter(|_| paused.is_none());
        Ok(LifecycleRule {
            rule_id: id.to_owned(),
            settings: model::said(id, &rule.settings, rule.settings.mode.into()),
            warnings: rule.warnings.clone(),
            next_run,
            next_mode: rule.next_mode(known),
            paused,
            runs: self.runs(store, id, runs).await?,
        })
    }

    async fn runs(
        &self,
        store: &Store,
        id: &str,
        most: i64,
    ) -> Result<Vec<LifecycleRun>, LifecycleError> {
        let mut shown = Vec::new();
        for run in rows::runs(store, id, most).await? {
            let job = match (&run.outcome, &run.job) {
                (None, Some(job)) => match self.jobs.get(job).await {
                    Ok(job) => Some(job),
                    Err(JobError::NotFound) => None,
                    Err(JobError::Store(error)) => return Err(error.into()),
                    Err(JobError::Refused(refusal)) => return Err(refusal.into()),
                    Err(error) => return Err(StoreError::Unusable(error.to_string()).into()),
                },
                _ => None,
            };
            shown.push(run.show(job)?);
        }
        Ok(shown)
    }

    fn store(&self) -> Result<&Store, LifecycleError> {
        self.gateway.trail.store().ok_or(LifecycleError::Refused(Refusal::StoreRequired))
    }
}
