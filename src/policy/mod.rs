//! Authorization: IAM JSON policies with IAM's own semantics.
//!
//! [`PolicySet::load`] reads a policy folder and compiles it;
//! [`PolicySet::decide`] decides a request and gives a [`Permit`], or a
//! [`Denial`] that says why. This module knows nothing of HTTP.

mod batch;
mod check;
mod condition;
mod context;
mod decision;
mod diagnostic;
mod document;
mod instant;
mod keys;
mod lint;
mod live;
mod load;
mod pattern;
mod report;
mod resource;
mod rule;
mod set;
mod simulate;
mod statement;

pub use batch::simulate_line;
pub use check::GATEWAY_ACTIONS;
pub use context::Context;
pub use decision::{Denial, Layer, Missed, NearMiss, Permit, StatementId};
pub use diagnostic::{Diagnostic, Severity};
pub use live::{LivePolicies, Reload, Status};
pub use report::{Format, render};
pub use resource::{NoVault, Resource, Target};
pub use set::PolicySet;
pub use simulate::{Access, Decision, Simulation};
