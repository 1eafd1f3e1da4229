//! What the trail does by itself: it records what was counted, and looks how much room
//! is left.

use std::{
    net::IpAddr,
    sync::{Arc, Weak},
    time::Duration,
};

use time::OffsetDateTime;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use super::{
    Event,
    event::{Counted, System},
    flood::{Flood, omitted},
};
use crate::store::{Room, Store};

/// How often the trail looks after itself.
const TICK: Duration = Duration::from_secs(1);
/// After how many ticks it records what was counted.
const MINUTE: u32 = 60;
/// The most entries in the queue with which there is room for all that was counted.
const QUIET: usize = 4_000;

/// Records what need not be durable before something else happens.
pub(super) struct Keeper {
    store: Store,
    flood: Flood,
}

impl Keeper {
    /// Looks after the trail in `store` as long as this is there. Must run inside a tokio
    /// runtime.
    pub fn start(store: Store) -> Arc<Self> {
        let keeper = Arc::new(Self { store, flood: Flood::default() });
        tokio::spawn(keep(Arc::downgrade(&keeper)));
        keeper
    }

    /// Records a read or a denial, or counts it.
    pub fn record(&self, event: &Event<'_>) {
        if let Some(append) = self.flood.admit(event) {
            self.store.append_later(append);
        }
    }

    /// Counts a request whose caller proved nothing.
    pub fn refused_authentication(
        &self,
        source: Option<IpAddr>,
        issuer: Option<&str>,
        code: &'static str,
    ) {
        self.flood.refused_authentication(source, issuer, code, OffsetDateTime::now_utc());
    }

    /// Records what happened to the gateway itself, or keeps it until there is room.
    pub fn system(&self, name: &'static str, system: System) {
        let event = Event {
            id: Uuid::now_v7(),
            time: Some(OffsetDateTime::now_utc()),
            source: "glacier-gateway",
            name,
            system: Some(&system),
            ..Event::default()
        };
        if self.is_scarce() {
            self.record(&event);
        } else {
            self.store.append_later(event.append());
        }
    }

    /// Whether so little room is left that only changes are recorded.
    pub fn is_scarce(&self) -> bool {
        self.flood.is_scarce()
    }

    /// Records what was counted, unless so little room is left that it is to wait.
    pub fn record_counted(&self) {
        if self.is_scarce() {
            return;
        }
        for append in self.flood.take() {
            self.store.append_later(append);
        }
    }

    /// Notes whether room is scarce. If that cannot be known, it is not.
    fn look_for_room(&self) {
        let scarce = self.store.room().is_some_and(Room::is_scarce);
        match (self.is_scarce(), scarce) {
            (false, true) => tracing::error!(
                "the store's disk is nearly full; reads and denials are only counted until there \
                 is room"
            ),
            (true, false) => tracing::info!("there is room on the store's disk again"),
            _ => {}
        }
        self.flood.set_scarce(scarce);
    }

    /// Whether all that was counted can be recorded now.
    fn has_room(&self) -> bool {
        let status = self.store.status();
        !self.is_scarce() && status.trouble.is_none() && status.waiting < QUIET
    }
}

async fn keep(keeper: Weak<Keeper>) {
    let mut overflow = Overflow::default();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut since_counted = 0;
    loop {
        ticks.tick().await;
        let Some(keeper) = keeper.upgrade() else { return };
        keeper.look_for_room();
        since_counted += 1;
        if !keeper.has_room() {
            continue;
        }
        overflow.record(&keeper.store);
        if since_counted >= MINUTE {
            keeper.record_counted();
            since_counted = 0;
        }
    }
}

/// Entries that the queue did not take.
struct Overflow {
    recorded: u64,
    since: OffsetDateTime,
}

impl Default for Overflow {
    fn default() -> Self {
        Self { recorded: 0, since: OffsetDateTime::now_utc() }
    }
}

impl Overflow {
    /// Records how many there were since the last time.
    fn record(&mut self, store: &Store) {
        let (refused, now) = (store.status().refused, OffsetDateTime::now_utc());
        let count = refused - self.recorded;
        let counted = Counted { count, from: self.since, to: now };
        let record = || omitted("queue-full", counted).append();
        if count > 0 && !store.append_later(record()) {
            // This refusal is counted too, though it stands for no further event.
            self.recorded += 1;
            return;
        }
        (self.recorded, self.since) = (refused, now);
    }
}
