//! Authorization: IAM JSON policies with IAM's own semantics.
//!
//! [`PolicySet::load`] reads a policy folder and compiles it;
//! [`PolicySet::authorize`] decides a request and gives a [`Permit`], or a
//! [`Denial`] that says why; [`LivePolicies`] replaces the set when the folder
//! changes. This module knows nothing of HTTP.
//!
//! There are four rooms; each imports only those before it:
//! - `language` reads a document by IAM's grammar and keeps the places of its parts;
//! - `engine` compiles statements, finds those that are about a request, and decides by
//!   them; it also simulates decisions;
//! - `review` finds the errors and warnings of a document beyond the grammar, and prints
//!   them;
//! - `folder` reads a policy folder and follows its changes.

mod engine;
mod folder;
mod language;
mod review;

pub use engine::batch::simulate_line;
pub use engine::context::{Context, InvalidContext, KeptContext, MAX_GIVEN_VALUE};
pub use engine::decision::{Denial, Grant, Layer, Missed, NearMiss, StatementId};
pub use engine::own::{OwnGrant, Reach};
pub use engine::pattern::{contains_wildcards, matches_wildcards};
pub use engine::permit::{Asked, Permit};
pub use engine::resource::{NoVault, Resource};
pub use engine::set::PolicySet;
pub use engine::simulate::{Access, Decision, Simulation};
pub use folder::live::{LivePolicies, Reload, Status};
pub use folder::load::lint_document;
pub use language::lint_code::LintCode;
pub use language::lint_code::Severity;
pub use review::diagnostic::Diagnostic;
pub use review::render::{Format, render};
