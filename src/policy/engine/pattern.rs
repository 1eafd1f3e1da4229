//! Text patterns: IAM's wildcards and policy variables.
//!
//! `*` stands for any number of characters, `?` for exactly one. A variable is
//! replaced by a value of the request, and what it brings in is always literal:
//! a team called `*` is no wildcard.

use std::{borrow::Cow, fmt, ops::Range};

use memchr::memchr;

use super::context::{Facts, Values};
use crate::policy::language::finding::VariableError;
use crate::policy::language::keys::ContextKey;

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => f.write_str(text)?,
                Piece::One => f.write_str("?")?,
                Piece::Any => f.write_str("*")?,
                Piece::Variable { key, default: None } => write!(f, "${{{key}}}")?,
                Piece::Variable { key, default: Some(text) } => write!(f, "${{{key}, '{text}'}}")?,
            }
        }
        Ok(())
    }
}

/// One part of a pattern.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece {
    /// Literal text.
    Text(Box<str>),
    /// `?`: exactly one character.
    One,
    /// `*`: any number of characters.
    Any,
    /// `${key}` or `${key, 'default'}`.
    Variable { key: ContextKey, default: Option<Box<str>> },
}

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pattern {
    pieces: Box<[Piece]>,
    has_variables: bool,
}

/// Which of the two special notations a text may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Syntax {
    /// `*` and `?` are wildcards.
    pub wildcards: bool,
    /// `${…}` is a variable: only under `Version` 2012-10-17.
    pub variables: bool,
}

/// Whether a text matches a pattern, when the pattern may hold variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Matched {
    Yes,
    No,
    /// A variable of the pattern has no value, so the pattern matches nothing
    /// (IAM User Guide, "IAM policy elements: Variables and tags", "Policy
    /// variables with no value").
    NoValue,
}

impl Pattern {
    /// Compiles `text`.
    ///
    /// # Errors
    /// A malformed variable, when variables are on.
    pub fn parse(text: &str, syntax: Syntax) -> Result<Self, VariableError> {
        let mut builder = Builder::default();
        for piece in pieces(text, syntax) {
            builder.push(piece?.1);
        }
        Ok(builder.finish())
    }

    /// Compiles `text` with wildcards and without variables, which cannot fail.
    pub fn wildcards(text: &str) -> Self {
        let mut builder = Builder::default();
        for (_, piece) in pieces(text, Syntax { wildcards: true, variables: false }).flatten() {
            builder.push(piece);
        }
        builder.finish()
    }

    /// Matches the whole of `text`.
    pub fn matches(&self, text: &str, facts: &dyn Facts) -> Matched {
        match self.substitute(facts) {
            Some(pieces) if glob(&pieces, text, 0) => Matched::Yes,
            Some(_) => Matched::No,
            None => Matched::NoValue,
        }
    }

    /// Matches the whole of `text` without a request; a variable matches nothing.
    pub fn matches_text(&self, text: &str) -> bool {
        glob(&self.pieces, text, 0)
    }

    /// Compares without regard to case. Only for patterns without wildcards.
    pub fn equals_ignoring_case(&self, text: &str, facts: &dyn Facts) -> Matched {
        let Some(pieces) = self.substitute(facts) else { return Matched::NoValue };
        let own = pieces.iter().flat_map(|piece| match piece {
            Piece::Text(text) => text.chars(),
            _ => "".chars(),
        });
        let folded = |c: char| c.to_lowercase();
        if own.flat_map(folded).eq(text.chars().flat_map(folded)) {
            Matched::Yes
        } else {
            Matched::No
        }
    }

    /// Matches an ARN field by field: both must have the six colon-delimited
    /// fields of an ARN, and no wildcard reaches over a colon (IAM User Guide,
    /// "Condition operators", "ARN condition operators").
    pub fn matches_arn(&self, arn: &str, facts: &dyn Facts) -> Matched {
        let Some((fifth, _)) = arn.match_indices(':').nth(4) else { return Matched::No };
        match self.substitute(facts) {
            Some(pieces) if glob(&pieces, arn, fifth + 1) => Matched::Yes,
            Some(_) => Matched::No,
            None => Matched::NoValue,
        }
    }

    /// Whether this matches every text that `other` matches. May be false where
    /// it is so in a roundabout way; never true where it is not.
    pub fn contains(&self, other: &Self) -> bool {
        // The other's wildcards stand as characters that no ARN has; only a `*`
        // of this one may match them.
        let stand_in = |piece: &Piece| match piece {
            Piece::Text(text) => text.to_string(),
            _ => "\u{0}".to_owned(),
        };
        self == other
            || (!self.pieces.contains(&Piece::One)
                && glob(&self.pieces, &other.pieces.iter().map(stand_in).collect::<String>(), 0))
    }

