//! The client of the real Glacier: the five operations, each behind a [`Permit`].

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use aws_config::{BehaviorVersion, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_glacier::{Client, config};

use super::{
    Page, Part, PartPage, Reply, Upload, UploadPage, UpstreamError, Vault, VaultPage,
    direct::{self, Attempt, DirectAbort, Refusal, SeenCredentials},
    response::{Attempts, CheckResponse, Sent},
};
use crate::{
    audit::Intent,
    config::Aws,
    domain::{
        Operation, Region, RegionalAccount, UploadId,
        action::{
            AbortMultipartUpload, Action, DescribeVault, ListMultipartUploads, ListParts,
            ListVaults,
        },
    },
    policy::Permit,
};

/// Clients of Glacier, one for each region that the gateway serves.
pub struct Upstream {
    regions: BTreeMap<Region, Regional>,
    /// Time limits of a call, and of its attempts.
    timeouts: TimeoutConfig,
    retries: RetryConfig,
}

/// What asks one region's Glacier.
struct Regional {
    client: Client,
    direct_abort: Option<DirectAbort>,
}

impl Upstream {
    /// Builds the clients. Credentials come from AWS's default chain unless given.
    /// Nothing is sent yet.
    pub async fn new(settings: &Aws, credentials: Option<SharedCredentialsProvider>) -> Self {
        let retries = RetryConfig::standard().with_max_attempts(settings.max_attempts);
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(settings.connect_timeout)
            .read_timeout(settings.read_timeout)
            .operation_attempt_timeout(settings.attempt_timeout)
            .operation_timeout(settings.operation_timeout)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(config::Region::new(settings.region.as_str().to_owned()))
            .timeout_config(timeouts.clone())
            .retry_config(retries.clone());
        if let Some(credentials) = credentials {
            loader = loader.credentials_provider(credentials);
        }
        let shared = loader.load().await;
        let seen = SeenCredentials::default();
        let chain = shared.credentials_provider().map(|chain| seen.note(chain));
        let mut shared = shared.into_builder();
        shared.set_credentials_provider(chain);
        // Not the loader's `endpoint_url`: that one would also redirect STS.
        shared.set_endpoint_url(
            settings.endpoint_url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned()),
        );
        let shared = shared.build();
        // With a single attempt there would be none left for the SDK's verdict.
        let tls = (settings.max_attempts > 1).then(direct::tls);
        let regional = |region: &Region| {
            let mut config = config::Builder::from(&shared)
                .region(config::Region::new(region.as_str().to_owned()))
                .interceptor(CheckResponse);
            let direct_abort = tls.clone().map(|tls| {
                let direct = DirectAbort::new(settings, seen.clone(), tls);
                config.push_interceptor(direct.learn());
                direct
            });
            (region.clone(), Regional { client: Client::from_conf(config.build()), direct_abort })
        };
        let regions = settings.regions.iter().chain([&settings.region]).map(regional).collect();
        Self { regions, timeouts, retries }
    }

    /// The regions that can be asked for.
    pub fn regions(&self) -> impl Iterator<Item = &Region> {
        self.regions.keys()
    }

    /// Glacier's AbortMultipartUpload. Repeating it does no harm: Glacier answers
    /// success for a while and "not found" later.
    ///
    /// # Errors
    /// As Glacier answers; see [`UpstreamError`].
    pub async fn abort_multipart_upload(
        &self,
        permit: &Permit<AbortMultipartUpload>,
        _on_record: &Intent,
        upload: &UploadId,
    ) -> Result<Reply<()>, UpstreamError> {
        let arn = permit.resource();
        let regional = self.regional(permit, &arn.region)?;
        let started = Instant::now();
        let attempt = match &regional.direct_abort {
            Some(direct) => direct.attempt(arn, upload).await,
            None => Attempt::NotMade,
        };
        let attempts = Attempts::default();
        let again = match attempt {
            Attempt::Aborted(reply) => return Ok(reply),
            Attempt::Refused(refusal) => {
                attempts.made(refusal.error.outcome_is_unknown());
                self.back_off(refusal, started).await?;
                true
            }
            Attempt::Failed => {
                attempts.made(true);
                true
            }
            Attempt::NotMade => false,
        };
        let call = regional
            .client
            .abort_multipart_upload()
            .account_id(arn.account.as_str())
            .vault_name(arn.vault.as_str())
            .upload_id(upload.as_str())
            .customize()
            .interceptor(attempts.clone());
        let call = if again { call.config_override(self.after(started)) } else { call };
        // In a box, since it is large and every request's future holds its place.
        let output = Box::pin(call.send()).await;
        let output =
            output.map_err(|error| attempts.error(Operation::AbortMultipartUpload, error))?;
        Ok(attempts.reply(&output, ()))
    }

    /// Waits before the second attempt. If there is no time for one, the first one's
    /// answer stands.
    async fn back_off(&self, refusal: Refusal, started: Instant) -> Result<(), UpstreamError> {
        let backoff = refusal.backoff(&self.retries, rand::random());
        if backoff >= self.left(started) {
            return Err(refusal.error);
        }
        tokio::time::sleep(backoff).await;
        Ok(())
    }

    /// What is left of a call's attempts and time after its first attempt.
    fn after(&self, started: Instant) -> config::Builder {
        let timeouts = self.timeouts.to_builder().operation_timeout(self.left(started)).build();
        let retries = self.retries.clone();
        // The SDK's backoff doubles with each attempt, and it does not know of one.
        let retries = retries
            .with_max_attempts(self.retries.max_attempts() - 1)
            .with_initial_backoff(2 * self.retries.initial_backoff());
        config::Builder::new().timeout_config(timeouts).retry_config(retries)
    }

    fn left(&self, started: Instant) -> Duration {
        let limit = self.timeouts.operation_timeout().unwrap_or_default();
        limit.saturating_sub(started.elapsed())
    }

    /// Glacier's ListMultipartUploads.
    ///
    /// # Errors
    /// As Glacier answers; see [`UpstreamError`].
    pub async fn list_multipart_uploads(
        &self,
        permit: &Permit<ListMultipartUploads>,
        page: Page,
    ) -> Result<Reply<UploadPage>, UpstreamError> {
        let arn = permit.resource();
        let client = &self.regional(permit, &arn.region)?.client;
        let attempts = Attempts::default();
        let output = client
            .list_multipart_uploads()
            .account_id(arn.account.as_str())
            .vault_name(arn.vault.as_str())
            .set_marker(page.marker)
            .set_limit(page.limit)
            .customize()
            .interceptor(attempts.clone())
            .send()
            .await
            .map_err(|error| attempts.error(Operation::ListMultipartUploads, error))?;
        let sent = Sent(Operation::ListMultipartUploads);
        let uploads = sent.list(&output.uploads_list)?.iter().map(|upload| {
            Ok(Upload {
                upload_id: sent.text(upload.multipart_upload_id())?,
                vault_arn: sent.text(upload.vault_arn())?,
                archive_description: upload.archive_description().map(str::to_owned),
                part_size_in_bytes: upload.part_size_in_bytes(),
                creation_date: sent.text(upload.creation_date())?,
            })
        });
        let uploads = uploads.collect::<Result<_, _>>()?;
        let page = UploadPage { uploads, marker: output.marker.clone() };
        Ok(attempts.reply(&output, page))
    }

    /// Glacier's ListParts.
    ///
    /// # Errors
    /// As Glacier answers; see [`UpstreamError`].
    pub async fn list_parts(
        &self,
        permit: &Permit<ListParts>,
        upload: &UploadId,
        page: Page,
    ) -> Result<Reply<PartPage>, UpstreamError> {
        let arn = permit.resource();
        let client = &self.regional(permit, &arn.region)?.client;
        let attempts = Attempts::default();
        let output = client
            .list_parts()
            .account_id(arn.account.as_str())
            .vault_name(arn.vault.as_str())
            .upload_id(upload.as_str())
            .set_marker(page.marker)
            .set_limit(page.limit)
            .customize()
            .interceptor(attempts.clone())
            .send()
            .await
            .map_err(|error| attempts.error(Operation::ListParts, error))?;
        let sent = Sent(Operation::ListParts);
        let parts = sent.list(&output.parts)?.iter().map(|part| {
            Ok(Part {
                range_in_bytes: sent.text(part.range_in_bytes())?,
                sha256_tree_hash: sent.text(part.sha256_tree_hash())?,
            })
        });
        let page = PartPage {
            parts: parts.collect::<Result<_, _>>()?,
            upload: Upload {
                upload_id: sent.text(output.multipart_upload_id())?,
                vault_arn: sent.text(output.vault_arn())?,
                archive_description: output.archive_description().map(str::to_owned),
                part_size_in_bytes: output.part_size_in_bytes(),
                creation_date: sent.text(output.creation_date())?,
            },
            marker: output.marker.clone(),
        };
        Ok(attempts.reply(&output, page))
    }

    /// Glacier's DescribeVault.
    ///
    /// # Errors
    /// As Glacier answers; see [`UpstreamError`].
    pub async fn describe_vault(
        &self,
        permit: &Permit<DescribeVault>,
    ) -> Result<Reply<Vault>, UpstreamError> {
        let arn = permit.resource();
        let client = &self.regional(permit, &arn.region)?.client;
        let attempts = Attempts::default();
        let output = client
            .describe_vault()
            .account_id(arn.account.as_str())
            .vault_name(arn.vault.as_str())
            .customize()
            .interceptor(attempts.clone())
            .send()
            .await
            .map_err(|error| attempts.error(Operation::DescribeVault, error))?;
        let sent = Sent(Operation::DescribeVault);
        let vault = Vault {
            vault_arn: sent.text(output.vault_arn())?,
            vault_name: sent.text(output.vault_name())?,
            creation_date: sent.text(output.creation_date())?,
            last_inventory_date: output.last_inventory_date().map(str::to_owned),
            number_of_archives: output.number_of_archives(),
            size_in_bytes: output.size_in_bytes(),
        };
        Ok(attempts.reply(&output, vault))
    }

    /// Glacier's ListVaults. The caller of this method leaves out what its own
    /// caller may not see.
    ///
    /// # Errors
    /// As Glacier answers; see [`UpstreamError`].
    pub async fn list_vaults(
        &self,
        permit: &Permit<ListVaults>,
        page: Page,
    ) -> Result<Reply<VaultPage>, UpstreamError> {
        let RegionalAccount { region, account } = permit.resource();
        let attempts = Attempts::default();
        let output = self
            .regional(permit, region)?
            .client
            .list_vaults()
            .account_id(account.as_str())
            .set_marker(page.marker)
            .set_limit(page.limit)
            .customize()
            .interceptor(attempts.clone())
            .send()
            .await
            .map_err(|error| attempts.error(Operation::ListVaults, error))?;
        let sent = Sent(Operation::ListVaults);
        let vaults = sent.list(&output.vault_list)?.iter().map(|vault| {
            Ok(Vault {
                vault_arn: sent.text(vault.vault_arn())?,
                vault_name: sent.text(vault.vault_name())?,
                creation_date: sent.text(vault.creation_date())?,
                last_inventory_date: vault.last_inventory_date().map(str::to_owned),
                number_of_archives: vault.number_of_archives(),
                size_in_bytes: vault.size_in_bytes(),
            })
        });
        let vaults = vaults.collect::<Result<_, _>>()?;
        let page = VaultPage { vaults, marker: output.marker.clone() };
        Ok(attempts.reply(&output, page))
    }

    fn regional<A: Action>(
        &self,
        _permit: &Permit<A>,
        region: &Region,
    ) -> Result<&Regional, UpstreamError> {
        let unknown = || UpstreamError::region_not_served(A::OPERATION);
        self.regions.get(region).ok_or_else(unknown)
    }
}
