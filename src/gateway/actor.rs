//! Who asked for what happens later, without a request: kept with it in the store.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Call, Gateway, Record, Recorder};
use crate::{domain::Principal, policy::KeptContext, telemetry::traces::Trace};

/// A caller, and in which context it asked. Nothing in it is a secret.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Actor {
    /// Who asked.
    pub principal: Arc<Principal>,
    /// In which context.
    pub context: KeptContext,
}

impl From<&Call> for Actor {
    fn from(call: &Call) -> Self {
        let (principal, context) = call.kept();
        Self { principal, context }
    }
}

impl Actor {
    /// One of the gateway's own services, which acts for `team`.
    pub fn service(name: &str, team: &str) -> Self {
        let context = KeptContext { secure_transport: true, ..KeptContext::default() };
        Self { principal: Arc::new(Principal::service(name, team)), context }
    }

    /// The same as a member of one of its teams alone.
    pub fn in_team(&self, team: &str) -> Self {
        let principal = Principal { teams: vec![team.to_owned()], ..(*self.principal).clone() };
        Self { principal: Arc::new(principal), context: self.context.clone() }
    }

    /// A call in the actor's name, now, whose record will have the ID `event`. `request_id`
    /// says what it belongs to, and its spans go out from `trace`.
    pub fn call(
        &self,
        gateway: Arc<Gateway>,
        event: Uuid,
        request_id: String,
        trace: Trace,
    ) -> Call {
        let record = Record {
            trace,
            event_id: event,
            time: Some(OffsetDateTime::now_utc()),
            request_id,
            door: "job",
            source_ip: self.context.source_ip,
            ..Record::default()
        };
        let context = self.context.at(OffsetDateTime::now_utc()).via_job();
        Call::new(gateway, self.principal.clone(), context, Recorder::new(record)).in_background()
    }
}
