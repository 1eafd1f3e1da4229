//! Vaults and uploads to begin with.

use std::{fmt::Display, str::FromStr};

use serde::{Deserialize, Deserializer, de};
use time::{Duration, OffsetDateTime};

use super::{error::GlacierError, tree_hash, vaults::Vaults};
use crate::domain::{AccountId, Region, UploadId, VaultArn, VaultName};

/// A vault to create, with uploads in progress.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SeedVault {
    /// The account that owns the vault.
    #[serde(deserialize_with = "parse")]
    pub account_id: AccountId,
    /// The vault's region.
    #[serde(deserialize_with = "parse")]
    pub region: Region,
    /// The vault's name.
    #[serde(deserialize_with = "parse")]
    pub vault_name: VaultName,
    /// The uploads in progress.
    #[serde(default)]
    pub uploads: Vec<SeedUpload>,
}

/// An upload to start.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SeedUpload {
    /// What it says it uploads; at most 1,024 bytes of printable ASCII.
    #[serde(default)]
    pub archive_description: Option<String>,
    /// The size of its parts in bytes: 1 MiB times a power of two.
    #[serde(default = "one_mib")]
    pub part_size_in_bytes: u64,
    /// How many parts it has received: whole ones, of zeros.
    #[serde(default)]
    pub parts: u64,
    /// How long ago it was started and received its parts, in seconds.
    #[serde(default)]
    pub age_seconds: u32,
}

impl SeedVault {
    pub(super) fn plant(
        &self,
        vaults: &mut Vaults,
        now: OffsetDateTime,
    ) -> Result<Vec<UploadId>, GlacierError> {
        let arn = VaultArn {
            region: self.region.clone(),
            account: self.account_id.clone(),
            vault: self.vault_name.clone(),
        };
        let age = |upload: &SeedUpload| Duration::seconds(upload.age_seconds.into());
        let oldest = self.uploads.iter().map(age).max().unwrap_or_default();
        vaults.create(arn.clone(), now - oldest)?;
        let start = |upload: &SeedUpload| {
            let started = now - age(upload);
            let size = upload.part_size_in_bytes;
            let description = upload.archive_description.clone();
            let planted = vaults.initiate(&arn, size, description, started)?;
            let tree_hash = tree_hash::zeros(size / tree_hash::LEAF);
            for part in 0..upload.parts {
                planted.put_part((part * size, (part + 1) * size - 1), tree_hash, started)?;
            }
            Ok(planted.id.clone())
        };
        self.uploads.iter().map(start).collect()
    }
}

fn one_mib() -> u64 {
    tree_hash::LEAF
}

fn parse<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}
