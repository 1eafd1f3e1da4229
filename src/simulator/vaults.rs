//! What Glacier keeps: vaults, uploads in progress and the hashes of their parts,
//! with Glacier's rules about them. Knows nothing of HTTP. Part sizes and ranges
//! are in bytes; payloads are not kept.

use std::{collections::BTreeMap, ops::Bound};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngCore;
use time::{Duration, OffsetDateTime};

use super::{
    AbortCompleted, Rules,
    error::GlacierError,
    tree_hash::{self, Hash, LEAF},
};
use crate::glacier::{AccountId, Region, UploadId, VaultArn};

const MAX_PARTS: u64 = 10_000;
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

pub(super) struct Upload {
    pub(super) description: Option<String>,
    pub(super) part_size: u64,
    pub(super) created: OffsetDateTime,
    /// By the offset of their first byte.
    pub(super) parts: BTreeMap<u64, Part>,
    pub(super) status: Status,
    /// When Glacier forgets the upload.
    forgotten: Option<OffsetDateTime>,
}

#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) length: u64,
    pub(super) tree_hash: Hash,
}

pub(super) enum Status {
    InProgress,
    Aborted,
    Completed(Archive),
}

/// A completed archive as CompleteMultipartUpload reports it.
#[derive(Clone)]
pub(super) struct Archive {
    pub(super) id: String,
    pub(super) size: u64,
    pub(super) tree_hash: Hash,
}

