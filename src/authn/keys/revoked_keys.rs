//! Which gateway keys are revoked before they expire.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use time::OffsetDateTime;

use super::access_key::AccessKey;
use crate::domain::check_team;

/// What the revocation file says. An empty one revokes nothing.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RevokedKeys {
    /// Single keys.
    ids: BTreeSet<String>,
    /// Of each team, the keys issued before a moment.
    #[serde(with = "serde_with::rust::maps_duplicate_key_is_error")]
    teams: BTreeMap<String, Moment>,
    /// All keys issued before a moment.
    issued_before: Option<Moment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
struct Moment(#[serde(with = "time::serde::rfc3339")] OffsetDateTime);

impl RevokedKeys {
    /// Reads the file's text.
    ///
    /// # Errors
    /// A sentence saying what is wrong. An ID or a team that no key can have is an
    /// error, because a mistyped revocation would revoke nothing.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let revoked: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if let Some((team, why)) =
            revoked.teams.keys().find_map(|team| Some((team, check_team(team).err()?)))
        {
            return Err(format!("{team:?} is not a team: {why}"));
        }
        match revoked.ids.iter().find(|id| id.parse::<AccessKey>().is_err()) {
            None => Ok(revoked),
            Some(id) => Err(format!("no gateway key has the ID {id:?}")),
        }
    }

    /// Whether `key`, whose ID is `id`, is among them.
    pub(super) fn covers(&self, id: &str, key: &AccessKey) -> bool {
        let issued_before = |moment: &Moment| key.issued < moment.0;
        self.ids.contains(id)
            || self.teams.get(&key.team).is_some_and(issued_before)
            || self.issued_before.as_ref().is_some_and(issued_before)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use time::{Duration, macros::datetime};

    use super::*;

    const ISSUED: OffsetDateTime = datetime!(2026-11-23 12:00 UTC);

    fn key(team: &str) -> AccessKey {
        AccessKey {
            master_key: 1,
            team: team.to_owned(),
            subject: "ci".to_owned(),
            issued: ISSUED,
            expires: ISSUED + Duration::days(90),
            nonce: [1; 4],
        }
    }

    fn revoked(text: &str, team: &str) -> bool {
        RevokedKeys::parse(text.as_bytes()).unwrap().covers(&key(team).id().unwrap(), &key(team))
    }

    #[test]
    fn a_key_is_revoked_by_its_id_its_team_or_its_age() {
        let id = key("media").id().unwrap();
        let before = r#"{"issuedBefore": "2026-11-23T12:00:01Z"}"#;
        let not_before = r#"{"issuedBefore": "2026-11-23T13:00:00+01:00"}"#;
        let team = r#"{"teams": {"media": "2026-11-24T00:00:00Z"}}"#;
        let team_earlier = r#"{"teams": {"media": "2026-11-23T12:00:00Z"}}"#;
        for (text, media, finance) in [
            ("{}", false, false),
            (&format!(r#"{{"ids": ["{id}"]}}"#), true, false),
            (before, true, true),
            (not_before, false, false),
            (team, true, false),
            (team_earlier, false, false),
        ] {
            assert_eq!(revoked(text, "media"), media, "{text}");
            assert_eq!(revoked(text, "finance"), finance, "{text}");
        }
    }

    #[test]
    fn a_file_with_a_mistake_is_refused() {
        let id = key("media").id().unwrap();
        for text in [
            "",
            r#"{"id": []}"#,
            r#"{"ids": ["GGK1TYPO"]}"#,
            &format!(r#"{{"ids": ["{} "]}}"#, id),
            r#"{"teams": ["media"]}"#,
            r#"{"teams": {"a": "2026-11-24T00:00:00Z", "a": "2026-11-23T00:00:00Z"}}"#,
            r#"{"issuedBefore": "yesterday"}"#,
            r#"{"teams": {"media/eu": "2026-11-24T00:00:00Z"}}"#,
        ] {
            assert!(RevokedKeys::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
