//! What operators are told of rules that are valid but hardly as they were meant.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    config::{DEFAULT_ACCOUNT, LifecycleRule, RuleMode, Settings},
    glacier::Accounts,
    policy::{contains_wildcards, matches_wildcards},
};

/// The accounts and regions that a gateway serves.
pub(super) struct Served {
    default_account: String,
    default_region: String,
    accounts: Vec<(String, String, BTreeSet<String>)>,
}

/// An account and a region.
type Place<'a> = (&'a str, &'a str);

impl Served {
    /// Those that are in force.
    pub(super) fn now(settings: &Settings, accounts: &Accounts) -> Self {
        let one = |account: &crate::glacier::Account| {
            let regions = account.regions().map(ToString::to_string).collect();
            (account.id.to_string(), accounts.name(account).to_owned(), regions)
        };
        Self::of(settings, accounts.iter().map(one).collect())
    }

    /// Those of settings.
    pub(super) fn by(settings: &Settings) -> Self {
        let aws = &settings.aws;
        let own: BTreeSet<String> =
            aws.regions.iter().chain([&aws.region]).map(ToString::to_string).collect();
        let mut accounts: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
        accounts.insert(aws.account_id.to_string(), (DEFAULT_ACCOUNT.to_owned(), own));
        for (name, account) in &settings.accounts {
            let entry = accounts.entry(account.id.to_string()).or_default();
            entry.0.clone_from(name);
            entry.1.extend(account.regions.iter().map(ToString::to_string));
        }
        let accounts = accounts.into_iter().map(|(id, (name, regions))| (id, name, regions));
        Self::of(settings, accounts.collect())
    }

    fn of(settings: &Settings, accounts: Vec<(String, String, BTreeSet<String>)>) -> Self {
        let aws = &settings.aws;
        let (default_account, default_region) =
            (aws.account_id.to_string(), aws.region.to_string());
        Self { default_account, default_region, accounts }
    }

    fn all(&self) -> BTreeSet<Place<'_>> {
        let places = self.accounts.iter().flat_map(|(id, _, regions)| {
            regions.iter().map(move |region| (id.as_str(), region.as_str()))
        });
        places.collect()
    }

    /// Those of a rule.
    fn places(&self, rule: &LifecycleRule) -> BTreeSet<Place<'_>> {
        let is_meant = |pattern: &String, id: &str, name: &str| match pattern.as_str() {
            "-" => id == self.default_account,
            pattern => pattern == id || matches_wildcards(pattern, name),
        };
        let mut places = BTreeSet::new();
        for (id, name, regions) in &self.accounts {
            if !rule.accounts.iter().any(|pattern| is_meant(pattern, id, name)) {
                continue;
            }
            let wanted = |region: &&String| match &rule.regions[..] {
                [] => **region == self.default_region,
                patterns => patterns.iter().any(|pattern| matches_wildcards(pattern, region)),
            };
            places.extend(regions.iter().filter(wanted).map(|region| (&**id, &**region)));
        }
        places
    }
}

/// What is odd about the rule `id` among all rules.
pub(super) fn warnings(
    id: &str,
    rules: &BTreeMap<String, LifecycleRule>,
    served: &Served,
) -> Vec<String> {
    let Some(rule) = rules.get(id) else { return Vec::new() };
    let places = served.places(rule);
    if places.is_empty() {
        let nothing =
            "it matches nothing: no account and region that this gateway serves is among its own";
        return vec![nothing.to_owned()];
    }
    let mut warnings = Vec::new();
    let any_vault = rule.vaults.iter().any(|vault| contains_wildcards(vault, "*"));
    if any_vault && rule.description_matches.is_none() && places == served.all() {
        let everything =
            "it matches every vault of every account and region that this gateway serves";
        warnings.push(everything.to_owned());
    }
    let covering = rules.iter().find(|(other_id, other)| {
        let covers = |a: &LifecycleRule, b: &LifecycleRule| {
            served.places(b).is_subset(&served.places(a)) && covers(a, b)
        };
        // Of two that are alike the first is told nothing.
        *other_id != id && covers(other, rule) && (!covers(rule, other) || other_id.as_str() < id)
    });
    if let Some((other, _)) = covering {
        warnings.push(format!("it finds nothing that the rule {other} does not find"));
    }
    warnings
}

