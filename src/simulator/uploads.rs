//! A multipart upload from its first part to its end, with Glacier's rules about
//! sizes and ranges, which are in bytes. Of the payloads only hashes are kept.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngCore;
use time::OffsetDateTime;

use super::{
    config::{AbortCompleted, Rules},
    error::GlacierError,
    listing::{Page, invalid_marker},
    tree_hash::{self, Hash, LEAF},
};
use crate::domain::UploadId;

const MAX_PARTS: u64 = 10_000;

type Result<T> = std::result::Result<T, GlacierError>;

pub(super) struct Upload {
    pub(super) id: UploadId,
    pub(super) description: Option<String>,
    pub(super) part_size: u64,
    pub(super) created: OffsetDateTime,
    /// By the offset of their first byte.
    pub(super) parts: BTreeMap<u64, Part>,
    pub(super) status: Status,
    /// When Glacier forgets the upload.
    forgotten: Option<OffsetDateTime>,
    rules: Rules,
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

impl Upload {
    /// InitiateMultipartUpload.
    pub(super) fn new(
        part_size: u64,
        description: Option<String>,
        rules: Rules,
        now: OffsetDateTime,
    ) -> Result<Self> {
        if !part_size.is_power_of_two() || !(LEAF..=4096 * LEAF).contains(&part_size) {
            return Err(GlacierError::invalid(format!(
                "Invalid part size: {part_size}. It must be a power of two, from 1 MB to 4 GB."
            )));
        }
        let printable = |text: &String| text.bytes().all(|b| (0x20..0x7f).contains(&b));
        if description.as_ref().is_some_and(|text| text.len() > 1024 || !printable(text)) {
            let message = "Invalid archive description: at most 1024 bytes of printable ASCII.";
            return Err(GlacierError::invalid(message));
        }
        Ok(Self {
            id: new_id(),
            description,
            part_size,
            created: now,
            parts: BTreeMap::new(),
            status: Status::InProgress,
            forgotten: rules.idle_expiry.map(|expiry| now + expiry),
            rules,
        })
    }

    /// Whether Glacier still knows the upload, whatever became of it.
    pub(super) fn is_remembered(&self, now: OffsetDateTime) -> bool {
        self.forgotten.is_none_or(|moment| now < moment)
    }

    pub(super) fn is_in_progress(&self, now: OffsetDateTime) -> bool {
        matches!(self.status, Status::InProgress) && self.is_remembered(now)
    }

    /// UploadMultipartPart: keeps the hash of the part that covers the bytes
    /// `first..=last`, in place of one that was there.
    pub(super) fn put_part(
        &mut self,
        (first, last): (u64, u64),
        tree_hash: Hash,
        now: OffsetDateTime,
    ) -> Result<()> {
        if !matches!(self.status, Status::InProgress) {
            return Err(not_found(self.id.as_str()));
        }
        let invalid = |why| {
            GlacierError::invalid(format!("Invalid Content-Range: bytes {first}-{last}/*. {why}"))
        };
        let length = last - first + 1;
        if !first.is_multiple_of(self.part_size) || length > self.part_size {
            return Err(invalid(format!(
                "It does not align with the part size {}.",
                self.part_size
            )));
        }
        if first / self.part_size >= MAX_PARTS {
            return Err(invalid(format!("An upload has at most {MAX_PARTS} parts.")));
        }
        self.parts.insert(first, Part { length, tree_hash });
        self.forgotten = self.rules.idle_expiry.map(|expiry| now + expiry);
        Ok(())
    }

    /// Receives one more whole part, of zeros.
    pub(super) fn put_next_part(&mut self, now: OffsetDateTime) -> Result<()> {
        let size = self.part_size;
        let first = self.parts.last_key_value().map_or(0, |(first, _)| first + size);
        self.put_part((first, first + size - 1), tree_hash::zeros(size / LEAF), now)
    }

    /// The size and the tree hash of the archive that the parts make.
    pub(super) fn whole(&self) -> Result<(u64, Hash)> {
        self.assemble().map(|archive| (archive.size, archive.tree_hash))
    }

    /// CompleteMultipartUpload: the parts must join to an archive of `size` bytes
    /// with this tree hash. Repeated, it gives the same archive.
    pub(super) fn complete(
        &mut self,
        size: u64,
        tree_hash: Hash,
        now: OffsetDateTime,
    ) -> Result<Archive> {
        let archive = match &self.status {
            Status::InProgress => self.assemble()?,
            Status::Completed(archive) => archive.clone(),
            Status::Aborted => return Err(not_found(self.id.as_str())),
        };
        if archive.size != size {
            return Err(GlacierError::invalid(format!("Invalid x-amz-archive-size: {size}")));
        }
        if archive.tree_hash != tree_hash {
            let hash = hex::encode(tree_hash);
            return Err(GlacierError::invalid(format!("Invalid x-amz-sha256-tree-hash: {hash}")));
        }
        if let Status::InProgress = self.status {
            self.status = Status::Completed(archive.clone());
            self.forgotten = Some(now + self.rules.abort_grace);
        }
        Ok(archive)
    }

    /// Joins the parts: no gap, and none but the last short.
    fn assemble(&self) -> Result<Archive> {
        let mut size = 0;
        for (first, part) in &self.parts {
            if *first != size {
                return Err(GlacierError::invalid(format!(
                    "Missing content range: no part begins at byte {size}."
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

    /// AbortMultipartUpload: repeated, it succeeds while the grace lasts.
    pub(super) fn abort(&mut self, now: OffsetDateTime) -> Result<()> {
        match self.status {
            Status::InProgress => {
                self.status = Status::Aborted;
                self.forgotten = Some(now + self.rules.abort_grace);
                self.parts.clear();
                Ok(())
            }
            Status::Aborted => Ok(()),
            Status::Completed(_) => Err(match self.rules.abort_completed {
                AbortCompleted::NotFound => not_found(self.id.as_str()),
                AbortCompleted::Invalid => {
                    GlacierError::invalid(format!("The upload is already completed: {}", self.id))
                }
            }),
        }
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
}

/// The refusal for an upload that is unknown, aborted or vanished.
pub(super) fn not_found(id: &str) -> GlacierError {
    GlacierError::not_found(format!("The upload ID was not found: {id}"))
}

/// `bytes` random bytes in base64url, the alphabet of Glacier's identifiers.
pub(super) fn random_id(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    rand::rng().fill_bytes(&mut random);
    URL_SAFE_NO_PAD.encode(random)
}

/// 92 characters, as Glacier's own.
#[allow(clippy::expect_used, reason = "base64url is the alphabet of an upload ID")]
fn new_id() -> UploadId {
    random_id(69).parse().expect("base64url of 69 bytes is an upload ID")
}
