//! Authorization: IAM JSON policies with IAM's own semantics.
//!
//! [`PolicySet::load`] reads a policy folder and compiles it;
//! [`PolicySet::authorize`] decides a request and gives a [`Permit`], or a
//! [`Denial`] that says why; [`LivePolicies`] replaces the set when the folder
//! changes. This module knows nothing of HTTP.
//!
//! From text to decision:
//! - `json`, `reader`, `document`: IAM's grammar, with places for messages;
//! - `check`, `lint`, `arn`, `contradiction`, `keys`, `diagnostic`, `report`: what is
//!   refused beyond the grammar, what is warned of, and how that is printed;
//! - `pattern`, `instant`, `condition`, `statement`: what a statement means;
//! - `context`, `resource`: what is known of a request;
//! - `rule`, `set`, `decision`: how statements make a decision;
//! - `load`, `live`: folders; `batch`, `simulate`: asking without doing.

mod arn;
mod batch;
mod check;
mod condition;
mod context;
mod contradiction;
mod decision;
mod diagnostic;
mod document;
mod instant;
mod json;
mod keys;
mod lint;
mod live;
mod load;
mod pattern;
mod permit;
mod reader;
mod report;
mod resource;
mod rule;
mod set;
mod simulate;
mod statement;

pub use batch::simulate_line;
pub use check::GATEWAY_ACTIONS;
pub use context::{Context, InvalidContext};
pub use decision::{Denial, Grant, Layer, Missed, NearMiss, StatementId};
pub use diagnostic::{Diagnostic, Severity};
pub use live::{LivePolicies, Reload, Status};
pub use load::lint_document;
pub use permit::Permit;
pub use report::{Format, render};
pub use resource::{NoVault, Resource, Target};
pub use set::PolicySet;
pub use simulate::{Access, Decision, Simulation};
