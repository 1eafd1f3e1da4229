//! What was seen in the vaults, and when: uploads, their parts, and what is gone.
//!
//! A run is for many accounts and regions, each of which is a lane. Of all processes that
//! share the store, one at a time works on an account and region, under a lease. What it
//! finds is kept page by page, so that another goes on where it stopped.
//!
//! Times are microseconds since 1970, UTC, by the store's clock.

mod ages;
mod chores;
mod crawl;
pub mod listed;
mod own;
mod pacer;
mod pages;
pub mod parts;
pub mod run;
pub mod seen;
pub mod summary;
pub mod target;
pub mod uploads;
mod vaults;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    task::{Id, JoinSet},
    time::{Instant, sleep, timeout},
};

pub use self::ages::AGES;
use self::{
    chores::Chores, crawl::Crawl, pages::Pages, run::Waiting, vaults::Halt, vaults::Tenure,
};
use crate::{
    domain::RegionalAccount,
    gateway::Gateway,
    store::{Lease, Store, StoreError},
};

/// How often is looked for lanes that nobody works on.
const EVERY: Duration = Duration::from_millis(500);
/// The same when lanes were just taken: others get a chance to take some as well.
const SOON: Duration = Duration::from_millis(50);
/// How long a lane is a process's, and how often it says that it still works on it.
const LEASE: Duration = Duration::from_secs(15);
const RENEWED: Duration = Duration::from_secs(4);
/// How many lanes a process works on at once, and how many it takes at a time.
const MOST_LANES: usize = 256;
const TAKEN_AT_ONCE: usize = 16;
/// How long a lane is left alone that could not be finished.
const REST: Duration = Duration::from_secs(5);
/// How long it may take at the end to let others have the lanes.
const LAST: Duration = Duration::from_secs(2);

/// Works on whatever runs there are until `ending`. Does nothing without a store.
pub async fn serve(gateway: Arc<Gateway>, ending: impl Future<Output = ()>) {
    let Some(store) = gateway.trail.store().cloned() else { return };
    let mut worker = Worker {
        pages: Pages::start(store.clone()),
        chores: Chores::new(gateway.clone(), store.clone()),
        gateway,
        store,
        lanes: JoinSet::new(),
        working: HashMap::new(),
        resting: HashMap::new(),
    };
    tokio::select! {
        () = worker.work() => {}
        () = ending => {}
    }
    let _ = timeout(LAST, worker.end()).await;
}

/// What works on runs in this process.
struct Worker {
    gateway: Arc<Gateway>,
    store: Store,
    pages: Pages,
    chores: Chores,
    lanes: JoinSet<Result<(), Halt>>,
    /// The places of the lanes that it works on.
    working: HashMap<Id, RegionalAccount>,
    /// The places that it leaves alone until then.
    resting: HashMap<RegionalAccount, Instant>,
}

impl Worker {
    async fn work(&mut self) {
        loop {
            self.chores.look().await;
            let taken = match self.take_lanes().await {
                Ok(taken) => taken,
                Err(error) => {
                    tracing::debug!(%error, "cannot look for inventory runs");
                    0
                }
            };
            let pause = if taken > 0 { SOON } else { EVERY };
            tokio::select! {
                () = sleep(pause) => {}
                Some(ended) = self.lanes.join_next_with_id() => self.ended(ended),
            }
            while let Some(ended) = self.lanes.try_join_next_with_id() {
                self.ended(ended);
            }
        }
    }

    /// Takes lanes that nobody works on, of each place the first.
    async fn take_lanes(&mut self) -> Result<usize, StoreError> {
        self.resting.retain(|_, until| *until > Instant::now());
        let mut taken = 0;
        let mut looked_at = Vec::new();
        for Waiting { run, at } in run::waiting(&self.store).await? {
            let busy = self.working.values().any(|working| *working == at);
            if busy || looked_at.contains(&at) || self.resting.contains_key(&at) {
                continue;
            }
            if self.lanes.len() >= MOST_LANES || taken >= TAKEN_AT_ONCE {
                break;
            }
            looked_at.push(at.clone());
            let Some(lease) = self.store.serving_lease(&name(&at), LEASE).await? else { continue };
            let found = match run::find(&self.store, &run).await {
                Ok(Some(found)) => found,
                Ok(None) => continue,
                // Another version of the gateway may have written it.
                Err(error) => {
                    tracing::warn!(run, %error, "an inventory run cannot be read");
                    self.resting.insert(at, Instant::now() + REST);
                    continue;
                }
            };
            let tenure = Tenure { run, at: at.clone(), epoch: lease.epoch };
            let (gateway, store, pages) =
                (self.gateway.clone(), self.store.clone(), self.pages.clone());
            let crawl = Crawl::new(gateway, store, pages, found.order, tenure, lease);
            let working = self.lanes.spawn(work_on(Arc::new(crawl)));
            self.working.insert(working.id(), at);
            taken += 1;
        }
        Ok(taken)
    }

    fn ended(&mut self, ended: Result<(Id, Result<(), Halt>), tokio::task::JoinError>) {
        let (id, halted) = match ended {
            Ok((id, Ok(()))) => (id, None),
            Ok((id, Err(halt))) => (id, Some(halt.to_string())),
            Err(panic) => (panic.id(), Some("it ended unexpectedly".to_owned())),
        };
        let Some(at) = self.working.remove(&id) else { return };
        self.chores.stir();
        if let Some(why) = halted {
            let RegionalAccount { account, region } = &at;
            tracing::warn!(%account, %region, why, "an inventory run goes on later, or elsewhere");
            self.resting.insert(at, Instant::now() + REST);
        }
    }

    /// Lets others go on at once.
    async fn end(&mut self) {
        self.lanes.shutdown().await;
        for at in self.working.values() {
            let _ = self.store.release(&name(at)).await;
        }
    }
}

/// The name of a place's lease.
fn name(at: &RegionalAccount) -> String {
    format!("inventory/{}/{}", at.account, at.region)
}

/// Works on a lane as long as it is this process's.
async fn work_on(crawl: Arc<Crawl>) -> Result<(), Halt> {
    let name = name(&crawl.tenure.at);
    let done = tokio::select! {
        done = crawl.clone().run() => done,
        halt = keep(&crawl.store, &name, &crawl.lease) => Err(halt),
    };
    // Another lane may be next.
    let _ = crawl.store.release(&name).await;
    done
}

/// Extends the lease until that is no longer possible.
async fn keep(store: &Store, name: &str, lease: &Mutex<Lease>) -> Halt {
    let current = || lease.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        sleep(RENEWED).await;
        match store.lease(name, LEASE).await {
            Ok(Some(extended)) if extended.epoch == current().epoch => *current() = extended,
            Ok(_) => return Halt::Lost,
            // Perhaps the next time.
            Err(_) if current().holds() => {}
            Err(error) => return Halt::Store(error),
        }
    }
}
