//! How many calls of Glacier are under way in an account and region: as many as it takes,
//! and no more than a setting says. Who finds no room waits, if it is likely to find some in
//! time; teams take turns. If calls only fail, none is made for a while ([`breaker`]).
//!
//! Whoever finds room takes a mutex twice and allocates nothing.

mod breaker;
mod concurrency;
mod flow;
mod queue;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use time::OffsetDateTime;
use tokio::{
    sync::oneshot,
    time::{sleep_until, timeout_at},
};

use self::{
    breaker::Breaker,
    flow::Flow,
    queue::{Queue, Told},
};
pub use self::{breaker::OpenSince, concurrency::Concurrency, queue::Held};
use crate::{
    config::UpstreamLimits,
    domain::{AccountId, Region},
};

/// How long jobs and inventory runs wait.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest after which a caller is told to try again.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller<'t> {
    /// Somebody of this team, who waits for the answer.
    Team(&'t str),
    /// A job, an inventory run, or the gateway itself.
    Background,
}

impl<'t> Caller<'t> {
    fn team(self) -> Option<&'t str> {
        match self {
            Self::Team(team) => Some(team),
            Self::Background => None,
        }
    }
}

/// How Glacier took a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    /// It answered.
    Answered,
    /// It wants fewer calls.
    Throttled,
    /// It failed, or could not be reached.
    Failed,
    /// Nobody knows: nothing was sent, or something else answered.
    Unclear,
}

/// The ceilings of all accounts and regions that were called.
pub struct Ceilings {
    settings: Arc<UpstreamLimits>,
    known: ArcSwap<HashMap<AccountId, Vec<Arc<Ceiling>>>>,
}

/// The ceiling of an account and region.
pub struct Ceiling {
    account: AccountId,
    region: Region,
    settings: Arc<UpstreamLimits>,
    state: Mutex<State>,
}

struct State {
    concurrency: Concurrency,
    under_way: usize,
    /// How many of those nobody waits for.
    background: usize,
    queue: Queue,
    flow: Flow,
    /// When a place was last given to whoever took the last one.
    taken: Instant,
    breaker: Breaker,
    refused: Refused,
}

/// How many calls were not made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refused {
    /// There were too many.
    pub overloaded: u64,
    /// Calls only failed.
    pub open: u64,
}

/// How it stands with an account and region.
#[derive(Clone, Debug)]
pub struct CeilingStatus {
    /// The account.
    pub account: AccountId,
    /// The region.
    pub region: Region,
    /// How many calls may be under way.
    pub limit: usize,
    /// How many are.
    pub under_way: usize,
    /// How many callers wait.
    pub waiting: usize,
    /// Since when calls only fail, if they do.
    pub open_since: Option<OffsetDateTime>,
    /// How many calls were not made.
    pub refused: Refused,
}

impl Ceilings {
    /// None yet.
    pub fn new(settings: &UpstreamLimits) -> Self {
        Self { settings: Arc::new(settings.clone()), known: ArcSwap::default() }
    }

    /// The ceiling of an account and region.
    pub fn of(&self, account: &AccountId, region: &Region) -> Arc<Ceiling> {
        let find = |known: &HashMap<AccountId, Vec<Arc<Ceiling>>>| {
            known.get(account)?.iter().find(|ceiling| ceiling.region == *region).cloned()
        };
        if let Some(found) = find(&self.known.load()) {
            return found;
        }
        let made = Arc::new(Ceiling::new(account.clone(), region.clone(), self.settings.clone()));
        self.known.rcu(|known| {
            let mut known = HashMap::clone(known);
            if find(&known).is_none() {
                known.entry(account.clone()).or_default().push(made.clone());
            }
            known
        });
        find(&self.known.load()).unwrap_or(made)
    }

    /// How it stands with each.
    pub fn statuses(&self) -> Vec<CeilingStatus> {
        self.known.load().values().flatten().map(|ceiling| ceiling.status()).collect()
    }
}

/// What a caller meets.
enum Met {
    Room(Slot),
    Queue(Waiting),
}

