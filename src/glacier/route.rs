//! The way to Glacier: where to, and whose credentials sign.

use std::{error::Error, sync::Arc};

use aws_sdk_glacier::{
    Client,
    client::customize::CustomizableOperation,
    config::{self, http::HttpResponse},
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
};

use super::{Session, UpstreamError, UpstreamErrorKind, endpoints::Regional, response::Attempts};
use crate::{domain::action::Action, policy::Permit, telemetry::traces::Trace};

/// The way to what a permit permits: the endpoint of the account, and the session of the team
/// that may.
pub struct Route<'p, A: Action> {
    pub(super) permit: &'p Permit<A>,
    pub(super) regional: Arc<Regional>,
    pub(super) session: Option<Arc<Session>>,
    /// Where the spans of attempts go out from.
    pub(super) trace: Trace,
}

impl<'p, A: Action> Route<'p, A> {
    /// What it is the way to.
    pub fn permit(&self) -> &'p Permit<A> {
        self.permit
    }

    /// The session of the account's role; `None` if the gateway's own credentials sign.
    pub fn session(&self) -> Option<&Arc<Session>> {
        self.session.as_ref()
    }

    /// What sees the attempts of a call.
    pub(super) fn attempts(&self) -> Attempts {
        Attempts::new(self.trace.clone(), A::OPERATION, self.permit.region())
    }

    /// The error that the last attempt ended with.
    pub(super) fn error<E>(
        &self,
        attempts: &Attempts,
        error: SdkError<E, HttpResponse>,
    ) -> UpstreamError
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
        SdkError<E, HttpResponse>: RequestId + ProvideErrorMetadata,
    {
        let error = attempts.error(A::OPERATION, error);
        if let (UpstreamErrorKind::NotAuthorized, Some(session)) = (error.kind, &self.session) {
            session.refused();
        }
        error
    }

    pub(super) fn client(&self) -> &Client {
        &self.regional.client
    }

    /// The session's credentials, if there is one, in place of the gateway's own. The SDK
    /// keeps credentials that are given for a call for this call alone (smithy-rs #4607).
    pub(super) fn config(&self) -> Option<config::Builder> {
        let credentials = self.session.as_ref()?.credentials().as_ref().clone();
        Some(config::Builder::new().credentials_provider(credentials))
    }

    /// `call`, signed by whom it is to be signed.
    pub(super) fn signed<T, E, B>(
        &self,
        call: CustomizableOperation<T, E, B>,
    ) -> CustomizableOperation<T, E, B> {
        match self.config() {
            Some(config) => call.config_override(config),
            None => call,
        }
    }
}
