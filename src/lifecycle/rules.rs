//! The rules in force: those of the settings and of a folder, which is followed.

use std::{
    collections::{BTreeMap, btree_map},
    fmt,
    sync::Arc,
};

use super::{
    model::{self, Mode},
    review::{Served, warnings},
    rows::Known,
};
use crate::{
    config::{LifecycleRule, Mistake, RULE_FILES, Settings},
    files,
    gateway::Gateway,
    reload::{Contents, Paths, Reloaded, Unreadable},
};

/// Rules that cannot be used: every mistake in them.
#[derive(Debug, thiserror::Error)]
pub struct UnusableRules(Vec<String>);

impl fmt::Display for UnusableRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the lifecycle rules cannot be used ({}):", RULE_FILES.directory)?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl From<Unreadable> for UnusableRules {
    fn from(error: Unreadable) -> Self {
        Self(vec![error.to_string()])
    }
}

impl From<Vec<Mistake>> for UnusableRules {
    fn from(mistakes: Vec<Mistake>) -> Self {
        Self(mistakes.iter().map(ToString::to_string).collect())
    }
}

/// All rules, replaced as a whole when their folder changes.
pub(super) struct Rules(BTreeMap<String, Rule>);

/// A rule in force.
#[derive(Clone)]
pub(super) struct Rule {
    pub(super) settings: LifecycleRule,
    /// The SHA-256 of what it says.
    pub(super) digest: String,
    /// What its operators should know of it.
    pub(super) warnings: Vec<String>,
}

impl Rule {
    /// Whether the next run aborts: a rule that is new or was changed reports first.
    pub(super) fn next_mode(&self, known: Option<&Known>) -> Mode {
        let reported =
            known.is_some_and(|known| known.digest == self.digest && known.reported == 1);
        match Mode::from(self.settings.mode) {
            Mode::Abort if reported => Mode::Abort,
            _ => Mode::Report,
        }
    }
}

impl Rules {
    /// Reads the folder of rules, if the settings name one.
    ///
    /// # Errors
    /// Every mistake in the rules.
    pub(super) fn follow(
        gateway: Arc<Gateway>,
    ) -> Result<Reloaded<Self, UnusableRules>, UnusableRules> {
        let directory = gateway.settings.lifecycle.directory.clone();
        let paths = directory.map_or(Paths::Files(Vec::new()), Paths::Folder);
        Reloaded::read(RULE_FILES.directory, paths, move |contents: &Contents| {
            let rules = with_files(&gateway.settings, contents)?.lifecycle.rules;
            let served = Served::now(&gateway.settings, &gateway.upstream.accounts());
            let rules = Self::new(rules, &served);
            for (id, warning) in rules.warnings() {
                tracing::warn!(rule = id, "look at this lifecycle rule: {warning}");
            }
            Ok(rules)
        })
    }

    fn new(rules: BTreeMap<String, LifecycleRule>, served: &Served) -> Self {
        let rule = |(id, settings): (&String, &LifecycleRule)| {
            let warnings = warnings(id, &rules, served);
            let said = serde_json::to_vec(&model::said(id, settings, settings.mode.into()));
            let digest = files::sha256(&[said.unwrap_or_default()]);
            (id.clone(), Rule { settings: settings.clone(), digest, warnings })
        };
        Self(rules.iter().map(rule).collect())
    }

    /// The rule of an ID.
    pub(super) fn get(&self, id: &str) -> Option<&Rule> {
        self.0.get(id)
    }

    /// All of them, by their IDs.
    pub(super) fn iter(&self) -> btree_map::Iter<'_, String, Rule> {
        self.0.iter()
    }

    fn warnings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|(id, rule)| rule.warnings.iter().map(|told| (&**id, &**told)))
    }
}

/// Whether the rules can be used now; gives what their operators should know of them.
/// `settings` have all accounts.
///
/// # Errors
/// Every mistake in the rules.
pub fn check(settings: &Settings) -> Result<Vec<String>, UnusableRules> {
    let directory = settings.lifecycle.directory.clone();
    let paths = directory.map_or(Paths::Files(Vec::new()), Paths::Folder);
    let read = {
        let settings = settings.clone();
        Reloaded::read(RULE_FILES.directory, paths, move |contents: &Contents| {
            Ok::<_, UnusableRules>(with_files(&settings, contents)?.lifecycle.rules)
        })?
    };
    let rules = Rules::new(BTreeMap::clone(&read.current()), &Served::by(settings));
    Ok(rules.warnings().map(|(id, told)| format!("lifecycle.rules.{id}: {told}")).collect())
}

fn with_files(settings: &Settings, contents: &Contents) -> Result<Settings, UnusableRules> {
    let files = contents.iter().map(|(path, text)| (path.as_path(), text.as_slice()));
    Ok(settings.with_files(RULE_FILES, files)?)
}