impl Ceiling {
    fn new(account: AccountId, region: Region, settings: Arc<UpstreamLimits>) -> Self {
        let state = State {
            concurrency: Concurrency::new(settings.concurrency, settings.concurrency),
            under_way: 0,
            background: 0,
            queue: Queue::default(),
            flow: Flow::new(Instant::now()),
            taken: Instant::now(),
            breaker: Breaker::default(),
            refused: Refused::default(),
        };
        Self { account, region, settings, state: Mutex::new(state) }
    }

    /// Waits for room to make a call.
    ///
    /// # Errors
    /// There will be none in time.
    pub async fn enter(self: Arc<Self>, caller: Caller<'_>) -> Result<Slot, Held> {
        match caller {
            Caller::Team(_) => match self.meet(caller)? {
                Met::Room(slot) => Ok(slot),
                // In a box, since it is large and few requests need it.
                Met::Queue(waiting) => Box::pin(waiting.end()).await,
            },
            Caller::Background => Box::pin(self.enter_in_background()).await,
        }
    }

    async fn enter_in_background(self: Arc<Self>) -> Result<Slot, Held> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ended = match self.meet(Caller::Background) {
                Ok(Met::Room(slot)) => return Ok(slot),
                Ok(Met::Queue(waiting)) => waiting.end().await,
                Err(held) => Err(held),
            };
            match ended {
                Err(Held::Open(OpenSince { next, .. })) if next < deadline => {
                    sleep_until(next.into()).await;
                }
                ended => return ended,
            }
        }
    }

    fn meet(self: &Arc<Self>, caller: Caller<'_>) -> Result<Met, Held> {
        let now = Instant::now();
        let team = caller.team();
        let background = team.is_none();
        let mut state = self.state();
        if let Err(open) = state.breaker.admits(self.settings.breaker_interval, now) {
            state.refused.open += u64::from(team.is_some());
            return Err(Held::Open(open));
        }
        // Callers do not wait behind a background that has its share.
        let is_next = state.queue.callers() == 0 && (!background || state.queue.is_empty());
        if is_next && state.has_room(background, &self.settings) {
            state.take(background, now);
            let ceiling = self.clone();
            return Ok(Met::Room(Slot { ceiling, background, begun: now, took: Took::Unclear }));
        }
        if let Some(team) = team {
            state.expect_room(team, &self.settings, now).map_err(|wait| {
                state.refused.overloaded += 1;
                Held::Overloaded(wait.clamp(Duration::from_secs(1), LONGEST_RETRY))
            })?;
        }
        let (id, told) = state.queue.push(team);
        drop(state);
        let (ceiling, team) = (self.clone(), team.map(str::to_owned));
        let patience = if team.is_some() { self.settings.queue_timeout } else { PATIENCE };
        Ok(Met::Queue(Waiting { ceiling, team, id, told, deadline: now + patience }))
    }

    /// Gives a place back, to whoever waits for one.
    fn leave(&self, slot: &Slot) {
        let Self { account, region, settings, .. } = self;
        let mut state = self.state();
        let is_used = 2 * state.under_way >= state.concurrency.limit();
        let is_full = state.under_way >= state.concurrency.limit();
        state.under_way -= 1;
        state.background -= usize::from(slot.background);
        let (mut opened, mut closed) = (None, None);
        match slot.took {
            Took::Answered => {
                // What is not used says nothing about what Glacier takes.
                if is_used {
                    state.concurrency.answered();
                }
                closed = state.breaker.answered();
            }
            Took::Throttled => {
                state.concurrency.throttled(slot.begun, Instant::now());
                closed = state.breaker.answered();
            }
            Took::Failed => {
                let (most, interval) = (settings.breaker_failures, settings.breaker_interval);
                opened = state.breaker.failed(most, interval, Instant::now());
                if let Some(open) = opened {
                    state.refused.open += state.queue.callers() as u64;
                    state.queue.dismiss(Held::Open(open));
                }
            }
            Took::Unclear => {}
        }
        if is_full || !state.queue.is_empty() {
            let now = Instant::now();
            state.flow.note(now);
            state.taken = now;
            state.hand_on(settings, now);
        }
        drop(state);
        if opened.is_some() {
            tracing::warn!(
                %account,
                %region,
                failures = settings.breaker_failures,
                "calls of Glacier fail: they are refused until one succeeds"
            );
        }
        if let Some(since) = closed {
            tracing::info!(%account, %region, %since, "Glacier answers again: calls are made");
        }
    }

    fn status(&self) -> CeilingStatus {
        let state = self.state();
        CeilingStatus {
            account: self.account.clone(),
            region: self.region.clone(),
            limit: state.concurrency.limit(),
            under_way: state.under_way,
            waiting: state.queue.callers(),
            open_since: state.breaker.open_since(),
            refused: state.refused,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether there is room. The background leaves some to those who wait for an answer.
    fn has_room(&self, background: bool, settings: &UpstreamLimits) -> bool {
        let limit = self.concurrency.limit();
        let share = || ((limit as f64 * settings.background_share) as usize).max(1);
        self.under_way < limit && (!background || self.background < share())
    }

    fn take(&mut self, background: bool, now: Instant) {
        self.under_way += 1;
        self.background += usize::from(background);
        self.taken = now;
    }

    /// Gives room to whoever waits.
    fn hand_on(&mut self, settings: &UpstreamLimits, now: Instant) {
        while self.has_room(false, settings) {
            let background = self.has_room(true, settings);
            let Some((background, tell)) = self.queue.pop(background) else { return };
            // Whoever waits takes itself out of the queue before it stops to listen.
            if tell.send(Ok(())).is_ok() {
                self.take(background, now);
            }
        }
    }

    /// Whether one of `team` who comes now is likely to find room in time; if not, gives for
    /// how long it had to wait. If the queue is full, the team with the most waiters makes
    /// room.
    fn expect_room(
        &mut self,
        team: &str,
        settings: &UpstreamLimits,
        now: Instant,
    ) -> Result<(), Duration> {
        let UpstreamLimits { queue, queue_timeout, .. } = settings;
        // Nobody has left for so long that it had been too long to wait.
        let stuck = now.duration_since(self.taken);
        if stuck >= *queue_timeout {
            return Err(stuck);
        }
        let ahead = self.queue.ahead_of(Some(team));
        let wait = self.flow.time_for(ahead + 1, now).unwrap_or_default();
        if wait > *queue_timeout {
            return Err(wait);
        }
        if self.queue.callers() < *queue as usize || *queue > 0 && self.displaced(team) {
            return Ok(());
        }
        Err(wait)
    }

    fn displaced(&mut self, team: &str) -> bool {
        let displaced = self.queue.displace(team).is_some();
        self.refused.overloaded += u64::from(displaced);
        displaced
    }
}

/// Room for a call. It is given back when this is dropped.
pub struct Slot {
    ceiling: Arc<Ceiling>,
    background: bool,
    begun: Instant,
    /// How Glacier took the call.
    pub took: Took,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.ceiling.leave(self);
    }
}