/// One page of a listing and where the next begins.
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) marker: Option<String>,
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
            let message =
                format!("Vault limit of {MAX_VAULTS} exceeded for account {}", arn.account);
            return Err(GlacierError::limit_exceeded(message));
        }
        self.vaults.entry(arn).or_insert_with(|| Vault {
            created: now,
            uploads: BTreeMap::new(),
            archives: Vec::new(),
        });
        Ok(())
    }

    /// DescribeVault.
    pub(super) fn get(&self, arn: &VaultArn) -> Result<&Vault> {
        self.vaults.get(arn).ok_or_else(|| vault_not_found(arn))
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

    /// ListVaults: an account's vaults in one region. The marker is the ARN of the
    /// vault that the page begins with.
    pub(super) fn list(
        &self,
        account: &AccountId,
        region: &Region,
        marker: Option<&str>,
        limit: usize,
    ) -> Result<Page<(&VaultArn, &Vault)>> {
        let prefix = format!("arn:{}:glacier:{region}:{account}:vaults/", region.partition());
        let from = match marker {
            None => None,
            Some(marker) => {
                Some(marker.strip_prefix(&prefix).ok_or_else(|| invalid_marker(marker))?)
            }
        };
        let vaults = self.of(account, region);
        let rest = vaults.skip_while(|(arn, _)| from.is_some_and(|from| arn.vault.as_str() < from));
        Ok(Page::cut(rest, limit, |(arn, _)| arn.to_string()))
    }

    /// InitiateMultipartUpload.
    pub(super) fn initiate(
        &mut self,
        arn: &VaultArn,
        part_size: u64,
        description: Option<String>,
        now: OffsetDateTime,
    ) -> Result<UploadId> {
        let vault = self.vaults.get_mut(arn).ok_or_else(|| vault_not_found(arn))?;
        if !part_size.is_power_of_two() || !(LEAF..=4096 * LEAF).contains(&part_size) {
            return Err(GlacierError::invalid(format!(
                "Invalid part size: {part_size}. The part size must be a power of two in \
                 megabytes, from 1 MB to 4 GB."
            )));
        }
        let printable = |text: &String| text.bytes().all(|b| (0x20..0x7f).contains(&b));
        if description.as_ref().is_some_and(|text| text.len() > 1024 || !printable(text)) {
            let message = "Invalid archive description: at most 1024 bytes of printable ASCII.";
            return Err(GlacierError::invalid(message));
        }
        let id = new_upload_id();
        let upload = Upload {
            description,
            part_size,
            created: now,
            parts: BTreeMap::new(),
            status: Status::InProgress,
            forgotten: self.rules.idle_expiry.map(|expiry| now + expiry),
        };
        vault.uploads.insert(id.clone(), upload);
        Ok(id)
    }

    /// UploadMultipartPart: keeps the hash of the part that covers the bytes
    /// `first..=last`, in place of one that was there.
    pub(super) fn put_part(
        &mut self,
        arn: &VaultArn,
        id: &str,
        (first, last): (u64, u64),
        tree_hash: Hash,
        now: OffsetDateTime,
    ) -> Result<()> {
        let idle_expiry = self.rules.idle_expiry;
        let upload = self.in_progress_mut(arn, id, now)?;
        let range = format!("bytes {first}-{last}/*");
        let length = last - first + 1;
        if !first.is_multiple_of(upload.part_size) || length > upload.part_size {
            return Err(GlacierError::invalid(format!(
                "Invalid Content-Range: {range}. The range does not align with the part size {}.",
                upload.part_size
            )));
        }
        if first / upload.part_size >= MAX_PARTS {
            return Err(GlacierError::invalid(format!(
                "Invalid Content-Range: {range}. An upload has at most {MAX_PARTS} parts."
            )));
        }
        upload.parts.insert(first, Part { length, tree_hash });
        upload.forgotten = idle_expiry.map(|expiry| now + expiry);
        Ok(())
    }

    /// CompleteMultipartUpload: the parts must join to an archive of `size` bytes
    /// with this tree hash.
    pub(super) fn complete(
        &mut self,
        arn: &VaultArn,
        id: &str,
        size: u64,
        tree_hash: Hash,
        now: OffsetDateTime,
    ) -> Result<Archive> {
        let grace = self.rules.abort_grace;
        let vault = self.vaults.get_mut(arn).ok_or_else(|| vault_not_found(arn))?;
        let upload = vault.upload_mut(id, now)?;
        let archive = match &upload.status {
            Status::Completed(archive) => archive.clone(),
            Status::Aborted => return Err(upload_not_found(id)),
            Status::InProgress => upload.assemble()?,
        };
        if archive.size != size {
            return Err(GlacierError::invalid(format!("Invalid x-amz-archive-size: {size}")));
        }
        if archive.tree_hash != tree_hash {
            let hash = hex::encode(tree_hash);
            return Err(GlacierError::invalid(format!("Invalid x-amz-sha256-tree-hash: {hash}")));
        }
        if let Status::InProgress = upload.status {
            upload.status = Status::Completed(archive.clone());
            upload.forgotten = Some(now + grace);
            vault.archives.push((now, size));
        }
        Ok(archive)
    }

    /// AbortMultipartUpload: repeated, it succeeds while the grace lasts.
    pub(super) fn abort(&mut self, arn: &VaultArn, id: &str, now: OffsetDateTime) -> Result<()> {
        let rules = self.rules;
        let upload = self.upload_mut(arn, id, now)?;
        match upload.status {
            Status::InProgress => {
                upload.status = Status::Aborted;
                upload.forgotten = Some(now + rules.abort_grace);
                upload.parts.clear();
                Ok(())
            }
            Status::Aborted => Ok(()),
            Status::Completed(_) => Err(match rules.abort_completed {
                AbortCompleted::NotFound => upload_not_found(id),
                AbortCompleted::Invalid => {
                    GlacierError::invalid(format!("The upload is already completed: {id}"))
                }
            }),
        }
    }

    /// ListMultipartUploads: those in progress. The marker is the ID of the upload
    /// that the page begins with.
    pub(super) fn uploads(
        &self,
        arn: &VaultArn,
        marker: Option<&str>,
        limit: usize,
        now: OffsetDateTime,
    ) -> Result<Page<(&UploadId, &Upload)>> {
        let vault = self.get(arn)?;
        let from = match marker {
            None => Bound::Unbounded,
            Some(marker) => {
                let id: UploadId = marker.parse().map_err(|_| invalid_marker(marker))?;
                Bound::Included(id)
            }
        };
        let rest = vault.uploads.range::<UploadId, _>((from, Bound::Unbounded));
        let in_progress = rest.filter(|(_, upload)| upload.in_progress(now));
        Ok(Page::cut(in_progress, limit, |(id, _)| id.to_string()))
    }

    /// An upload in progress, for ListParts.
    pub(super) fn upload(
        &self,
        arn: &VaultArn,
        id: &str,
        now: OffsetDateTime,
    ) -> Result<(&UploadId, &Upload)> {
        let vault = self.get(arn)?;
        let upload = id.parse().ok().and_then(|id: UploadId| vault.uploads.get_key_value(&id));
        upload.filter(|(_, upload)| upload.in_progress(now)).ok_or_else(|| upload_not_found(id))
    }

    fn of(
        &self,
        account: &AccountId,
        region: &Region,
    ) -> impl Iterator<Item = (&VaultArn, &Vault)> {
        self.vaults.iter().filter(move |(arn, _)| arn.account == *account && arn.region == *region)
    }

    fn upload_mut(&mut self, arn: &VaultArn, id: &str, now: OffsetDateTime) -> Result<&mut Upload> {
        let vault = self.vaults.get_mut(arn).ok_or_else(|| vault_not_found(arn))?;
        vault.upload_mut(id, now)
    }

    fn in_progress_mut(
        &mut self,
        arn: &VaultArn,
        id: &str,
        now: OffsetDateTime,
    ) -> Result<&mut Upload> {
        let upload = self.upload_mut(arn, id, now)?;
        if upload.in_progress(now) { Ok(upload) } else { Err(upload_not_found(id)) }
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
            Some(Inventory {
                date: counted_at(*completed),
                archives: archives + 1,
                bytes: bytes + size,
            })
        })
    }

    /// The uploads that Glacier has not forgotten, whatever became of them.
    pub(super) fn uploads(
        &self,
        now: OffsetDateTime,
    ) -> impl Iterator<Item = (&UploadId, &Upload)> {
        self.uploads.iter().filter(move |(_, upload)| upload.remembered(now))
    }

    fn upload_mut(&mut self, id: &str, now: OffsetDateTime) -> Result<&mut Upload> {
        let upload = id.parse().ok().and_then(|id: UploadId| self.uploads.get_mut(&id));
        upload.filter(|upload| upload.remembered(now)).ok_or_else(|| upload_not_found(id))
    }
}

