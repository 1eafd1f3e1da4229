//! What the ID of a gateway key says. Everything a replica must know of a key
//! stands in its ID, so that no database is needed.

use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use serde::Serialize;
use time::OffsetDateTime;

use crate::domain::{InvalidTeam, check_team};

/// The first characters of every ID: a mark by which secret scanners find keys,
/// and the version of what follows.
const PREFIX: &str = "GGK1";
/// The most that an ID can hold of team and subject together, in bytes. With it,
/// an ID has the 128 characters that AWS allows (IAM API Reference, "AccessKey").
pub const MAX_NAMES: usize = 63;

/// A gateway key's public half, written in its ID as `GGK1` and, in base32:
///
/// | bytes | |
/// | --- | --- |
/// | 1 | number of the master key |
/// | 4 | when it was issued, in seconds since 1970, big-endian |
/// | 4 | when it expires, likewise |
/// | 4 | random, so that no two keys have the same ID |
/// | 1 | length of the team |
/// | … | the team, then the subject, in ASCII |
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessKey {
    /// The number of the master key that the secret is derived from.
    pub master_key: u8,
    /// The team that the key acts for.
    pub team: String,
    /// Who or what uses it.
    pub subject: String,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub issued: OffsetDateTime,
    /// From when on it is refused.
    #[serde(with = "time::serde::rfc3339")]
    pub expires: OffsetDateTime,
    #[serde(skip)]
    pub(super) nonce: [u8; 4],
}

/// The team or the subject cannot stand in a key's ID, or the text is no key's ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAccessKey {
    /// The team.
    #[error(transparent)]
    Team(#[from] InvalidTeam),
    /// Anything else, in a sentence.
    #[error("{0}")]
    Other(&'static str),
}

impl AccessKey {
    /// The ID, in AWS's alphabet for access key IDs.
    ///
    /// # Errors
    /// Names that are empty, too long or of other characters; dates before 1970
    /// or after 2105.
    pub fn id(&self) -> Result<String, InvalidAccessKey> {
        let Self { master_key, team, subject, issued, expires, nonce } = self;
        check_team(team)?;
        check_subject(subject)?;
        if team.len() + subject.len() > MAX_NAMES {
            let message = "team and subject have at most 63 characters together";
            return Err(InvalidAccessKey::Other(message));
        }
        let seconds = |moment: &OffsetDateTime| {
            u32::try_from(moment.unix_timestamp())
                .map_err(|_| InvalidAccessKey::Other("a key's dates lie between 1970 and 2105"))
        };
        let mut bytes = vec![*master_key];
        bytes.extend(seconds(issued)?.to_be_bytes());
        bytes.extend(seconds(expires)?.to_be_bytes());
        bytes.extend(nonce);
        bytes.push(team.len() as u8);
        bytes.extend(team.bytes());
        bytes.extend(subject.bytes());
        Ok(format!("{PREFIX}{}", BASE32_NOPAD.encode(&bytes)))
    }
}

impl FromStr for AccessKey {
    type Err = InvalidAccessKey;

    /// Reads an ID. Only the text that [`AccessKey::id`] writes is one.
    fn from_str(id: &str) -> Result<Self, InvalidAccessKey> {
        let read = || {
            let bytes = BASE32_NOPAD.decode(id.strip_prefix(PREFIX)?.as_bytes()).ok()?;
            let (master_key, rest) = bytes.split_first()?;
            let (issued, rest) = rest.split_first_chunk()?;
            let (expires, rest) = rest.split_first_chunk()?;
            let (nonce, rest) = rest.split_first_chunk()?;
            let (team_length, names) = rest.split_first()?;
            let names = std::str::from_utf8(names).ok()?;
            let (team, subject) = names.split_at_checked(usize::from(*team_length))?;
            let moment = |seconds: &[u8; 4]| {
                OffsetDateTime::from_unix_timestamp(u32::from_be_bytes(*seconds).into()).ok()
            };
            let key = Self {
                master_key: *master_key,
                team: team.to_owned(),
                subject: subject.to_owned(),
                issued: moment(issued)?,
                expires: moment(expires)?,
                nonce: *nonce,
            };
            (key.id().ok()? == id).then_some(key)
        };
        read().ok_or(InvalidAccessKey::Other("this is not a gateway key's ID"))
    }
}

/// A subject ends the caller's ARN and may have segments.
fn check_subject(subject: &str) -> Result<(), InvalidAccessKey> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@:-/".contains(c);
    if !subject.is_empty() && subject.chars().all(allowed) {
        Ok(())
    } else {
        let message = "a subject is made of A-Z, a-z, 0-9 and _+=,.@:-/";
        Err(InvalidAccessKey::Other(message))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(team: &str, subject: &str) -> AccessKey {
        AccessKey {
            master_key: 7,
            team: team.to_owned(),
            subject: subject.to_owned(),
            issued: OffsetDateTime::from_unix_timestamp(1_795_000_000).unwrap(),
            expires: OffsetDateTime::from_unix_timestamp(1_802_776_000).unwrap(),
            nonce: [0xff; 4],
        }
    }

    #[test]
    fn an_id_says_what_it_was_made_of() {
        for (team, subject) in [
            ("a", "b"),
            ("media", "ci/deploy@build-7"),
            (&"t".repeat(62), "s"),
            ("t", &"s".repeat(62)),
        ] {
            let id = key(team, subject).id().unwrap();
            assert_eq!(id.parse::<AccessKey>().unwrap(), key(team, subject));
            assert!((16..=128).contains(&id.len()), "{}", id.len());
            assert!(id.bytes().all(|b| b.is_ascii_alphanumeric()), "{id}");
        }
    }

    #[test]
    fn names_that_an_arn_or_an_id_cannot_hold_are_refused() {
        let long = "t".repeat(60);
        for (team, subject) in [
            ("", "b"),
            ("a", ""),
            ("a/b", "c"),
            ("a*", "c"),
            ("a b", "c"),
            ("ä", "c"),
            ("a", "c\n"),
            (&long, "abcd"),
        ] {
            assert!(key(team, subject).id().is_err(), "{team} {subject}");
        }
    }

    #[test]
    fn other_texts_are_no_ids() {
        let id = key("media", "ci").id().unwrap();
        let team_too_long = {
            let mut bytes = BASE32_NOPAD.decode(&id.as_bytes()[4..]).unwrap();
            bytes[13] = 8;
            format!("GGK1{}", BASE32_NOPAD.encode(&bytes))
        };
        for other in [
            "",
            "GGK1",
            "AKIAIOSFODNN7EXAMPLE",
            &id.to_lowercase(),
            &id.replace("GGK1", "GGK2"),
            &id[..id.len() - 1],
            &format!("{id}A"),
            &format!("{id}======"),
            &team_too_long,
        ] {
            assert!(other.parse::<AccessKey>().is_err(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn whatever_reads_as_an_id_is_written_the_same(bytes in proptest::collection::vec(0u8..128, 0..40)) {
            let text = format!("GGK1{}", BASE32_NOPAD.encode(&bytes));
            if let Ok(key) = text.parse::<AccessKey>() {
                prop_assert_eq!(key.id().unwrap(), text);
            }
        }
    }
}
