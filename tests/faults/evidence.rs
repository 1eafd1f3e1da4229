//! What the trail says, held against what the callers were told and what Glacier saw.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::PathBuf,
};

use glacier_gateway::store::{Position, leaf};
use serde_json::Value;
use sqlx::{Connection, PgConnection, SqliteConnection};
use uuid::Uuid;

use crate::load::Reply;

/// Where the store is.
#[derive(Clone, Debug)]
pub enum Place {
    /// In a file.
    File(PathBuf),
    /// In PostgreSQL.
    Database {
        /// As the gateway reaches it.
        url: String,
        /// As the test does.
        direct: String,
    },
}

/// Runs a query that gives rows, on either kind of store.
macro_rules! query {
    ($place:expr, $sql:expr) => {
        match $place {
            Place::File(path) => {
                let url = format!("sqlite:{}", path.display());
                let mut connection = SqliteConnection::connect(&url).await.unwrap();
                let rows = sqlx::query_as($sql).fetch_all(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                rows
            }
            Place::Database { direct, .. } => {
                let mut connection = PgConnection::connect(direct).await.unwrap();
                sqlx::query_as($sql).fetch_all(&mut connection).await.unwrap()
            }
        }
    };
}

impl Place {
    /// The value of `store.url`.
    pub fn url(&self) -> String {
        match self {
            Self::File(path) => format!("sqlite:{}", path.display()),
            Self::Database { url, .. } => url.clone(),
        }
    }

    /// How many intents have no outcome yet.
    pub async fn open_intents(&self) -> i64 {
        let rows: Vec<(i64,)> = query!(self, "SELECT count(*) FROM audit_open");
        rows[0].0
    }

    /// The items of jobs: upload, state, and the event that says what became of it.
    pub async fn items(&self) -> Vec<(String, String, Option<Vec<u8>>)> {
        query!(self, "SELECT upload, state, event FROM job_item")
    }

    /// The outcome of each event that has one.
    pub async fn outcomes(&self) -> HashMap<Vec<u8>, String> {
        let rows: Vec<(Vec<u8>, Vec<u8>)> =
            query!(self, "SELECT event, entry FROM audit_entry WHERE kind = 2");
        let outcome = |entry: &[u8]| {
            let entry: Value = serde_json::from_slice(entry).unwrap();
            entry["outcome"].as_str().unwrap().to_owned()
        };
        rows.into_iter().map(|(event, entry)| (event, outcome(&entry))).collect()
    }

    /// The log that is written, and its month.
    pub async fn month(&self) -> (i64, String) {
        let rows: Vec<(i64, String)> =
            query!(self, "SELECT log, month FROM audit_log ORDER BY log DESC LIMIT 1");
        rows[0].clone()
    }
}

/// One run's findings.
#[derive(Debug, Default)]
pub struct Figures {
    pub requests: usize,
    pub aborted: usize,
    pub refused: usize,
    pub broken: usize,
    pub left: usize,
    pub problems: BTreeMap<String, usize>,
    pub intents: usize,
    pub outcomes: BTreeMap<String, usize>,
    pub late: usize,
    pub open: usize,
    /// 204s whose outcome is not `aborted`, since the process died before it was written.
    pub unsure: usize,
    /// 204s without an intent.
    pub losses: usize,
    /// Uploads that Glacier was asked to abort more than once.
    pub duplicates: usize,
}

/// What Glacier saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// How often it was asked to abort each upload.
    pub asked: HashMap<String, usize>,
    /// Which uploads are aborted in the end.
    pub aborted: HashSet<String>,
    /// Uploads of which nothing is held against the trail: what it said of them was lost on
    /// purpose, and a copy of it may say some again.
    pub forgotten: HashSet<String>,
}

/// Position, event, kind, leaf and entry.
type Row = (i64, Vec<u8>, i64, Vec<u8>, Vec<u8>);

struct Intent {
    position: Position,
    upload: String,
    outcome: Option<String>,
    is_late: bool,
}

