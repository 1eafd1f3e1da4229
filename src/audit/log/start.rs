//! The first record of a log. It ties the log to the one before.

use serde::{Deserialize, Serialize};
use tlog_tiles::Hash;

use super::Checkpoint;

/// What the first record of a log says of the log, under the name `log`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LogStart {
    /// The log that it begins.
    pub origin: String,
    /// The log before, at its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<LogEnd>,
    /// A checkpoint of the log before that the store no longer bears out. Whoever ran
    /// `audit accept-loss` accepted that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abandoned: Option<String>,
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

impl LogStart {
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
