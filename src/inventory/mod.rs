//! What was seen in the vaults, and when: uploads, their parts, and what is gone.
//!
//! Times are microseconds since 1970, UTC, by the store's clock.

pub mod parts;
pub mod seen;
