//! An authenticated call on its way through the core. Whatever asks for it, a door or
//! a job, only a [`Call`] leads to a permit and to Glacier.

mod accounts;
mod audit;
mod decide;
mod forward;
mod held;
mod inventory;
mod jobs;
mod lifecycle;

use std::{pin::pin, sync::Arc};

pub use self::{
    accounts::SeenAccount,
    jobs::{AskedGlacier, Attempted, JobUpload, Look, SeenUpload},
};
use super::{Gateway, callers::Admission, record::Recorder, refusal::Refusal};
use crate::{
    domain::{
        Operation, Principal, RegionalAccount, UploadId, VaultArn,
        action::{
            AbortMultipartUpload, DescribeVault, ListMultipartUploads, ListParts, ListVaults,
        },
    },
    glacier::{Accounts, Page, PartPage, UploadPage, Vault, VaultPage},
    policy::{Context, KeptContext, Permit, PolicySet, Resource},
    telemetry::traces::Trace,
};

/// A call whose caller is known.
pub struct Call {
    /// The gateway that serves it.
    pub gateway: Arc<Gateway>,
    principal: Arc<Principal>,
    recorder: Recorder,
    /// Where its spans go out from.
    trace: Trace,
    context: Context,
    /// The policies that decide all of the call, even if others replace them meanwhile.
    policies: Arc<PolicySet>,
    /// The accounts that policies are asked about, and on whose roles the call goes its way.
    accounts: Arc<Accounts>,
    /// Whether nobody waits for the answer.
    in_background: bool,
    /// Counts the call among those of its caller.
    admission: Admission,
}

impl Call {
    /// A call of `principal`'s. `context` holds what policies may ask about it, and
    /// `recorder` takes what is decided and what becomes of it.
    pub fn new(
        gateway: Arc<Gateway>,
        principal: Arc<Principal>,
        context: Context,
        recorder: Recorder,
    ) -> Self {
        let trace = {
            let mut record = recorder.edit();
            record.principal = Some(principal.clone());
            record.trace.clone()
        };
        let policies = Arc::clone(&gateway.policies.current());
        let accounts = gateway.upstream.accounts();
        let context = context.accounts(accounts.directory().clone());
        Self {
            gateway,
            principal,
            recorder,
            trace,
            context,
            policies,
            accounts,
            in_background: false,
            admission: Admission::default(),
        }
    }

    /// The same for a caller whose requests are counted: until it ends, this is one of them.
    pub fn admitted(mut self, admission: Admission) -> Self {
        self.admission = admission;
        self
    }

    /// The same for a job, or whatever else nobody waits for: it leaves room to those who
    /// wait for an answer.
    pub fn in_background(mut self) -> Self {
        self.in_background = true;
        self
    }

    /// Aborts an upload.
    pub async fn abort_multipart_upload(
        &self,
        vault: VaultArn,
        upload: &UploadId,
    ) -> Result<(), Refusal> {
        let permit: Permit<AbortMultipartUpload> = self.authorize_upload(vault, upload).await?;
        let route = self.route(&permit).await?;
        // Before the intent, so that an abort that is refused for overload changes no record.
        let slot = self.slot(&permit).await?;
        let intent = self.intent().await?;
        // Whatever ends the wait for Glacier's answer, the abort may have happened.
        self.recorder.edit().outcome = Some("unknown");
        let upstream = &self.gateway.upstream;
        let result = {
            // Pinned, since it is large, and each future that it is handed to would copy it.
            let answer = pin!(upstream.abort_multipart_upload(&route, &intent, upload));
            self.forward(&route, slot, answer).await
        };
        let mut record = self.recorder.edit();
        let outcome = match &result {
            Ok(()) => "aborted",
            Err(error) => error.outcome(),
        };
        // The log names errors of which more is known by their codes.
        record.outcome = match outcome {
            "refused-by-glacier" | "failed" => None,
            known => Some(known),
        };
        record.result = Some(outcome);
        intent.settle(outcome, record.error_code, record.asked());
        drop(record);
        Ok(result?)
    }

    /// Lists a vault's uploads.
    pub async fn list_multipart_uploads(
        &self,
        vault: VaultArn,
        page: Page,
    ) -> Result<UploadPage, Refusal> {
        let permit: Permit<ListMultipartUploads> = self.authorize(vault)?;
        let route = self.route(&permit).await?;
        self.read(&route, self.gateway.upstream.list_multipart_uploads(&route, page)).await
    }

    /// Lists an upload's parts.
    pub async fn list_parts(
        &self,
        vault: VaultArn,
        upload: &UploadId,
        page: Page,
    ) -> Result<PartPage, Refusal> {
        let permit: Permit<ListParts> = self.authorize_upload(vault, upload).await?;
        let route = self.route(&permit).await?;
        self.read(&route, self.gateway.upstream.list_parts(&route, upload, page)).await
    }

    /// Describes a vault.
    pub async fn describe_vault(&self, vault: VaultArn) -> Result<Vault, Refusal> {
        let permit: Permit<DescribeVault> = self.authorize(vault)?;
        let route = self.route(&permit).await?;
        self.read(&route, self.gateway.upstream.describe_vault(&route)).await
    }

    /// Lists an account's vaults, leaving out those that the caller may not describe.
    pub async fn list_vaults(
        &self,
        account: RegionalAccount,
        page: Page,
    ) -> Result<VaultPage, Refusal> {
        let permit: Permit<ListVaults> = self.authorize(account)?;
        let route = self.route(&permit).await?;
        let RegionalAccount { region, account } = permit.resource();
        let mut page = self.read(&route, self.gateway.upstream.list_vaults(&route, page)).await?;
        page.vaults.retain(|listed| {
            listed.vault_name.parse().is_ok_and(|vault| {
                let arn = VaultArn { region: region.clone(), account: account.clone(), vault };
                let (resource, operation) = (Resource::vault(arn), Operation::DescribeVault);
                self.policies.decide(&self.principal, operation, resource, &self.context).is_ok()
            })
        });
        Ok(page)
    }

    /// Who is calling.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Who is calling, and in which context, for what goes on when the request has ended.
    pub fn kept(&self) -> (Arc<Principal>, KeptContext) {
        (self.principal.clone(), self.context.kept())
    }
}

/// Whatever asks for something is recorded when it ends, also if the client left before.
/// A change is on record already.
impl Drop for Call {
    fn drop(&mut self) {
        let mut record = self.recorder.edit();
        if record.on_record || record.action.is_none() {
            return;
        }
        record.on_record = true;
        if record.decision == Some("allowed") {
            record.result.get_or_insert("client-left");
        }
        self.gateway.trail.record(&record.event());
    }
}
