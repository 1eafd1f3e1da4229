//! The client of the real Glacier: the five operations, each behind a [`Permit`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use aws_config::{retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_glacier::config;

use super::{
    Account, Accounts, NotServed, Page, Part, PartPage, Reply, RoleStatus, Route, UnusableAccounts,
    Upload, UploadPage, UpstreamError, Vault, VaultPage,
    direct::{Attempt, Refusal},
    endpoints::{self, Endpoints},
    response::Sent,
    sessions::{Identity, Sessions},
};
use crate::{
    audit::Intent,
    config::Settings,
    domain::{
        Operation, Region, RegionalAccount, UploadId,
        action::{
            AbortMultipartUpload, Action, DescribeVault, ListMultipartUploads, ListParts,
            ListVaults,
        },
    },
    policy::Permit,
    reload::{Followed, Reloaded},
    telemetry::traces::Trace,
};

/// The clients of Glacier, in all accounts and regions that the gateway serves.
pub struct Upstream {
    accounts: Reloaded<Accounts, UnusableAccounts>,
    pub(super) sessions: Arc<Sessions>,
    /// Whether a folder of accounts is to be followed.
    follows: bool,
    /// Time limits of a call, and of its attempts.
    timeouts: TimeoutConfig,
    retries: RetryConfig,
}

impl Upstream {
    /// Builds the clients. Credentials of the gateway's own come from AWS's default chain
    /// unless given. Nothing is sent yet.
    ///
    /// # Errors
    /// Every mistake in the folder of accounts.
    pub async fn open(
        settings: &Settings,
        credentials: Option<SharedCredentialsProvider>,
    ) -> Result<Self, UnusableAccounts> {
        let aws = &settings.aws;
        let endpoints = Endpoints::new(aws, credentials).await;
        let sessions = Arc::new(Sessions::new(endpoints.sts()));
        let accounts = Accounts::follow(settings, endpoints)?;
        let (timeouts, retries) = (endpoints::timeouts(aws), endpoints::retries(aws));
        let follows = aws.accounts_directory.is_some();
        Ok(Self { accounts, sessions, follows, timeouts, retries })
    }

    /// Follows the folder of accounts, if there is one, until dropped.
    pub async fn keep_accounts_fresh(&self, followed: &Followed) {
        if self.follows {
            self.accounts.keep_fresh(followed).await;
        }
    }

    /// The accounts that are served now.
    pub fn accounts(&self) -> Arc<Accounts> {
        Arc::clone(&self.accounts.current())
    }

    /// How it went with the roles that somebody has tried to assume, by the accounts' names.
    pub fn role_statuses(&self) -> Vec<(String, RoleStatus)> {
        let accounts = self.accounts();
        let status = |account: &Account| {
            let status = self.sessions.status(account.role.as_ref()?)?;
            Some((accounts.name(account).to_owned(), status))
        };
        let mut statuses: Vec<_> = accounts.iter().filter_map(status).collect();
        statuses.sort_by(|(a, _), (b, _)| a.cmp(b));
        statuses
    }

    /// The account and region that a request names: `-` is the default account, and no region
    /// the default region.
    ///
    /// # Errors
    /// Which of them the gateway does not serve.
    pub fn locate(
        &self,
        account: &str,
        region: Option<&Region>,
    ) -> Result<RegionalAccount, NotServed> {
        self.accounts.current().locate(account, region)
    }