impl Upload {
    fn remembered(&self, now: OffsetDateTime) -> bool {
        self.forgotten.is_none_or(|moment| now < moment)
    }

    fn in_progress(&self, now: OffsetDateTime) -> bool {
        matches!(self.status, Status::InProgress) && self.remembered(now)
    }

    /// ListParts: parts with the offset of their first byte, which is also the
    /// marker.
    pub(super) fn parts(&self, marker: Option<&str>, limit: usize) -> Result<Page<(u64, Part)>> {
        let from: u64 = match marker {
            None => 0,
            Some(marker) => marker.parse().map_err(|_| invalid_marker(marker))?,
        };
        let rest = self.parts.range(from..).map(|(first, part)| (*first, *part));
        Ok(Page::cut(rest, limit, |(first, _)| first.to_string()))
    }

    /// Joins the parts: no gap, and none but the last short.
    fn assemble(&self) -> Result<Archive> {
        let mut size = 0;
        for (first, part) in &self.parts {
            if *first != size {
                return Err(GlacierError::invalid(format!(
                    "Missing content range: the parts hold nothing for byte {size}."
                )));
            }
            size += part.length;
        }
        if self.parts.is_empty() {
            return Err(GlacierError::invalid("Missing content range: the upload has no parts."));
        }
        let hashes = self.parts.values().map(|part| part.tree_hash).collect();
        Ok(Archive { id: random_id(103), size, tree_hash: tree_hash::root(hashes) })
    }
}

impl<T> Page<T> {
    /// The first `limit` items; the key of the one after them is the marker.
    fn cut(mut items: impl Iterator<Item = T>, limit: usize, key: impl Fn(&T) -> String) -> Self {
        let page = items.by_ref().take(limit).collect();
        Self { items: page, marker: items.next().map(|next| key(&next)) }
    }
}

/// `bytes` random bytes in base64url, the alphabet of Glacier's identifiers.
pub(super) fn random_id(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    rand::rng().fill_bytes(&mut random);
    URL_SAFE_NO_PAD.encode(random)
}

/// 92 characters, as Glacier's own.
#[allow(clippy::expect_used, reason = "base64url is the alphabet of an upload ID")]
fn new_upload_id() -> UploadId {
    random_id(69).parse().expect("base64url of 69 bytes is an upload ID")
}

fn vault_not_found(arn: &VaultArn) -> GlacierError {
    GlacierError::not_found(format!("Vault not found for ARN: {arn}"))
}

fn upload_not_found(id: &str) -> GlacierError {
    GlacierError::not_found(format!("The upload ID was not found: {id}"))
}

fn invalid_marker(marker: &str) -> GlacierError {
    GlacierError::invalid(format!("Invalid marker: {marker}"))
}
