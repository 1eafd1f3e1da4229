//! The record of an event, as the trail keeps it.
//!
//! Where CloudTrail has a name for a thing, this is the name (CloudTrail User Guide,
//! "CloudTrail record contents").

use std::net::IpAddr;

use ipnet::Ipv6Net;
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::{
    policy::StatementId,
    store::{Append, Kind, micros},
};

/// What happened. What is not known is left out.
#[derive(Clone, Debug, Default)]
pub struct Event<'a> {
    /// The gateway's own ID of the event.
    pub id: Uuid,
    /// When it began.
    pub time: Option<OffsetDateTime>,
    /// Whose action it is: `glacier.amazonaws.com` or `glacier-gateway`.
    pub source: &'static str,
    /// The action, such as `AbortMultipartUpload`.
    pub name: &'static str,
    /// Whether the action changes nothing.
    pub read_only: bool,
    /// The region of the resource.
    pub region: Option<&'a str>,
    /// The account of the resource.
    pub account: Option<&'a str>,
    /// The caller's ID of the request.
    pub request_id: Option<&'a str>,
    /// The trace that it is part of, if that is kept.
    pub trace_id: Option<String>,
    /// Through which door the request came.
    pub door: Option<&'static str>,
    /// The caller's address.
    pub source_ip: Option<IpAddr>,
    /// The caller.
    pub identity: Option<UserIdentity<'a>>,
    /// The team whose permission decided.
    pub team: Option<&'a str>,
    /// The session of the account's role that signs for it.
    pub session: Option<AwsSession<'a>>,
    /// The resource, as policies see it.
    pub resource: Option<&'a str>,
    /// The upload.
    pub upload_id: Option<&'a str>,
    /// What the policies decided, and why.
    pub decision: Option<RecordedDecision<'a>>,
    /// What became of it.
    pub outcome: Option<&'static str>,
    /// The stable code of the problem that the caller was told.
    pub error_code: Option<&'static str>,
    /// Glacier's answer.
    pub upstream: Option<Upstream<'a>>,
    /// The callers' network, where events of many addresses are counted.
    pub source_network: Option<Ipv6Net>,
    /// Whether it is one of many that are alike, so that they are counted from the first.
    pub in_bulk: bool,
    /// How many events it stands for, if not for one.
    pub counted: Option<Counted>,
    /// The job that it is part of, or about.
    pub job: Option<Job<'a>>,
    /// What happened to the gateway itself, if it is about that.
    pub system: Option<&'a System>,
}

/// About the gateway itself.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct System {
    /// The process, among those that share the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica: Option<String>,
    /// The program's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'static str>,
    /// The setting that names where something is from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
    /// The SHA-256 of that, in hexadecimal; of a key, something that only its holder can
    /// compute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// How many errors it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<usize>,
}

/// How many events a record stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Their number.
    pub count: u64,
    /// When the first of them began.
    pub from: OffsetDateTime,
    /// When the last of them began.
    pub to: OffsetDateTime,
}

/// Who called.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserIdentity<'a> {
    /// The issuer that vouches for the caller.
    pub issuer: &'a str,
    /// The caller's name at that issuer; empty if nobody is known to have called.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub subject: &'a str,
    /// Who acts in the caller's stead, the last first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actors: Vec<&'a str>,
    /// The caller's teams.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub teams: &'a [String],
    /// The gateway key that signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<&'a str>,
}

/// The session of a role, by which AWS's own logs know who acted.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AwsSession<'a> {
    /// The session's name, as in the ARN of the assumed role.
    pub role_session_name: &'a str,
    /// The source identity.
    pub source_identity: &'a str,
    /// The ID of the session's access key. Not a secret.
    pub access_key_id: &'a str,
}

/// A job that aborts uploads in bulk.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Job<'a> {
    /// Its ID.
    pub job_id: &'a str,
    /// The number of its item, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_item: Option<i64>,
    /// Who confirmed it; its creator is the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed_by: Option<Confirmer<'a>>,
}

/// Who confirmed a job.
#[derive(Clone, Debug, Serialize)]
pub struct Confirmer<'a> {
    /// The issuer that vouches for them.
    pub issuer: &'a str,
    /// Their name at that issuer.
    pub subject: &'a str,
}

/// What the policies decided.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedDecision<'a> {
    /// `allowed`, `explicitDeny` or `implicitDeny`.
    pub outcome: &'static str,
    /// The statement that decided.
    #[serde(flatten)]
    pub statement: Option<&'a StatementId>,
}

/// What Glacier answered.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Upstream<'a> {
    /// AWS's ID of the last attempt.
    #[serde(skip_serializing_if = "Option::is_none", rename = "requestID")]
    pub request_id: Option<&'a str>,
    /// How often a request was sent to Glacier.
    pub attempts: u32,
    /// How long Glacier took, retries included.
    pub latency_ms: u64,
}

/// A change that is on record, without what became of it.
pub(super) struct Unsettled {
    id: Uuid,
    at: i64,
    teams: String,
    head: Vec<u8>,
}

