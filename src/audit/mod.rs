//! The audit trail.

pub mod log;
