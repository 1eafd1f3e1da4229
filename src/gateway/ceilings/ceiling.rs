//! The ceiling of an account and region: whoever calls takes a slot, or waits for one.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use time::OffsetDateTime;
use tokio::{
    sync::oneshot,
    time::{sleep_until, timeout_at},
};

use super::{
    breaker::OpenSince,
    queue::{Held, Round, Told},
    state::{Refused, State},
};
use crate::{
    config::UpstreamLimits,
    domain::{AccountId, Region},
};

/// How long jobs and inventory runs wait.
const PATIENCE: Duration = Duration::from_secs(30);

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

/// The ceiling of an account and region.
pub struct Ceiling {
    account: AccountId,
    pub region: Region,
    settings: Arc<UpstreamLimits>,
    state: Mutex<State>,
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

/// What a caller meets.
enum Met {
    Room(Slot),
    Queue(Waiting),
}

impl Ceiling {
    pub fn new(account: AccountId, region: Region, settings: Arc<UpstreamLimits>) -> Self {
        let state = Mutex::new(State::new(&settings, Instant::now()));
        Self { account, region, settings, state }
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
            return Ok(Met::Room(self.slot(background, state.round, false)));
        }
        if let Some(team) = team {
            if state.is_stuck(&self.settings, now) && state.tries(&self.settings, now) {
                return Ok(Met::Room(self.slot(background, state.round, true)));
            }
            state.expect_room(team, &self.settings, now)?;
        }
        let (id, told) = state.queue.push(team);
        drop(state);
        let (ceiling, team) = (self.clone(), team.map(str::to_owned));
        let patience = if team.is_some() { self.settings.queue_timeout } else { PATIENCE };
        Ok(Met::Queue(Waiting { ceiling, team, id, told, deadline: now + patience }))
    }

    fn slot(self: &Arc<Self>, background: bool, round: Round, is_try: bool) -> Slot {
        let (ceiling, begun) = (self.clone(), Instant::now());
        Slot { ceiling, background, is_try, round, begun, took: Took::Unclear }
    }

    /// Gives a place back, to whoever waits for one.
    fn leave(&self, slot: &Slot) {
        let Self { account, region, settings, .. } = self;
        let mut state = self.state();
        let is_used = 2 * state.under_way >= state.concurrency.limit();
        let was_full = state.is_full();
        state.under_way -= 1;
        state.background -= usize::from(slot.background);
        state.written_off -= usize::from(slot.round < state.round);
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
        let now = Instant::now();
        if slot.is_try {
            let answered = matches!(slot.took, Took::Answered | Took::Throttled);
            if answered && state.is_stuck(settings, now) {
                state.write_off(now);
            }
        } else if was_full || !state.queue.is_empty() {
            state.flow.note(now);
            state.moved = now;
        }
        state.hand_on(settings, now);
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

    pub fn status(&self) -> CeilingStatus {
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

/// Room for a call. It is given back when this is dropped.
pub struct Slot {
    ceiling: Arc<Ceiling>,
    background: bool,
    /// Whether it was given though there was no room.
    is_try: bool,
    /// How often calls had been written off when it was given.
    round: Round,
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
    /// Waits for room.
    ///
    /// # Errors
    /// There was none in time.
    async fn end(mut self) -> Result<Slot, Held> {
        match timeout_at(self.deadline.into(), &mut self.told).await {
            Ok(Ok(told)) => told.map(|round| self.slot(round)),
            // Another team made this one give way, or the wait was too long.
            Ok(Err(_)) | Err(_) => {
                let now = Instant::now();
                let mut state = self.ceiling.state();
                state.refused.overloaded += u64::from(now >= self.deadline);
                Err(state.waited_in_vain(now))
            }
        }
    }

    fn slot(&self, round: Round) -> Slot {
        self.ceiling.slot(self.team.is_none(), round, false)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let waited = self.ceiling.state().queue.remove(self.team.as_deref(), self.id);
        // Given room in the last moment, which nobody will take.
        if !waited && let Ok(Ok(round)) = self.told.try_recv() {
            drop(self.slot(round));
        }
    }
}

#[cfg(test)]
#[path = "ceiling_tests.rs"]
mod tests;