/// What an intent and its outcome both say.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    event_version: &'static str,
    #[serde(rename = "eventID")]
    event_id: Uuid,
    event_time: String,
    event_source: &'static str,
    event_name: &'static str,
    read_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upload_id: Option<&'a str>,
}

/// What else an entry says. Of the request, an outcome does not say again what its intent
/// says.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rest<'a> {
    event_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    aws_region: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recipient_account_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "requestID")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    door: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "sourceIPAddress")]
    source_ip: Option<SourceAddress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_identity: Option<&'a UserIdentity<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aws_session: Option<&'a AwsSession<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'a RecordedDecision<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<Upstream<'a>>,
    #[serde(flatten)]
    job: Option<&'a Job<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    // CloudTrail's name for what is part of neither a request nor its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_event_data: Option<&'a System>,
}

/// Where a request came from: a host, or some host of a network.
#[derive(Serialize)]
#[serde(untagged)]
enum SourceAddress {
    Host(IpAddr),
    Network(Ipv6Net),
}

impl Event<'_> {
    /// The event as an entry of its own.
    pub(super) fn append(&self) -> Append {
        let (kind, name) = match (&self.counted, &self.system) {
            (Some(_), _) => (Kind::Counted, "Counted"),
            (None, Some(_)) => (Kind::Event, "System"),
            (None, None) => (Kind::Event, "Event"),
        };
        Append::new(self.id, self.at(), kind, self.teams(), self.whole(self.head(), name))
    }

    /// The intent of a change, and what is kept of it for the outcome.
    pub(super) fn intent(&self) -> (Append, Unsettled) {
        let (head, teams) = (self.head(), self.teams());
        let (id, at) = (self.id, self.at());
        let entry = self.whole(head.clone(), "Intent");
        let intent = Append::new(id, at, Kind::Intent, teams.clone(), entry);
        (intent, Unsettled { id, at, teams, head })
    }

    /// What its entries begin with: an object of JSON, to be joined with what else they say.
    pub(super) fn head(&self) -> Vec<u8> {
        let mut json = Vec::with_capacity(1024);
        write(
            &mut json,
            &Head {
                event_version: "1.0",
                event_id: self.id,
                event_time: rfc3339(self.time()),
                event_source: self.source,
                event_name: self.name,
                read_only: self.read_only,
                team: self.team,
                resource: self.resource,
                upload_id: self.upload_id,
            },
        );
        json
    }

    fn whole(&self, head: Vec<u8>, event_type: &'static str) -> Vec<u8> {
        let rest = Rest {
            event_type,
            aws_region: self.region,
            recipient_account_id: self.account,
            request_id: self.request_id,
            trace_id: self.trace_id.as_deref(),
            door: self.door,
            source_ip: self.origin(),
            user_identity: self.identity.as_ref(),
            aws_session: self.session.as_ref(),
            decision: self.decision.as_ref(),
            outcome: self.outcome,
            error_code: self.error_code,
            upstream: self.upstream,
            job: self.job.as_ref(),
            count: self.counted.map(|counted| counted.count),
            from: self.counted.map(|counted| rfc3339(counted.from)),
            to: self.counted.map(|counted| rfc3339(counted.to)),
            additional_event_data: self.system,
        };
        joined(head, &rest)
    }

    fn origin(&self) -> Option<SourceAddress> {
        let network = self.source_network.map(SourceAddress::Network);
        network.or(self.source_ip.map(SourceAddress::Host))
    }

    fn time(&self) -> OffsetDateTime {
        self.time.unwrap_or_else(OffsetDateTime::now_utc)
    }

    fn at(&self) -> i64 {
        micros(self.time())
    }

    /// Who may read it: the team decided for, else all of the caller's.
    fn teams(&self) -> String {
        let all = self.identity.as_ref().map_or(&[][..], |identity| identity.teams);
        match self.team {
            Some(team) => format!("/{team}/"),
            None if all.is_empty() => String::new(),
            None => format!("/{}/", all.join("/")),
        }
    }
}

impl Unsettled {
    /// The entry that says what became of the change.
    pub(super) fn outcome(
        self,
        outcome: &'static str,
        error_code: Option<&'static str>,
        upstream: Option<Upstream<'_>>,
    ) -> Append {
        let outcome = Some(outcome);
        let rest = Rest { event_type: "Outcome", outcome, error_code, upstream, ..Rest::default() };
        let Self { id, at, teams, head } = self;
        Append::new(id, at, Kind::Outcome, teams, joined(head, &rest))
    }
}

/// One JSON object of two.
pub(super) fn joined(mut json: Vec<u8>, rest: &impl Serialize) -> Vec<u8> {
    json.pop();
    let brace = json.len();
    write(&mut json, rest);
    if let Some(brace) = json.get_mut(brace) {
        *brace = b',';
    }
    json
}

fn write(json: &mut Vec<u8>, value: &impl Serialize) {
    // Nothing in an entry can fail to be written as JSON.
    let _ = serde_json::to_writer(json, value);
}

pub(super) fn rfc3339(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_default()
}
