//! Jobs: uploads aborted in bulk. A job outlives the request and the process that it began
//! in, and does in its creator's and its confirmer's name what both may do.
//!
//! `request` checks what is asked for and `create` makes a job of it; `control` confirms,
//! pauses and cancels; `items` shows what became of each upload. `runner` moves jobs on:
//! `prepare` lists what a job would abort, and `lane` does the work of all jobs in an account
//! and region, at one `pace`. The items that it has `claims` on carry the IDs of their events,
//! so that the trail says what became of them, whatever happens to the process.

mod claims;
mod control;
mod create;
mod duration;
mod ending;
mod error;
mod items;
mod lane;
pub mod model;
mod named;
mod party;
mod prepare;
mod request;
mod retention;
mod retry;
mod rows;
mod runner;
mod trouble;

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use tokio::sync::Notify;

pub use self::{
    control::Control,
    create::Created,
    duration::{InvalidDuration, IsoDuration},
    error::JobError,
    items::{ItemFilter, ListFilter},
    runner::Runner,
};
use self::{
    model::{AbortJob, JobProblem},
    rows::Row,
};
use crate::{
    gateway::{Gateway, Refusal},
    store::Store,
};

/// From how many items on a count of those that wait is kept, and for how long.
const MANY: i64 = 1000;
const COUNTED: Duration = Duration::from_secs(1);
/// How long it is told what kept a job from moving on: longer than until it is tried again.
const OBSTRUCTED: Duration = Duration::from_secs(90);

/// The jobs of all teams; one for the process.
pub struct Jobs {
    gateway: Arc<Gateway>,
    /// Tells the runner that there is something to do.
    work: Notify,
    /// How many items of a job wait, which takes long to count and may be asked for often.
    waiting: Cache<String, i64>,
    /// What kept jobs from moving on just now, as far as this process has tried.
    obstacles: Cache<String, JobProblem>,
}

impl Jobs {
    /// Those in the gateway's store.
    pub fn new(gateway: Arc<Gateway>) -> Self {
        let waiting = Cache::builder().max_capacity(1000).time_to_live(COUNTED).build();
        let obstacles = Cache::builder().max_capacity(1000).time_to_live(OBSTRUCTED).build();
        Self { gateway, work: Notify::new(), waiting, obstacles }
    }

    /// Reads a job.
    ///
    /// # Errors
    /// [`JobError::NotFound`], or a store that does not answer.
    pub async fn get(&self, id: &str) -> Result<AbortJob, JobError> {
        let row = self.row(id).await?;
        self.show(&row).await
    }

    async fn row(&self, id: &str) -> Result<Row, JobError> {
        rows::find(self.store()?, id).await?.ok_or(JobError::NotFound)
    }

    async fn show(&self, row: &Row) -> Result<AbortJob, JobError> {
        let many = row.selected - row.ended() > MANY;
        let waiting = match self.waiting.get(&row.id).filter(|_| many) {
            Some(waiting) => waiting,
            None => {
                let waiting = rows::waiting(self.store()?, row).await?;
                self.waiting.insert(row.id.clone(), waiting);
                waiting
            }
        };
        let mut job = row.show(waiting)?;
        if !job.state.is_final() {
            job.obstacle = self.obstacle(&job.job_id)?;
        }
        Ok(job)
    }

    /// What keeps a job from moving on.
    fn obstacle(&self, id: &str) -> Result<Option<JobProblem>, JobError> {
        if self.store()?.status().trouble.is_some() {
            let detail = "The store cannot be written, so that nothing is begun. It goes on once \
                          it can; operators see the cause at /readyz.";
            let code = "store-unavailable".to_owned();
            return Ok(Some(JobProblem { code, detail: detail.to_owned() }));
        }
        Ok(self.obstacles.get(id))
    }

    /// Notes what keeps a job from moving on, for a while or until it is noted anew.
    fn obstructed(&self, id: &str, error: &JobError) {
        let detail = match error {
            JobError::Store(_) => "The store refuses what is to be written. It is tried again; \
                                   operators see the cause in the gateway's log."
                .to_owned(),
            error => format!("The job cannot go on just now: {error}. It is tried again."),
        };
        let problem = JobProblem { code: error.code().to_owned(), detail };
        self.obstacles.insert(id.to_owned(), problem);
    }

    fn store(&self) -> Result<&Store, JobError> {
        self.gateway.trail.store().ok_or(JobError::Refused(Refusal::StoreRequired))
    }

    fn wake(&self) {
        self.work.notify_one();
    }
}
