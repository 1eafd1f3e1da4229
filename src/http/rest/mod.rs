//! The REST door, `/v1`: a file for each kind of resource, and the OpenAPI document.

pub(super) mod access;
pub(super) mod accounts;
pub(super) mod audit;
mod csv;
mod idempotency;
pub(super) mod inventory;
pub(super) mod jobs;
pub(super) mod lifecycle;
pub(super) mod openapi;
pub(super) mod uploads;
pub(super) mod vaults;
