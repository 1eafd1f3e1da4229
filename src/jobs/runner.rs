//! What moves jobs on, in a thread of its own: callers who wait for an answer do not wait
//! for a job.

use std::{
    collections::HashMap,
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use sqlx::AssertSqlSafe;
use tokio::{
    runtime::Builder,
    sync::{oneshot, watch},
    task::{AbortHandle, JoinSet, LocalSet},
};

use super::{
    Jobs,
    claims::{self, Lane},
    error::JobError,
    lane::{LEASE, Worker},
    retention, trouble,
};
use crate::store::{Store, both};

/// How often it is looked what there is to do.
const TICK: Duration = Duration::from_millis(500);
/// How often jobs that ended long ago are dropped.
const TIDY: Duration = Duration::from_secs(60);
/// How often a listing of uploads that fails is tried.
const MOST_LISTINGS: u32 = 8;
/// The same if the store would refuse what was listed again.
const MOST_REFUSALS: u32 = 3;

/// The thread that moves jobs on.
pub struct Runner {
    stop: watch::Sender<bool>,
    /// Whether it has ended, or failed; without a store there is none.
    ended: Option<oneshot::Receiver<()>>,
}

impl Runner {
    /// Starts it; without a store there is none.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(jobs: Arc<Jobs>) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let Some(store) = jobs.gateway.trail.store().cloned() else {
            return Ok(Self { stop, ended: None });
        };
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel();
        thread::Builder::new().name("jobs".to_owned()).spawn(move || {
            LocalSet::new().block_on(&runtime, run(jobs, store, stopped));
            let _ = end.send(());
        })?;
        Ok(Self { stop, ended: Some(ended) })
    }

    /// Lets calls of Glacier that are under way end, and begins no others. Whoever does not
    /// wait for that may end the process all the same.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        if let Some(ended) = self.ended
            && ended.await.is_err()
        {
            tracing::error!("the thread of the jobs has failed");
        }
    }
}

/// What this process does for jobs.
#[derive(Default)]
struct Work {
    lanes: HashMap<Lane, AbortHandle>,
    listings: HashMap<String, AbortHandle>,
    /// Listings that failed, how often, and when to try again.
    failed: HashMap<String, (u32, Instant)>,
    tasks: JoinSet<(Option<String>, Result<(), JobError>)>,
}

async fn run(jobs: Arc<Jobs>, store: Store, mut stop: watch::Receiver<bool>) {
    let mut work = Work::default();
    let (mut tidied, mut told) = (None::<Instant>, String::new());
    while !*stop.borrow() {
        let looked = work.look(&jobs, &store, &stop).await;
        let trouble = looked.as_ref().err().map(ToString::to_string).unwrap_or_default();
        if let Err(error) = looked
            && trouble != told
        {
            trouble::tell(&error, "the jobs cannot be moved on");
        }
        told = trouble;
        if tidied.is_none_or(|tidied| tidied.elapsed() >= TIDY) {
            if let Err(error) = retention::tidy(&store, jobs.gateway.settings.jobs.keep).await {
                trouble::tell(&error.into(), "old jobs cannot be dropped");
            }
            tidied = Some(Instant::now());
        }
        tokio::select! {
            () = jobs.work.notified() => {}
            () = tokio::time::sleep(TICK) => {}
            Some(ended) = work.tasks.join_next() => {
                if let Ok((Some(job), result)) = ended {
                    work.listed(&jobs, job, result).await;
                }
            }
            _ = stop.changed() => {}
        }
    }
    for listing in work.listings.values() {
        listing.abort();
    }
    while work.tasks.join_next().await.is_some() {}
}

#[derive(sqlx::FromRow)]
struct Due {
    id: String,
    state: String,
    error_code: Option<String>,
    is_listed: i64,
    claimed: i64,
    is_expired: i64,
    is_due: i64,
    is_done: i64,
}

