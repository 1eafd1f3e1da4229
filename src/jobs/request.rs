//! What is asked for, checked before a job is made of it.

use std::time::Duration;

use super::{
    duration::IsoDuration,
    error::JobError,
    model::{MAX_UPLOAD_IDS, NewAbortJob, Placed, Select, UploadName},
};
use crate::{
    domain::{Principal, Region, RegionalAccount, UploadId, VaultArn, VaultName},
    gateway::Gateway,
    glacier::{Accounts, NotServed},
    policy::matches_wildcards,
};

/// The longest text that a request may bring, in characters.
const LONGEST: usize = 1024;
/// The most patterns of a kind.
const MOST_PATTERNS: usize = 1000;

/// The uploads that a request names, each with its vault.
pub(super) type Named = Vec<(VaultArn, UploadId)>;

/// Checks a request of `principal`'s and takes the uploads out that it names.
///
/// # Errors
/// [`JobError::Invalid`] says what to write.
pub(super) fn check(
    gateway: &Gateway,
    principal: &Principal,
    new: &mut NewAbortJob,
) -> Result<(String, Named), JobError> {
    let team = team(principal, new.team.as_deref())?;
    new.team = Some(team.clone());
    let patterns = [
        ("accounts", &new.target.accounts, 1),
        ("regions", &new.target.regions, 0),
        ("vaults", &new.target.vaults, 1),
    ];
    for (name, patterns, least) in patterns {
        let fits = |text: &String| (1..=LONGEST).contains(&text.len());
        if !(least..=MOST_PATTERNS).contains(&patterns.len()) || !patterns.iter().all(fits) {
            return invalid(format!("target.{name}: write {least} to {MOST_PATTERNS} patterns"));
        }
    }
    let is_name = |text: &&String| !text.contains(['*', '?']);
    for name in new.target.vaults.iter().filter(is_name) {
        if let Err(error) = name.parse::<VaultName>() {
            return invalid(format!("target.vaults: {error}"));
        }
    }
    for (name, text) in
        [("reason", &new.reason), ("select.descriptionMatches", &new.select.description_matches)]
    {
        if text.as_ref().is_some_and(|text| text.chars().count() > LONGEST) {
            return invalid(format!("{name}: write at most {LONGEST} characters"));
        }
    }
    if new.max_uploads == 0 {
        return invalid("maxUploads: write 1 or more");
    }
    if !(0.0..=1.0).contains(&new.max_failure_rate) {
        return invalid("maxFailureRate: write a share from 0 to 1");
    }
    let named = new.select.upload_ids.take();
    check_select(&new.select, named.as_deref())?;
    let accounts = gateway.upstream.accounts();
    let named = match named {
        None => {
            // A target that nothing can be in is a mistake.
            if places(&accounts, gateway, new).is_empty() {
                return invalid("target: no account and region that this gateway serves fits");
            }
            Vec::new()
        }
        Some(names) => {
            let named = place(&accounts, gateway, new, names)?;
            // What is kept of the request is that it named some.
            new.select.upload_ids = Some(Vec::new());
            named
        }
    };
    if named.is_empty() && new.select.quiet_for.is_none() {
        new.select.quiet_for = Some(whole_seconds(gateway.settings.jobs.quiet_for));
    }
    Ok((team, named))
}

fn whole_seconds(duration: Duration) -> IsoDuration {
    IsoDuration(Duration::from_secs(duration.as_secs()))
}

fn invalid<T>(message: impl Into<String>) -> Result<T, JobError> {
    Err(JobError::Invalid(message.into()))
}

/// The team that the job is of.
fn team(principal: &Principal, wanted: Option<&str>) -> Result<String, JobError> {
    match (wanted, &principal.teams[..]) {
        (Some(wanted), teams) if teams.iter().any(|team| team == wanted) => Ok(wanted.to_owned()),
        (Some(_), teams) => invalid(format!("team: write one of yours: {}", teams.join(", "))),
        (None, [one]) => Ok(one.clone()),
        (None, teams) => invalid(format!("team: say which of yours: {}", teams.join(", "))),
    }
}

