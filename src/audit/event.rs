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
    store::{Append, Kind},
};

/// What happened. What is not known is left out.
#[derive(Clone, Debug, Default)]
pub struct Event {
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
    pub region: Option<String>,
    /// The account of the resource.
    pub account: Option<String>,
    /// The caller's ID of the request.
    pub request_id: Option<String>,
    /// Through which door the request came.
    pub door: Option<&'static str>,
    /// The caller's address.
    pub source_ip: Option<IpAddr>,
    /// The caller.
    pub identity: Option<UserIdentity>,
    /// The team whose permission decided.
    pub team: Option<String>,
    /// The session of the account's role that signs for it.
    pub session: Option<AwsSession>,
    /// The resource, as policies see it.
    pub resource: Option<String>,
    /// The upload.
    pub upload_id: Option<String>,
    /// What the policies decided, and why.
    pub decision: Option<Decision>,
    /// What became of it.
    pub outcome: Option<&'static str>,
    /// The stable code of the problem that the caller was told.
    pub error_code: Option<&'static str>,
    /// Glacier's answer.
    pub upstream: Option<Upstream>,
    /// The callers' network, where events of many addresses are counted.
    pub source_network: Option<Ipv6Net>,
    /// How many events it stands for, if not for one.
    pub counted: Option<Counted>,
    /// What happened to the gateway itself, if it is about that.
    pub system: Option<System>,
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
pub struct UserIdentity {
    /// The issuer that vouches for the caller.
    pub issuer: String,
    /// The caller's name at that issuer; empty if nobody is known to have called.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// Who acts in the caller's stead, the last first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actors: Vec<String>,
    /// The caller's teams.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub teams: Vec<String>,
    /// The gateway key that signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
}

/// The session of a role, by which AWS's own logs know who acted.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AwsSession {
    /// The session's name, as in the ARN of the assumed role.
    pub role_session_name: String,
    /// The source identity.
    pub source_identity: String,
    /// The ID of the session's access key. Not a secret.
    pub access_key_id: String,
}

/// What the policies decided.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// `allowed`, `explicitDeny` or `implicitDeny`.
    pub outcome: &'static str,
    /// The statement that decided.
    #[serde(flatten)]
    pub statement: Option<StatementId>,
}

/// What Glacier answered.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Upstream {
    /// AWS's ID of the last attempt.
    #[serde(skip_serializing_if = "Option::is_none", rename = "requestID")]
    pub request_id: Option<String>,
    /// How often a request was sent to Glacier.
    pub attempts: u32,
    /// How long Glacier took, retries included.
    pub latency_ms: u64,
}

/// The JSON of an entry.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    event_version: &'static str,
    #[serde(rename = "eventID")]
    event_id: Uuid,
    event_time: String,
    event_type: &'static str,
    event_source: &'static str,
    event_name: &'static str,
    read_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    aws_region: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recipient_account_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "requestID")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    door: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "sourceIPAddress")]
    source_ip: Option<Source>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_identity: Option<&'a UserIdentity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aws_session: Option<&'a AwsSession>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upload_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'a Decision>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<&'a Upstream>,
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
enum Source {
    Host(IpAddr),
    Network(Ipv6Net),
}

impl Event {
    /// The event as an entry of `kind`.
    pub(super) fn append(&self, kind: Kind) -> Append {
        let json = self.json(match kind {
            Kind::Event if self.system.is_some() => "System",
            Kind::Event => "Event",
            Kind::Intent => "Intent",
            Kind::Outcome => "Outcome",
            Kind::LateOutcome => "LateOutcome",
            Kind::LogStart => "LogStart",
            Kind::Counted => "Counted",
        });
        let micros = self.time().unix_timestamp_nanos() / 1000;
        Append::new(self.id, i64::try_from(micros).unwrap_or(0), kind, self.teams(), json)
    }

    /// The JSON of its entry.
    pub(super) fn json(&self, event_type: &'static str) -> Vec<u8> {
        // What an intent says of the request, its outcome does not say again.
        let is_outcome = matches!(event_type, "Outcome" | "LateOutcome");
        let request = Some(self).filter(|_| !is_outcome);
        let entry = Entry {
            event_version: "1.0",
            event_id: self.id,
            event_time: rfc3339(self.time()),
            event_type,
            event_source: self.source,
            event_name: self.name,
            read_only: self.read_only,
            aws_region: request.and_then(|event| event.region.as_deref()),
            recipient_account_id: request.and_then(|event| event.account.as_deref()),
            request_id: request.and_then(|event| event.request_id.as_deref()),
            door: request.and_then(|event| event.door),
            source_ip: request.and_then(Self::origin),
            user_identity: request.and_then(|event| event.identity.as_ref()),
            team: self.team.as_deref(),
            aws_session: request.and_then(|event| event.session.as_ref()),
            resource: self.resource.as_deref(),
            upload_id: self.upload_id.as_deref(),
            decision: request.and_then(|event| event.decision.as_ref()),
            outcome: self.outcome,
            error_code: self.error_code,
            upstream: self.upstream.as_ref(),
            count: self.counted.map(|counted| counted.count),
            from: self.counted.map(|counted| rfc3339(counted.from)),
            to: self.counted.map(|counted| rfc3339(counted.to)),
            additional_event_data: self.system.as_ref(),
        };
        // Nothing in an entry can fail to be written as JSON.
        serde_json::to_vec(&entry).unwrap_or_default()
    }

    fn origin(&self) -> Option<Source> {
        let network = self.source_network.map(Source::Network);
        network.or(self.source_ip.map(Source::Host))
    }

    fn time(&self) -> OffsetDateTime {
        self.time.unwrap_or_else(OffsetDateTime::now_utc)
    }

    /// Who may read it: the team decided for, else all of the caller's.
    fn teams(&self) -> String {
        let all = self.identity.as_ref().map_or(&[][..], |identity| &identity.teams);
        let teams = match &self.team {
            Some(team) => std::slice::from_ref(team),
            None => all,
        };
        if teams.is_empty() { String::new() } else { format!("/{}/", teams.join("/")) }
    }
}

fn rfc3339(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_default()
}
