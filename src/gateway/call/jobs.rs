//! What callers ask of jobs.

use super::{
    super::{record::JobRef, refusal::Refusal},
    Call,
};
use crate::{config::Reads, domain::GatewayAction, policy::Reach};

impl Call {
    /// Whether the policies let the caller do `action` with a job, or with all of a team's
    /// (`*`). Nothing is noted.
    pub fn may_with_job(&self, action: GatewayAction, team: &str, id: &str) -> bool {
        let reach = format!("{team}/{id}");
        let reach = Reach::Team(&reach);
        self.policies.decide_own(&self.principal, action, reach, &self.context).is_ok()
    }

    /// Notes what became of something that was asked of jobs: `job` is the one that it was
    /// about, `failed` the code of an error. A change is durable on record when this returns.
    ///
    /// # Errors
    /// When that is not so in time.
    pub async fn asked_of_jobs(
        &self,
        job: Option<&str>,
        failed: Option<&'static str>,
    ) -> Result<(), Refusal> {
        let durable = {
            let mut record = self.recorder.edit();
            record.job = job.map(|id| JobRef { id: id.to_owned(), item: None, confirmed_by: None });
            record.result = Some(match failed {
                None => "ok",
                Some("store-required") => "not-attempted",
                Some(_) => "failed",
            });
            record.error_code = failed;
            let event = record.event();
            let awaited = (!event.read_only && failed.is_none())
                || self.gateway.settings.audit.reads == Reads::Require;
            let durable = awaited.then(|| self.gateway.trail.record_durably(&event));
            record.on_record = awaited;
            durable
        };
        match durable {
            Some(durable) => Ok(durable.await?),
            None => Ok(()),
        }
    }
}