    /// The way to what is permitted, by what `accounts` says. If the account has a role, this
    /// waits for a session unless there is one. The spans of attempts go out from `trace`.
    ///
    /// # Errors
    /// When there is no session, or the account is no longer served.
    pub async fn route<'p, A: Action>(
        &self,
        accounts: &Accounts,
        permit: &'p Permit<A>,
        trace: &Trace,
    ) -> Result<Route<'p, A>, UpstreamError> {
        let not_served = || UpstreamError::not_served(A::OPERATION);
        let account = accounts.get(permit.account()).ok_or_else(not_served)?;
        let regional = account.regions.get(permit.region()).ok_or_else(not_served)?.clone();
        let session = match &account.role {
            None => None,
            Some(role) => {
                let session = accounts.session_for(account, permit.team());
                let identity = Identity::new(session, permit.principal(), permit.team());
                let mut span = trace.span("session");
                let session = self.sessions.get(role, identity).await;
                let session = session.map_err(|unusable| unusable.error(A::OPERATION));
                Some(session.inspect_err(|error| span.fail(error.kind.code()))?)
            }
        };
        Ok(Route { permit, regional, session, trace: trace.clone() })
    }

    /// Glacier's AbortMultipartUpload. Repeating it does no harm: Glacier answers
    /// success for a while and "not found" later.
    ///
    /// # Errors
    /// As Glacier answers; see [`UpstreamError`].
    pub async fn abort_multipart_upload(
        &self,
        route: &Route<'_, AbortMultipartUpload>,
        _on_record: &Intent,
        upload: &UploadId,
    ) -> Result<Reply<()>, UpstreamError> {
        let arn = route.permit.resource();
        let started = Instant::now();
        let session = route.session.as_ref().map(|session| session.credentials());
        let attempt = match &route.regional.direct_abort {
            Some(direct) => direct.attempt(arn, upload, session, &route.trace).await,
            None => Attempt::NotMade,
        };
        let attempts = route.attempts();
        let again = match attempt {
            Attempt::Aborted(reply) => return Ok(reply),
            Attempt::Refused(refusal) => {
                attempts.made(refusal.error.outcome_is_unknown(), refusal.error.throttled);
                self.back_off(refusal, started).await?;
                true
            }
            Attempt::Failed { sent } => {
                attempts.made(sent, false);
                true
            }
            Attempt::NotMade => false,
        };
        let call = route
            .client()
            .abort_multipart_upload()
            .account_id(arn.account.as_str())
            .vault_name(arn.vault.as_str())
            .upload_id(upload.as_str())
            .customize()
            .interceptor(attempts.clone());
        let call = match again {
            true => call.config_override(self.after(started, route.config())),
            false => route.signed(call),
        };
        // In a box, since it is large and every request's future holds its place.
        let output = Box::pin(call.send()).await;
        let output = output.map_err(|error| route.error(&attempts, error))?;
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
    fn after(&self, started: Instant, config: Option<config::Builder>) -> config::Builder {
        let timeouts = self.timeouts.to_builder().operation_timeout(self.left(started)).build();
        let retries = self.retries.clone();
        // The SDK's backoff doubles with each attempt, and it does not know of one.
        let retries = retries
            .with_max_attempts(self.retries.max_attempts() - 1)
            .with_initial_backoff(2 * self.retries.initial_backoff());
        config.unwrap_or_default().timeout_config(timeouts).retry_config(retries)
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
        route: &Route<'_, ListMultipartUploads>,
        page: Page,
    ) -> Result<Reply<UploadPage>, UpstreamError> {
        let arn = route.permit.resource();
        let attempts = route.attempts();
        let call = route
            .client()
            .list_multipart_uploads()
            .account_id(arn.account.as_str())
            .vault_name(arn.vault.as_str())
            .set_marker(page.marker)
            .set_limit(page.limit)
            .customize()
            .interceptor(attempts.clone());
        let output =
            route.signed(call).send().await.map_err(|error| route.error(&attempts, error))?;
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
        route: &Route<'_, ListParts>,
        upload: &UploadId,
        page: Page,
    ) -> Result<Reply<PartPage>, UpstreamError> {
        let arn = route.permit.resource();
        let attempts = route.attempts();
        let call = route
            .client()
            .list_parts()
            .account_id(arn.account.as_str())
            .vault_name(arn.vault.as_str())
            .upload_id(upload.as_str())
            .set_marker(page.marker)
            .set_limit(page.limit)
            .customize()
            .interceptor(attempts.clone());
        let output =
            route.signed(call).send().await.map_err(|error| route.error(&attempts, error))?;
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
        route: &Route<'_, DescribeVault>,
    ) -> Result<Reply<Vault>, UpstreamError> {
        let arn = route.permit.resource();
        let attempts = route.attempts();
        let call = route
            .client()
            .describe_vault()
            .account_id(arn.account.as_str())
            .vault_name(arn.vault.as_str())
            .customize()
            .interceptor(attempts.clone());
        let output =
            route.signed(call).send().await.map_err(|error| route.error(&attempts, error))?;
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
        route: &Route<'_, ListVaults>,
        page: Page,
    ) -> Result<Reply<VaultPage>, UpstreamError> {
        let RegionalAccount { account, .. } = route.permit.resource();
        let attempts = route.attempts();
        let call = route
            .client()
            .list_vaults()
            .account_id(account.as_str())
            .set_marker(page.marker)
            .set_limit(page.limit)
            .customize()
            .interceptor(attempts.clone());
        let output =
            route.signed(call).send().await.map_err(|error| route.error(&attempts, error))?;
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
}
