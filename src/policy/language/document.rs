//! What a policy document is made of: statements with their places in the text
//! (IAM User Guide, "Grammar of the IAM JSON policy language").
//!
//! What is refused here is what IAM itself refuses. What the gateway asks beyond
//! that is in the room `review`.

use std::ops::Range;

use super::finding::Spanned;
use super::operator::Operator;

/// A policy document.
#[derive(Debug)]
pub(crate) struct Document {
    pub has_version: bool,
    /// Whether the version has policy variables: 2012-10-17 does, 2008-10-17
    /// and none at all do not.
    pub variables: bool,
    pub statements: Vec<StatementNode>,
}

/// A statement as written.
#[derive(Debug)]
pub(crate) struct StatementNode {
    pub span: Range<usize>,
    pub sid: Option<Spanned<String>>,
    pub effect: Effect,
    pub principal: Option<Element<PrincipalId>>,
    pub actions: Element<String>,
    pub resources: Element<String>,
    pub conditions: Vec<ConditionNode>,
}

/// What a statement that applies results in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Allow,
    Deny,
}

/// An element that has a `Not…` twin, e.g. `Action` and `NotAction`.
#[derive(Debug)]
pub(crate) struct Element<T> {
    pub not: bool,
    pub values: Vec<Spanned<T>>,
}

/// A principal as written: `*`, or an identifier under its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PrincipalId {
    Everyone,
    Aws(String),
    Federated(String),
    Service(String),
    CanonicalUser(String),
}

/// One key of one condition operator.
#[derive(Debug)]
pub(crate) struct ConditionNode {
    pub operator: Spanned<Operator>,
    pub key: Spanned<String>,
    pub values: Vec<Spanned<String>>,
}

/// Whom a document is about, which decides whether it must or may not name
/// principals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DocumentKind {
    /// Attached to the caller: no `Principal`.
    Identity,
    /// Attached to a resource: `Principal` in every statement.
    Resource,
}
