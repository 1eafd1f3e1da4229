//! Permits: what the client of Glacier asks for before it sends anything.

use std::sync::Arc;

use super::context::Context;
use super::decision::{Denial, Grant, StatementId};
use super::resource::Resource;
use super::set::PolicySet;
use crate::domain::action::{Action, ListParts};
use crate::domain::{Operation, Principal, RegionalAccount, VaultArn};

/// Leave to perform one operation on one resource.
///
/// Only a decision makes one, and every method of the upstream client takes the permit
/// of its own operation. So code that forwards without a decision, or after a decision
/// about something else, does not compile. This does:
///
/// ```
/// use glacier_gateway::{audit::Intent, domain::{UploadId, action::AbortMultipartUpload}, glacier::Upstream, policy::Permit};
///
/// async fn forward(upstream: &Upstream, permit: &Permit<AbortMultipartUpload>, intent: &Intent, upload: &UploadId) {
///     let _ = upstream.abort_multipart_upload(permit, intent, upload).await;
/// }
/// ```
///
/// The permit of another operation does not abort:
///
/// ```compile_fail,E0308
/// use glacier_gateway::{audit::Intent, domain::{UploadId, action::ListParts}, glacier::Upstream, policy::Permit};
///
/// async fn forward(upstream: &Upstream, permit: &Permit<ListParts>, intent: &Intent, upload: &UploadId) {
///     let _ = upstream.abort_multipart_upload(permit, intent, upload).await;
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
/// use glacier_gateway::{domain::{VaultArn, action::AbortMultipartUpload}, policy::{Grant, Permit}};
///
/// fn forge(resource: VaultArn, grant: Grant) -> Permit<AbortMultipartUpload> {
///     Permit { resource, grant }
/// }
/// ```
#[derive(Debug)]
pub struct Permit<A: Action> {
    resource: A::ResourceType,
    grant: Grant,
}

impl<A: Action> Permit<A> {
    /// The resource that the operation may be performed on.
    pub fn resource(&self) -> &A::ResourceType {
        &self.resource
    }

    /// The team that may: its index in the principal's teams.
    pub fn team(&self) -> usize {
        self.grant.team()
    }

    /// A statement that allowed it.
    pub fn statement(&self) -> &Arc<StatementId> {
        self.grant.statement()
    }
}

impl Permit<ListParts> {
    /// For whoever settles a change that is on record, but not what became of it:
    /// `statement` allowed the change, and whether its upload is still there may be asked.
    /// `tests/it/architecture.rs` names who may call this.
    pub fn recorded(resource: VaultArn, statement: StatementId) -> Self {
        let seen = resource.clone().into();
        let grant = Grant::new(Operation::ListParts, seen, 0, Arc::new(statement));
        Self { resource, grant }
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
        principal: &Principal,
        asked: &Asked<A::ResourceType>,
        context: &Context,
    ) -> Result<Permit<A>, Denial>
    where
        A: Action,
    {
        let grant = self.decide(principal, A::OPERATION, asked.seen.clone(), context)?;
        Ok(Permit { resource: asked.resource.clone(), grant })
    }

    /// A permit to look up the upload's facts, if a policy that could apply to
    /// `operation` reads them; see [`Self::upload_lookup`].
    pub fn authorize_lookup(
        &self,
        principal: &Principal,
        operation: Operation,
        asked: &Asked<VaultArn>,
        context: &Context,
    ) -> Option<Permit<ListParts>> {
        let grant = self.upload_lookup(principal, operation, &asked.seen, context)?;
        Some(Permit { resource: asked.resource.clone(), grant })
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
