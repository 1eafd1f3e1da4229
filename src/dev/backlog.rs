//! The uploads that nobody has cared about, for people to clean up.

use serde::Serialize;

use crate::simulator::SeedUpload;

/// The vault that they are in.
pub(super) const VAULT: &str = "media-backlog";
/// How many there are.
const UPLOADS: u32 = 10_000;
/// How many days ago the newest was begun, and over how many days the others are spread.
const NEWEST: u32 = 8;
const SPREAD: u32 = 392;

/// The vault of the backlog, as `dev --json` prints it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BacklogFacts {
    pub(super) account_id: &'static str,
    pub(super) name: &'static str,
    pub(super) uploads: u32,
}

impl BacklogFacts {
    pub(super) fn of(account_id: &'static str) -> Self {
        Self { account_id, name: VAULT, uploads: UPLOADS }
    }
}

/// Uploads of mixed age, from eight days to more than a year, with none to three parts.
pub(super) fn uploads() -> Vec<SeedUpload> {
    let upload = |number: u32| SeedUpload {
        archive_description: Some(format!("tape {}, reel {number}", number % 40)),
        part_size_in_bytes: 1 << 20,
        parts: (number % 4).into(),
        // An odd factor, so that neighbours are of different ages.
        age_seconds: (NEWEST * 24 + number * 37 % (SPREAD * 24)) * 3600,
    };
    (0..UPLOADS).map(upload).collect()
}
