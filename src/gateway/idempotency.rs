//! Requests that are sent twice and shall have their effect once.

use aws_lc_rs::digest::{Context, SHA256};

use super::Actor;

/// What makes a request that is sent twice one request: whose it is, and what it asks.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    /// The hash of whose the key is, of which route, and of the key.
    pub scope: [u8; 32],
    /// The hash of what is asked with it.
    pub asked: [u8; 32],
}

impl IdempotencyKey {
    /// The key `given` by a caller, for a request that consists of these parts.
    pub fn new(actor: &Actor, route: &str, given: &str, parts: &[&[u8]]) -> Self {
        let principal = &actor.principal;
        let scope = [&principal.issuer, &principal.subject, route, given];
        Self { scope: sha256(&scope.map(str::as_bytes)), asked: sha256(parts) }
    }
}

/// The hash of texts, none of which can pass into its neighbour.
fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut sum = Context::new(&SHA256);
    for part in parts {
        sum.update(&part.len().to_be_bytes());
        sum.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(sum.finish().as_ref());
    hash
}
