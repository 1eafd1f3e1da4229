//! Which vaults are meant.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::{RegionalAccount, VaultName},
    glacier::{Account, Upstream},
    policy::matches_wildcards,
};

/// The longest pattern, in bytes.
const LONGEST: usize = 255;
/// The most patterns of a kind.
const MOST: usize = 1_000;

/// The vaults that fit. A list that is left out fits all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Target {
    /// Accounts by their numbers or names, in which `*` and `?` are wildcards; `-` is the
    /// gateway's default account.
    #[schema(example = json!(["media-*"]), max_items = 1000)]
    pub accounts: Vec<String>,
    /// Regions by their codes, with wildcards.
    #[schema(example = json!(["eu-central-1"]), max_items = 1000)]
    pub regions: Vec<String>,
    /// Vaults by their names, with wildcards.
    #[schema(example = json!(["photos", "tmp-*"]), max_items = 1000)]
    pub vaults: Vec<String>,
}

impl Target {
    /// Whether the patterns can be such.
    ///
    /// # Errors
    /// What to write.
    pub fn check(&self) -> Result<(), String> {
        for (name, patterns) in
            [("accounts", &self.accounts), ("regions", &self.regions), ("vaults", &self.vaults)]
        {
            let fits = |pattern: &String| (1..=LONGEST).contains(&pattern.len());
            if patterns.len() > MOST || !patterns.iter().all(fits) {
                return Err(format!(
                    "\"{name}\": write at most {MOST} patterns of 1 to {LONGEST} bytes"
                ));
            }
        }
        Ok(())
    }

    /// The accounts and regions that fit, in their order.
    pub fn places(&self, upstream: &Upstream) -> Vec<RegionalAccount> {
        let accounts = upstream.accounts();
        let default = upstream.locate("-", None).ok().map(|default| default.account);
        let fits = |account: &&Account| {
            let name = accounts.name(account);
            fits_one(&self.accounts, |pattern| match pattern {
                "-" => default.as_ref() == Some(&account.id),
                pattern => [account.id.as_str(), name].iter().any(|own| is(pattern, own)),
            })
        };
        let regions = accounts.iter().filter(fits).flat_map(|account| {
            account.regions().map(|region| RegionalAccount {
                account: account.id.clone(),
                region: region.clone(),
            })
        });
        let region = |at: &RegionalAccount| fits_one(&self.regions, |p| is(p, at.region.as_str()));
        let mut places: Vec<_> = regions.filter(region).collect();
        places.sort_by(|a, b| (&a.account, &a.region).cmp(&(&b.account, &b.region)));
        places
    }

    /// Whether a vault of this name is meant.
    pub fn covers(&self, vault: &str) -> bool {
        fits_one(&self.vaults, |pattern| is(pattern, vault))
    }

    /// The vaults, if all are given by their names.
    pub fn named(&self) -> Option<Vec<VaultName>> {
        let names: Option<Vec<VaultName>> =
            self.vaults.iter().map(|name| name.parse().ok()).collect();
        names.filter(|names| !names.is_empty())
    }
}

fn fits_one(patterns: &[String], fits: impl Fn(&str) -> bool) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| fits(pattern))
}

fn is(pattern: &str, text: &str) -> bool {
    matches_wildcards(pattern, text)
}
