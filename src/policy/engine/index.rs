//! Finds the statements that may be about a resource, however many there are.

use std::collections::BTreeMap;

use foldhash::HashMap;

use super::pattern::Pattern;
use super::statement::Statement;
use crate::policy::language::document::Effect;

/// How many statements beside a vault's name are looked at for near misses.
const LOOKED_AT: usize = 32;

/// The statements of a layer, by literal text that a resource must hold for one of
/// their patterns to match. A look-up takes one hash for each [`Place`] of such texts.
///
/// A statement that is not found is not asked, and a Deny that is not asked is an Allow.
/// So a text is only taken where every match holds it:
///
/// - A vault's ARN has exactly one `/`, before the vault's name: a region, an account and
///   a name have none ([`domain`](crate::domain) checks them). The only other resource,
///   `*`, has none.
/// - A `/` that a pattern spells out must match a `/` of the resource, hence that one,
///   and the literal text around it must match the text around that one: no wildcard and
///   no variable, whatever it brings in, stands between them. This is so whatever stands
///   before the text: a `*` for the region may well reach over colons, but not over
///   what is spelt out behind it.
/// - If that text ends the pattern, it ends the resource.
/// - A pattern that spells out no `/` still begins with its literal text, which may be
///   empty: then it is always asked.
/// - `NotResource` is about everything else, and always asked.
#[derive(Debug, Default)]
pub(super) struct Index {
    statements: BTreeMap<Place, HashMap<Box<str>, Vec<usize>>>,
    /// The Allows, by the vault's name as far as their patterns spell it out, in order.
    names: Vec<(Box<str>, usize)>,
}

/// Where in a resource a text must stand, by lengths in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// At the beginning.
    Start { length: usize },
    /// Around the `/`, up to so much before and so much after it.
    Around { before: usize, after: usize },
    /// Around the `/`, up to so much before it and the end.
    End { before: usize },
}

impl Place {
    /// The text that a resource has there.
    fn of(self, resource: &str, slash: Option<usize>) -> Option<&str> {
        match self {
            Self::Start { length } => resource.get(..length),
            Self::Around { before, after } => {
                let slash = slash?;
                resource.get(slash.checked_sub(before)?..slash + 1 + after)
            }
            Self::End { before } => resource.get(slash?.checked_sub(before)?..),
        }
    }
}

/// A text that every match of a pattern holds, and its place.
fn necessary(pattern: &Pattern) -> (Place, &str) {
    let spelt_out = pattern.literals().find_map(|(text, last)| Some((text, text.find('/')?, last)));
    match spelt_out {
        None => {
            let text = pattern.literal_prefix();
            (Place::Start { length: text.len() }, text)
        }
        Some((text, before, true)) => (Place::End { before }, text),
        Some((text, before, false)) => {
            (Place::Around { before, after: text.len() - before - 1 }, text)
        }
    }
}

impl Index {
    pub fn new<'a>(statements: impl Iterator<Item = &'a Statement>) -> Self {
        let mut index = Self::default();
        for (position, statement) in statements.enumerate() {
            let everything = (Place::Start { length: 0 }, "");
            let mut texts: Vec<_> = match statement.resource_patterns() {
                Some(patterns) => patterns.iter().map(necessary).collect(),
                None => vec![everything],
            };
            texts.sort_unstable();
            texts.dedup();
            for (place, text) in texts {
                let places = index.statements.entry(place).or_default();
                places.entry(text.into()).or_default().push(position);
                if statement.effect == Effect::Allow {
                    let name = text.split_once('/').map_or("", |(_, name)| name);
                    index.names.push((name.into(), position));
                }
            }
        }
        index.names.sort_unstable();
        index
    }

    /// The statements that may be about a resource: all that are, and a few more. One
    /// may come twice.
    pub fn candidates(&self, resource: &str) -> impl Iterator<Item = usize> {
        let slash = resource.find('/');
        let places = self.statements.iter();
        let found = places.filter_map(move |(place, texts)| texts.get(place.of(resource, slash)?));
        found.flatten().copied()
    }

    /// Some Allows for the vaults whose names are nearest to that of a resource, and how
    /// many bytes at its beginning they spell out as it does. One may come twice.
    pub fn nearest(&self, resource: &str) -> impl Iterator<Item = (usize, usize)> {
        let name = resource.split_once('/').map_or("", |(_, name)| name);
        let at = self.names.partition_point(|(other, _)| **other < *name);
        let (before, after) = self.names.split_at(at);
        let beside = before.iter().rev().take(LOOKED_AT).chain(after.iter().take(LOOKED_AT));
        beside.map(move |(other, position)| {
            let alike = other.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
            (*position, alike)
        })
    }
}
