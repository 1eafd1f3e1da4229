//! What Glacier keeps: vaults, and uploads in them. Knows nothing of HTTP.

use std::{collections::BTreeMap, ops::Bound};

use time::{Duration, OffsetDateTime};

use super::{
    config::Rules,
    error::GlacierError,
    faults::Activity,
    listing::{Page, invalid_marker},
    tree_hash::Hash,
    uploads::{self, Archive, Upload},
};
use crate::domain::{AccountId, Region, UploadId, VaultArn};

const MAX_VAULTS: usize = 1_000;

type Result<T> = std::result::Result<T, GlacierError>;

/// All vaults of all accounts and regions, by ARN.
pub(super) struct Vaults {
    vaults: BTreeMap<VaultArn, Vault>,
    rules: Rules,
}

pub(super) struct Vault {
    pub(super) created: OffsetDateTime,
    uploads: BTreeMap<UploadId, Upload>,
    /// When each archive was completed, and its size.
    archives: Vec<(OffsetDateTime, u64)>,
}

/// A vault's content as Glacier last counted it.
pub(super) struct Inventory {
    pub(super) date: OffsetDateTime,
    pub(super) archives: usize,
    pub(super) bytes: u64,
}

impl Vaults {
    pub(super) fn new(rules: Rules) -> Self {
        Self { vaults: BTreeMap::new(), rules }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&VaultArn, &Vault)> {
        self.vaults.iter()
    }

    /// CreateVault; creating a vault again changes nothing.
    pub(super) fn create(&mut self, arn: VaultArn, now: OffsetDateTime) -> Result<()> {
        let siblings = self.of(&arn.account, &arn.region).count();
        if !self.vaults.contains_key(&arn) && siblings >= MAX_VAULTS {
            return Err(GlacierError::limit_exceeded(format!(
                "Account {} has {MAX_VAULTS} vaults, the most it may have in a region.",
                arn.account
            )));
        }
        let vault = || Vault { created: now, uploads: BTreeMap::new(), archives: Vec::new() };
        self.vaults.entry(arn).or_insert_with(vault);
        Ok(())
    }

    /// DescribeVault.
    pub(super) fn get(&self, arn: &VaultArn) -> Result<&Vault> {
        self.vaults.get(arn).ok_or_else(|| not_found(arn))
    }

    fn get_mut(&mut self, arn: &VaultArn) -> Result<&mut Vault> {
        self.vaults.get_mut(arn).ok_or_else(|| not_found(arn))
    }

    /// DeleteVault: only a vault that its last inventory found empty and that was
    /// not written to since. An archive, which nothing here deletes, is the one or
    /// the other. Uploads in progress go with the vault.
    pub(super) fn delete(&mut self, arn: &VaultArn) -> Result<()> {
        if !self.get(arn)?.archives.is_empty() {
            let message = format!("Vault not empty or recently written to: {arn}");
            return Err(GlacierError::invalid(message));
        }
        self.vaults.remove(arn);
        Ok(())
    }

    /// ListVaults: an account's vaults in one region. The marker is an ARN.
    pub(super) fn list(
        &self,
        account: &AccountId,
        region: &Region,
        marker: Option<&str>,
        limit: usize,
    ) -> Result<Page<(&VaultArn, &Vault)>> {
        let prefix = format!("arn:{}:glacier:{region}:{account}:vaults/", region.partition());
        let from = match marker {
            None => "",
            Some(marker) => marker.strip_prefix(&prefix).ok_or_else(|| invalid_marker(marker))?,
        };
        let rest = self.of(account, region).skip_while(|(arn, _)| arn.vault.as_str() < from);
        Ok(Page::cut(rest, limit, |(arn, _)| arn.to_string()))
    }

    fn of(
        &self,
        account: &AccountId,
        region: &Region,
    ) -> impl Iterator<Item = (&VaultArn, &Vault)> {
        self.vaults.iter().filter(move |(arn, _)| arn.account == *account && arn.region == *region)
    }

    /// InitiateMultipartUpload.
    pub(super) fn initiate(
        &mut self,
        arn: &VaultArn,
        part_size: u64,
        description: Option<String>,
        now: OffsetDateTime,
    ) -> Result<&mut Upload> {
        let rules = self.rules;
        let vault = self.get_mut(arn)?;
        let upload = Upload::new(part_size, description, rules, now)?;
        Ok(vault.uploads.entry(upload.id.clone()).or_insert(upload))
    }

