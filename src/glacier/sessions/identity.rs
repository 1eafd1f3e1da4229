//! Whom a session is for, in names that AWS accepts.
//!
//! A name is never somebody else's. What AWS does not accept in it is written as `=` and
//! two hexadecimal digits for each byte, and so are the characters that have a meaning
//! here: `=` itself, `,` between the parts of a name, and `+` before a hash. Of a name
//! that is too long the beginning stays, and a hash of all of it follows.

use std::fmt::Write;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;

use crate::{config::SessionFor, domain::Principal};

/// The length of a role session's name and of a source identity (STS API Reference,
/// "AssumeRole").
const NAME: std::ops::RangeInclusive<usize> = 2..=64;
/// The most that a session tag's value may have (IAM User Guide, "Pass session tags").
const MAX_TAG: usize = 256;
/// How many characters of a hash stand in a name: 192 bits, of which nobody finds two that
/// are the same.
const HASH: usize = 32;

/// Whom a session is for.
#[derive(Clone, Copy, Debug)]
pub(in crate::glacier) enum Identity<'a> {
    /// All members of a team.
    Team(&'a str),
    /// One member of a team.
    Subject { team: &'a str, issuer: &'a str, subject: &'a str },
}

impl<'a> Identity<'a> {
    /// For `principal` as a member of `team`.
    pub(in crate::glacier) fn new(
        session: SessionFor,
        principal: &'a Principal,
        team: &'a str,
    ) -> Self {
        match session {
            SessionFor::Team => Self::Team(team),
            SessionFor::Subject => {
                Self::Subject { team, issuer: &principal.issuer, subject: &principal.subject }
            }
        }
    }

    /// The whole name, which no other identity has, whatever its length.
    pub(super) fn text(&self) -> String {
        let mut text = String::with_capacity(64);
        match self {
            Self::Team(team) => escape(team, in_name, &mut text),
            Self::Subject { team, issuer, subject } => {
                for (n, part) in [team, issuer, subject].into_iter().enumerate() {
                    if n > 0 {
                        text.push(',');
                    }
                    escape(part, in_name, &mut text);
                }
            }
        }
        text
    }

    /// The name as a role session's name and as a source identity.
    pub(super) fn name(&self) -> String {
        let text = self.text();
        match text.len() {
            length if NAME.contains(&length) => text,
            length if length > *NAME.end() => shortened(&text, *NAME.end()),
            // A single character that needs no escape, or nothing at all.
            _ => text.bytes().fold("=".to_owned(), |name, byte| format!("{name}{byte:02X}")) + "=",
        }
    }

    /// The session tags: `team`, and of a subject's session `issuer` and `subject`.
    pub(super) fn tags(&self) -> Vec<(&'static str, String)> {
        let value = |text: &str| {
            let mut value = String::new();
            escape(text, in_tag, &mut value);
            if value.len() > MAX_TAG { shortened(&value, MAX_TAG) } else { value }
        };
        match self {
            Self::Team(team) => vec![("team", value(team))],
            Self::Subject { team, issuer, subject } => {
                vec![("team", value(team)), ("issuer", value(issuer)), ("subject", value(subject))]
            }
        }
    }
}

/// What stands for itself in a name: AWS accepts `[\w+=,.@-]`.
fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.@-".contains(&byte)
}

/// What stands for itself in a tag: of what AWS accepts in one, what is ASCII.
fn in_tag(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.:/@- ".contains(&byte)
}

fn escape(text: &str, keeps: fn(u8) -> bool, into: &mut String) {
    for byte in text.bytes() {
        if keeps(byte) {
            into.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(into, "={byte:02X}");
        }
    }
}

