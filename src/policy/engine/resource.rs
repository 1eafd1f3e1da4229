//! What a request is about: a vault, or an account whose vaults are listed.

use std::{fmt, sync::Arc};

use crate::domain::{AccountId, Operation, Region, VaultArn};

/// The resource of a request, as policies see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    region: Region,
    owner: AccountId,
    /// The text that `Resource` patterns are held against.
    text: Arc<str>,
}

impl Resource {
    /// A vault, matched by its ARN.
    pub fn vault(vault: VaultArn) -> Self {
        Self { text: vault.to_string().into(), region: vault.region, owner: vault.account }
    }

    /// An account in a region, for an operation that takes no resource (`ListVaults`):
    /// matched as `*`, so that only `"Resource": "*"` reaches it (IAM User Guide, "IAM
    /// JSON policy elements: Resource").
    pub fn account(region: Region, account: AccountId) -> Self {
        Self { text: "*".into(), region, owner: account }
    }

    /// What an operation on this vault is about: the vault, or its account for
    /// `ListVaults`.
    pub fn for_operation(&self, operation: Operation) -> Self {
        match operation {
            Operation::ListVaults => Self::account(self.region().clone(), self.owner().clone()),
            _ => self.clone(),
        }
    }

    /// The region, for `aws:RequestedRegion`.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// The account that owns the resource, for `aws:ResourceAccount`.
    pub fn owner(&self) -> &AccountId {
        &self.owner
    }

    /// The same as [`Self::as_str`], to keep.
    pub fn text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    /// The text that policies match: the vault's ARN, or `*`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// A text is not the ARN of a vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a resource is a vault's ARN, arn:aws:glacier:REGION:ACCOUNT:vaults/NAME")]
pub struct NoVault;

impl std::str::FromStr for Resource {
    type Err = NoVault;

    /// Reads a vault's ARN.
    fn from_str(text: &str) -> Result<Self, NoVault> {
        let [_, _, _, region, account, name] = text.splitn(6, ':').collect::<Vec<_>>()[..] else {
            return Err(NoVault);
        };
        let name = name.strip_prefix("vaults/").ok_or(NoVault)?;
        let vault = Self::vault(VaultArn {
            region: region.parse().map_err(|_| NoVault)?,
            account: account.parse().map_err(|_| NoVault)?,
            vault: name.parse().map_err(|_| NoVault)?,
        });
        // The partition and the service must be the region's and Glacier's.
        if vault.as_str() == text { Ok(vault) } else { Err(NoVault) }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
