//! A permitted call on its way to Glacier: on record, in its turn, and what becomes of it.

use std::{future::Future, pin::pin, time::Instant};

use super::{
    super::{
        ceilings::{Slot, Took},
        record::Forwarded,
        refusal::Refusal,
        uploads::UploadFacts,
    },
    Call,
};
use crate::{
    audit::{Event, Intent, Unrecorded},
    config::Reads,
    domain::{
        Operation, UploadId,
        action::{Action, ListParts},
    },
    gateway::Gateway,
    glacier::{Reply, Route, UpstreamError},
    policy::Permit,
};

impl Call {
    /// Puts a change on record before it is forwarded.
    pub(super) async fn intent(&self) -> Result<Intent, Refusal> {
        let durable = {
            let mut record = self.recorder.edit();
            record.on_record = true;
            if let Some(intent) = self.gateway.trail.unrecorded() {
                return Ok(intent);
            }
            // What was asked before is not the change.
            self.gateway.trail.intent(&Event { upstream: None, ..record.event() })
        };
        self.recorded(durable).await
    }

    /// Waits until something is durable on record.
    pub(super) async fn recorded<T>(
        &self,
        durable: impl Future<Output = Result<T, Unrecorded>>,
    ) -> Result<T, Refusal> {
        let mut span = self.trace.span("audit commit");
        let durable = durable.await;
        if let Err(unrecorded) = &durable {
            span.fail(unrecorded.code());
        }
        Ok(durable?)
    }

    /// Waits for Glacier's answer to a read. If the settings want it, the answer waits
    /// until it is on record.
    pub(super) async fn read<A: Action, T>(
        &self,
        route: &Route<'_, A>,
        answer: impl Future<Output = Result<Reply<T>, UpstreamError>>,
    ) -> Result<T, Refusal> {
        let answer = pin!(answer);
        let result = match self.slot(route.permit()).await {
            Ok(slot) => self.forward(route, slot, answer).await,
            Err(error) => Err(error),
        };
        self.answered(result.as_ref().map_or_else(UpstreamError::outcome, |_| "ok")).await?;
        Ok(result?)
    }

    /// Notes what became of a read. If the settings want it, waits until that is on record.
    pub(super) async fn answered(&self, result: &'static str) -> Result<(), Refusal> {
        let durable = {
            let mut record = self.recorder.edit();
            record.result = Some(result);
            record.on_record = self.gateway.settings.audit.reads == Reads::Require;
            record.on_record.then(|| self.gateway.trail.record_durably(&record.event()))
        };
        match durable {
            Some(durable) => self.recorded(durable).await,
            None => Ok(()),
        }
    }

    /// The way to what `permit` permits, whose session is noted. Without one nothing is asked
    /// of Glacier.
    pub(super) async fn route<'p, A: Action>(
        &self,
        permit: &'p Permit<A>,
    ) -> Result<Route<'p, A>, UpstreamError> {
        let route = self.gateway.upstream.route(&self.accounts, permit, &self.trace).await;
        let mut record = self.recorder.edit();
        match &route {
            Ok(route) => record.session = route.session().cloned(),
            Err(error) => {
                record.result = Some(error.outcome());
                record.error_code = Some(error.kind.code());
                record.route_error = Some(error.cause.clone());
            }
        }
        route
    }

    /// Waits for Glacier's answer to what may go on `_route`, and notes it.
    pub(super) async fn forward<A: Action, T>(
        &self,
        _route: &Route<'_, A>,
        slot: Slot,
        answer: impl Future<Output = Result<Reply<T>, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        let (result, forwarded) = self.ask(A::OPERATION, slot, answer).await;
        let mut record = self.recorder.edit();
        record.error_code = result.as_ref().err().map(|error| error.kind.code());
        record.upstream = Some(forwarded);
        result
    }

    /// Looks up an upload for the policies, which is not what the caller asked for.
    pub(super) async fn look_up(
        &self,
        permit: &Permit<ListParts>,
        upload: &UploadId,
    ) -> Result<UploadFacts, UpstreamError> {
        let route = self.route(permit).await?;
        let slot = self.slot(permit).await?;
        let Gateway { upstream, uploads, .. } = self.gateway.as_ref();
        let (result, forwarded) =
            self.ask(Operation::ListParts, slot, uploads.facts(upstream, &route, upload)).await;
        let mut record = self.recorder.edit();
        if let Err(error) = &result {
            (record.result, record.error_code) = (Some("not-attempted"), Some(error.kind.code()));
        }
        record.lookup = Some(forwarded);
        result
    }

    pub(super) async fn ask<T>(
        &self,
        operation: Operation,
        mut slot: Slot,
        answer: impl Future<Output = Result<Reply<T>, UpstreamError>>,
    ) -> (Result<T, UpstreamError>, Forwarded) {
        let started = Instant::now();
        let result = answer.await;
        let time = started.elapsed();
        slot.took = Took::from(&result);
        drop(slot);
        let label = result.as_ref().map_or_else(|error| error.kind.code(), |_| "ok");
        self.gateway.metrics.upstream(operation.name(), label, time);
        match result {
            Ok(Reply { value, request_id, attempts, throttled }) => {
                let request_id = request_id.filter(|id| is_request_id(id));
                (Ok(value), Forwarded { request_id, error: None, attempts, throttled, time })
            }
            Err(error) => {
                let request_id = error.request_id.clone().filter(|id| is_request_id(id));
                let cause = Some(error.cause.clone());
                let UpstreamError { attempts, throttled, .. } = error;
                (Err(error), Forwarded { request_id, error: cause, attempts, throttled, time })
            }
        }
    }
}

/// Whether it can be an ID of AWS's. What stands in Glacier's place may send anything, of any
/// length, and records have a limit.
fn is_request_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
}