    /// An upload in progress, for ListParts.
    pub(super) fn upload(&self, arn: &VaultArn, id: &str, now: OffsetDateTime) -> Result<&Upload> {
        let vault = self.get(arn)?;
        let upload = id.parse().ok().and_then(|id: UploadId| vault.uploads.get(&id));
        upload.filter(|upload| upload.is_in_progress(now)).ok_or_else(|| uploads::not_found(id))
    }

    /// An upload that Glacier remembers, whatever became of it.
    pub(super) fn upload_mut(
        &mut self,
        arn: &VaultArn,
        id: &str,
        now: OffsetDateTime,
    ) -> Result<&mut Upload> {
        self.get_mut(arn)?.upload_mut(id, now)
    }

    /// Does what the owner of an upload would, wherever it is.
    pub(super) fn act(&mut self, id: &str, activity: Activity, now: OffsetDateTime) -> Result<()> {
        let holds = |vault: &Vault| vault.uploads(now).any(|upload| upload.id.as_str() == id);
        let place = self.vaults.iter().find(|(_, vault)| holds(vault));
        let arn = place.map(|(arn, _)| arn.clone()).ok_or_else(|| uploads::not_found(id))?;
        let upload = self.upload_mut(&arn, id, now)?;
        match activity {
            Activity::Part => upload.put_next_part(now),
            Activity::Completion => {
                let (size, tree_hash) = upload.whole()?;
                self.complete(&arn, id, size, tree_hash, now).map(drop)
            }
        }
    }

    /// CompleteMultipartUpload.
    pub(super) fn complete(
        &mut self,
        arn: &VaultArn,
        id: &str,
        size: u64,
        tree_hash: Hash,
        now: OffsetDateTime,
    ) -> Result<Archive> {
        let vault = self.get_mut(arn)?;
        let upload = vault.upload_mut(id, now)?;
        let is_new = upload.is_in_progress(now);
        let archive = upload.complete(size, tree_hash, now)?;
        if is_new {
            vault.archives.push((now, size));
        }
        Ok(archive)
    }
}

impl Vault {
    /// The last inventory. Glacier takes stock of a vault that was written to
    /// about once a day: here, whole days after its creation.
    pub(super) fn inventory(&self, now: OffsetDateTime) -> Option<Inventory> {
        let counted_at = |completed: OffsetDateTime| {
            self.created + Duration::days((completed - self.created).whole_days() + 1)
        };
        let counted = self.archives.iter().filter(|(completed, _)| counted_at(*completed) <= now);
        counted.fold(None, |inventory: Option<Inventory>, (completed, size)| {
            let (archives, bytes) = inventory.map_or((0, 0), |i| (i.archives, i.bytes));
            let date = counted_at(*completed);
            Some(Inventory { date, archives: archives + 1, bytes: bytes + size })
        })
    }

    /// The uploads that Glacier remembers.
    pub(super) fn uploads(&self, now: OffsetDateTime) -> impl Iterator<Item = &Upload> {
        self.uploads.values().filter(move |upload| upload.is_remembered(now))
    }

    /// ListMultipartUploads: those in progress. The marker is an upload ID.
    pub(super) fn uploads_in_progress(
        &self,
        marker: Option<&str>,
        limit: usize,
        now: OffsetDateTime,
    ) -> Result<Page<&Upload>> {
        let from = match marker {
            None => Bound::Unbounded,
            Some(marker) => {
                let id: UploadId = marker.parse().map_err(|_| invalid_marker(marker))?;
                Bound::Included(id)
            }
        };
        let rest = self.uploads.range::<UploadId, _>((from, Bound::Unbounded));
        let in_progress =
            rest.map(|(_, upload)| upload).filter(|upload| upload.is_in_progress(now));
        Ok(Page::cut(in_progress, limit, |upload| upload.id.to_string()))
    }

    fn upload_mut(&mut self, id: &str, now: OffsetDateTime) -> Result<&mut Upload> {
        let upload = id.parse().ok().and_then(|id: UploadId| self.uploads.get_mut(&id));
        upload.filter(|upload| upload.is_remembered(now)).ok_or_else(|| uploads::not_found(id))
    }
}

fn not_found(arn: &VaultArn) -> GlacierError {
    GlacierError::not_found(format!("Vault not found for ARN: {arn}"))
}
