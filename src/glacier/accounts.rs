//! The accounts that the gateway serves, and where each of them is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use foldhash::HashMap;

use super::{
    endpoints::{Endpoints, Regional},
    sessions::{ExternalIdFrom, Role},
};
use crate::{
    config::{self, ACCOUNT_FILES, DEFAULT_ACCOUNT, Mistake, SessionFor, Settings},
    domain::{AccountDirectory, AccountFacts, AccountId, Region, RegionalAccount},
    reload::{Contents, Paths, Reloaded, Unreadable},
};

/// The setting that names the folder with further accounts.
const DIRECTORY: &str = ACCOUNT_FILES.directory;

/// Accounts that cannot be used: every mistake in them.
#[derive(Debug, thiserror::Error)]
pub struct UnusableAccounts(Vec<String>);

impl fmt::Display for UnusableAccounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the accounts cannot be used ({DIRECTORY}):")?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl From<Unreadable> for UnusableAccounts {
    fn from(error: Unreadable) -> Self {
        Self(vec![error.to_string()])
    }
}

impl From<Vec<Mistake>> for UnusableAccounts {
    fn from(mistakes: Vec<Mistake>) -> Self {
        Self(mistakes.iter().map(ToString::to_string).collect())
    }
}

/// An AWS account that the gateway serves.
pub struct Account {
    /// The account.
    pub id: AccountId,
    pub(super) regions: BTreeMap<Region, Arc<Regional>>,
    /// `None`: the gateway's own credentials are the account's.
    pub(super) role: Option<Arc<Role>>,
    session: SessionFor,
}

/// What is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotServed {
    /// The account.
    Account,
    /// The region of the account, which has these.
    Region(Vec<Region>),
}

/// All accounts that the gateway serves, replaced as a whole when their folder changes.
pub struct Accounts {
    by_id: HashMap<AccountId, Arc<Account>>,
    directory: Arc<AccountDirectory>,
    default: RegionalAccount,
    /// Teams whose members have sessions of their own in every account.
    subject_sessions: BTreeSet<String>,
}

impl Accounts {
    /// Reads the folder of accounts, if the settings name one.
    ///
    /// # Errors
    /// Every mistake in the accounts.
    pub(super) fn follow(
        settings: &Settings,
        endpoints: Endpoints,
    ) -> Result<Reloaded<Accounts, UnusableAccounts>, UnusableAccounts> {
        let directory = settings.aws.accounts_directory.clone();
        let paths = directory.map_or(Paths::Files(Vec::new()), Paths::Folder);
        let settings = settings.clone();
        Reloaded::read(DIRECTORY, paths, move |contents: &Contents| {
            Ok(Self::new(&with_files(&settings, contents)?, &endpoints))
        })
    }

    /// Whether the folder of accounts can be used now; gives the settings with its accounts.
    ///
    /// # Errors
    /// Every mistake in the accounts.
    pub fn check(settings: &Settings) -> Result<Settings, UnusableAccounts> {
        let settings = settings.clone();
        let Some(directory) = settings.aws.accounts_directory.clone() else { return Ok(settings) };
        let read =
            Reloaded::read(DIRECTORY, Paths::Folder(directory), move |contents: &Contents| {
                with_files(&settings, contents)
            })?;
        Ok(Settings::clone(&read.current()))
    }

    fn new(settings: &Settings, endpoints: &Endpoints) -> Self {
        let aws = &settings.aws;
        let account = |account: &config::Account| {
            let own =
                (account.id == aws.account_id).then(|| aws.regions.iter().chain([&aws.region]));
            let regions = account.regions.iter().chain(own.into_iter().flatten());
            let url = account.endpoint_url.as_ref();
            let at = |region: &Region| (region.clone(), endpoints.at(url, region));
            Account {
                id: account.id.clone(),
                regions: regions.map(at).collect(),
                role: account.role_arn.clone().map(|arn| {
                    let file = account.external_id_file.clone().map(ExternalIdFrom::File);
                    let given = account.external_id.clone().map(ExternalIdFrom::Settings);
                    Arc::new(Role { arn, external_id: given.or(file) })
                }),
                session: account.session,
            }
        };
        let default = config::Account {
            id: aws.account_id.clone(),
            regions: Vec::new(),
            role_arn: None,
            external_id: None,
            external_id_file: None,
            endpoint_url: None,
            tags: BTreeMap::new(),
            session: SessionFor::Team,
        };
        // A table of the default account comes later and takes its place.
        let name = DEFAULT_ACCOUNT.to_owned();
        let all = [(&name, &default)].into_iter().chain(&settings.accounts);
        let facts = |(name, account): (&String, &config::Account)| {
            let (name, tags) = (name.clone(), account.tags.clone());
            (account.id.clone(), AccountFacts { name, tags })
        };
        let directory = all.clone().map(facts).collect();
        let all = all.map(|(_, config)| (config.id.clone(), Arc::new(account(config))));
        Self {
            by_id: all.collect(),
            directory: Arc::new(directory),
            default: RegionalAccount {
                region: aws.region.clone(),
                account: aws.account_id.clone(),
            },
            subject_sessions: aws.subject_sessions.iter().cloned().collect(),
        }
    }

    /// The name that the operators gave an account.
    pub fn name(&self, account: &Account) -> &str {
        self.directory.get(&account.id).map_or("", |facts| &facts.name)
    }

    /// All accounts, in no promised order.
    pub fn iter(&self) -> impl Iterator<Item = &Account> {
        self.by_id.values().map(AsRef::as_ref)
    }

    /// What is known of all accounts.
    pub fn directory(&self) -> &Arc<AccountDirectory> {
        &self.directory
    }

    /// The account, if the gateway serves it.
    pub fn get(&self, id: &AccountId) -> Option<&Arc<Account>> {
        self.by_id.get(id)
    }

    /// The account and region that a request names: `-` is the default account, and no region
    /// the default region.
    ///
    /// # Errors
    /// Which of them the gateway does not serve.
    pub(super) fn locate(
        &self,
        account: &str,
        region: Option<&Region>,
    ) -> Result<RegionalAccount, NotServed> {
        let id = match account {
            "-" => self.default.account.clone(),
            given => given.parse().map_err(|_| NotServed::Account)?,
        };
        let account = self.get(&id).ok_or(NotServed::Account)?;
        let region = region.unwrap_or(&self.default.region);
        if account.regions.contains_key(region) {
            Ok(RegionalAccount { region: region.clone(), account: id })
        } else {
            Err(NotServed::Region(account.regions().cloned().collect()))
        }
    }

    /// Whom the sessions of `team` are for in `account`.
    pub(super) fn session_for(&self, account: &Account, team: &str) -> SessionFor {
        if self.subject_sessions.contains(team) { SessionFor::Subject } else { account.session }
    }
}

impl Account {
    /// The regions that callers may name.
    pub fn regions(&self) -> impl Iterator<Item = &Region> {
        self.regions.keys()
    }
}

fn with_files(settings: &Settings, contents: &Contents) -> Result<Settings, UnusableAccounts> {
    let files = contents.iter().map(|(path, text)| (path.as_path(), text.as_slice()));
    Ok(settings.with_files(ACCOUNT_FILES, files)?)
}
