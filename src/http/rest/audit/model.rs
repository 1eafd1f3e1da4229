//! What the API shows of the audit trail.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;
use utoipa::ToSchema;

use crate::audit::query::{Entry, FoundEvent, Page, Proof, Record};

/// Some of the events that were asked for.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEventPage)]
pub struct EventPage {
    /// The events, in the order in which they were recorded.
    #[schema(value_type = Vec<AuditEvent>)]
    events: Vec<Record>,
    /// Send this as `marker` for the next page; `null` on the last page.
    marker: Option<String>,
}

/// An event, and all that the log holds of it.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEventDetails)]
pub struct EventDetails {
    /// What happened, with the outcome if it is known.
    #[schema(value_type = AuditEvent)]
    event: Record,
    /// The event's entries in the order of the log. A change has one from before it was
    /// forwarded, and one of its outcome.
    entries: Vec<LogEntry>,
}

/// An entry in its log.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AuditLogEntry)]
pub struct LogEntry {
    /// The log, by its month.
    #[schema(example = "2026-11")]
    log: String,
    /// The entry's index in the log, from 0.
    #[schema(minimum = 0)]
    index: i64,
    /// The hash of the leaf in base64: SHA-256 of a zero byte and the entry.
    leaf_hash: String,
    /// The entry exactly as the log holds it: JSON.
    entry: String,
    /// That the log holds it, unless it is younger than the log's last checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    inclusion_proof: Option<InclusionProof>,
}

/// That a log holds an entry (RFC 6962, section 2.1.1).
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InclusionProof {
    /// The signed note that holds the root's hash.
    checkpoint: String,
    /// How many entries the log has, by the checkpoint.
    #[schema(minimum = 1)]
    tree_size: u64,
    /// The hashes beside the way from the leaf to the root, from below, in base64.
    hashes: Vec<String>,
}

impl From<Page> for EventPage {
    fn from(page: Page) -> Self {
        Self { events: page.events, marker: page.marker.map(|marker| marker.to_string()) }
    }
}

impl From<FoundEvent> for EventDetails {
    fn from(found: FoundEvent) -> Self {
        let entries = found.entries.into_iter().map(LogEntry::from).collect();
        Self { event: found.event, entries }
    }
}

impl From<Entry> for LogEntry {
    fn from(entry: Entry) -> Self {
        Self {
            log: entry.log,
            index: entry.position.index,
            leaf_hash: BASE64_STANDARD.encode(entry.leaf),
            entry: entry.text,
            inclusion_proof: entry.proof.map(InclusionProof::from),
        }
    }
}

impl From<Proof> for InclusionProof {
    fn from(proof: Proof) -> Self {
        let hashes = proof.hashes.iter().map(|hash| BASE64_STANDARD.encode(hash.0));
        Self { checkpoint: proof.checkpoint, tree_size: proof.size, hashes: hashes.collect() }
    }
}