/// Whether `a` does in a vault and more than `b` does, wherever both are.
fn covers(a: &LifecycleRule, b: &LifecycleRule) -> bool {
    let contained = |pattern: &String| a.vaults.iter().any(|own| contains_wildcards(own, pattern));
    let described = match (&a.description_matches, &b.description_matches) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(own), Some(other)) => contains_wildcards(own, other),
    };
    b.vaults.iter().all(contained)
        && described
        && a.days_after_initiation <= b.days_after_initiation
        && (a.quiet_for == b.quiet_for || a.quiet_for.is_some_and(|own| Some(own) <= b.quiet_for))
        && (a.mode == RuleMode::Abort || b.mode == RuleMode::Report)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn told(rules: &[(&str, &str)]) -> BTreeMap<String, Vec<String>> {
        let mut text = include_str!("../../config/example.toml").to_owned();
        text += "[accounts.media]\nid = \"444455556666\"\nregions = [\"eu-west-1\"]\n";
        for (id, rule) in rules {
            text += &format!(
                "[lifecycle.rules.{id}]\nteam = \"media\"\nschedule = \"@daily\"\n{rule}\n"
            );
        }
        let settings = Settings::from_toml(&text).unwrap();
        let (rules, served) = (&settings.lifecycle.rules, Served::by(&settings));
        rules.keys().map(|id| (id.clone(), warnings(id, rules, &served))).collect()
    }

    #[test]
    fn rules_that_match_nothing_or_everything_are_told() {
        let told = told(&[
            ("nowhere", "accounts = [\"films*\"]\nvaults = [\"a\"]\ndays_after_initiation = 7"),
            ("elsewhere", "regions = [\"eu-west-*\"]\nvaults = [\"b\"]\ndays_after_initiation = 7"),
            (
                "everywhere",
                "accounts = [\"*\"]\nregions = [\"*\"]\nvaults = [\"x\", \"**\"]\n\
                 days_after_initiation = 900",
            ),
            ("here", "vaults = [\"*\"]\ndays_after_initiation = 800\nmode = \"abort\""),
        ]);
        assert!(told["nowhere"][0].contains("matches nothing"), "{told:?}");
        assert!(told["elsewhere"][0].contains("matches nothing"), "{told:?}");
        assert!(told["everywhere"][0].contains("matches every vault"), "{told:?}");
        assert!(told["here"].is_empty(), "{told:?}");
    }

    #[test]
    fn a_rule_that_another_covers_is_told() {
        let told = told(&[
            ("a", "vaults = [\"media-*\"]\ndays_after_initiation = 7"),
            ("b", "vaults = [\"media-photos\", \"media-tmp-*\"]\ndays_after_initiation = 30"),
            ("c", "vaults = [\"media-photos\"]\ndays_after_initiation = 3"),
            ("d", "vaults = [\"media-*\"]\ndays_after_initiation = 7"),
            (
                "e",
                "vaults = [\"media-*\"]\ndays_after_initiation = 7\nmode = \"abort\"\n\
                   description_matches = \"tmp-*\"",
            ),
            (
                "f",
                "accounts = [\"media\"]\nregions = [\"*\"]\nvaults = [\"media-*\"]\n\
                   days_after_initiation = 7",
            ),
        ]);
        assert!(told["b"][0].contains("that the rule a does not find"), "{told:?}");
        assert!(told["d"][0].contains("that the rule a does not find"), "{told:?}");
        for id in ["a", "c", "e", "f"] {
            assert!(told[id].is_empty(), "{id}: {told:?}");
        }
    }
}
