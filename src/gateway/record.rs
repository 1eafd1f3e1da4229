//! What is known of a call: who, what, the decision and its statement, what Glacier
//! answered, and what became of it.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    domain::{Principal, UploadId},
    policy::StatementId,
};

/// What is known of a call so far.
#[derive(Debug, Default)]
pub struct Record {
    /// The gateway's own ID of the call; no two calls share one.
    pub event_id: String,
    /// The caller's ID of the call, or `event_id` again if it sent none. Callers may
    /// send the same one many times.
    pub request_id: String,
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
    /// The look-up of the upload that policies asked for, if Glacier was asked.
    pub lookup: Option<Forwarded>,
    /// The operation itself, if it was forwarded.
    pub upstream: Option<Forwarded>,
}

/// One call of Glacier's.
#[derive(Debug)]
pub struct Forwarded {
    /// AWS's ID of the call, if AWS answered with one.
    pub request_id: Option<String>,
    /// The whole story of an error, for the log alone.
    pub error: Option<String>,
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
