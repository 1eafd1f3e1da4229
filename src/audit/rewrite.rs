//! Entries that are made of other entries.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::event::{Counted, rfc3339};
use crate::store::{Append, Kind, Rewrite, micros};

/// How the writer makes outcomes that it alone knows of.
pub(super) const REWRITE: Rewrite = Rewrite { late, not_attempted };

/// What an intent says of the request, and its outcome does not say again.
const OF_THE_REQUEST: [&str; 10] = [
    "awsRegion",
    "recipientAccountId",
    "requestID",
    "door",
    "sourceIPAddress",
    "userIdentity",
    "decision",
    "jobId",
    "jobItem",
    "confirmedBy",
];

fn late(append: Append) -> Append {
    let text = String::from_utf8_lossy(&append.entry);
    let entry = text.replacen("\"eventType\":\"Outcome\"", "\"eventType\":\"LateOutcome\"", 1);
    Append::new(append.event, append.at, Kind::LateOutcome, append.teams, entry.into_bytes())
}

fn not_attempted(intent: &Append) -> Append {
    let entry = serde_json::from_slice(&intent.entry).unwrap_or_default();
    let outcome = outcome(&entry, "not-attempted");
    append(intent, outcome)
}

/// The outcome that another process found out, for the intent that `entry` is the JSON of.
pub(super) fn recovered(
    intent: &Append,
    entry: &Map<String, Value>,
    what: &'static str,
    error_code: Option<&'static str>,
    replica: &str,
) -> Append {
    let mut outcome = outcome(entry, what);
    if let Some(code) = error_code {
        outcome.insert("errorCode".to_owned(), code.into());
    }
    let recovered = json!({"recovered": true, "replica": replica});
    outcome.insert("additionalEventData".to_owned(), recovered);
    append(intent, outcome)
}

/// The record of so many events like the one that `first` records.
pub(super) fn counted(first: Append, counted: Counted) -> Append {
    let mut entry: Map<String, Value> = serde_json::from_slice(&first.entry).unwrap_or_default();
    entry.retain(|name, _| !["requestID", "upstream"].contains(&name.as_str()));
    let Counted { count, from, to } = counted;
    let id = Uuid::now_v7();
    let own = [
        ("eventID", id.to_string().into()),
        ("eventTime", rfc3339(from).into()),
        ("eventType", "Counted".into()),
        ("count", count.into()),
        ("from", rfc3339(from).into()),
        ("to", rfc3339(to).into()),
    ];
    entry.extend(own.map(|(name, value)| (name.to_owned(), value)));
    let entry = serde_json::to_vec(&entry).unwrap_or_default();
    Append::new(id, micros(from), Kind::Counted, first.teams, entry)
}

fn outcome(intent: &Map<String, Value>, what: &'static str) -> Map<String, Value> {
    let mut outcome = intent.clone();
    outcome.retain(|name, _| !OF_THE_REQUEST.contains(&name.as_str()));
    outcome.insert("eventType".to_owned(), "Outcome".into());
    outcome.insert("outcome".to_owned(), what.into());
    outcome
}

fn append(intent: &Append, outcome: Map<String, Value>) -> Append {
    // Nothing in it can fail to be written as JSON.
    let entry = serde_json::to_vec(&outcome).unwrap_or_default();
    Append::new(intent.event, intent.at, Kind::Outcome, intent.teams.clone(), entry)
}
