//! `[lifecycle]`: rules by which stale uploads are aborted again and again.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::Deserialize;

use super::{Store, StoreUrl, accounts::is_name};
use crate::domain::{CronPattern, Schedule, Zone, check_team};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// `[lifecycle]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lifecycle {
    /// The folder with further rules, each in a file.
    pub directory: Option<PathBuf>,
    /// Rules by the ID that the operator gave them.
    #[serde(default)]
    pub rules: BTreeMap<String, LifecycleRule>,
}

/// `[lifecycle.rules.ID]`: what S3 calls AbortIncompleteMultipartUpload.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct LifecycleRule {
    /// The team in whose name the rule acts: its policies decide.
    pub team: String,
    /// Accounts: 12 digits, names with IAM's wildcards, or `-` for the default account.
    #[serde(default = "default_account")]
    pub accounts: Vec<String>,
    /// Regions with IAM's wildcards; the default region if there are none.
    #[serde(default)]
    pub regions: Vec<String>,
    /// Names of vaults with IAM's wildcards.
    pub vaults: Vec<String>,
    /// How many days ago an upload was initiated, at the least.
    pub days_after_initiation: u32,
    /// What the upload's description is like, with IAM's wildcards.
    pub description_matches: Option<String>,
    /// For how long its parts have not changed; `jobs.quiet_for` unless given.
    #[serde(default, with = "humantime_serde")]
    pub quiet_for: Option<Duration>,
    /// When it is due.
    pub schedule: CronPattern,
    /// In which time zone.
    #[serde(default)]
    pub time_zone: Zone,
    /// By how much it may begin later, so that not all begin at once.
    #[serde(default, with = "humantime_serde")]
    pub jitter: Duration,
    /// How late it may be caught up with after the gateway was down.
    #[serde(default = "day", with = "humantime_serde")]
    pub catch_up: Duration,
    /// Whether it aborts what it finds.
    #[serde(default)]
    pub mode: RuleMode,
    /// Whether it stops once a run has failed.
    #[serde(default = "yes")]
    pub pause_on_failure: bool,
    /// A run that finds more uploads fails and aborts none of them.
    #[serde(default = "max_uploads")]
    pub max_uploads: u32,
    /// The share of failed aborts above which a run stops.
    #[serde(default = "max_failure_rate")]
    pub max_failure_rate: f64,
}

/// Whether a rule aborts what it finds.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum RuleMode {
    /// It only says what it would abort.
    #[default]
    Report,
    /// It aborts.
    Abort,
}

fn default_account() -> Vec<String> {
    vec!["-".to_owned()]
}

fn day() -> Duration {
    DAY
}

fn yes() -> bool {
    true
}

fn max_uploads() -> u32 {
    100_000
}

fn max_failure_rate() -> f64 {
    0.5
}

impl Lifecycle {
    /// What the types cannot say.
    pub(super) fn check(&self, store: &Store, mut wrong: impl FnMut(String, &str)) {
        let given = self.directory.is_some() || !self.rules.is_empty();
        if given && matches!(store.url, StoreUrl::None) {
            wrong("lifecycle".into(), "needs a store: set store.url, or leave the rules out");
        }
        for (id, rule) in &self.rules {
            let mut wrong =
                |leaf: &str, what: &str| wrong(format!("lifecycle.rules.{id}{leaf}"), what);
            if !is_name(id) {
                wrong("", "a rule's ID has 1 to 64 characters of A-Z, a-z, 0-9, _ and -");
            }
            rule.check(wrong);
        }
    }
}

impl LifecycleRule {
    /// When the rule is due.
    pub fn when(&self) -> Schedule {
        Schedule::new(self.schedule.clone(), self.time_zone.clone())
    }

