//! Callers that sign with Signature Version 4 and a key of the gateway's own.

mod access_key;
mod gateway_keys;
mod revoked_keys;
pub mod sigv4;

pub use self::{
    access_key::AccessKey,
    gateway_keys::{GatewayKeys, KeyCreationError, KeyError, SignedBy, UnusableKeys},
};
