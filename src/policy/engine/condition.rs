//! Condition operators (IAM User Guide, "IAM JSON policy elements: Condition
//! operators" and "Single-valued vs. multivalued context keys").

use std::net::IpAddr;

use ipnet::IpNet;
use rust_decimal::Decimal;

use super::context::{Facts, Values};
use super::instant::Instant;
use super::pattern::{Matched, Pattern, Syntax};
use crate::policy::language::document::Effect;
use crate::policy::language::finding::VariableError;
use crate::policy::language::keys::ContextKey;
use crate::policy::language::operator::{Comparison, Kind, Operator, Set};

/// One `operator: {key: values}` of a `Condition` element.
#[derive(Debug)]
pub(crate) struct Condition {
    pub key: ContextKey,
    operator: Operator,
    values: Expected,
}

/// The values a policy compares with, compiled. A typed value that cannot be
/// read is `None`: it equals nothing, and nothing can be said of its order.
#[derive(Debug)]
enum Expected {
    Text(Box<[Pattern]>),
    Number(Box<[Option<Decimal>]>),
    Date(Box<[Option<Instant>]>),
    Bool(Box<[Option<bool>]>),
    /// Base64 without its padding, which compares like the bytes it stands for.
    Binary(Box<[Option<Box<str>>]>),
    Network(Box<[Option<IpNet>]>),
}

impl Condition {
    /// Compiles a condition; `variables` says whether the document's version
    /// has them.
    ///
    /// # Errors
    /// The index of the value that holds a malformed variable, and the error.
    pub fn new<'a>(
        operator: Operator,
        key: &str,
        values: impl Iterator<Item = &'a str>,
        variables: bool,
    ) -> Result<Self, (usize, VariableError)> {
        let values = match operator.kind {
            Kind::String | Kind::StringIgnoreCase | Kind::StringLike | Kind::Arn => {
                let wildcards = matches!(operator.kind, Kind::StringLike | Kind::Arn);
                let syntax = Syntax { wildcards, variables };
                let pattern =
                    |(index, value)| Pattern::parse(value, syntax).map_err(|e| (index, e));
                Expected::Text(values.enumerate().map(pattern).collect::<Result<_, _>>()?)
            }
            Kind::Numeric(_) => Expected::Number(values.map(number).collect()),
            Kind::Date(_) => Expected::Date(values.map(Instant::parse).collect()),
            Kind::Bool | Kind::Null => Expected::Bool(values.map(boolean).collect()),
            Kind::Binary => {
                Expected::Binary(values.map(|value| binary(value).map(Into::into)).collect())
            }
            Kind::IpAddress => Expected::Network(values.map(network).collect()),
        };
        Ok(Self { key: ContextKey::new(key), operator, values })
    }

    /// Whether the condition holds for a request. `effect` is the statement's:
    /// where the guide leaves open what a comparison means (a value that cannot
    /// be read as the operator's type, several values without a set operator),
    /// an Allow does not apply and a Deny does.
    pub fn holds(&self, facts: &dyn Facts, effect: Effect) -> bool {
        let Operator { set, kind, negated, if_exists } = self.operator;
        let found = facts.get(self.key.lower());
        if kind == Kind::Null {
            let Expected::Bool(values) = &self.values else { return false };
            return values.contains(&Some(found.is_none()));
        }
        let satisfied = |value: &str| match self.matches(value, facts) {
            Some(matched) => matched != negated,
            None => negated && effect == Effect::Deny,
        };
        match (found, set) {
            (None, _) if if_exists => true,
            (None, Set::Single) => negated,
            (None, Set::ForAllValues) => true,
            (None, Set::ForAnyValue) => false,
            (Some(Values::One(value)), _) => satisfied(&value),
            (Some(Values::Many(values)), set) => {
                let all = match set {
                    Set::Single => effect == Effect::Allow,
                    Set::ForAllValues => true,
                    Set::ForAnyValue => false,
                };
                let mut satisfied = values.iter().map(|value| satisfied(value));
                if all { satisfied.all(|s| s) } else { satisfied.any(|s| s) }
            }
        }
    }

    /// Whether `value` matches any of the policy's values, negation aside.
    /// `None` when none matches but one could not be compared.
    fn matches(&self, value: &str, facts: &dyn Facts) -> Option<bool> {
        match &self.values {
            Expected::Text(patterns) => Some(patterns.iter().any(|pattern| {
                let matched = match self.operator.kind {
                    Kind::StringIgnoreCase => pattern.equals_ignoring_case(value, facts),
                    Kind::Arn => pattern.matches_arn(value, facts),
                    _ => pattern.matches(value, facts),
                };
                matched == Matched::Yes
            })),
            Expected::Number(expected) => ordered(self.operator.kind, number(value)?, expected),
            Expected::Date(expected) => {
                ordered(self.operator.kind, Instant::parse(value)?, expected)
            }
            Expected::Bool(expected) => {
                let actual = boolean(value)?;
                any(expected.iter().map(|expected| Some(actual == (*expected)?)))
            }
            Expected::Binary(expected) => {
                let actual = binary(value)?;
                any(expected.iter().map(|expected| Some(actual == &**expected.as_ref()?)))
            }
            Expected::Network(expected) => {
                let actual: IpAddr = value.parse().ok()?;
                any(expected.iter().map(|network| Some(network.as_ref()?.contains(&actual))))
            }
        }
    }

    /// The only values that can fulfil the condition, where they can be listed.
    pub fn only_values(&self) -> Option<Vec<String>> {
        if self.operator.negated || self.operator.if_exists {
            return None;
        }
        match (&self.values, self.operator.kind) {
            (Expected::Text(patterns), Kind::String) => {
                patterns.iter().map(|pattern| Some(pattern.literal()?.to_owned())).collect()
            }
            (Expected::Bool(_), Kind::Bool) => Some(vec!["true".to_owned(), "false".to_owned()]),
            // Presence: only the absent key can fulfil Null.
            (Expected::Bool(values), Kind::Null) if !values.contains(&Some(false)) => Some(vec![]),
            (Expected::Number(numbers), Kind::Numeric(Comparison::Equals)) => {
                Some(numbers.iter().flatten().map(Decimal::to_string).collect())
            }
            _ => None,
        }
    }

    /// The bounds of a comparison of numbers or dates, and values just beside
    /// them. `None` for other conditions.
    pub fn around_bounds(&self) -> Option<Vec<String>> {
        match &self.values {
            Expected::Number(numbers) => {
                let step = Decimal::new(1, 9);
                let around = |n: &Decimal| [*n, n - step, n + step].map(|n| n.to_string());
                Some(numbers.iter().flatten().flat_map(around).collect())
            }
            Expected::Date(dates) => {
                Some(dates.iter().flatten().flat_map(|date| date.around()).collect())
            }
            _ => None,
        }
    }

    /// The texts that it compares with; none if it compares with no texts.
    pub fn texts(&self) -> &[Pattern] {
        match &self.values {
            Expected::Text(patterns) => patterns,
            _ => &[],
        }
    }

    /// The operator.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// The keys the condition reads: its own and its variables'.
    pub fn keys(&self) -> impl Iterator<Item = &ContextKey> {
        let texts = self.texts().iter();
        std::iter::once(&self.key).chain(texts.flat_map(Pattern::variable_keys))
    }
}

