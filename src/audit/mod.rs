//! The audit trail.

pub mod export;
pub mod log;
pub mod verify;
