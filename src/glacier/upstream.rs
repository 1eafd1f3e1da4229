//! The client of the real Glacier: the five operations, each behind a [`Permit`].

use std::collections::BTreeMap;

use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_glacier::{Client, config, operation::RequestId};
use serde::Serialize;
use utoipa::ToSchema;

use super::{AccountId, Operation, Region, UpstreamError, VaultName};
use crate::{
    config::Aws,
    glacier::UploadId,
    policy::{Permit, Target},
};

/// What Glacier answered, with the ID under which AWS knows the request.
#[derive(Debug)]
pub struct Reply<T> {
    /// The answer itself.
    pub value: T,
    /// `x-amzn-RequestId`.
    pub request_id: Option<String>,
}

/// A page's place in a list: where it begins, and how many entries it may have.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The marker of the page before.
    pub marker: Option<String>,
    /// At most this many entries.
    pub limit: Option<i32>,
}

/// A multipart upload in progress.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Upload {
    /// The upload's ID, base64url characters. May begin with `-`.
    #[schema(
        example = "OW2fM5iVylEpFEMM9_HpKowRapC3vn5sSL39_396UW9zLFUWVrnRHaPjUJddQ5OxSHVXjYtrN47NBZ-khxOjyEXAMPLE"
    )]
    pub upload_id: String,
    /// The vault's ARN.
    #[schema(example = "arn:aws:glacier:eu-central-1:111122223333:vaults/photos")]
    pub vault_arn: String,
    /// What the uploader wrote about the archive.
    #[schema(example = "photos 2026-11, part 2 of 3")]
    pub archive_description: Option<String>,
    /// The size of every part but the last, in bytes.
    #[schema(example = 4194304)]
    pub part_size_in_bytes: i64,
    /// When the upload was initiated (UTC).
    #[schema(format = DateTime, example = "2026-11-20T08:15:30.000Z")]
    pub creation_date: String,
}

/// One page of a vault's uploads.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UploadPage {
    /// The uploads, in no promised order.
    pub uploads: Vec<Upload>,
    /// Send it as `marker` for the next page; `null` on the last.
    #[schema(required, example = json!(null))]
    pub marker: Option<String>,
}

/// A part that an upload has received.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// First and last byte of the part in the archive.
    #[schema(example = "0-4194303")]
    pub range_in_bytes: String,
    /// The part's SHA-256 tree hash, in hexadecimal.
    #[schema(example = "01d34dabf7be316472c93b1ef80721f5d4e6a3c4d7a2f1b0c9e8d7f6a5b4c3d2")]
    pub sha256_tree_hash: String,
}

/// An upload with one page of its parts.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartPage {
    /// The upload.
    #[serde(flatten)]
    pub upload: Upload,
    /// The parts, by their place in the archive.
    pub parts: Vec<Part>,
    /// Send it as `marker` for the next page; `null` on the last.
    #[schema(required, example = json!(null))]
    pub marker: Option<String>,
}

/// A vault.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Vault {
    /// The vault's ARN.
    #[schema(example = "arn:aws:glacier:eu-central-1:111122223333:vaults/photos")]
    pub vault_arn: String,
    /// The vault's name.
    #[schema(example = "photos")]
    pub vault_name: String,
    /// When the vault was created (UTC).
    #[schema(format = DateTime, example = "2024-03-20T17:03:43.221Z")]
    pub creation_date: String,
    /// When Glacier last took the vault's inventory (UTC); `null` before the first.
    #[schema(format = DateTime, example = "2026-11-22T03:12:00.000Z")]
    pub last_inventory_date: Option<String>,
    /// Archives as of the last inventory.
    #[schema(example = 192)]
    pub number_of_archives: i64,
    /// Bytes as of the last inventory.
    #[schema(example = 78088912)]
    pub size_in_bytes: i64,
}

/// One page of an account's vaults.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultPage {
    /// The vaults that the caller may describe. A page may be empty and yet not
    /// be the last.
    pub vaults: Vec<Vault>,
    /// Send it as `marker` for the next page; `null` on the last.
    #[schema(required, example = json!(null))]
    pub marker: Option<String>,
}

