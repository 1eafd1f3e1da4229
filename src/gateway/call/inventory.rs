//! What looks through all vaults of an account, and who may see what it found.

use time::OffsetDateTime;

use super::{super::refusal::Refusal, Call};
use crate::{
    domain::{
        AccountId, GatewayAction, Operation, RegionalAccount, UploadId, VaultArn,
        action::{ListParts, ListVaults},
    },
    glacier::{Page, Pages, Part, Upload, UpstreamError, VaultPage},
    policy::{Permit, Reach, Resource},
    store::Store,
};

impl Call {
    /// Lists an account's vaults, also those that the caller may not describe: what the
    /// caller may do in each is decided when it is asked of it.
    pub async fn list_all_vaults(
        &self,
        account: RegionalAccount,
        page: Page,
    ) -> Result<VaultPage, Refusal> {
        let permit: Permit<ListVaults> = self.authorize(account)?;
        let route = self.route(&permit).await?;
        self.read(&route, self.gateway.upstream.list_vaults(&route, page)).await
    }

    /// Lists all of an upload's parts. `turn` is waited for before each request to Glacier.
    pub async fn list_all_parts<F: Future<Output = ()>>(
        &self,
        vault: VaultArn,
        upload: &UploadId,
        turn: impl Fn() -> F,
    ) -> Result<(Upload, Vec<Part>), Refusal> {
        let permit: Permit<ListParts> = self.authorize_upload(vault, upload).await?;
        let route = self.route(&permit).await?;
        let upstream = &self.gateway.upstream;
        let listing = async {
            let (mut all, mut pages) = (Vec::new(), Pages::of_parts());
            loop {
                turn().await;
                let slot = self.slot(&permit).await?;
                let listed = upstream.list_parts(&route, upload, pages.next());
                let page = self.forward(&route, slot, listed).await?;
                all.extend(page.parts);
                if !pages.go_on(page.marker)? {
                    return Ok((page.upload, all));
                }
            }
        };
        let listed = listing.await;
        let result = listed.as_ref().map_or_else(UpstreamError::outcome, |_| "ok");
        self.answered(result).await?;
        Ok(listed?)
    }

    /// Whether the policies let the caller perform `operation` on a vault. Nothing is noted.
    pub fn may_with_vault(&self, operation: Operation, vault: VaultArn) -> bool {
        let resource = Resource::vault(vault);
        self.policies.decide(&self.principal, operation, resource, &self.context).is_ok()
    }

    /// Whether the policies let the caller list the parts of an upload that was initiated at
    /// `created`. Nothing is noted.
    pub fn may_look_at(
        &self,
        vault: VaultArn,
        created: OffsetDateTime,
        description: Option<&str>,
    ) -> bool {
        let age = OffsetDateTime::now_utc() - created;
        let context = self.context.clone().upload(age, description);
        let resource = Resource::vault(vault);
        self.policies.decide(&self.principal, Operation::ListParts, resource, &context).is_ok()
    }

    /// Whether the policies let the caller do one of the gateway's own actions with an
    /// account. Nothing is noted.
    pub fn may_with_account(&self, action: GatewayAction, account: &AccountId) -> bool {
        let context = self.context.clone().about(account.clone());
        let reach = Reach::Team(account.as_str());
        self.policies.decide_own(&self.principal, action, reach, &context).is_ok()
    }

    /// Of `accounts` those with which the caller may do one of the gateway's own actions. The
    /// decision about one of them is noted.
    ///
    /// # Errors
    /// It may do so with none.
    pub fn allowed_accounts(
        &self,
        action: GatewayAction,
        accounts: &[AccountId],
    ) -> Result<Vec<AccountId>, Refusal> {
        let mut allowed = accounts.to_vec();
        allowed.retain(|account| self.may_with_account(action, account));
        match allowed.first().or(accounts.first()) {
            Some(one) => {
                let context = self.context.clone().about(one.clone());
                self.may_in(action, Reach::Team(one.as_str()), &context)?;
            }
            None => self.may(action, Reach::Any)?,
        }
        Ok(allowed)
    }

    /// The store.
    ///
    /// # Errors
    /// There is none.
    pub fn store(&self) -> Result<&Store, Refusal> {
        self.gateway.trail.store().ok_or(Refusal::StoreRequired)
    }
}
