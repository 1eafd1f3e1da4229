//! The first record of a log. It ties the log to the one before.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tlog_tiles::Hash;
use uuid::Uuid;

use super::{
    super::event::{Event, joined},
    Checkpoint,
};
use crate::store::{Append, Kind};

/// What the first record of a log says of the log, under the name `log`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LogStart {
    /// The log that it begins.
    pub origin: String,
    /// The log before, at its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<LogEnd>,
    /// Checkpoints that the store no longer bears out, as signed notes. Whoever ran
    /// `audit accept-loss` accepted that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub abandoned: Vec<String>,
}

/// A log at its end.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LogEnd {
    /// Which log.
    pub origin: String,
    /// How many records it has.
    pub size: u64,
    /// The hash of its tree, in base64.
    pub root_hash: String,
    /// Its final checkpoint; none without a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
}

/// The JSON of the record.
/// What the record says beside what every entry does.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rest<'a> {
    event_type: &'static str,
    log: &'a LogStart,
}

impl LogStart {
    /// The record, as of `at`, in microseconds since 1970. It is no team's.
    pub(super) fn append(&self, at: i64) -> Append {
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at / 1000) * 1_000_000);
        let event = Event {
            id: Uuid::now_v7(),
            time: Some(time.unwrap_or(OffsetDateTime::UNIX_EPOCH)),
            source: "glacier-gateway",
            name: "StartLog",
            ..Event::default()
        };
        let entry = joined(event.head(), &Rest { event_type: "LogStart", log: self });
        Append::new(event.id, at, Kind::LogStart, String::new(), entry)
    }

    /// From the first record of a log.
    pub fn of_entry(entry: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Entry {
            event_type: String,
            log: LogStart,
        }
        let entry: Entry = serde_json::from_slice(entry).ok()?;
        (entry.event_type == "LogStart").then_some(entry.log)
    }
}

impl LogEnd {
    /// What it says of its log, as a checkpoint that nobody has signed.
    pub fn claim(&self) -> Option<Checkpoint> {
        let root = Hash::parse_hash(&self.root_hash).ok()?;
        Some(Checkpoint { origin: self.origin.clone(), size: self.size, root, note: String::new() })
    }
}