/// What happened. Names are CloudTrail's where CloudTrail has one. What is not known is
/// left out, and there may be more than this.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[allow(dead_code)]
struct AuditEvent {
    /// The version of this layout.
    #[schema(example = "1.0")]
    event_version: String,
    /// The gateway's own ID of the event.
    #[schema(rename = "eventID", format = "uuid")]
    event_id: String,
    /// When it began (RFC 3339, UTC).
    #[schema(format = DateTime)]
    event_time: String,
    /// `Intent`: a change. `Event`: anything else that happened once. `Counted`: many
    /// equal events. `LogStart`: the beginning of a log. `System`: of the gateway itself.
    #[schema(example = "Intent")]
    event_type: String,
    /// `glacier.amazonaws.com` for Glacier's actions, `glacier-gateway` for others.
    #[schema(example = "glacier.amazonaws.com")]
    event_source: String,
    /// The action.
    #[schema(example = "AbortMultipartUpload")]
    event_name: String,
    /// Whether the action changes nothing.
    read_only: bool,
    /// The region of the resource.
    #[schema(nullable = false)]
    aws_region: Option<String>,
    /// The account of the resource.
    #[schema(nullable = false)]
    recipient_account_id: Option<String>,
    /// The caller's ID of the request; callers may send the same one many times.
    #[schema(rename = "requestID", nullable = false)]
    request_id: Option<String>,
    /// Through which door the request came: `rest` or `glacier`.
    #[schema(nullable = false)]
    door: Option<String>,
    /// The caller's address, or its network if it was counted.
    #[schema(rename = "sourceIPAddress", nullable = false)]
    source_ip_address: Option<String>,
    /// Who called.
    #[schema(nullable = false)]
    user_identity: Option<AuditIdentity>,
    /// The team whose permission decided.
    #[schema(nullable = false)]
    team: Option<String>,
    /// The session of the account's role that signs for it.
    #[schema(nullable = false)]
    aws_session: Option<AuditAwsSession>,
    /// The resource, as policies see it.
    #[schema(nullable = false)]
    resource: Option<String>,
    /// The upload.
    #[schema(nullable = false)]
    upload_id: Option<String>,
    /// What the policies decided, and why.
    #[schema(nullable = false)]
    decision: Option<AuditDecision>,
    /// What became of it. A change has none while it is under way.
    #[schema(nullable = false, example = "aborted")]
    outcome: Option<String>,
    /// An outcome that came when the change had one already.
    #[schema(nullable = false)]
    late_outcome: Option<String>,
    /// The code of the problem that the caller was told.
    #[schema(nullable = false)]
    error_code: Option<String>,
    /// Glacier's answer.
    #[schema(nullable = false)]
    upstream: Option<AuditUpstream>,
    /// Of `Counted`: how many events it stands for.
    #[schema(nullable = false, minimum = 1)]
    count: Option<u64>,
    /// Of `Counted`: when the first of them began.
    #[schema(nullable = false, format = DateTime)]
    from: Option<String>,
    /// Of `Counted`: when the last of them began.
    #[schema(nullable = false, format = DateTime)]
    to: Option<String>,
}

/// Who called.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[allow(dead_code)]
struct AuditIdentity {
    /// The issuer that vouches for the caller.
    issuer: String,
    /// The caller's name at that issuer.
    subject: String,
    /// Who acts in the caller's stead, the last first.
    #[schema(nullable = false)]
    actors: Option<Vec<String>>,
    /// The caller's teams.
    teams: Vec<String>,
    /// The gateway key that signed.
    #[schema(nullable = false)]
    access_key_id: Option<String>,
}

/// The session of a role, by which AWS's own logs know who acted.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[allow(dead_code)]
struct AuditAwsSession {
    /// The session's name, as in the ARN of the assumed role.
    role_session_name: String,
    /// The source identity.
    source_identity: String,
    /// The ID of the session's access key; CloudTrail's events of Glacier have it.
    access_key_id: String,
}

/// What the policies decided.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[allow(dead_code)]
struct AuditDecision {
    /// `allowed`, `explicitDeny` or `implicitDeny`.
    outcome: String,
    /// The kind of policy: `policies`, `guardrails` or `vaultPolicies`.
    #[schema(nullable = false)]
    layer: Option<String>,
    /// The file of the policy that decided.
    #[schema(nullable = false)]
    policy: Option<String>,
    /// The position of the statement that decided, from 0.
    #[schema(nullable = false)]
    statement: Option<u64>,
    /// Its `Sid`, if it has one.
    sid: Option<String>,
}

/// What Glacier answered.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[allow(dead_code)]
struct AuditUpstream {
    /// AWS's ID of the last attempt.
    #[schema(rename = "requestID", nullable = false)]
    request_id: Option<String>,
    /// How often Glacier was asked.
    #[schema(nullable = false)]
    attempts: Option<u32>,
    /// How long Glacier took, retries included, in milliseconds.
    latency_ms: u64,
}