impl Work {
    /// Looks at all jobs that have not ended, and does for them what there is to do.
    async fn look(
        &mut self,
        jobs: &Arc<Jobs>,
        store: &Store,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), JobError> {
        let now = store.now();
        let sql = format!(
            "SELECT id, state, error_code, CAST(CASE WHEN preview IS NULL THEN 0 ELSE 1 END AS BIGINT) AS is_listed, \
             claimed, CAST(CASE WHEN expires <= {now} THEN 1 ELSE 0 END AS BIGINT) AS is_expired, \
             CAST(CASE WHEN not_before <= {now} AND (state = 'queued' \
                 OR (state = 'paused' AND paused_until <= {now})) THEN 1 ELSE 0 END AS BIGINT) \
                 AS is_due, \
             CAST(CASE WHEN selected = aborted + gone + failed + skipped + unknown \
                 THEN 1 ELSE 0 END AS BIGINT) AS is_done \
             FROM job WHERE finished IS NULL AND state <> 'creating' ORDER BY id"
        );
        let all: Vec<Due> = both!(store, pool => {
            sqlx::query_as(AssertSqlSafe(sql)).fetch_all(pool).await?
        }, JobError);
        jobs.gateway.metrics.jobs(all.iter().map(|job| job.state.as_str()), self.lanes.len());
        for job in all {
            if job.error_code.is_none() && job.is_expired == 1 {
                let detail = "The job took longer than jobs.max_age allows. Ask for a new one.";
                claims::stop(store, &job.id, "job-expired", detail).await?;
                continue;
            }
            let ends = job.error_code.is_some()
                || matches!(job.state.as_str(), "pausing" | "cancelling")
                || (job.state == "running" && job.is_done == 1);
            if ends && job.claimed == 0 {
                jobs.moves(&job.id, claims::advance(store)).await?;
            } else if job.is_due == 1 {
                jobs.change(&job.id, resume(store)).await?;
            } else if job.state == "preparing" && job.error_code.is_none() {
                match job.is_listed {
                    0 => self.list(jobs, store, job.id).await?,
                    _ => jobs.prepared(&job.id).await?,
                }
            }
        }
        self.lanes.retain(|_, lane| !lane.is_finished());
        for lane in claims::lanes(store).await? {
            if self.lanes.contains_key(&lane) {
                continue;
            }
            if let Some(lease) = store.serving_lease_anew(&lane.lease(), LEASE).await? {
                let worker = Worker::new(jobs.clone(), store.clone(), lane.clone(), lease);
                let stop = stop.clone();
                let task = self.tasks.spawn_local(async move {
                    worker.work(stop).await;
                    (None, Ok(()))
                });
                self.lanes.insert(lane, task);
            }
        }
        Ok(())
    }

    /// Begins to list the uploads of a job, unless somebody does.
    async fn list(&mut self, jobs: &Arc<Jobs>, store: &Store, id: String) -> Result<(), JobError> {
        let waits = |(_, again): &(u32, Instant)| *again > Instant::now();
        if self.listings.contains_key(&id) || self.failed.get(&id).is_some_and(waits) {
            return Ok(());
        }
        let name = format!("job/{id}");
        let Some(first) = store.serving_lease(&name, LEASE).await? else { return Ok(()) };
        let (jobs, store, job) = (jobs.clone(), store.clone(), id.clone());
        let task = self.tasks.spawn_local(async move {
            let keep = async {
                loop {
                    tokio::time::sleep(LEASE / 5).await;
                    let lease = store.serving_lease(&name, LEASE).await;
                    if !matches!(&lease, Ok(Some(lease)) if lease.epoch == first.epoch) {
                        return;
                    }
                    // A job that is cancelled, or whose creator may no longer ask, is not
                    // listed to its end.
                    if matches!(jobs.is_to_be_listed(&job).await, Ok(false)) {
                        return;
                    }
                }
            };
            let result = tokio::select! {
                result = jobs.list_uploads(&job, &first) => result,
                () = keep => Ok(()),
            };
            let _ = store.release(&name).await;
            (Some(job), result)
        });
        self.listings.insert(id, task);
        Ok(())
    }

    /// Notes how a listing ended. One that fails is tried again, and then the job fails.
    async fn listed(&mut self, jobs: &Jobs, job: String, result: Result<(), JobError>) {
        self.listings.remove(&job);
        let error = match result {
            Err(error) if !matches!(error, JobError::Conflict(_)) => error,
            _ => {
                self.failed.remove(&job);
                jobs.obstacles.invalidate(&job);
                return;
            }
        };
        trouble::tell(&error, "the uploads of a job cannot be listed");
        jobs.obstructed(&job, &error);
        let (times, again) = self.failed.entry(job.clone()).or_insert((0, Instant::now()));
        *times += 1;
        *again = Instant::now() + Duration::from_secs(1 << (*times).min(6));
        let most = match &error {
            JobError::Store(store) if store.is_lasting() => MOST_REFUSALS,
            JobError::Store(store) if store.is_unavailable() => u32::MAX,
            _ => MOST_LISTINGS,
        };
        if *times < most {
            return;
        }
        let why = match &error {
            JobError::Store(_) => "the store does not take them",
            error => &error.to_string(),
        };
        let detail = format!("The uploads could not be listed: {why}. Ask for the job anew.");
        if let Ok(store) = jobs.store() {
            let _ = claims::stop(store, &job, error.code(), &detail).await;
        }
        self.failed.remove(&job);
    }
}

/// Lets a job run whose time has come.
fn resume(store: &Store) -> String {
    let now = store.now();
    format!(
        "UPDATE job SET state = 'running', paused_until = NULL, revision = revision + 1, \
         changed = {now} WHERE id = $1 AND finished IS NULL AND not_before <= {now} \
         AND (state = 'queued' OR (state = 'paused' AND paused_until <= {now}))"
    )
}
