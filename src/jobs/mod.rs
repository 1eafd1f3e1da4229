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
mod looks;
pub mod model;
mod named;
mod pace;
mod party;
mod prepare;
mod request;
mod retention;
mod rows;
mod runner;
mod trouble;

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use tokio::sync::Notify;

pub use self::{
    control::Control,
    create::{Created, Key},
    duration::{InvalidDuration, IsoDuration},
    error::JobError,
    items::{ItemFilter, ListFilter},
    runner::Runner,
};
use self::{model::AbortJob, rows::Row};
use crate::{
    gateway::{Gateway, Refusal},
    store::Store,
};

/// From how many items on a count of those that wait is kept, and for how long.
const MANY: i64 = 1000;
const COUNTED: Duration = Duration::from_secs(1);

/// The jobs of all teams; one for the process.
pub struct Jobs {
    gateway: Arc<Gateway>,
    /// Tells the runner that there is something to do.
    work: Notify,
    /// How many items of a job wait, which takes long to count and may be asked for often.
    waiting: Cache<String, i64>,
}

impl Jobs {
    /// Those in the gateway's store.
    pub fn new(gateway: Arc<Gateway>) -> Self {
        let waiting = Cache::builder().max_capacity(1000).time_to_live(COUNTED).build();
        Self { gateway, work: Notify::new(), waiting }
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
        Ok(row.show(waiting)?)
    }

    fn store(&self) -> Result<&Store, JobError> {
        self.gateway.trail.store().ok_or(JobError::Refused(Refusal::StoreRequired))
    }

    fn wake(&self) {
        self.work.notify_one();
    }
}
