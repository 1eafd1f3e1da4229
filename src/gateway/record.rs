//! What is known of a call: who, what, the decision and its statement, what Glacier
//! answered, and what became of it.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    audit::{self, Event, UserIdentity},
    domain::{AccountId, GatewayAction, Operation, Principal, Region, UploadId},
    glacier::Session,
    policy::StatementId,
    telemetry::traces::Trace,
};

/// What is known of a call so far.
#[derive(Debug, Default)]
pub struct Record {
    /// The gateway's own ID of the call; no two calls share one.
    pub event_id: Uuid,
    /// When the call began.
    pub time: Option<OffsetDateTime>,
    /// The caller's ID of the call, or `event_id` again if it sent none. Callers may
    /// send the same one many times.
    pub request_id: String,
    /// The trace that the call is part of, if it is kept. A caller may have chosen its ID.
    pub trace: Trace,
    /// Through which door the call came: `rest` or `glacier`.
    pub door: &'static str,
    /// The caller's address, as far as it is known.
    pub source_ip: Option<IpAddr>,
    /// The caller, once proven.
    pub principal: Option<Arc<Principal>>,
    /// The gateway key that signed the request.
    pub access_key_id: Option<String>,
    /// The IAM action asked for.
    pub action: Option<&'static str>,
    /// The resource asked for, as policies see it.
    pub resource: Option<Arc<str>>,
    /// The account of the resource.
    pub account: Option<AccountId>,
    /// The region of the resource.
    pub region: Option<Region>,
    /// The upload asked for.
    pub upload_id: Option<UploadId>,
    /// `allowed`, `explicitDeny` or `implicitDeny`.
    pub decision: Option<&'static str>,
    /// The policy and statement that decided.
    pub statement: Option<Arc<StatementId>>,
    /// What became of the call, if more is known than the reply says: `aborted`; `gone`,
    /// if Glacier does not know the upload, be it aborted, completed or never begun;
    /// `unknown`, if an abort was sent, or was about to be, and may or may not have
    /// happened.
    pub outcome: Option<&'static str>,
    /// The team whose permission decided.
    pub team: Option<String>,
    /// What became of the call, in the trail's words.
    pub result: Option<&'static str>,
    /// The stable code of the error that the caller was told.
    pub error_code: Option<&'static str>,
    /// The session of the account's role that signs for the call.
    pub session: Option<Arc<Session>>,
    /// Why there is no such session, for the log alone.
    pub route_error: Option<String>,
    /// Whether the call is one of many that are alike, which the trail counts.
    pub in_bulk: bool,
    /// Whether the trail has the call, or will have it.
    pub on_record: bool,
    /// The job that the call is part of, or about.
    pub job: Option<JobRef>,
    /// The look-up of the upload that policies asked for, if Glacier was asked.
    pub lookup: Option<Forwarded>,
    /// The operation itself, if it was forwarded.
    pub upstream: Option<Forwarded>,
}

impl Record {
    /// What the trail says of the call.
    pub fn event(&self) -> Event<'_> {
        let action = self.action.unwrap_or_default();
        let (service, name) = action.split_once(':').unwrap_or(("gateway", action));
        let source = if service == "glacier" { "glacier.amazonaws.com" } else { "glacier-gateway" };
        Event {
            id: self.event_id,
            time: self.time,
            source,
            name,
            read_only: is_read_only(action),
            region: self.region.as_ref().map(Region::as_str),
            account: self.account.as_ref().map(AccountId::as_str),
            request_id: Some(&self.request_id),
            trace_id: self.trace.id(),
            door: Some(self.door),
            source_ip: self.source_ip,
            identity: self.principal.as_deref().map(|principal| UserIdentity {
                issuer: &principal.issuer,
                subject: &principal.subject,
                actors: principal.actors().collect(),
                teams: &principal.teams,
                access_key_id: self.access_key_id.as_deref(),
            }),
            team: self.team.as_deref(),
            session: self.session.as_deref().map(|session| audit::AwsSession {
                role_session_name: session.role_session_name(),
                source_identity: session.source_identity(),
                access_key_id: session.access_key_id(),
            }),
            resource: self.resource.as_deref(),
            upload_id: self.upload_id.as_ref().map(UploadId::as_str),
            decision: self.decision.map(|outcome| {
                let statement = self.statement.as_deref();
                audit::RecordedDecision { outcome, statement }
            }),
            outcome: self.result,
            error_code: self.error_code,
            upstream: self.asked(),
            in_bulk: self.in_bulk,
            job: self.job.as_ref().map(|job| audit::Job {
                job_id: &job.id,
                job_item: job.item,
                confirmed_by: job.confirmed_by.as_deref().map(|confirmer| audit::Confirmer {
                    issuer: &confirmer.issuer,
                    subject: &confirmer.subject,
                }),
            }),
            ..Event::default()
        }
    }

    /// What the trail says of Glacier's last answer.
    pub fn asked(&self) -> Option<audit::Upstream<'_>> {
        let last = self.upstream.as_ref().or(self.lookup.as_ref())?;
        Some(audit::Upstream {
            request_id: last.request_id.as_deref(),
            attempts: last.attempts,
            latency_ms: u64::try_from(last.time.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

/// A job, and what a call has to do with it.
#[derive(Clone, Debug)]
pub struct JobRef {
    /// The job's ID.
    pub id: String,
    /// The number of the item that the call is about.
    pub item: Option<i64>,
    /// Who confirmed the job.
    pub confirmed_by: Option<Arc<Principal>>,
}

/// Whether an action changes nothing.
fn is_read_only(action: &str) -> bool {
    let own = GatewayAction::ALL.into_iter().find(|own| own.action() == action);
    own.map_or(action != Operation::AbortMultipartUpload.action(), GatewayAction::is_read_only)
}

/// One call of Glacier's.
#[derive(Debug)]
pub struct Forwarded {
    /// AWS's ID of the call, if AWS answered with one.
    pub request_id: Option<String>,
    /// The whole story of an error, for the log alone.
    pub error: Option<String>,
    /// How often a request was sent to Glacier.
    pub attempts: u32,
    /// Whether Glacier throttled one of these.
    pub throttled: bool,
    /// How long Glacier took, retries included.
    pub time: Duration,
}

/// A handle to a call's record.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<Record>>);

impl Recorder {
    /// Begins a record.
    pub fn new(record: Record) -> Self {
        Self(Arc::new(Mutex::new(record)))
    }

    /// Reads the record, or adds to it.
    pub fn edit(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
