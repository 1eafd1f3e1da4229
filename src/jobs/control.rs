//! What people do with a job once there is one.

use sqlx::AssertSqlSafe;
use time::OffsetDateTime;

use super::{
    Jobs,
    claims::{MOVED, Moved},
    error::JobError,
    model::{AbortJob, State},
    rows::Row,
};
use crate::{
    gateway::Actor,
    store::{both, micros},
};

/// Something that is done with a job.
#[derive(Clone, Debug)]
pub enum Control {
    /// Let exactly the items run that the token stands for.
    Confirm {
        /// The job's selection token.
        token: String,
        /// Who confirms.
        confirmer: Actor,
    },
    /// Begin nothing until it is resumed, or until a moment.
    Pause(Option<OffsetDateTime>),
    /// Go on.
    Resume,
    /// End before the items have ended.
    Cancel,
    /// Try again what has failed, is unknown or was not allowed, and go on.
    RetryFailed,
}

impl Jobs {
    /// Does it, and gives the job as it is then. Done twice, it has no further effect.
    ///
    /// # Errors
    /// A state that does not allow it, a token that does not fit, no such job, or a store
    /// that does not answer.
    pub async fn control(&self, id: &str, control: Control) -> Result<AbortJob, JobError> {
        let before = self.row(id).await?;
        let changed = match &control {
            Control::Confirm { token, confirmer } => {
                self.confirm(&before, token, confirmer).await?
            }
            Control::Pause(until) => self.pause(id, *until).await?,
            Control::Resume => self.resume(id).await?,
            Control::Cancel => self.cancel(id).await?,
            Control::RetryFailed => self.retry_failed(&before).await?,
        };
        let row = self.row(id).await?;
        if !changed && !is_done(&control, &row) {
            return Err(match (&control, row.state()) {
                (Control::Confirm { .. }, State::AwaitingConfirmation) => JobError::WrongToken,
                (_, state) => JobError::Conflict(state),
            });
        }
        self.wake();
        self.show(&row).await
    }

    async fn confirm(&self, row: &Row, token: &str, confirmer: &Actor) -> Result<bool, JobError> {
        let confirmer = serde_json::to_string(confirmer)
            .map_err(|failed| JobError::Invalid(failed.to_string()))?;
        let now = self.store()?.now();
        let sql = format!(
            "UPDATE job SET state = 'queued', confirmer = $3, revision = revision + 1, \
             changed = {now} WHERE id = $1 AND state = 'awaiting-confirmation' AND token = $2"
        );
        let changed = both!(self.store()?, pool => {
            let query = sqlx::query(AssertSqlSafe(sql)).bind(&row.id).bind(token).bind(&confirmer);
            query.execute(pool).await?.rows_affected()
        }, JobError);
        Ok(changed == 1)
    }

    async fn pause(&self, id: &str, until: Option<OffsetDateTime>) -> Result<bool, JobError> {
        let now = self.store()?.now();
        let sql = format!(
            "UPDATE job SET state = CASE WHEN claimed > 0 THEN 'pausing' ELSE 'paused' END, \
             paused_until = $2, revision = revision + 1, changed = {now} \
             WHERE id = $1 AND state IN ('queued', 'running', 'pausing', 'paused')"
        );
        let changed = both!(self.store()?, pool => {
            let query = sqlx::query(AssertSqlSafe(sql)).bind(id).bind(until.map(micros));
            query.execute(pool).await?.rows_affected()
        }, JobError);
        Ok(changed == 1)
    }

    pub(super) async fn resume(&self, id: &str) -> Result<bool, JobError> {
        let now = self.store()?.now();
        self.change(
            id,
            format!(
                "UPDATE job SET state = 'queued', paused_until = NULL, revision = revision + 1, \
             changed = {now} WHERE id = $1 AND state IN ('pausing', 'paused')"
            ),
        )
        .await
    }

    async fn cancel(&self, id: &str) -> Result<bool, JobError> {
        let now = self.store()?.now();
        self.moves(id, format!(
            "UPDATE job SET state = CASE WHEN claimed > 0 THEN 'cancelling' ELSE 'cancelled' END, \
             finished = CASE WHEN claimed > 0 THEN NULL ELSE {now} END, paused_until = NULL, \
             revision = revision + 1, changed = {now} WHERE id = $1 AND state IN ('preparing', \
             'awaiting-confirmation', 'queued', 'running', 'pausing', 'paused') {MOVED}"
        ))
        .await
    }

    /// Runs an update that says `WHERE id = $1`. Gives whether there was something to change.
    pub(super) async fn change(&self, id: &str, sql: String) -> Result<bool, JobError> {
        let changed = both!(self.store()?, pool => {
            sqlx::query(AssertSqlSafe(sql)).bind(id).execute(pool).await?.rows_affected()
        }, JobError);
        Ok(changed == 1)
    }

    /// The same with a statement that gives a [`Moved`].
    pub(super) async fn moves(&self, id: &str, sql: String) -> Result<bool, JobError> {
        let moved: Option<Moved> = both!(self.store()?, pool => {
            sqlx::query_as(AssertSqlSafe(sql)).bind(id).fetch_optional(pool).await?
        }, JobError);
        Ok(moved.inspect(Moved::tell).is_some())
    }
}

/// Whether a job is as if it had been done already.
fn is_done(control: &Control, row: &Row) -> bool {
    match (control, row.state()) {
        (Control::Confirm { token, .. }, State::Queued | State::Running | State::Completed) => {
            row.token.as_ref() == Some(token) && row.confirmer.is_some()
        }
        (Control::Resume, State::Queued | State::Running) => true,
        (Control::Cancel, State::Cancelling | State::Cancelled) => true,
        _ => false,
    }
}
