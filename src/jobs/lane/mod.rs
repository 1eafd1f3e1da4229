//! The work of all jobs in an account and region: looks and aborts. One process at a time
//! does it, under a lease, so that Glacier is asked at one pace, whoever else shares the
//! store. `refresh` looks at what the store has, `taking` claims items, `task` is what is done for
//! one, and `outcomes` and `looks` write what came of it; `pace` says how fast, `turns` whose turn
//! it is.

mod looks;
mod outcomes;
mod pace;
mod refresh;
mod taking;
mod task;
mod turns;

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, HashSet},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, sleep_until},
};

use self::{
    outcomes::{Outcomes, Written},
    pace::Pace,
    taking::{Share, Taken},
    task::{Came, Known, Task},
    turns::Turns,
};
use crate::{
    gateway::Attempted,
    jobs::{Jobs, claims::Lane, error::JobError, trouble},
    store::{Lease, Store, StoreError},
};

/// How long the lease of a lane lasts, and how often it is extended.
pub(super) const LEASE: Duration = Duration::from_secs(15);
const EXTEND: Duration = Duration::from_secs(3);
/// How often the lane looks at its jobs.
const REFRESH: Duration = Duration::from_millis(500);
/// How often it looks for items that a holder before it has left.
const SWEEP: Duration = Duration::from_secs(2);
/// How often outcomes are written, and with how many they do not wait for that.
const FLUSH: Duration = Duration::from_millis(50);
const FLUSHED: usize = 128;
/// How long a lane that ends waits until the trail has all outcomes. Whoever has it next finds
/// out about the rest.
const SETTLED: Duration = Duration::from_secs(2);
/// With how many outcomes that are not written yet nothing more is begun.
const MOST_UNWRITTEN: usize = 1_000;
/// How long a lane without work is kept.
const IDLE: Duration = Duration::from_secs(3);

/// How far looks are in a job.
struct Looks {
    /// The last item that was taken.
    after: i64,
    /// How many were taken and are not written.
    in_hand: usize,
}

impl Default for Looks {
    fn default() -> Self {
        Self { after: -1, in_hand: 0 }
    }
}

pub(super) struct Worker {
    jobs: Arc<Jobs>,
    store: Store,
    lane: Lane,
    lease: Rc<RefCell<Lease>>,
    pace: Pace,
    known: HashMap<String, Rc<Known>>,
    looks: HashMap<String, Looks>,
    turns: Turns,
    under_way: JoinSet<(Task, Instant, Came)>,
    outcomes: Outcomes,
    /// What the store is asked while calls are under way: at most one of each kind.
    beside: JoinSet<Beside>,
    is_taking: bool,
    /// How many outcomes are being written.
    writing: usize,
    /// The store's clock when it was last asked, and when that was.
    clock: (i64, Instant),
    /// Jobs without further items just now.
    drained: Vec<String>,
    /// Jobs that have lost a permission, until that is known of them.
    stopping: HashSet<String>,
}

/// What came of what the store was asked.
enum Beside {
    Taken(Vec<Taken>, Result<(), StoreError>),
    /// With what is left.
    Written(Outcomes, Vec<Written>, Result<(), StoreError>),
}

impl Worker {
    pub fn new(jobs: Arc<Jobs>, store: Store, lane: Lane, lease: Lease) -> Self {
        let now = Instant::now();
        let pace = Pace::new(jobs.gateway.settings.jobs.concurrency, now);
        Self {
            jobs,
            store,
            lane,
            lease: Rc::new(RefCell::new(lease)),
            pace,
            known: HashMap::new(),
            looks: HashMap::new(),
            turns: Turns::default(),
            under_way: JoinSet::new(),
            outcomes: Outcomes::default(),
            beside: JoinSet::new(),
            is_taking: false,
            writing: 0,
            clock: (0, now),
            drained: Vec::new(),
            stopping: HashSet::new(),
        }
    }

