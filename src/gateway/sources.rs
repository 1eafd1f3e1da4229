//! Whose credentials are refused time and again, by address.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use ipnet::IpNet;
use moka::sync::Cache;

use crate::audit::network;

/// How many networks are known. If there are more, those that come seldom are forgotten.
const MOST_KNOWN: u64 = 10_000;
/// After how long a network is forgotten: it may then do all again.
const IDLE: Duration = Duration::from_secs(120);

/// The networks from which refused credentials came lately.
pub(super) struct Sources {
    /// How many a minute are too many; `None` if none are.
    limit: Option<NonZeroU32>,
    known: Cache<IpNet, Arc<KnownNetwork>>,
}

struct KnownNetwork {
    refused: DefaultDirectRateLimiter,
    /// Until when no credentials from there are looked at.
    until: Mutex<Option<Instant>>,
}

impl Sources {
    pub fn new(limit: u32) -> Self {
        let known = Cache::builder().max_capacity(MOST_KNOWN).time_to_idle(IDLE).build();
        Self { limit: NonZeroU32::new(limit), known }
    }

    /// For how long no credentials from `address` are looked at, if too many were refused.
    pub fn suspension(&self, address: Option<IpAddr>) -> Option<Duration> {
        let (_, address) = self.limit.zip(address)?;
        let until = *self.known.get(&network(address))?.until();
        until?.checked_duration_since(Instant::now())
    }

    /// Credentials from `address` were refused.
    pub fn refused(&self, address: Option<IpAddr>) {
        let (Some(limit), Some(address)) = (self.limit, address) else { return };
        let source = self.known.get_with(network(address), || {
            let refused = RateLimiter::direct(Quota::per_minute(limit));
            Arc::new(KnownNetwork { refused, until: Mutex::default() })
        });
        if let Err(beyond) = source.refused.check() {
            let wait = beyond.wait_time_from(DefaultClock::default().now());
            *source.until() = Some(Instant::now() + wait);
        }
    }
}

impl KnownNetwork {
    fn until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
