//! Permits: what the client of Glacier asks for before it sends anything.

use std::sync::Arc;

use super::context::Context;
use super::decision::{Denial, Grant, StatementId};
use super::resource::Resource;
use super::set::PolicySet;
use crate::domain::action::{AbortMultipartUpload, Action, ListParts};
use crate::domain::{AccountId, Operation, Principal, Region, RegionalAccount, VaultArn};

/// Leave to perform one operation on one resource.
///
/// Only a decision makes one, and every method of the upstream client takes the permit
/// of its own operation. So code that forwards without a decision, or after a decision
/// about something else, does not compile. This does:
///
/// ```
/// use glacier_gateway::{audit::Intent, domain::{UploadId, action::AbortMultipartUpload}, glacier::{Accounts, Upstream, UpstreamError}, policy::Permit, telemetry::traces::Trace};
///
/// async fn forward(upstream: &Upstream, accounts: &Accounts, trace: &Trace, permit: &Permit<AbortMultipartUpload>, intent: &Intent, upload: &UploadId) -> Result<(), UpstreamError> {
///     let route = upstream.route(accounts, permit, trace).await?;
///     let _ = upstream.abort_multipart_upload(&route, intent, upload).await;
///     Ok(())
/// }
/// ```
///
/// The permit of another operation does not abort:
///
/// ```compile_fail,E0308
/// use glacier_gateway::{audit::Intent, domain::{UploadId, action::ListParts}, glacier::{Accounts, Upstream, UpstreamError}, policy::Permit, telemetry::traces::Trace};
///
/// async fn forward(upstream: &Upstream, accounts: &Accounts, trace: &Trace, permit: &Permit<ListParts>, intent: &Intent, upload: &UploadId) -> Result<(), UpstreamError> {
///     let route = upstream.route(accounts, permit, trace).await?;
///     let _ = upstream.abort_multipart_upload(&route, intent, upload).await;
///     Ok(())
/// }
/// ```
///
/// Nor does anything without a permit:
///
/// ```compile_fail,E0061
/// use glacier_gateway::{audit::Intent, domain::UploadId, glacier::Upstream};
///
/// async fn forward(upstream: &Upstream, intent: &Intent, upload: &UploadId) {
///     let _ = upstream.abort_multipart_upload(intent, upload).await;
/// }
/// ```
///
/// And nobody else makes a permit:
///
/// ```compile_fail,E0451
/// use std::sync::Arc;
/// use glacier_gateway::{domain::{Principal, VaultArn, action::AbortMultipartUpload}, policy::{Grant, Permit}};
///
/// fn forge(resource: VaultArn, grant: Grant, principal: Arc<Principal>) -> Permit<AbortMultipartUpload> {
///     Permit { resource, grant, principal }
/// }
/// ```
#[derive(Debug)]
pub struct Permit<A: Action> {
    resource: A::ResourceType,
    grant: Grant,
    principal: Arc<Principal>,
}

impl<A: Action> Permit<A> {
    /// The resource that the operation may be performed on.
    pub fn resource(&self) -> &A::ResourceType {
        &self.resource
    }

    /// The region of the resource.
    pub fn region(&self) -> &Region {
        self.grant.resource().region()
    }

    /// The account of the resource.
    pub fn account(&self) -> &AccountId {
        self.grant.resource().owner()
    }

    /// Who may.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The team as whose member the principal may.
    pub fn team(&self) -> &str {
        self.principal.teams.get(self.grant.team()).map_or("", String::as_str)
    }

    /// A statement that allowed it.
    pub fn statement(&self) -> &Arc<StatementId> {
        self.grant.statement()
    }
}

impl Permit<AbortMultipartUpload> {
    /// Leave to look at the uploads that may be aborted: whether one is still what it was
    /// when somebody chose it.
    pub fn look(&self) -> Permit<ListParts> {
        let (resource, principal) = (self.resource.clone(), self.principal.clone());
        let statement = Arc::clone(self.grant.statement());
        let seen = self.grant.resource().clone();
        let grant = Grant::new(Operation::ListParts, seen, self.grant.team(), statement);
        Permit { resource, grant, principal }
    }
}

impl Permit<ListParts> {
    /// For whoever settles a change that is on record, but not what became of it:
    /// `statement` allowed `principal` the change, and whether its upload is still there may
    /// be asked. `tests/it/architecture.rs` names who may call this.
    pub fn recorded(resource: VaultArn, statement: StatementId, principal: Principal) -> Self {
        let seen = resource.clone().into();
        let grant = Grant::new(Operation::ListParts, seen, 0, Arc::new(statement));
        Self { resource, grant, principal: Arc::new(principal) }
    }
}

/// A resource that is asked for, and how policies see it, which is printed once.
#[derive(Debug)]
pub struct Asked<R> {
    resource: R,
    seen: Resource,
}

impl<R: Clone + Into<Resource>> Asked<R> {
    /// Asks for `resource`.
    pub fn new(resource: R) -> Self {
        Self { seen: resource.clone().into(), resource }
    }

    /// How policies see the resource.
    pub fn seen(&self) -> &Resource {
        &self.seen
    }
}

impl PolicySet {
    /// Decides whether the caller may perform the operation `A` on the resource.
    ///
    /// # Errors
    /// A [`Denial`], which says why.
    pub fn authorize<A>(
        &self,
        principal: &Arc<Principal>,
        asked: &Asked<A::ResourceType>,
        context: &Context,
    ) -> Result<Permit<A>, Denial>
    where
        A: Action,
    {
        let grant = self.decide(principal, A::OPERATION, asked.seen.clone(), context)?;
        Ok(Permit { resource: asked.resource.clone(), grant, principal: principal.clone() })
    }

    /// A permit to look up the upload's facts, if a policy that could apply to
    /// `operation` reads them; see [`Self::upload_lookup`].
    pub fn authorize_lookup(
        &self,
        principal: &Arc<Principal>,
        operation: Operation,
        asked: &Asked<VaultArn>,
        context: &Context,
    ) -> Option<Permit<ListParts>> {
        let grant = self.upload_lookup(principal, operation, &asked.seen, context)?;
        Some(Permit { resource: asked.resource.clone(), grant, principal: principal.clone() })
    }
}

impl From<VaultArn> for Resource {
    fn from(vault: VaultArn) -> Self {
        Self::vault(vault)
    }
}

impl From<RegionalAccount> for Resource {
    fn from(RegionalAccount { region, account }: RegionalAccount) -> Self {
        Self::account(region, account)
    }
}
