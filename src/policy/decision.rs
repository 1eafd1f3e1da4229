//! What a decision says: a [`Permit`], or a [`Denial`] with its reason.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::document::DocumentKind;
use super::resource::Resource;
use crate::domain::Operation;

/// Which kind of policy a statement stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Layer {
    /// A team's own policies (identity-based).
    Policies,
    /// Policies that apply to every team and only limit.
    Guardrails,
    /// Policies of vaults, with a `Principal` (resource-based).
    VaultPolicies,
}

impl Layer {
    /// Whether documents of the layer name principals.
    pub(super) fn kind(self) -> DocumentKind {
        match self {
            Layer::Policies | Layer::Guardrails => DocumentKind::Identity,
            Layer::VaultPolicies => DocumentKind::Resource,
        }
    }
}

/// A statement's place in the policy set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct StatementId {
    /// The kind of policy.
    pub layer: Layer,
    /// The policy's file, relative to the policy folder, e.g. `teams/photos.json`.
    pub policy: String,
    /// The statement's position in the document, from 0.
    pub statement: usize,
    /// Its `Sid`, if it has one.
    pub sid: Option<String>,
}

impl fmt::Display for StatementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sid {
            Some(sid) => write!(f, "{} ({sid})", self.policy),
            None => write!(f, "{} (statement {})", self.policy, self.statement),
        }
    }
}

/// Leave to perform one operation on one resource.
///
/// Only [`PolicySet::decide`](super::PolicySet::decide) makes one, and the
/// upstream client asks for it, so nothing is forwarded undecided.
#[derive(Debug)]
pub struct Permit {
    operation: Operation,
    resource: Resource,
    team: usize,
    statement: Arc<StatementId>,
}

impl Permit {
    pub(super) fn new(
        operation: Operation,
        resource: Resource,
        team: usize,
        statement: Arc<StatementId>,
    ) -> Self {
        Self { operation, resource, team, statement }
    }

    /// The operation that may be performed.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// The resource it may be performed on.
    pub fn resource(&self) -> &Resource {
        &self.resource
    }

    /// The team that may: its index in the principal's teams.
    pub fn team(&self) -> usize {
        self.team
    }

    /// A statement that allowed it.
    pub fn statement(&self) -> &Arc<StatementId> {
        &self.statement
    }
}

/// Why a request is denied. Serialises as the `reason` and its details.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(tag = "reason", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Denial {
    /// A statement denies it, whatever others allow.
    ExplicitDeny {
        /// The team for which it does.
        team: String,
        /// The statement.
        statement: Arc<StatementId>,
    },
    /// No statement allows it.
    ImplicitDeny {
        /// A policy allows it, but no guardrail does.
        limited_by_guardrails: bool,
        /// Statements that would have allowed it but for one thing.
        near_misses: Vec<NearMiss>,
    },
    /// A policy asks for facts about the upload, which could not be had.
    UploadUnknown,
}

/// An Allow that is about the operation but did not apply.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct NearMiss {
    /// The statement.
    pub statement: Arc<StatementId>,
    /// What kept it from applying.
    #[serde(flatten)]
    #[schema(value_type = MissedSchema)]
    pub missed: Missed,
}

/// What kept a statement from applying.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "missed", rename_all = "camelCase")]
pub enum Missed {
    /// It is about other resources.
    Resource,
    /// A condition did not hold.
    Condition {
        /// The condition's context key, as the policy writes it.
        key: String,
    },
}

/// What kept a statement from applying.
// As a schema this is one object: generators of clients drop an `allOf` of the `oneOf`
// that the variants of `Missed` would make, and every schema that refers to it.
#[derive(ToSchema)]
#[schema(as = Missed)]
#[allow(dead_code)]
struct MissedSchema {
    /// `resource`: the statement is about other resources. `condition`: a condition of
    /// it did not hold.
    missed: MissedKind,
    /// With `condition`: the condition's context key, as the policy writes it.
    #[schema(nullable = false)]
    key: Option<String>,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[allow(dead_code)]
enum MissedKind {
    Resource,
    Condition,
}

impl Denial {
    /// The statement that denies, if one does.
    pub fn statement(&self) -> Option<&Arc<StatementId>> {
        match self {
            Denial::ExplicitDeny { statement, .. } => Some(statement),
            Denial::ImplicitDeny { .. } | Denial::UploadUnknown => None,
        }
    }

    /// The stable code of the reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Denial::ExplicitDeny { .. } => "explicitDeny",
            Denial::ImplicitDeny { .. } => "implicitDeny",
            Denial::UploadUnknown => "uploadUnknown",
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Denial::ExplicitDeny { team, statement } => {
                write!(f, "{statement} denies this to team {team:?}; ask the policy's owner")
            }
            Denial::ImplicitDeny { limited_by_guardrails: true, .. } => {
                f.write_str("a policy allows this, but no guardrail does; ask whoever keeps them")
            }
            Denial::ImplicitDeny { near_misses, .. } => {
                f.write_str("no policy of your teams allows this")?;
                match near_misses.first() {
                    None => f.write_str("; ask for a statement that does"),
                    Some(NearMiss { statement, missed: Missed::Resource }) => {
                        write!(f, "; {statement} allows it on other resources")
                    }
                    Some(NearMiss { statement, missed: Missed::Condition { key } }) => {
                        write!(f, "; {statement} would, but its condition on {key} does not hold")
                    }
                }
            }
            Denial::UploadUnknown => f.write_str(
                "a policy asks about the upload, and Glacier did not tell its age and \
                 description; check the upload ID or try again",
            ),
        }
    }
}

impl std::error::Error for Denial {}
