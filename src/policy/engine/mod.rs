//! What documents mean: statements compiled, held against a request, and decided by.

pub mod batch;
pub mod condition;
pub mod context;
pub mod decision;
mod index;
pub mod instant;
pub mod own;
pub mod pattern;
pub mod permit;
pub mod resource;
mod rule;
pub mod set;
pub mod simulate;
pub mod statement;