    /// Works until there is nothing to do, the lease is lost, or the gateway stops.
    pub async fn work(mut self, mut stop: watch::Receiver<bool>) {
        let start = Instant::now();
        let (mut extended, mut flushed, mut busy) = (start, start, start);
        let (mut refreshed, mut swept) = (None, None);
        let is_due = |last: Option<Instant>, every: Duration| {
            last.is_none_or(|last: Instant| last.elapsed() >= every)
        };
        while !*stop.borrow() {
            if extended.elapsed() >= EXTEND {
                match self.store.serving_lease(&self.lane.lease(), LEASE).await {
                    Ok(Some(lease)) if lease.epoch == self.lease.borrow().epoch => {
                        *self.lease.borrow_mut() = lease;
                    }
                    // Another process has had it.
                    Ok(_) => break,
                    Err(error) => self.trouble(&error.into()),
                }
                extended = Instant::now();
            }
            if is_due(refreshed, REFRESH) {
                if let Err(error) = self.refresh().await {
                    self.trouble(&error);
                }
                refreshed = Some(Instant::now());
            }
            if is_due(swept, SWEEP) {
                if let Err(error) = self.sweep().await {
                    self.trouble(&error.into());
                }
                swept = Some(Instant::now());
            }
            if self.lease.borrow().holds() {
                self.take();
                self.launch();
            }
            if self.outcomes.len() >= FLUSHED || flushed.elapsed() >= FLUSH {
                self.write();
                flushed = Instant::now();
            }
            if !self.is_idle() {
                busy = Instant::now();
            } else if busy.elapsed() >= IDLE {
                break;
            }
            let now = Instant::now();
            let mut until = now + FLUSH.min(REFRESH);
            if self.turns.len() > 0 && self.under_way.len() < self.pace.limit() {
                until = until.min(self.pace.next().max(now + Duration::from_millis(1)));
            }
            tokio::select! {
                Some(ended) = self.under_way.join_next() => {
                    // The item of a task that has failed is left to whoever is next.
                    let Ok((task, begun, came)) = ended else { break };
                    self.ended(task, begun, came);
                    // Whatever else has ended needs no turn of its own.
                    while let Some(Ok((task, begun, came))) = self.under_way.try_join_next() {
                        self.ended(task, begun, came);
                    }
                }
                Some(came) = self.beside.join_next() => {
                    if !came.is_ok_and(|came| self.came(came)) {
                        break;
                    }
                }
                () = sleep_until(until.into()) => {}
                _ = stop.changed() => {}
            }
        }
        self.finish().await;
    }

    /// Begins nothing more, and leaves nothing in hand.
    async fn finish(mut self) {
        while let Some(came) = self.beside.join_next().await {
            let _ = came.map(|came| self.came(came));
        }
        for task in self.turns.take() {
            self.give_back(task);
        }
        while let Some(ended) = self.under_way.join_next().await {
            if let Ok((task, begun, came)) = ended {
                self.ended(task, begun, came);
            }
        }
        let lease = self.lease.borrow().clone();
        let (store, lane, known) = (&self.store, &self.lane, &self.known);
        let until = Instant::now() + SETTLED;
        let written = loop {
            let written = self.outcomes.write(store, lane, &lease, known, &mut Vec::new()).await;
            if written.is_err() || self.outcomes.len() == 0 || Instant::now() >= until {
                break written;
            }
            sleep(FLUSH).await;
        };
        if let Err(error) = written {
            self.trouble(&error.into());
        }
        if let Err(error) = self.store.release(&self.lane.lease()).await {
            self.trouble(&error.into());
        }
    }

    /// Tells what keeps the lane from working.
    fn trouble(&self, error: &JobError) {
        trouble::tell(error, "a lane of jobs has trouble with the store");
        for job in self.known.keys() {
            self.jobs.obstructed(job, error);
        }
    }

    fn is_idle(&self) -> bool {
        self.known.is_empty()
            && self.under_way.is_empty()
            && self.beside.is_empty()
            && self.turns.len() == 0
            && self.outcomes.len() == 0
    }

    /// The time by the store's clock.
    fn now(&self) -> i64 {
        let (at, asked) = self.clock;
        at.saturating_add(i64::try_from(asked.elapsed().as_micros()).unwrap_or(0))
    }

    /// Lets a task wait, if its job still has something to do.
    fn queue(&mut self, mut task: Task) {
        match self.known.get(&task.todo.job) {
            Some(known) => {
                task.known = known.clone();
                self.turns.push(task);
            }
            None => self.give_back(task),
        }
    }

    /// Takes items of all teams, until there are enough for a while.
    fn take(&mut self) {
        let (enough, queued) = (self.pace.limit() * 2, self.turns.len());
        let unwritten = self.outcomes.len() + self.writing;
        let is_busy = queued >= self.pace.limit() || unwritten >= MOST_UNWRITTEN;
        if self.is_taking || is_busy {
            return;
        }
        let mut teams: BTreeMap<&str, Vec<&Rc<Known>>> = BTreeMap::new();
        for known in self.known.values() {
            let works = known.is_running() || known.is_preparing();
            if works && !self.drained.contains(&known.row.id) {
                teams.entry(&known.row.team).or_default().push(known);
            }
        }
        if teams.is_empty() {
            return;
        }
        let each = (enough - queued).div_ceil(teams.len());
        let shares = teams.into_iter().map(|(team, mut jobs)| {
            jobs.sort_by(|one, other| one.row.id.cmp(&other.row.id));
            let after = |id| self.looks.get(id).map_or(-1, |looks| looks.after);
            let jobs = jobs.into_iter().map(|known| (known.clone(), after(&known.row.id)));
            Share { jobs: jobs.collect(), most: each.saturating_sub(self.turns.of(team)) }
        });
        let shares: Vec<Share> = shares.collect();
        let (store, lane) = (self.store.clone(), self.lane.clone());
        let lease = self.lease.borrow().clone();
        self.is_taking = true;
        self.beside.spawn_local(async move {
            let (taken, result) = taking::take(&store, &lane, &lease, shares).await;
            Beside::Taken(taken, result)
        });
    }