fn ordered<T: PartialOrd>(kind: Kind, actual: T, expected: &[Option<T>]) -> Option<bool> {
    let (Kind::Numeric(comparison) | Kind::Date(comparison)) = kind else { return None };
    any(expected.iter().map(|expected| Some(comparison.holds(&actual, expected.as_ref()?))))
}

/// OR over comparisons of which some could not be made.
fn any(mut comparisons: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let folded = comparisons.try_fold(Some(false), |known, comparison| match comparison {
        Some(true) => Err(()),
        Some(false) => Ok(known),
        None => Ok(None),
    });
    folded.unwrap_or(Some(true))
}

/// An integer or decimal number, exact to 28 digits.
pub(crate) fn number(text: &str) -> Option<Decimal> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if plain && digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        Decimal::from_str_exact(text.strip_prefix('+').unwrap_or(text)).ok()
    } else if digits.starts_with(|c: char| c.is_ascii_digit()) && !digits.contains('_') {
        Decimal::from_scientific(text).ok()
    } else {
        None
    }
}

/// `true` or `false`, in any case.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Base64 as canonical text without padding.
pub(crate) fn binary(text: &str) -> Option<&str> {
    use base64::Engine as _;
    use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
    use base64::{alphabet, engine::DecodePaddingMode};

    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    BASE64.decode(text).ok()?;
    Some(text.trim_end_matches('='))
}

/// An address or a CIDR block; an address alone is a block of one.
pub(crate) fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}