/// One who waits in the queue, until this is dropped.
struct Waiting {
    ceiling: Arc<Ceiling>,
    team: Option<String>,
    id: u64,
    told: oneshot::Receiver<Told>,
    deadline: Instant,
}

impl Waiting {
    async fn end(mut self) -> Result<Slot, Held> {
        match timeout_at(self.deadline.into(), &mut self.told).await {
            Ok(Ok(Ok(()))) => Ok(self.slot()),
            Ok(Ok(Err(held))) => Err(held),
            // Another team made this one give way, or the wait was too long.
            Ok(Err(_)) | Err(_) => {
                let now = Instant::now();
                let mut state = self.ceiling.state();
                state.refused.overloaded += u64::from(now >= self.deadline);
                let calls = state.queue.callers() + 1;
                let wait = state.flow.time_for(calls, now).unwrap_or_default();
                Err(Held::Overloaded(wait.clamp(Duration::from_secs(1), LONGEST_RETRY)))
            }
        }
    }

    fn slot(&self) -> Slot {
        let (ceiling, background) = (self.ceiling.clone(), self.team.is_none());
        Slot { ceiling, background, begun: Instant::now(), took: Took::Unclear }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let waited = self.ceiling.state().queue.remove(self.team.as_deref(), self.id);
        // Given room in the last moment, which nobody will take.
        if !waited && let Ok(Ok(())) = self.told.try_recv() {
            drop(self.slot());
        }
    }
}