/// Clients of Glacier, one for each region that the gateway serves.
#[derive(Clone, Debug)]
pub struct Upstream {
    clients: BTreeMap<Region, Client>,
}

impl Upstream {
    /// Builds the clients. Credentials come from AWS's default chain unless given.
    /// Nothing is sent yet.
    pub async fn new(settings: &Aws, credentials: Option<SharedCredentialsProvider>) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(settings.connect_timeout)
            .read_timeout(settings.read_timeout)
            .operation_attempt_timeout(settings.attempt_timeout)
            .operation_timeout(settings.operation_timeout)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(config::Region::new(settings.region.as_str().to_owned()))
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(settings.max_attempts));
        if let Some(credentials) = credentials {
            loader = loader.credentials_provider(credentials);
        }
        let mut shared = loader.load().await.into_builder();
        // Not the loader's `endpoint_url`: that one would also redirect STS.
        shared.set_endpoint_url(
            settings.endpoint_url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned()),
        );
        let shared = shared.build();
        let client = |region: &Region| (region.clone(), regional(&shared, region));
        Self { clients: settings.regions.iter().chain([&settings.region]).map(client).collect() }
    }

    /// The regions that can be asked for.
    pub fn regions(&self) -> impl Iterator<Item = &Region> {
        self.clients.keys()
    }

    /// Glacier's AbortMultipartUpload. Repeating it does no harm: Glacier answers
    /// success for a while and "not found" later.
    ///
    /// # Errors
    /// As Glacier answers; see [`UpstreamError`].
    pub async fn abort_multipart_upload(
        &self,
        permit: &Permit,
        upload: &UploadId,
    ) -> Result<Reply<()>, UpstreamError> {
        let (client, account, vault) = self.vault(permit, Operation::AbortMultipartUpload)?;
        let output = client
            .abort_multipart_upload()
            .account_id(account.as_str())
            .vault_name(vault.as_str())
            .upload_id(upload.as_str())
            .send()
            .await
            .map_err(UpstreamError::from_sdk)?;
        Ok(reply(&output, ()))
    }

    /// Glacier's ListMultipartUploads.
    ///
    /// # Errors
    /// As Glacier answers; see [`UpstreamError`].
    pub async fn list_multipart_uploads(
        &self,
        permit: &Permit,
        page: Page,
    ) -> Result<Reply<UploadPage>, UpstreamError> {
        let (client, account, vault) = self.vault(permit, Operation::ListMultipartUploads)?;
        let output = client
            .list_multipart_uploads()
            .account_id(account.as_str())
            .vault_name(vault.as_str())
            .set_marker(page.marker)
            .set_limit(page.limit)
            .send()
            .await
            .map_err(UpstreamError::from_sdk)?;
        let uploads = output.uploads_list().iter().map(|upload| Upload {
            upload_id: text(upload.multipart_upload_id()),
            vault_arn: text(upload.vault_arn()),
            archive_description: upload.archive_description().map(str::to_owned),
            part_size_in_bytes: upload.part_size_in_bytes(),
            creation_date: text(upload.creation_date()),
        });
        let page = UploadPage { uploads: uploads.collect(), marker: output.marker.clone() };
        Ok(reply(&output, page))
    }

    /// Glacier's ListParts.
    ///
    /// # Errors
    /// As Glacier answers; see [`UpstreamError`].
    pub async fn list_parts(
        &self,
        permit: &Permit,
        upload: &UploadId,
        page: Page,
    ) -> Result<Reply<PartPage>, UpstreamError> {
        let (client, account, vault) = self.vault(permit, Operation::ListParts)?;
        let output = client
            .list_parts()
            .account_id(account.as_str())
            .vault_name(vault.as_str())
            .upload_id(upload.as_str())
            .set_marker(page.marker)
            .set_limit(page.limit)
            .send()
            .await
            .map_err(UpstreamError::from_sdk)?;
        let parts = output.parts().iter().map(|part| Part {
            range_in_bytes: text(part.range_in_bytes()),
            sha256_tree_hash: text(part.sha256_tree_hash()),
        });
        let page = PartPage {
            upload: Upload {
                upload_id: text(output.multipart_upload_id()),
                vault_arn: text(output.vault_arn()),
                archive_description: output.archive_description().map(str::to_owned),
                part_size_in_bytes: output.part_size_in_bytes(),
                creation_date: text(output.creation_date()),
            },
            parts: parts.collect(),
            marker: output.marker.clone(),
        };
        Ok(reply(&output, page))
    }

    /// Glacier's DescribeVault.
    ///
    /// # Errors
    /// As Glacier answers; see [`UpstreamError`].
    pub async fn describe_vault(&self, permit: &Permit) -> Result<Reply<Vault>, UpstreamError> {
        let (client, account, vault) = self.vault(permit, Operation::DescribeVault)?;
        let output = client
            .describe_vault()
            .account_id(account.as_str())
            .vault_name(vault.as_str())
            .send()
            .await
            .map_err(UpstreamError::from_sdk)?;
        let vault = Vault {
            vault_arn: text(output.vault_arn()),
            vault_name: text(output.vault_name()),
            creation_date: text(output.creation_date()),
            last_inventory_date: output.last_inventory_date().map(str::to_owned),
            number_of_archives: output.number_of_archives(),
            size_in_bytes: output.size_in_bytes(),
        };
        Ok(reply(&output, vault))
    }

    /// Glacier's ListVaults. The caller of this method leaves out what its own
    /// caller may not see.
    ///
    /// # Errors
    /// As Glacier answers; see [`UpstreamError`].
    pub async fn list_vaults(
        &self,
        permit: &Permit,
        page: Page,
    ) -> Result<Reply<VaultPage>, UpstreamError> {
        let Target::Account { region, account } = permit.resource().target() else {
            return Err(UpstreamError::permit_mismatch());
        };
        let output = self
            .client(permit, Operation::ListVaults, region)?
            .list_vaults()
            .account_id(account.as_str())
            .set_marker(page.marker)
            .set_limit(page.limit)
            .send()
            .await
            .map_err(UpstreamError::from_sdk)?;
        let vaults = output.vault_list().iter().map(|vault| Vault {
            vault_arn: text(vault.vault_arn()),
            vault_name: text(vault.vault_name()),
            creation_date: text(vault.creation_date()),
            last_inventory_date: vault.last_inventory_date().map(str::to_owned),
            number_of_archives: vault.number_of_archives(),
            size_in_bytes: vault.size_in_bytes(),
        });
        let page = VaultPage { vaults: vaults.collect(), marker: output.marker.clone() };
        Ok(reply(&output, page))
    }

    /// The client and the vault that `permit` speaks of.
    fn vault<'a>(
        &'a self,
        permit: &'a Permit,
        operation: Operation,
    ) -> Result<(&'a Client, &'a AccountId, &'a VaultName), UpstreamError> {
        match permit.resource().target() {
            Target::Vault(arn) => {
                Ok((self.client(permit, operation, &arn.region)?, &arn.account, &arn.vault))
            }
            Target::Account { .. } => Err(UpstreamError::permit_mismatch()),
        }
    }

    fn client(
        &self,
        permit: &Permit,
        operation: Operation,
        region: &Region,
    ) -> Result<&Client, UpstreamError> {
        if permit.operation() != operation {
            return Err(UpstreamError::permit_mismatch());
        }
        self.clients.get(region).ok_or_else(UpstreamError::permit_mismatch)
    }
}

fn regional(shared: &SdkConfig, region: &Region) -> Client {
    let region = config::Region::new(region.as_str().to_owned());
    Client::from_conf(config::Builder::from(shared).region(region).build())
}

fn reply<T>(output: &impl RequestId, value: T) -> Reply<T> {
    Reply { value, request_id: output.request_id().map(str::to_owned) }
}

/// Glacier always sends these; the SDK's model only does not say so.
fn text(field: Option<&str>) -> String {
    field.unwrap_or_default().to_owned()
}