    /// The whole text, if the pattern has neither wildcards nor variables.
    pub fn literal(&self) -> Option<&str> {
        match &*self.pieces {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The literal text before the first wildcard or variable.
    pub fn literal_prefix(&self) -> &str {
        match self.pieces.first() {
            Some(Piece::Text(text)) => text,
            _ => "",
        }
    }

    /// How many pieces a match may have to compare at each character of a text: what
    /// follows a `*` is compared anew at every character. 0 if that cannot happen.
    pub fn comparisons_per_character(&self) -> usize {
        let mut segments = self.pieces.split(|piece| *piece == Piece::Any);
        // What stands before the first `*` is compared once.
        segments.next();
        segments.map(<[Piece]>::len).max().unwrap_or(0)
    }

    /// The literal texts, each with whether the pattern ends with it.
    pub fn literals(&self) -> impl Iterator<Item = (&str, bool)> {
        self.pieces.iter().enumerate().filter_map(|(index, piece)| match piece {
            Piece::Text(text) => Some((&**text, index + 1 == self.pieces.len())),
            _ => None,
        })
    }

    /// The keys of the variables.
    pub fn variable_keys(&self) -> impl Iterator<Item = &ContextKey> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Variable { key, .. } => Some(key),
            _ => None,
        })
    }

    /// Replaces the variables by the request's values; `None` when one of them
    /// has neither value nor default. A key with several values is no variable
    /// (IAM User Guide, "Single-valued vs. multivalued context keys").
    fn substitute(&self, facts: &dyn Facts) -> Option<Cow<'_, [Piece]>> {
        if !self.has_variables {
            return Some(Cow::Borrowed(&self.pieces));
        }
        let literal = |piece: &Piece| match piece {
            Piece::Variable { key, default } => {
                let text: Box<str> = match facts.get(key.lower()) {
                    Some(Values::One(value)) if !value.is_empty() => value.into(),
                    Some(Values::Many(_)) => return None,
                    _ => default.clone()?,
                };
                Some(Piece::Text(text))
            }
            other => Some(other.clone()),
        };
        self.pieces.iter().map(literal).collect::<Option<Vec<_>>>().map(Cow::Owned)
    }
}

#[derive(Default)]
struct Builder {
    pieces: Vec<Piece>,
    text: String,
}

impl Builder {
    fn push(&mut self, piece: Piece) {
        if let Piece::Text(text) = piece {
            self.text.push_str(&text);
            return;
        }
        self.flush();
        if piece != Piece::Any || self.pieces.last() != Some(&Piece::Any) {
            self.pieces.push(piece);
        }
    }

    fn flush(&mut self) {
        if !self.text.is_empty() {
            self.pieces.push(Piece::Text(std::mem::take(&mut self.text).into()));
        }
    }

    fn finish(mut self) -> Pattern {
        self.flush();
        let has_variables = self.pieces.iter().any(|p| matches!(p, Piece::Variable { .. }));
        Pattern { pieces: self.pieces.into(), has_variables }
    }
}

/// The pieces of a text and where each stands, up to the first variable that breaks the
/// notation. Literal text may come in several pieces.
pub(crate) fn pieces(
    text: &str,
    syntax: Syntax,
) -> impl Iterator<Item = Result<(Range<usize>, Piece), VariableError>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = &text[start..];
        let (piece, length) = match rest.chars().next()? {
            '$' if syntax.variables && rest.starts_with("${") => match variable(rest) {
                Ok(found) => found,
                Err(message) => {
                    let length = rest.find('}').map_or(rest.len(), |brace| brace + 1);
                    let at = start..start + length;
                    start = text.len();
                    return Some(Err(VariableError { at, message }));
                }
            },
            '*' if syntax.wildcards => (Piece::Any, 1),
            '?' if syntax.wildcards => (Piece::One, 1),
            first => {
                let after = first.len_utf8();
                let length = rest[after..].find(['*', '?', '$']);
                let length = length.map_or(rest.len(), |length| after + length);
                (Piece::Text(rest[..length].into()), length)
            }
        };
        let at = start..start + length;
        start = at.end;
        Some(Ok((at, piece)))
    })
}

/// Whether the whole of `text` is as `pattern` describes, with IAM's wildcards.
pub fn matches_wildcards(pattern: &str, text: &str) -> bool {
    Pattern::wildcards(pattern).matches_text(text)
}

