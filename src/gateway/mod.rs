//! The core that every door shares: who is calling, may they, and the Glacier
//! behind. It knows nothing of HTTP: doors read requests and print answers, and only a
//! [`Call`] leads to a permit and to Glacier.

mod actor;
mod call;
mod ceilings;
mod idempotency;
mod in_force;
mod record;
mod recovery;
mod refusal;
mod uploads;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

pub use self::{
    actor::Actor,
    call::{AskedGlacier, Attempted, Call, JobUpload, Look, SeenAccount, SeenUpload},
    ceilings::{CeilingStatus, Concurrency},
    idempotency::IdempotencyKey,
    in_force::Foundations,
    record::{Forwarded, JobRef, Record, Recorder},
    refusal::Refusal,
};
use self::{ceilings::Ceilings, uploads::UploadLookup};
use crate::{
    audit::Trail,
    authn::{Authenticator, GatewayKeys},
    config::Settings,
    glacier::Upstream,
    metrics::Metrics,
    policy::LivePolicies,
    reload::Followed,
};

/// What serves a request; one for the process.
pub struct Gateway {
    /// Verifies callers that bring a token.
    pub authenticator: Authenticator,
    /// Verifies callers that sign.
    pub keys: GatewayKeys,
    /// Decides; replaced as a whole when policies change.
    pub policies: Arc<LivePolicies>,
    /// Records.
    pub trail: Trail,
    /// Forwards.
    pub upstream: Upstream,
    /// Bounds how much is forwarded at once.
    ceilings: Ceilings,
    /// Tells policies about uploads.
    uploads: UploadLookup,
    /// Counts what it does.
    pub metrics: Arc<Metrics>,
    /// How well the files that settings name are followed.
    pub followed: Arc<Followed>,
    /// The settings it was built from.
    pub settings: Settings,
    /// Set when shutdown begins.
    draining: AtomicBool,
}

impl Gateway {
    /// Puts the parts together.
    pub fn new(
        settings: Settings,
        authenticator: Authenticator,
        keys: GatewayKeys,
        policies: LivePolicies,
        trail: Trail,
        upstream: Upstream,
        followed: Arc<Followed>,
    ) -> Self {
        Self {
            authenticator,
            keys,
            policies: Arc::new(policies),
            trail,
            upstream,
            ceilings: Ceilings::new(&settings.limits.upstream),
            uploads: UploadLookup::default(),
            metrics: Arc::default(),
            followed,
            settings,
            draining: AtomicBool::new(false),
        }
    }

    /// Stop taking new work: readiness turns red, requests in flight go on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// How it stands with the calls of Glacier, in each account and region.
    pub fn ceilings(&self) -> Vec<CeilingStatus> {
        self.ceilings.statuses()
    }

    /// Whether the gateway can answer callers: it has started and is not shutting
    /// down. Never asks Glacier, whose failure no restart mends.
    pub fn readiness(&self) -> Result<(), &'static str> {
        if self.draining.load(Ordering::Relaxed) {
            return Err("shutting down");
        }
        self.startup()
    }

    /// Whether some caller can be known: by a gateway key, a certificate, or a token
    /// of an issuer whose keys have been read. One broken issuer of many does not keep
    /// the callers of the others out.
    pub fn startup(&self) -> Result<(), &'static str> {
        if self.keys.are_in_use() || self.authenticator.has_begun() {
            Ok(())
        } else {
            Err("nobody can call yet: no issuer's keys are known")
        }
    }
}
