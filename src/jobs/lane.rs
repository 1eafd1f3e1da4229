//! The work of all jobs in an account and region: looks and aborts. One process at a time
//! does it, under a lease, so that Glacier is asked at one pace, whoever else shares the
//! store.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinSet, time::sleep_until};
use uuid::Uuid;

use super::{
    Jobs,
    claims::{self, Lane, Todo},
    ending::Done,
    error::JobError,
    looks::{self, Looked},
    model::{NewAbortJob, State},
    pace::Pace,
    party::{Party, Stop},
    rows::{Row, micros, time},
    trouble,
};
use crate::{
    audit::query::{Fate, fates},
    domain::{UploadId, VaultArn},
    gateway::{Attempted, JobRef, JobUpload, Look, SeenUpload},
    inventory::listed::tamed,
    store::{Lease, Store, StoreError},
    telemetry::traces::{Span, Trace},
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
/// With how many outcomes that are not written yet nothing more is begun.
const MOST_UNWRITTEN: usize = 1_000;
/// How long a lane without work is kept.
const IDLE: Duration = Duration::from_secs(3);
/// How often an upload is looked at if that fails.
const MOST_LOOKS: i64 = 5;

/// A job as the lane knows it.
struct Known {
    row: Row,
    request: NewAbortJob,
    party: Party,
}

impl Known {
    fn is_running(&self) -> bool {
        self.row.state() == State::Running && self.row.error_code.is_none()
    }

    fn is_preparing(&self) -> bool {
        self.row.state() == State::Preparing && self.row.error_code.is_none()
    }

    /// For how long the parts must not have changed; `None` if they are not looked at.
    fn quiet(&self) -> Option<i64> {
        self.request.select.quiet_for.map(|quiet| quiet.micros())
    }
}

/// Something to do.
struct Task {
    known: Rc<Known>,
    todo: Todo,
    /// The event of an item that was claimed; `None` for a look.
    event: Option<Uuid>,
    /// Ends when the last of those has ended that were taken together.
    batch: Rc<Span>,
}

/// What came of it.
enum Came {
    Looked(Look),
    Attempted(Attempted),
}

/// How far looks are in a job.
#[derive(Default)]
struct Looks {
    /// The last item that was taken.
    after: i64,
    /// How many were taken and are not written.
    in_hand: usize,
}

pub(super) struct Worker {
    jobs: Arc<Jobs>,
    store: Store,
    lane: Lane,
    lease: Rc<RefCell<Lease>>,
    pace: Pace,
    known: HashMap<String, Rc<Known>>,
    looks: HashMap<String, Looks>,
    /// Tasks by team, and the team whose turn was last.
    queues: BTreeMap<String, VecDeque<Task>>,
    last: String,
    under_way: JoinSet<(Task, Instant, Came)>,
    done: HashMap<String, Vec<Done>>,
    looked: HashMap<String, Vec<Looked>>,
    /// The store's clock when it was last asked, and when that was.
    clock: (i64, Instant),
    /// Jobs without further items just now.
    drained: Vec<String>,
    /// Jobs that have lost a permission, until that is known of them.
    stopping: HashSet<String>,
    /// Whether the outcomes that are written next may be written already.
    is_unsure: bool,
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
            queues: BTreeMap::new(),
            last: String::new(),
            under_way: JoinSet::new(),
            done: HashMap::new(),
            looked: HashMap::new(),
            clock: (0, now),
            drained: Vec::new(),
            stopping: HashSet::new(),
            is_unsure: false,
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
                if let Err(error) = self.fill().await {
                    self.trouble(&error.into());
                    // Some may be claimed all the same. Whoever has the lane next finds them.
                    break;
                }
                self.launch();
            }
            let unwritten = self.unwritten();
            if unwritten >= FLUSHED || (unwritten > 0 && flushed.elapsed() >= FLUSH) {
                if let Err(error) = self.flush().await {
                    self.trouble(&error.into());
                }
                flushed = Instant::now();
            }
            if !self.is_idle() {
                busy = Instant::now();
            } else if busy.elapsed() >= IDLE {
                break;
            }
            let now = Instant::now();
            let mut until = now + FLUSH.min(REFRESH);
            if self.queued() > 0 && self.under_way.len() < self.pace.limit() {
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
                () = sleep_until(until.into()) => {}
                _ = stop.changed() => {}
            }
        }
        self.finish().await;
    }

    /// Begins nothing more, and leaves nothing in hand.
    async fn finish(mut self) {
        let queued: Vec<Task> = self.queues.values_mut().flat_map(std::mem::take).collect();
        for task in queued {
            self.give_back(task);
        }
        while let Some(ended) = self.under_way.join_next().await {
            if let Ok((task, begun, came)) = ended {
                self.ended(task, begun, came);
            }
        }
        if let Err(error) = self.flush().await {
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

    fn queued(&self) -> usize {
        self.queues.values().map(VecDeque::len).sum()
    }

    fn unwritten(&self) -> usize {
        self.done.values().map(Vec::len).sum::<usize>()
            + self.looked.values().map(Vec::len).sum::<usize>()
    }

    fn is_idle(&self) -> bool {
        self.known.is_empty()
            && self.under_way.is_empty()
            && self.queued() == 0
            && self.unwritten() == 0
    }

    /// The time by the store's clock.
    fn now(&self) -> i64 {
        let (at, asked) = self.clock;
        at.saturating_add(i64::try_from(asked.elapsed().as_micros()).unwrap_or(0))
    }

    /// Looks at the lane's jobs, and in whose names they act.
    async fn refresh(&mut self) -> Result<(), JobError> {
        let asked = Instant::now();
        let (rows, now) = claims::jobs(&self.store, &self.lane).await?;
        self.clock = (now, asked);
        self.drained.clear();
        self.stopping.retain(|job| self.done.contains_key(job));
        let mut known = HashMap::new();
        for row in rows {
            let stop = if row.expires <= now {
                Err(Stop::new("job-expired", "The job took longer than jobs.max_age allows."))
            } else {
                Party::of(&self.jobs.gateway, &row)?
            };
            match stop {
                Ok(party) => {
                    let (id, request) = (row.id.clone(), row.request()?);
                    known.insert(id, Rc::new(Known { row, request, party }));
                }
                Err(Stop { code, detail }) if row.error_code.is_none() => {
                    tracing::warn!(job = row.id, code, "a job stops");
                    claims::stop(&self.store, &row.id, code, &detail).await?;
                }
                Err(_) => {}
            }
        }
        self.known = known;
        self.looks.retain(|job, looks| looks.in_hand > 0 || self.known.contains_key(job));
        for looks in self.looks.values_mut().filter(|looks| looks.in_hand == 0) {
            looks.after = -1;
        }
        let queued: Vec<Task> = self.queues.values_mut().flat_map(std::mem::take).collect();
        for mut task in queued {
            match self.known.get(&task.todo.job) {
                Some(known) => {
                    task.known = known.clone();
                    self.queues.entry(known.row.team.clone()).or_default().push_back(task);
                }
                None => self.give_back(task),
            }
        }
        Ok(())
    }

    /// Finds out what became of items that a holder of the lane before this one has left.
    async fn sweep(&mut self) -> Result<(), StoreError> {
        let lease = self.lease.borrow().clone();
        let stale = claims::stale(&self.store, &self.lane, &lease).await?;
        let event = |bytes: &[u8]| Uuid::from_slice(bytes).unwrap_or_default();
        let events: Vec<Uuid> = stale.iter().map(|claimed| event(&claimed.event)).collect();
        let fates = fates(&self.store, &events).await?;
        let mut done: HashMap<String, Vec<Done>> = HashMap::new();
        for claimed in stale {
            let (event, taken) = (event(&claimed.event), claimed.taken);
            let one = match fates.get(&event) {
                // Another process will find out what became of it.
                Some(Fate::Open) => continue,
                // Nothing was sent.
                None => taken.put_back(event),
                Some(Fate::Ended { outcome, code, recovered }) => {
                    taken.done(event, outcome, code.as_deref(), *recovered)
                }
            };
            done.entry(claimed.job).or_default().push(one);
        }
        for (job, done) in done {
            let failures = self.failures(&job);
            claims::end(&self.store, &job, &done, failures, false).await?;
        }
        Ok(())
    }

    fn failures(&self, job: &str) -> f64 {
        self.known.get(job).map_or(1.0, |known| known.request.max_failure_rate)
    }

    /// Takes items of all teams in turn, until there are enough for a while.
    async fn fill(&mut self) -> Result<(), StoreError> {
        let enough = self.pace.limit() * 2;
        let queued = self.queued();
        if queued >= self.pace.limit() || self.unwritten() >= MOST_UNWRITTEN {
            return Ok(());
        }
        let mut teams: BTreeMap<String, Vec<Rc<Known>>> = BTreeMap::new();
        for known in self.known.values() {
            let works = known.is_running() || known.is_preparing();
            if works && !self.drained.contains(&known.row.id) {
                teams.entry(known.row.team.clone()).or_default().push(known.clone());
            }
        }
        let each = (enough - queued).div_ceil(teams.len().max(1));
        let lease = self.lease.borrow().clone();
        for (team, mut jobs) in teams {
            jobs.sort_by(|one, other| one.row.id.cmp(&other.row.id));
            let mut left = each.saturating_sub(self.queues.get(&team).map_or(0, VecDeque::len));
            let mut others = jobs.len();
            for known in jobs {
                // The jobs of a team share what it may take.
                let share = left.div_ceil(others).min(500);
                others -= 1;
                if share == 0 {
                    break;
                }
                let id = &known.row.id;
                let mut batch = Trace::of_job(id).span("job batch");
                let taken: Vec<(Todo, Option<Uuid>)> = if known.is_running() {
                    let claimed = claims::claim(&self.store, id, &self.lane, &lease, share).await?;
                    claimed.into_iter().map(|(todo, event)| (todo, Some(event))).collect()
                } else {
                    let looks =
                        self.looks.entry(id.clone()).or_insert(Looks { after: -1, in_hand: 0 });
                    let found =
                        claims::found(&self.store, id, &self.lane, looks.after, share).await?;
                    looks.in_hand += found.len();
                    looks.after = found.last().map_or(looks.after, |last| last.taken.n);
                    found.into_iter().map(|todo| (todo, None)).collect()
                };
                left = left.saturating_sub(taken.len());
                if taken.is_empty() {
                    self.drained.push(id.clone());
                    batch.discard();
                    continue;
                }
                if batch.is_kept() {
                    batch.text("glacier_gateway.job.id", Some(id));
                    batch.text("cloud.account.id", Some(&self.lane.account));
                    batch.text("cloud.region", Some(&self.lane.region));
                    batch
                        .set("glacier_gateway.batch.size", i64::try_from(taken.len()).unwrap_or(0));
                }
                let batch = Rc::new(batch);
                let task = |(todo, event)| Task {
                    known: known.clone(),
                    todo,
                    event,
                    batch: batch.clone(),
                };
                self.queues.entry(team.clone()).or_default().extend(taken.into_iter().map(task));
            }
        }
        Ok(())
    }

    /// Begins as many tasks as may be under way, the teams in turn.
    fn launch(&mut self) {
        loop {
            let now = Instant::now();
            if self.under_way.len() >= self.pace.limit() || self.pace.next() > now {
                return;
            }
            let Some(task) = self.next_task() else { return };
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
                let came = perform(&jobs, &lane, &lease, &task, at).await;
                (task, now, came)
            });
        }
    }

    fn next_task(&mut self) -> Option<Task> {
        let waiting = |(_, queue): &(&String, &VecDeque<Task>)| !queue.is_empty();
        let after = self.queues.range(format!("{}\0", self.last)..).find(waiting);
        let team = after.or_else(|| self.queues.iter().find(waiting))?.0.clone();
        self.last.clone_from(&team);
        self.queues.get_mut(&team)?.pop_front()
    }

    /// Lets an item that was taken wait again.
    fn give_back(&mut self, task: Task) {
        let job = task.todo.job.clone();
        match task.event {
            Some(event) => {
                let put_back = task.todo.taken.put_back(event);
                self.done.entry(job).or_default().push(put_back);
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
        let Task { known, todo, event, .. } = task;
        match (came, event) {
            (Came::Attempted(Attempted { outcome, code, .. }), Some(event)) => {
                let outcome = outcome.unwrap_or("not-attempted");
                let one = todo.taken.done(event, outcome, code, false);
                if one.stops {
                    self.stopping.insert(todo.job.clone());
                }
                self.jobs.gateway.metrics.job_item(one.state.as_str());
                self.done.entry(todo.job).or_default().push(one);
            }
            (Came::Looked(look), _) => {
                let at = self.now();
                let looked = looked(&known, &todo, look, at);
                self.looked.entry(todo.job).or_default().push(looked);
            }
            (Came::Attempted(_), None) => {}
        }
    }

    /// Writes what has come.
    async fn flush(&mut self) -> Result<(), StoreError> {
        let jobs: Vec<String> = self.done.keys().cloned().collect();
        for job in jobs {
            let failures = self.failures(&job);
            let Some(all) = self.done.get_mut(&job) else { continue };
            while !all.is_empty() {
                let some = all.len().min(500);
                let own = !std::mem::replace(&mut self.is_unsure, true);
                claims::end(&self.store, &job, &all[..some], failures, own).await?;
                self.is_unsure = false;
                all.drain(..some);
            }
            self.done.remove(&job);
            self.drained.retain(|drained| *drained != job);
        }
        let jobs: Vec<String> = self.looked.keys().cloned().collect();
        let lease = self.lease.borrow().clone();
        for job in jobs {
            let quiet = self.known.get(&job).and_then(|known| known.quiet()).unwrap_or(0);
            let Some(all) = self.looked.get(&job) else { continue };
            for looked in all.chunks(500) {
                looks::write(&self.store, &job, &self.lane, &lease, looked, quiet).await?;
            }
            let written = self.looked.remove(&job).map_or(0, |written| written.len());
            self.put_down(&job, written);
        }
        Ok(())
    }
}

async fn perform(jobs: &Jobs, lane: &Lane, lease: &RefCell<Lease>, task: &Task, now: i64) -> Came {
    let Task { known, todo, event, batch } = task;
    let (account, region) = (lane.account.parse(), lane.region.parse());
    let (vault, upload) = (todo.vault.parse(), todo.upload.parse::<UploadId>());
    let (Ok(account), Ok(region), Ok(vault), Ok(upload)) = (account, region, vault, upload) else {
        // Only whole names come into the store.
        let (outcome, code, asked) = (Some("failed"), Some("internal-error"), Default::default());
        return Came::Attempted(Attempted { outcome, code, asked });
    };
    let vault = VaultArn { region, account, vault };
    let facts = todo.created.map(|created| (time(created), todo.description.as_deref()));
    let Party { creator, others, confirmer } = &known.party;
    let about = JobUpload { vault: &vault, upload: &upload, facts, others };
    let id = event.unwrap_or_else(Uuid::now_v7);
    let mut span = Span::root(if event.is_some() { "job item" } else { "job look" });
    if span.is_kept() {
        span.link(&batch.trace());
        span.text("glacier_gateway.job.id", Some(&todo.job));
        span.set("glacier_gateway.job.item", todo.taken.n);
        span.set("glacier_gateway.event_id", id.to_string());
    }
    let call = creator.call(jobs.gateway.clone(), id, todo.job.clone(), span.trace());
    let confirmed_by = confirmer.as_ref().map(|confirmer| confirmer.principal.clone());
    let item = event.map(|_| todo.taken.n);
    call.for_item(JobRef { id: todo.job.clone(), item, confirmed_by });
    if event.is_none() {
        return Came::Looked(call.look_for_job(about).await);
    }
    let check = known.quiet().map(|quiet| {
        move |seen: &SeenUpload| match (&todo.digest, todo.since) {
            (Some(digest), _) if *digest != seen.digest => Err("changed"),
            (Some(_), Some(since)) if since.saturating_add(quiet) <= now => Ok(()),
            (Some(_), Some(_)) => Err("not-quiet"),
            _ => Err("not-observed"),
        }
    });
    let holds = || lease.borrow().holds();
    let attempted = call.abort_for_job(about, check, holds).await;
    span.text("glacier_gateway.outcome", attempted.outcome);
    Came::Attempted(attempted)
}

/// What a look means for its item.
fn looked(known: &Known, todo: &Todo, look: Look, at: i64) -> Looked {
    let mut looked = Looked {
        n: todo.taken.n,
        vault: todo.vault.clone(),
        upload: todo.upload.clone(),
        state: "waiting",
        code: None,
        decision: Some(look.decision),
        created: None,
        description: None,
        parts: None,
        bytes: None,
        digest: None,
        at,
        after: 0,
    };
    match look.seen {
        Ok(seen) => {
            let too_small = |least: u64| u64::try_from(seen.bytes).unwrap_or(0) < least;
            if known.request.select.min_bytes.is_some_and(too_small) {
                looked.state = "unselected";
            }
            looked.created = Some(micros(seen.created));
            looked.description = seen.description.map(tamed);
            (looked.parts, looked.bytes) = (Some(seen.parts), Some(seen.bytes));
            looked.digest = Some(seen.digest);
        }
        Err(code @ ("upload-not-found" | "vault-not-found")) => {
            (looked.state, looked.code) = ("gone", Some(code));
        }
        Err("not-authorized") => {}
        Err(code)
            if matches!(code, "upstream-throttled" | "overloaded" | "circuit-open")
                || todo.taken.attempts < MOST_LOOKS =>
        {
            (looked.state, looked.code) = ("found", Some(code));
            looked.after = 1_000_000 << todo.taken.attempts.clamp(0, 5);
        }
        Err(code) => looked.code = Some(code),
    }
    looked
}