/// Whether `pattern` describes every text that `other` does. May be false where that is so in
/// a roundabout way; never true where it is not.
pub fn contains_wildcards(pattern: &str, other: &str) -> bool {
    Pattern::wildcards(pattern).contains(&Pattern::wildcards(other))
}

/// Checks the variables of a resource: they may stand only in the last part of an ARN
/// (IAM User Guide, "IAM policy elements: Variables and tags", "Resource element").
///
/// # Errors
/// The first variable that breaks the notation, or stands before the fifth colon.
pub(crate) fn check_resource_variables(resource: &str) -> Result<(), VariableError> {
    let mut colons = 0;
    for piece in pieces(resource, Syntax { wildcards: true, variables: true }) {
        match piece? {
            (_, Piece::Text(text)) => colons += text.matches(':').count(),
            (at, Piece::Variable { .. }) if colons < 5 => {
                let message = "a policy variable may stand only after the fifth colon of an ARN";
                return Err(VariableError { at, message });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Reads the variable at the start of `text`; gives it and its length in bytes.
fn variable(text: &str) -> Result<(Piece, usize), &'static str> {
    const UNCLOSED: &str = "this policy variable is not closed: write ${key}";
    let inner = &text[2..];
    for literal in ["*", "?", "$"] {
        if inner.strip_prefix(literal).is_some_and(|rest| rest.starts_with('}')) {
            return Ok((Piece::Text(literal.into()), 4));
        }
    }
    let end = inner.find([',', '}']).ok_or(UNCLOSED)?;
    let key = &inner[..end];
    if key.is_empty() {
        return Err("this policy variable has no context key: write ${key}");
    }
    // A tag's key may hold spaces.
    let (name, tag) = key.split_once('/').unwrap_or((key, ""));
    if name.contains(char::is_whitespace) || tag.trim() != tag || key.contains(['$', '{']) {
        return Err("a policy variable has one context key and no spaces: write ${key}");
    }
    let key = ContextKey::new(key);
    let rest = &inner[end..];
    if rest.starts_with('}') {
        return Ok((Piece::Variable { key, default: None }, 2 + end + 1));
    }
    const DEFAULT: &str =
        "the default of a variable stands in single quotes: write ${key, 'default'}";
    let quoted = rest.strip_prefix(", '").ok_or(DEFAULT)?;
    let (default, after) = quoted.split_once('\'').ok_or(DEFAULT)?;
    let after = after.strip_prefix('}').ok_or(DEFAULT)?;
    let piece = Piece::Variable { key, default: Some(default.into()) };
    Ok((piece, text.len() - after.len()))
}

/// Wildcard matching in O(text × most pieces between two `*`): a failed match goes
/// back to the last `*` only, which suffices. Wildcards match no colon before the byte `free`.
fn glob(pieces: &[Piece], text: &str, free: usize) -> bool {
    let wild = |at: usize| {
        let next = text[at..].chars().next()?;
        (next != ':' || at >= free).then(|| at + next.len_utf8())
    };
    // Where to go on after a `*` that has matched up to `at` so far: at the next
    // place where the literal that follows it may begin.
    let further = |resume: usize, at: usize| {
        let next = wild(at)?;
        let first = match pieces.get(resume) {
            Some(Piece::Text(literal)) => literal.as_bytes().first(),
            _ => None,
        };
        // A default may be empty text, which begins anywhere.
        let Some(first) = first else { return Some(next) };
        let found = next + memchr(*first, &text.as_bytes()[next..])?;
        let passes = next >= free || !text[next..found.min(free)].contains(':');
        passes.then_some(found)
    };
    let (mut piece, mut at) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let advanced = match pieces.get(piece) {
            Some(Piece::Text(literal)) => {
                text[at..].starts_with(&**literal).then(|| at + literal.len())
            }
            Some(Piece::One) => wild(at),
            Some(Piece::Any) if piece + 1 == pieces.len() && at >= free => return true,
            Some(Piece::Any) => {
                retry = Some((piece + 1, at));
                Some(at)
            }
            Some(Piece::Variable { .. }) => None,
            None if at == text.len() => return true,
            None => None,
        };
        if let Some(after) = advanced {
            (piece, at) = (piece + 1, after);
        } else {
            let Some((resume, after)) =
                retry.and_then(|(resume, from)| Some((resume, further(resume, from)?)))
            else {
                return false;
            };
            retry = Some((resume, after));
            (piece, at) = (resume, after);
        }
    }
}
