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
mod pace;
mod party;
mod prepare;
mod request;
mod retention;
mod rows;
mod runner;
mod trouble;

use std::sync::Arc;

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

/// The jobs of all teams; one for the process.
pub struct Jobs {
    gateway: Arc<Gateway>,
    /// Tells the runner that there is something to do.
    work: Notify,
}

impl Jobs {
    /// Those in the gateway's store.
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway, work: Notify::new() }
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
        Ok(row.show(rows::waiting(self.store()?, row).await?)?)
    }

    fn store(&self) -> Result<&Store, JobError> {
        self.gateway.trail.store().ok_or(JobError::Refused(Refusal::StoreRequired))
    }

    fn wake(&self) {
        self.work.notify_one();
    }
}
