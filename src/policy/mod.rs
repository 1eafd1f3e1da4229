//! Authorization: IAM JSON policies with IAM's own semantics.
//!
//! [`PolicySet::load`] reads a policy folder and compiles it;
//! [`PolicySet::authorize`] decides a request and gives a [`Permit`], or a
//! [`Denial`] that says why; [`LivePolicies`] replaces the set when the folder
//! changes. This module knows nothing of HTTP.
//!
//! From text to decision, each room importing those above it only:
//! - `language`: IAM's grammar, with places for messages;
//! - `engine`: what a statement means, and how statements make a decision; asking
//!   without doing;
//! - `review`: what is refused beyond the grammar, what is warned of, and how that is
//!   printed;
//! - `folder`: folders, read and followed.

mod engine;
mod folder;
mod language;
mod review;

pub use engine::batch::simulate_line;
pub use engine::context::{Context, InvalidContext, MAX_GIVEN_VALUE};
pub use engine::decision::{Denial, Grant, Layer, Missed, NearMiss, StatementId};
pub use engine::permit::Permit;
pub use engine::resource::{NoVault, Resource, Target};
pub use engine::set::PolicySet;
pub use engine::simulate::{Access, Decision, Simulation};
pub use folder::live::{LivePolicies, Reload, Status};
pub use folder::load::lint_document;
pub use language::actions::GATEWAY_ACTIONS;
pub use language::finding::Severity;
pub use language::lint_code::LintCode;
pub use review::diagnostic::Diagnostic;
pub use review::render::{Format, render};
