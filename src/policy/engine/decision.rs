//! What a decision says: a [`Grant`], or a [`Denial`] with its reason.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::resource::Resource;
use crate::domain::Operation;
use crate::policy::language::document::DocumentKind;

/// Which kind of policy a statement stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, ToSchema)]
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
    pub(crate) fn kind(self) -> DocumentKind {
        match self {
            Layer::Policies | Layer::Guardrails => DocumentKind::Identity,
            Layer::VaultPolicies => DocumentKind::Resource,
        }
    }
}

/// A statement's place in the policy set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
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

/// What an allowed request is allowed, and by which statement. It forwards nothing:
/// that takes a [`Permit`](crate::policy::Permit).
#[derive(Debug)]
pub struct Grant {
    operation: Operation,
    resource: Resource,
    team: usize,
    statement: Arc<StatementId>,
}

impl Grant {
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

    /// The index of the permitted team in the principal's teams.
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
    /// A statement denies the request, whatever other statements allow.
    ExplicitDeny {
        /// The team for which the statement denies it.
        team: String,
        /// The statement.
        statement: Arc<StatementId>,
    },
    /// No statement allows the request.
    ImplicitDeny {
        /// Whether a policy allows the request, but no guardrail does.
        limited_by_guardrails: bool,
        /// Statements that almost allowed the request.
        near_misses: Vec<NearMiss>,
    },
}

/// An `Allow` that is about the operation and did not apply.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct NearMiss {
    /// The statement.
    pub statement: Arc<StatementId>,
    /// Why the statement did not apply.
    #[serde(flatten)]
    #[schema(value_type = MissedSchema)]
    pub missed: Missed,
}

/// Why a statement did not apply.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "missed", rename_all = "camelCase")]
pub enum Missed {
    /// The statement is about other resources.
    Resource,
    /// One of the statement's conditions did not hold.
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
            Denial::ImplicitDeny { .. } => None,
        }
    }

    /// The stable code of the reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Denial::ExplicitDeny { .. } => "explicitDeny",
            Denial::ImplicitDeny { .. } => "implicitDeny",
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Denial::ExplicitDeny { team, statement } => {
                write!(
                    f,
                    "{statement} denies this to the team {team:?}; ask the owner of this policy"
                )
            }
            Denial::ImplicitDeny { limited_by_guardrails: true, .. } => f.write_str(
                "a policy allows this, but no guardrail does; ask the gateway's operators",
            ),
            Denial::ImplicitDeny { near_misses, .. } => {
                f.write_str("no policy of your teams allows this")?;
                match near_misses.first() {
                    None => f.write_str("; ask your team for a statement that allows it"),
                    Some(NearMiss { statement, missed: Missed::Resource }) => {
                        write!(f, "; {statement} allows it on other resources")
                    }
                    Some(NearMiss { statement, missed: Missed::Condition { key } }) => {
                        write!(
                            f,
                            "; {statement} would allow it, but its condition on {key} does not hold"
                        )
                    }
                }
            }
        }
    }
}

impl std::error::Error for Denial {}
