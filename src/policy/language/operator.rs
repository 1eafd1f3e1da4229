//! Condition operators as they are named (IAM User Guide, "IAM JSON policy elements:
//! Condition operators").

/// A condition operator with its qualifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operator {
    pub set: Set,
    pub kind: Kind,
    /// `Not…`: true where the plain operator is false.
    pub negated: bool,
    pub if_exists: bool,
}

/// How an operator treats the request's values of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    /// No set operator: for single-valued keys.
    Single,
    /// `ForAllValues:`
    ForAllValues,
    /// `ForAnyValue:`
    ForAnyValue,
}

/// What an operator compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    String,
    StringIgnoreCase,
    StringLike,
    Numeric(Comparison),
    Date(Comparison),
    Bool,
    Binary,
    IpAddress,
    Arn,
    Null,
}

/// A comparison of ordered values: context value to policy value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equals,
    LessThan,
    LessThanEquals,
    GreaterThan,
    GreaterThanEquals,
}

impl Comparison {
    /// Whether it holds between a context value and a policy value.
    pub fn holds<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Equals => left == right,
            Self::LessThan => left < right,
            Self::LessThanEquals => left <= right,
            Self::GreaterThan => left > right,
            Self::GreaterThanEquals => left >= right,
        }
    }
}

impl Operator {
    /// The names of all operators, without set operator and `IfExists`.
    pub const NAMES: [&'static str; 27] = [
        "StringEquals",
        "StringNotEquals",
        "StringEqualsIgnoreCase",
        "StringNotEqualsIgnoreCase",
        "StringLike",
        "StringNotLike",
        "NumericEquals",
        "NumericNotEquals",
        "NumericLessThan",
        "NumericLessThanEquals",
        "NumericGreaterThan",
        "NumericGreaterThanEquals",
        "DateEquals",
        "DateNotEquals",
        "DateLessThan",
        "DateLessThanEquals",
        "DateGreaterThan",
        "DateGreaterThanEquals",
        "Bool",
        "BinaryEquals",
        "IpAddress",
        "NotIpAddress",
        "ArnEquals",
        "ArnNotEquals",
        "ArnLike",
        "ArnNotLike",
        "Null",
    ];

    /// Reads an operator's name, e.g. `ForAnyValue:StringLikeIfExists`.
    pub fn parse(name: &str) -> Option<Self> {
        let (set, rest) = match name.split_once(':') {
            Some(("ForAllValues", rest)) => (Set::ForAllValues, rest),
            Some(("ForAnyValue", rest)) => (Set::ForAnyValue, rest),
            Some(_) => return None,
            None => (Set::Single, name),
        };
        let (base, if_exists) = match rest.strip_suffix("IfExists") {
            Some(base) => (base, true),
            None => (rest, false),
        };
        let ordered = |kind: fn(Comparison) -> Kind, comparison: &str| {
            Some(match comparison {
                "Equals" => (kind(Comparison::Equals), false),
                "NotEquals" => (kind(Comparison::Equals), true),
                "LessThan" => (kind(Comparison::LessThan), false),
                "LessThanEquals" => (kind(Comparison::LessThanEquals), false),
                "GreaterThan" => (kind(Comparison::GreaterThan), false),
                "GreaterThanEquals" => (kind(Comparison::GreaterThanEquals), false),
                _ => return None,
            })
        };
        let (kind, negated) = match base {
            "StringEquals" => (Kind::String, false),
            "StringNotEquals" => (Kind::String, true),
            "StringEqualsIgnoreCase" => (Kind::StringIgnoreCase, false),
            "StringNotEqualsIgnoreCase" => (Kind::StringIgnoreCase, true),
            "StringLike" => (Kind::StringLike, false),
            "StringNotLike" => (Kind::StringLike, true),
            "Bool" => (Kind::Bool, false),
            "BinaryEquals" => (Kind::Binary, false),
            "IpAddress" => (Kind::IpAddress, false),
            "NotIpAddress" => (Kind::IpAddress, true),
            "ArnEquals" | "ArnLike" => (Kind::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Kind::Arn, true),
            // Presence itself takes neither a set operator nor IfExists.
            "Null" if set == Set::Single && !if_exists => (Kind::Null, false),
            other => match (other.strip_prefix("Numeric"), other.strip_prefix("Date")) {
                (Some(comparison), _) => ordered(Kind::Numeric, comparison)?,
                (_, Some(comparison)) => ordered(Kind::Date, comparison)?,
                _ => return None,
            },
        };
        Some(Self { set, kind, negated, if_exists })
    }

    /// Whether policy variables are replaced in the operator's values: only for
    /// string and ARN operators (IAM User Guide, "Variables and tags", "Where
    /// you can use policy variables").
    pub fn takes_variables(self) -> bool {
        matches!(self.kind, Kind::String | Kind::StringIgnoreCase | Kind::StringLike | Kind::Arn)
    }
}
