//! What looks after the rules: begins the runs that are due, and sees them to their end.

use std::{collections::HashMap, sync::Arc, time::Duration};

use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Lifecycle,
    due::{Due, due},
    model::{self, Mode, RunOutcome},
    rows::{self, End, Known, NewRun, Run},
    rules::Rule,
};
use crate::{
    domain::GatewayAction,
    gateway::{Actor, IdempotencyKey, Refusal},
    jobs::{
        Created, JobError,
        model::{AbortJob, Person, State},
    },
    policy::Reach,
    store::{Lease, Store, StoreError, micros},
    telemetry::traces::Trace,
};

/// The lease of whoever looks after the rules.
const LEASE: &str = "lifecycle";
const LEASE_LENGTH: Duration = Duration::from_secs(15);
/// How often the rules are looked after, and how often somebody else offers to.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const OFFER_EVERY: u32 = 4;
/// The name of the service that acts, in `arn:aws:glacier-gateway:::service/lifecycle`.
const SERVICE: &str = "lifecycle";

impl Lifecycle {
    /// Looks after the rules until dropped, if there is a store. Of all replicas one does so at
    /// a time.
    pub async fn run(self: Arc<Self>) {
        let Some(store) = self.gateway.trail.store().cloned() else { return };
        let (mut lease, mut looks, mut done): (Option<Lease>, u32, bool) = (None, 0, false);
        let mut trouble = String::new();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            // Without rules there is nothing to do, once that is known to the store.
            let none = self.rules.current().iter().next().is_none();
            if none && done {
                continue;
            }
            let looked = async {
                if looks.is_multiple_of(OFFER_EVERY) {
                    lease = store.serving_lease(LEASE, LEASE_LENGTH).await?;
                }
                looks = looks.wrapping_add(1);
                match lease.as_ref().is_some_and(Lease::holds) {
                    true => self.look_after(&store).await,
                    false => Ok(false),
                }
            };
            let told = match looked.await {
                Ok(settled) => {
                    done = none && settled;
                    String::new()
                }
                Err(error) => error.to_string(),
            };
            if told != trouble && !told.is_empty() {
                tracing::error!(error = told, "the lifecycle rules cannot be looked after");
            }
            trouble = told;
        }
    }

    /// Looks at all runs and rules once. Gives whether no run is open.
    async fn look_after(&self, store: &Store) -> Result<bool, StoreError> {
        let open = rows::open(store).await?;
        for run in &open {
            self.see_on(store, run).await?;
        }
        let rules = self.rules.current();
        let mut known: HashMap<String, Known> = HashMap::new();
        for row in rows::known(store).await? {
            match rules.get(&row.rule) {
                Some(_) => drop(known.insert(row.rule.clone(), row)),
                None => rows::forget(store, &row.rule).await?,
            }
        }
        let now = rows::now(store).await?;
        for (id, rule) in rules.iter() {
            match known.get(id).filter(|known| known.digest == rule.digest) {
                Some(known) => self.begin_if_due(store, id, rule, known, now).await?,
                None => rows::begin_anew(store, id, &rule.digest).await?,
            }
        }
        let keep = self.gateway.settings.jobs.keep.as_micros();
        rows::sweep(store, i64::try_from(keep).unwrap_or(i64::MAX)).await?;
        Ok(open.is_empty())
    }

    async fn begin_if_due(
        &self,
        store: &Store,
        id: &str,
        rule: &Rule,
        known: &Known,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let (tick, outcome) = match due(id, &rule.settings, known.handled(), now) {
            Due::Nothing => return Ok(()),
            Due::Run(tick) => (tick, None),
            Due::Missed(tick) => (tick, Some((RunOutcome::Missed, "no gateway ran in time"))),
        };
        let paused = known.paused.map(|_| (RunOutcome::Skipped, "the rule is paused"));
        let begun =
            self.begin(store, id, rule, Some(known), tick, None, outcome.or(paused)).await?;
        if let Some(run) = begun {
            tracing::info!(rule = id, %tick, mode = run.mode, "a lifecycle rule is due");
            return self.see_on(store, &run).await;
        }
        // The run before has not ended, or this one has begun.
        let overlap = Some((RunOutcome::Skipped, "the run before has not ended"));
        self.begin(store, id, rule, Some(known), tick, None, overlap).await.map(drop)
    }

    /// Begins a run. `None` if there is one for that time, or one that has not ended, or if it
    /// ends at once.
    #[expect(clippy::too_many_arguments, reason = "each is another part of the run")]
    pub(super) async fn begin(
        &self,
        store: &Store,
        id: &str,
        rule: &Rule,
        known: Option<&Known>,
        scheduled: OffsetDateTime,
        asked: Option<&Person>,
        outcome: Option<(RunOutcome, &str)>,
    ) -> Result<Option<Run>, StoreError> {
        let mode = rule.next_mode(known);
        let request = model::said(id, &rule.settings, mode).job;
        let scheduled = micros(scheduled);
        let new = NewRun {
            rule: id,
            scheduled,
            asked,
            digest: &rule.digest,
            mode,
            request: &request,
            outcome,
        };
        let begun = rows::begin(store, &new).await?;
        let mut open = rows::open(store).await?;
        open.retain(|run| run.rule == id && run.scheduled == scheduled);
        Ok(open.pop().filter(|_| begun && outcome.is_none()))
    }

    /// Makes the job of a run, or sees whether it has ended.
    pub(super) async fn see_on(&self, store: &Store, run: &Run) -> Result<(), StoreError> {
        if run.job.is_none()
            && let Some(why) = self.is_overtaken(run, rows::now(store).await?)
        {
            let end =
                End { outcome: RunOutcome::Skipped, detail: Some(why), job: None, pause: None };
            return rows::end(store, run, &end).await;
        }
        let seen = match &run.job {
            None => self.make_job(run).await,
            Some(job) => self.jobs.get(job).await,
        };
        let end = match &seen {
            Ok(job) if run.job.is_none() => return rows::set_job(store, run, &job.job_id).await,
            Ok(job) if !job.state.is_final() => return Ok(()),
            Ok(job) => self.end_with(run, job),
            // Later there may be room, or the store may answer.
            Err(
                JobError::Limit(_)
                | JobError::KeyInFlight
                | JobError::Refused(Refusal::Unrecorded(_) | Refusal::Unreadable(_)),
            ) => return Ok(()),
            Err(JobError::Store(error)) => return Err(StoreError::Unusable(error.to_string())),
            Err(_) => End { outcome: RunOutcome::Failed, detail: None, job: None, pause: None },
        };
        let told = match &seen {
            Err(error) => Some(format!("{}: {error}", error.code())),
            Ok(job) => {
                job.problem.as_ref().map(|problem| format!("{}: {}", problem.code, problem.detail))
            }
        };
        let pauses = end.outcome == RunOutcome::Failed && self.pauses(&run.rule);
        let detail = told.as_deref();
        if end.outcome == RunOutcome::Failed {
            tracing::error!(
                rule = run.rule,
                detail,
                pauses,
                "a run of a lifecycle rule has failed"
            );
        }
        let pause = pauses.then_some(detail.unwrap_or("a run has failed"));
        rows::end(store, run, &End { detail, pause, ..end }).await
    }

    /// Why a run that has no job yet makes none any more: it has waited for room, and what it
    /// would do is not what the rule says now.
    fn is_overtaken(&self, run: &Run, now: OffsetDateTime) -> Option<&'static str> {
        let rules = self.rules.current();
        let Some(rule) = rules.get(&run.rule) else {
            return Some("the rule was removed before its job could be made");
        };
        if rule.digest != run.digest {
            return Some("the rule was changed before its job could be made");
        }
        let waited = micros(now).saturating_sub(run.begun);
        let most = i64::try_from(rule.settings.catch_up.as_micros()).unwrap_or(i64::MAX);
        (waited > most).then_some("the job could not be made within the catch-up window")
    }

    fn end_with<'a>(&self, run: &Run, job: &'a AbortJob) -> End<'a> {
        let outcome = match job.state {
            State::Failed => RunOutcome::Failed,
            State::Cancelled => RunOutcome::Cancelled,
            _ if run.mode == Mode::Abort.as_str() => RunOutcome::Completed,
            _ => RunOutcome::Reported,
        };
        End { outcome, detail: None, job: Some(job), pause: None }
    }

    fn pauses(&self, rule: &str) -> bool {
        self.rules.current().get(rule).is_some_and(|rule| rule.settings.pause_on_failure)
    }

    /// Makes the job of a run; made twice, it is the same job.
    async fn make_job(&self, run: &Run) -> Result<AbortJob, JobError> {
        let request = run.request()?;
        let team = request.team.clone().unwrap_or_default();
        let actor = Actor::service(SERVICE, &team);
        let of = format!("lifecycle-rule/{}", run.rule);
        let call = actor.call(Arc::clone(&self.gateway), Uuid::now_v7(), of, Trace::default());
        let all = format!("{team}/*");
        if run.mode == Mode::Abort.as_str() {
            call.may(GatewayAction::ConfirmOwnAbortJob, Reach::Team(&all))?;
        }
        call.may(GatewayAction::CreateAbortJob, Reach::Team(&all))?;
        let key = format!("{} {}", run.rule, run.scheduled);
        let key = IdempotencyKey::new(&actor, "lifecycle rule", &key, &[run.request.as_bytes()]);
        let made = async {
            let Created { job, .. } = self.jobs.create(&actor, request, Some(&key)).await?;
            self.jobs.get(&job).await
        };
        let made = made.await;
        let (job, failed) = match &made {
            Ok(job) => (Some(job.job_id.as_str()), None),
            Err(error) => (None, Some(error.code())),
        };
        call.asked_of_jobs(job, failed).await?;
        made
    }
}
