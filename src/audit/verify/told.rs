//! What a record says of itself.

use serde::Deserialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::store::Kind;

/// The fields of a record that verification goes by.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told {
    #[serde(rename = "eventID")]
    pub event_id: Option<Uuid>,
    event_time: Option<String>,
    event_type: String,
    pub team: Option<String>,
    user_identity: Option<Identity>,
}

#[derive(Deserialize)]
struct Identity {
    #[serde(default)]
    teams: Vec<String>,
}

impl Told {
    /// `None` if the record says no such thing.
    pub fn of(entry: &[u8]) -> Option<Self> {
        serde_json::from_slice(entry).ok()
    }

    pub fn kind(&self) -> Option<Kind> {
        Some(match self.event_type.as_str() {
            "Event" | "System" => Kind::Event,
            "Intent" => Kind::Intent,
            "Outcome" => Kind::Outcome,
            "LateOutcome" => Kind::LateOutcome,
            "LogStart" => Kind::LogStart,
            "Counted" => Kind::Counted,
            _ => return None,
        })
    }

    pub fn time(&self) -> Option<OffsetDateTime> {
        OffsetDateTime::parse(self.event_time.as_deref()?, &Rfc3339).ok()
    }

    /// The caller's teams.
    pub fn teams(&self) -> &[String] {
        self.user_identity.as_ref().map_or(&[], |identity| &identity.teams)
    }
}