/// `length` characters that stand for `escaped`, which has more.
fn shortened(escaped: &str, length: usize) -> String {
    let hash = BASE64URL_NOPAD.encode(digest(&SHA256, escaped.as_bytes()).as_ref());
    let beginning = &escaped[..length - HASH - 1];
    // Half an escape would be none.
    let whole = match beginning.rfind('=') {
        Some(start) if beginning.len() - start < 3 => &beginning[..start],
        _ => beginning,
    };
    format!("{whole}+{}", &hash[..HASH])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn subject<'a>(team: &'a str, issuer: &'a str, subject: &'a str) -> Identity<'a> {
        Identity::Subject { team, issuer, subject }
    }

    #[test]
    fn names_say_whom_they_are_for_as_far_as_they_can() {
        for (identity, name) in [
            (Identity::Team("media"), "media"),
            (Identity::Team("a"), "=61="),
            (Identity::Team(""), "=="),
            (Identity::Team("=61="), "=3D61=3D"),
            (Identity::Team("a,b+c:d"), "a=2Cb=2Bc=3Ad"),
            (subject("media", "corporate", "alice@x.org"), "media,corporate,alice@x.org"),
            (subject("media", "corporate", "auth0|7"), "media,corporate,auth0=7C7"),
            (subject("a", "b", "c,d"), "a,b,c=2Cd"),
        ] {
            assert_eq!(identity.name(), name);
        }
        let long = "a-very-long-team-name-that-goes-on-and-on".repeat(2);
        let name = Identity::Team(&long).name();
        assert!(name.starts_with("a-very-long-team-name-that-goes+") && name.len() == 64, "{name}");
        let tags = subject("media", "corporate", "auth0|a:b/c").tags();
        assert_eq!(tags[2], ("subject", "auth0=7Ca:b/c".to_owned()));
    }

    #[test]
    fn names_made_to_collide_under_a_careless_mapping_do_not() {
        let long = "x".repeat(64);
        let cut = &long[..31];
        let (one, other) = (format!("{long}a"), format!("{long}b"));
        let hashed = Identity::Team(&one).name();
        let escaped = "é".repeat(40);
        let identities = [
            // Cut off, they would be the same.
            Identity::Team(&long),
            Identity::Team(&one),
            Identity::Team(&other),
            Identity::Team(cut),
            // A team that has the name of another's hash.
            Identity::Team(&hashed),
            // Replaced by one character each, they would be the same.
            Identity::Team("a:b"),
            Identity::Team("a=b"),
            Identity::Team("a+b"),
            Identity::Team("a=3Ab"),
            Identity::Team(&escaped),
            // With plain separators they would be the same.
            subject("a", "b", "c,d"),
            subject("a", "b,c", "d"),
            subject("a,b", "c", "d"),
            Identity::Team("a,b,c,d"),
            Identity::Team("a,b,c"),
            subject("a", "b", "c"),
            subject("a", "b", ""),
            subject("a", "", "b"),
            Identity::Team("A"),
            Identity::Team("a"),
            Identity::Team("=61"),
            Identity::Team("=61="),
            Identity::Team(""),
            Identity::Team("="),
            Identity::Team("=="),
        ];
        let mut seen = HashMap::new();
        for identity in &identities {
            let other = seen.insert(identity.name(), identity);
            assert!(other.is_none(), "{identity:?} and {other:?} are both {}", identity.name());
        }
    }

    /// Few characters, so that parts are often alike, and all lengths around the limit.
    fn part() -> impl Strategy<Value = String> {
        prop_oneof!["[a=,+:é]{0,4}", "[ab]{60,70}", "[a:]{20,24}", ".{0,80}"]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn two_identities_never_share_a_name_or_their_tags(
            a in (any::<bool>(), [part(), part(), part()]),
            other in (any::<bool>(), [part(), part(), part()]),
            (change, at) in (0..5, 0..3_usize),
        ) {
            // Most are made to be nearly the same.
            let mut b = a.clone();
            match change {
                0 => b = other,
                1 => b.1[at].push('a'),
                2 => { b.1[at].pop(); }
                3 => {
                    let moved = b.1[at].pop().map(String::from).unwrap_or_default();
                    b.1[(at + 1) % 3].insert_str(0, &moved);
                }
                _ => b.0 = !b.0,
            }
            fn identity((team, [t, i, s]): &(bool, [String; 3])) -> Identity<'_> {
                if *team { Identity::Team(t) } else { subject(t, i, s) }
            }
            let same = a.0 == b.0 && a.1[0] == b.1[0] && (a.0 || a.1 == b.1);
            let (a, b) = (identity(&a), identity(&b));
            prop_assert_eq!(a.name() == b.name(), same);
            prop_assert_eq!(a.text() == b.text(), same);
            prop_assert_eq!(a.tags() == b.tags(), same);
            for identity in [a, b] {
                let name = identity.name();
                prop_assert!(NAME.contains(&name.len()), "{}", name);
                prop_assert!(name.bytes().all(|b| in_name(b) || b"=,+".contains(&b)), "{}", name);
                for (_, value) in identity.tags() {
                    prop_assert!(value.len() <= MAX_TAG);
                    prop_assert!(value.bytes().all(|b| in_tag(b) || b"=+".contains(&b)));
                }
            }
        }
    }
}