    fn check(&self, mut wrong: impl FnMut(&str, &str)) {
        if let Err(invalid) = check_team(&self.team) {
            wrong(".team", &invalid.to_string());
        }
        let short = |text: &String| (1..=1024).contains(&text.len());
        let vault = |b: u8| b.is_ascii_alphanumeric() || b"_-.*?".contains(&b);
        let (accounts, regions, vaults) = (&self.accounts, &self.regions, &self.vaults);
        if !(1..=1000).contains(&accounts.len()) || !accounts.iter().all(short) {
            wrong(".accounts", "write 1 to 1000 account IDs, names or \"-\"");
        }
        if regions.len() > 1000 || !regions.iter().all(short) {
            wrong(".regions", "write at most 1000 regions");
        }
        if !(1..=1000).contains(&vaults.len()) || !vaults.iter().all(short) {
            wrong(".vaults", "write 1 to 1000 names of vaults, in which * and ? are wildcards");
        } else if let Some(other) = vaults.iter().find(|text| !text.bytes().all(vault)) {
            let told = format!(
                "{other:?} is not the name of any vault: they have A-Z, a-z, 0-9, _, - and ., and \
                 * and ? are wildcards"
            );
            wrong(".vaults", &told);
        }
        if !(1..=36_500).contains(&self.days_after_initiation) {
            wrong(".days_after_initiation", "write a number of days from 1 to 36500");
        }
        if self.description_matches.as_ref().is_some_and(|text| text.chars().count() > 1024) {
            wrong(".description_matches", "write at most 1024 characters");
        }
        if self.quiet_for.is_some_and(|duration| duration > 365 * DAY) {
            wrong(".quiet_for", "write 365 days or less");
        }
        if self.jitter > DAY {
            wrong(".jitter", "write 1 day or less");
        }
        if !(MINUTE..=31 * DAY).contains(&self.catch_up) {
            wrong(".catch_up", "write a duration from \"1m\" to \"31days\"");
        }
        if self.max_uploads == 0 {
            wrong(".max_uploads", "write 1 or more");
        }
        if !(0.0..=1.0).contains(&self.max_failure_rate) {
            wrong(".max_failure_rate", "write a share from 0 to 1");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::super::{RULE_FILES, Settings};

    const BASE: &str = concat!(
        include_str!("../../config/example.toml"),
        "\n[lifecycle.rules.stale]\nteam = \"media\"\nvaults = [\"media-*\"]\n",
        "days_after_initiation = 7\nschedule = \"0 3 * * *\"\n"
    );

    fn mistakes(text: &str) -> Vec<String> {
        let found = Settings::from_toml(&format!("{BASE}{text}")).unwrap_err();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_rule_reports_unless_it_says_otherwise() {
        let settings = Settings::from_toml(BASE).unwrap();
        let rule = &settings.lifecycle.rules["stale"];
        assert_eq!(rule.mode, super::RuleMode::Report);
        assert_eq!((rule.accounts.join(","), rule.pause_on_failure), ("-".to_owned(), true));
        assert_eq!(rule.time_zone.to_string(), "UTC");
    }

    #[test]
    fn what_a_rule_cannot_do_is_refused_and_not_dropped() {
        for (text, told) in [
            ("daysAfterInitiation = 7", "lifecycle.rules.stale.daysAfterInitiation: is no setting"),
            ("filter = \"x\"", "lifecycle.rules.stale.filter: is no setting"),
            ("mode = \"delete\"", "\"delete\" is not one of report, abort"),
            ("time_zone = \"Mars\"", "lifecycle.rules.stale.time_zone: write a time zone"),
            ("jitter = \"2days\"", "lifecycle.rules.stale.jitter: write 1 day or less"),
            ("catch_up = \"0s\"", "lifecycle.rules.stale.catch_up: write a duration from"),
            ("max_failure_rate = 2.0", "max_failure_rate: write a share from 0 to 1"),
            ("max_uploads = 0", "max_uploads: write 1 or more"),
            ("accounts = []", "accounts: write 1 to 1000"),
            ("[lifecycle.rules.\"a b\"]\nteam = \"x\"", "lifecycle.rules.a b.vaults: is required"),
        ] {
            let found = mistakes(text);
            assert!(found.iter().any(|mistake| mistake.contains(told)), "{told}: {found:#?}");
        }
        for (given, instead, told) in [
            ("[\"media-*\"]", "[\"media/*\"]", "is not the name of any vault"),
            ("\"0 3 * * *\"", "\"0 0 30 2 *\"", "schedule: write a cron pattern"),
            ("initiation = 7", "initiation = 0", "days_after_initiation: write a number of days"),
            ("team = \"media\"", "team = \"a/b\"", "lifecycle.rules.stale.team: a team's name"),
            ("sqlite:/var/lib/glacier-gateway/store.db", "none", "lifecycle: needs a store"),
        ] {
            let found = Settings::from_toml(&BASE.replace(given, instead)).unwrap_err();
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert!(found.iter().any(|mistake| mistake.contains(told)), "{told}: {found:#?}");
        }
    }

    #[test]
    fn rules_may_stand_in_files() {
        let settings = Settings::from_toml(BASE).unwrap();
        let with = |name: &str, text: &str| {
            settings.with_files(RULE_FILES, [(Path::new(name), text.as_bytes())])
        };
        let rule = "team = \"video\"\nvaults = [\"v\"]\ndays_after_initiation = 1\n\
                    schedule = \"@daily\"\n";
        let both = with("/x/video.toml", rule).unwrap();
        assert_eq!(both.lifecycle.rules.keys().collect::<Vec<_>>(), ["stale", "video"]);
        let told = |name: &str, text: &str| with(name, text).unwrap_err()[0].to_string();
        let twice = told("/x/stale.toml", rule);
        assert!(twice.starts_with("lifecycle.rules.stale: stands in the configuration"), "{twice}");
        let unknown = told("/x/video.toml", &format!("{rule}tags = 1\n"));
        assert!(unknown.starts_with("lifecycle.rules.video.tags: is no setting"), "{unknown}");
        assert!(unknown.ends_with("(set in /x/video.toml)"), "{unknown}");
        let named = told("/x/video.json", rule);
        assert!(named.starts_with("lifecycle.directory: name a rule's file"), "{named}");
    }
}