fn check_select(select: &Select, named: Option<&[UploadName]>) -> Result<(), JobError> {
    let Select {
        older_than, initiated_before, description_matches, min_bytes, quiet_for, all, ..
    } = select;
    let criteria = older_than.is_some()
        || initiated_before.is_some()
        || description_matches.is_some()
        || min_bytes.is_some();
    match (criteria, all, named) {
        (true, false, None) | (false, true, None) => Ok(()),
        (false, false, None) if quiet_for.is_some() => Ok(()),
        (false, false, Some(names)) if (1..=MAX_UPLOAD_IDS).contains(&names.len()) => Ok(()),
        (false, false, Some(_)) => invalid(format!(
            "select.uploadIds: write 1 to {MAX_UPLOAD_IDS} uploads, or make several jobs"
        )),
        (false, false, None) => {
            invalid("select: say which uploads: by olderThan and the like, by all, or by uploadIds")
        }
        _ => {
            invalid("select: uploadIds and all stand without criteria; only quietFor may be added")
        }
    }
}

/// The accounts and regions that a request is about.
pub(super) fn places(
    accounts: &Accounts,
    gateway: &Gateway,
    new: &NewAbortJob,
) -> Vec<RegionalAccount> {
    let aws = &gateway.settings.aws;
    let regions = &new.target.regions;
    let wanted = |region: &Region| match &regions[..] {
        [] => *region == aws.region,
        patterns => patterns.iter().any(|pattern| matches_wildcards(pattern, region.as_str())),
    };
    let is_meant = |pattern: &String, id: &str, name: &str| match pattern.as_str() {
        "-" => id == aws.account_id.as_str(),
        pattern => pattern == id || matches_wildcards(pattern, name),
    };
    let mut places = Vec::new();
    for account in accounts.iter() {
        let (id, name) = (account.id.as_str(), accounts.name(account));
        if new.target.accounts.iter().any(|pattern| is_meant(pattern, id, name)) {
            let regions = account.regions().filter(|region| wanted(region)).cloned();
            places.extend(
                regions.map(|region| RegionalAccount { region, account: account.id.clone() }),
            );
        }
    }
    places.sort_by(|a, b| (&a.account, &a.region).cmp(&(&b.account, &b.region)));
    places
}

/// Finds the vaults of uploads that are named.
fn place(
    accounts: &Accounts,
    gateway: &Gateway,
    new: &NewAbortJob,
    names: Vec<UploadName>,
) -> Result<Named, JobError> {
    let one = match (&places(accounts, gateway, new)[..], &new.target.vaults[..]) {
        ([place], [vault]) => vault.parse::<VaultName>().ok().map(|vault| VaultArn {
            region: place.region.clone(),
            account: place.account.clone(),
            vault,
        }),
        _ => None,
    };
    let mut seen = std::collections::HashSet::with_capacity(names.len());
    let mut named = Vec::with_capacity(names.len());
    for name in names {
        let (vault, upload) = match name {
            UploadName::Id(upload) => (one.clone(), upload),
            UploadName::Placed(placed) => {
                let upload = placed.upload_id.clone();
                (Some(of_place(accounts, gateway, placed)?), upload)
            }
        };
        let Some(vault) = vault else {
            return invalid(
                "target: for uploadIds name one account, one region and one vault without \
                 wildcards, or write each upload with accountId, region and vaultName",
            );
        };
        if seen.insert((vault.clone(), upload.clone())) {
            named.push((vault, upload));
        }
    }
    Ok(named)
}

fn of_place(accounts: &Accounts, gateway: &Gateway, placed: Placed) -> Result<VaultArn, JobError> {
    let Placed { account_id, region, vault_name, upload_id } = placed;
    let by_name = accounts.iter().find(|account| accounts.name(account) == account_id);
    let id = by_name.map_or(account_id.as_str(), |account| account.id.as_str());
    let about = |what: String| JobError::Invalid(format!("uploadIds: {upload_id}: {what}"));
    let region = region.map(|region| region.parse::<Region>()).transpose();
    let region = region.map_err(|error| about(error.to_string()))?;
    let place = gateway.upstream.locate(id, region.as_ref());
    let RegionalAccount { region, account } = place.map_err(|not_served| {
        about(match not_served {
            NotServed::Account => format!("the account {account_id} is not served"),
            NotServed::Region(_) => "the account is not served in this region".to_owned(),
        })
    })?;
    let vault =
        vault_name.parse().map_err(|error: crate::domain::InvalidId| about(error.to_string()))?;
    Ok(VaultArn { region, account, vault })
}
