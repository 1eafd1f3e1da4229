//! The accounts that the gateway serves, and where each of them is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    sync::Arc,
};

use foldhash::HashMap;

use super::{
    endpoints::{Endpoints, Regional},
    sessions::{ExternalIdFrom, Role, read_external_id},
};
use crate::{
    config::{self, ACCOUNT_FILES, DEFAULT_ACCOUNT, Mistake, SessionFor, Settings},
    domain::{AccountDirectory, AccountFacts, AccountId, Region, RegionalAccount},
    files::Reader,
    reload::{Contents, Paths, Reloaded, Unreadable},
};

/// The setting that names the folder with further accounts.
const DIRECTORY: &str = ACCOUNT_FILES.directory;

/// Accounts that cannot be used: every mistake in them.
#[derive(Debug, thiserror::Error)]
pub struct UnusableAccounts(Vec<String>);

impl fmt::Display for UnusableAccounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the accounts cannot be used:")?;
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
        let read = Reloaded::read(DIRECTORY, paths, move |contents: &Contents| {
            Ok::<_, UnusableAccounts>(Self::new(&with_files(&settings, contents)?, &endpoints))
        })?;
        let accounts = Arc::clone(&read.current());
        let file = |account: &Account| match account.role.as_ref()?.external_id.as_ref()? {
            ExternalIdFrom::File(file, _) => {
                Some((accounts.name(account).to_owned(), file.clone()))
            }
            ExternalIdFrom::Settings(_) => None,
        };
        check_external_ids(accounts.iter().filter_map(file).collect())?;
        Ok(read)
    }

    /// Whether the folder of accounts can be used now; gives the settings with its accounts,
    /// and what is known of these.
    ///
    /// # Errors
    /// Every mistake in the accounts.
    pub fn check(settings: &Settings) -> Result<(Settings, AccountDirectory), UnusableAccounts> {
        let directory = settings.aws.accounts_directory.clone();
        let paths = directory.map_or(Paths::Files(Vec::new()), Paths::Folder);
        let settings = settings.clone();
        let read = Reloaded::read(DIRECTORY, paths, move |contents: &Contents| {
            with_files(&settings, contents)
        })?;
        let settings = read.current();
        let file = |(name, account): (&String, &config::Account)| {
            Some((name.clone(), account.external_id_file.clone()?))
        };
        check_external_ids(settings.accounts.iter().filter_map(file).collect())?;
        Ok((Settings::clone(&settings), self::directory(&settings)))
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
                    let file = account.external_id_file.clone();
                    let file = file.map(|file| ExternalIdFrom::File(file, Reader::default()));
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
        let all = [&default].into_iter().chain(settings.accounts.values());
        let all = all.map(|config| (config.id.clone(), Arc::new(account(config))));
        Self {
            by_id: all.collect(),
            directory: Arc::new(directory(settings)),
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

/// Whether these files, each of the account of the name beside it, have external IDs. They are
/// read again for each session.
fn check_external_ids(mut files: Vec<(String, PathBuf)>) -> Result<(), UnusableAccounts> {
    if files.is_empty() {
        return Ok(());
    }
    files.sort();
    let mistakes = Reader::default().read_now(move |progress| {
        let mistake = |(name, file): &(String, PathBuf)| {
            progress.step();
            let error = read_external_id(file).err()?;
            Some(format!("accounts.{name}.external_id_file: {}: {error}", file.display()))
        };
        files.iter().filter_map(mistake).collect::<Vec<_>>()
    });
    match mistakes.unwrap_or_else(|error| vec![format!("the files of external IDs: {error}")]) {
        none if none.is_empty() => Ok(()),
        mistakes => Err(UnusableAccounts(mistakes)),
    }
}

/// What policies may ask of the accounts.
fn directory(settings: &Settings) -> AccountDirectory {
    let default = AccountFacts { name: DEFAULT_ACCOUNT.to_owned(), tags: BTreeMap::new() };
    let facts = |(name, account): (&String, &config::Account)| {
        let (name, tags) = (name.clone(), account.tags.clone());
        (account.id.clone(), AccountFacts { name, tags })
    };
    // A table of the default account comes later and takes its place.
    let tables = settings.accounts.iter().map(facts);
    [(settings.aws.account_id.clone(), default)].into_iter().chain(tables).collect()
}

fn with_files(settings: &Settings, contents: &Contents) -> Result<Settings, UnusableAccounts> {
    let files = contents.iter().map(|(path, text)| (path.as_path(), text.as_slice()));
    Ok(settings.with_files(ACCOUNT_FILES, files)?)
}