/// Holds all three against each other, and gives the figures. `died` says whether a
/// gateway ended without warning.
pub async fn examine(
    place: &Place,
    replies: &HashMap<String, Reply>,
    seen: &Seen,
    died: bool,
) -> Figures {
    let mut figures = Figures::default();
    let intents = read(place, &mut figures).await;
    let mut by_upload: HashMap<&str, Vec<&Intent>> = HashMap::new();
    for intent in intents.values() {
        by_upload.entry(&intent.upload).or_default().push(intent);
    }
    let of = |upload: &str| by_upload.get(upload).map_or(&[][..], Vec::as_slice);

    figures.requests = replies.len();
    let mut lost = Vec::new();
    for (upload, reply) in replies {
        match reply {
            Reply::Aborted => {
                figures.aborted += 1;
                let intents = of(upload);
                if intents.is_empty() {
                    lost.push(upload);
                    continue;
                }
                let told: Vec<_> =
                    intents.iter().filter_map(|intent| intent.outcome.as_deref()).collect();
                if !told.contains(&"aborted") {
                    let is_honest = told.iter().all(|told| matches!(*told, "unknown" | "gone"));
                    assert!(died && is_honest, "{upload} was answered 204, and recorded: {told:?}");
                    figures.unsure += 1;
                }
            }
            Reply::Problem(status, code) => {
                *figures.problems.entry(format!("{status} {code}")).or_default() += 1;
                if code.starts_with("audit-") {
                    figures.refused += 1;
                    assert_eq!(*status, 503);
                    let asked = seen.asked.get(upload);
                    assert!(asked.is_none(), "{upload} was refused, and forwarded");
                    for intent in of(upload) {
                        let told = intent.outcome.as_deref();
                        // Recovery cannot know that it was never sent.
                        let is_honest = told == Some("not-attempted")
                            || (died && matches!(told, None | Some("failed" | "unknown")));
                        assert!(is_honest, "{upload} was refused, and recorded: {told:?}");
                    }
                }
            }
            Reply::Broken => figures.broken += 1,
            Reply::Left => figures.left += 1,
        }
    }
    figures.losses = lost.len();
    assert!(lost.is_empty(), "204 without an intent: {lost:?}");

    let unrecorded: Vec<_> = seen.asked.keys().filter(|upload| of(upload).is_empty()).collect();
    assert!(unrecorded.is_empty(), "Glacier was asked without an intent: {unrecorded:?}");
    let unrecorded: Vec<_> = seen.aborted.iter().filter(|upload| of(upload).is_empty()).collect();
    assert!(unrecorded.is_empty(), "aborted without an intent: {unrecorded:?}");
    figures.duplicates = seen.asked.values().filter(|times| **times > 1).count();

    // What a job could not settle it began again.
    let is_only = |upload: &str| of(upload).len() == 1;
    let is_known = |intent: &&Intent| !seen.forgotten.contains(&intent.upload);
    for Intent { upload, outcome, .. } in intents.values().filter(is_known) {
        match outcome.as_deref() {
            // Nobody but the gateway aborts anything.
            Some(told @ ("aborted" | "gone")) => {
                assert!(seen.aborted.contains(upload), "{upload} is said to be {told}")
            }
            Some("failed") if is_only(upload) => {
                assert!(!seen.aborted.contains(upload), "{upload} is said not to be aborted")
            }
            Some("not-attempted") if is_only(upload) => {
                assert!(!seen.asked.contains_key(upload), "{upload} is said not to be attempted")
            }
            _ => {}
        }
    }
    figures
}

/// Reads the trail: that it has no gaps, and that each intent has at most one outcome.
async fn read(place: &Place, figures: &mut Figures) -> HashMap<Uuid, Intent> {
    let heads: Vec<(i64, i64)> = query!(place, "SELECT log, next FROM audit_head");
    let logs: Vec<(i64, Option<i64>)> =
        query!(place, "SELECT log, size FROM audit_log ORDER BY log");
    let entries: Vec<Row> = query!(
        place,
        "SELECT position, event, kind, leaf, entry FROM audit_entry ORDER BY position"
    );
    let open: Vec<(Vec<u8>, i64)> = query!(place, "SELECT event, position FROM audit_open");
    let (current, next) = heads[0];
    assert_eq!(heads.len(), 1);
    assert!(logs.iter().map(|(log, _)| *log).eq(1..=current), "{logs:?}");

    let mut sizes: BTreeMap<i64, i64> = BTreeMap::new();
    let mut intents: HashMap<Uuid, Intent> = HashMap::new();
    for (position, event, kind, hash, entry) in entries {
        let position = Position::from_i64(position);
        let size = sizes.entry(position.log).or_default();
        assert_eq!(position.index, *size, "a gap in log {}", position.log);
        *size += 1;
        assert_eq!(hash, leaf(&entry), "the leaf of {position:?}");
        let event = Uuid::from_slice(&event).unwrap();
        let entry: Value = serde_json::from_slice(&entry).unwrap();
        let outcome = || entry["outcome"].as_str().unwrap().to_owned();
        match kind {
            1 => {
                let upload = entry["uploadId"].as_str().unwrap().to_owned();
                let intent = Intent { position, upload, outcome: None, is_late: false };
                assert!(intents.insert(event, intent).is_none(), "{event} has two intents");
            }
            2 => {
                let intent = intents.get_mut(&event).expect("an outcome before its intent");
                let earlier = intent.outcome.replace(outcome());
                assert_eq!(earlier, None, "{event} has two outcomes: {entry}");
                *figures.outcomes.entry(outcome()).or_default() += 1;
            }
            3 => {
                intents.get_mut(&event).expect("a late outcome before its intent").is_late = true;
                figures.late += 1;
            }
            _ => {}
        }
    }
    for (log, size) in logs {
        let expected = size.unwrap_or(next);
        assert_eq!(sizes.get(&log).copied().unwrap_or(0), expected, "the size of log {log}");
    }
    figures.intents = intents.len();
    figures.open = open.len();
    let without: HashSet<_> = intents
        .iter()
        .filter(|(_, intent)| intent.outcome.is_none())
        .map(|(event, intent)| (*event, intent.position.to_i64()))
        .collect();
    let open: HashSet<_> =
        open.iter().map(|(event, at)| (Uuid::from_slice(event).unwrap(), *at)).collect();
    assert_eq!(without, open, "intents without an outcome, and those noted as such");
    let lonely = intents.values().find(|intent| intent.is_late && intent.outcome.is_none());
    assert!(lonely.is_none(), "a late outcome alone");
    intents
}