    /// Writes what has come.
    fn write(&mut self) {
        if self.writing > 0 || self.outcomes.len() == 0 {
            return;
        }
        let mut outcomes = std::mem::take(&mut self.outcomes);
        let (store, lane, known) = (self.store.clone(), self.lane.clone(), self.known.clone());
        let lease = self.lease.borrow().clone();
        self.writing = outcomes.len();
        self.beside.spawn_local(async move {
            let mut written = Vec::new();
            let result = outcomes.write(&store, &lane, &lease, &known, &mut written).await;
            Beside::Written(outcomes, written, result)
        });
    }

    /// Goes on with what the store has answered. Gives false if the lane cannot be worked
    /// any more.
    fn came(&mut self, came: Beside) -> bool {
        match came {
            Beside::Taken(taken, result) => {
                self.is_taking = false;
                for Taken { known, tasks } in taken {
                    self.taken(&known.row.id, tasks);
                }
                // If that failed, some may be claimed all the same. Whoever has the lane next
                // finds them.
                result.map_err(|error| self.trouble(&error.into())).is_ok()
            }
            Beside::Written(left, written, result) => {
                self.writing = 0;
                self.outcomes.put_back(left);
                for Written { job, is_done, looks } in written {
                    self.put_down(&job, looks);
                    // Some may wait again.
                    self.drained.retain(|drained| !is_done || *drained != job);
                }
                if let Err(error) = result {
                    self.trouble(&error.into());
                }
                true
            }
        }
    }

    fn taken(&mut self, job: &str, tasks: Vec<Task>) {
        if tasks.is_empty() {
            self.drained.push(job.to_owned());
        }
        let last = tasks.last().filter(|task| task.event.is_none());
        if let Some(last) = last.map(|task| task.todo.taken.n) {
            let looks = self.looks.entry(job.to_owned()).or_default();
            (looks.after, looks.in_hand) = (last, looks.in_hand + tasks.len());
        }
        for task in tasks {
            self.queue(task);
        }
    }

    /// Begins as many tasks as may be under way, the teams in turn.
    fn launch(&mut self) {
        loop {
            let now = Instant::now();
            if self.under_way.len() >= self.pace.limit() || self.pace.next() > now {
                return;
            }
            let Some(task) = self.turns.next() else { return };
            let may_begin = match task.event {
                Some(_) => task.known.is_running() && !self.stopping.contains(&task.todo.job),
                None => task.known.is_preparing(),
            };
            if !may_begin {
                self.give_back(task);
                continue;
            }
            let pages = task.todo.parts.map_or(1, |parts| (parts.max(1) + 49) / 50);
            let looks = task.event.is_none() || task.known.quiet().is_some();
            let requests = i64::from(task.event.is_some()) + if looks { pages } else { 0 };
            self.pace.begins(u32::try_from(requests).unwrap_or(u32::MAX), now);
            let (jobs, lane, lease) = (self.jobs.clone(), self.lane.clone(), self.lease.clone());
            let at = self.now();
            self.under_way.spawn_local(async move {
                let came = task.perform(&jobs, &lane, &lease, at).await;
                (task, now, came)
            });
        }
    }

    /// Lets an item that was taken wait again.
    fn give_back(&mut self, task: Task) {
        let job = task.todo.job.clone();
        match task.event {
            Some(event) => {
                let put_back = task.todo.taken.put_back(event);
                self.outcomes.done(job, put_back);
            }
            None => self.put_down(&job, 1),
        }
    }

    fn put_down(&mut self, job: &str, looks: usize) {
        if let Some(known) = self.looks.get_mut(job) {
            known.in_hand = known.in_hand.saturating_sub(looks);
        }
    }

    /// Notes what came of a task.
    fn ended(&mut self, task: Task, begun: Instant, came: Came) {
        let asked = match &came {
            Came::Looked(look) => look.asked,
            Came::Attempted(attempted) => attempted.asked,
        };
        if asked.requests > 0 {
            self.pace.ended(begun, asked.requests, asked.throttled, Instant::now());
        }
        match (came, task.event) {
            (Came::Attempted(Attempted { outcome, code, .. }), Some(event)) => {
                let outcome = outcome.unwrap_or("not-attempted");
                let one = task.todo.taken.done(event, outcome, code, false);
                if one.stops {
                    self.stopping.insert(task.todo.job.clone());
                }
                self.jobs.gateway.metrics.job_item(one.state.as_str());
                self.outcomes.done(task.todo.job, one);
            }
            (Came::Looked(look), _) => {
                let looked = task.looked(look, self.now());
                self.outcomes.looked(task.todo.job, looked);
            }
            (Came::Attempted(_), None) => {}
        }
    }
}
