//! What callers ask of jobs, and how a job looks at uploads and aborts them.

use time::OffsetDateTime;

use super::{
    super::{
        actor::Actor,
        record::{JobRef, Record},
        refusal::Refusal,
    },
    Call,
};
use crate::{
    config::Reads,
    domain::{
        GatewayAction, Operation, UploadId, VaultArn,
        action::{AbortMultipartUpload, ListParts},
    },
    glacier::{Pages, UpstreamError, UpstreamErrorKind, sum_of_parts},
    policy::{Asked, Permit, Reach},
};

/// An upload that a job is about.
#[derive(Clone, Copy, Debug)]
pub struct JobUpload<'a> {
    /// The vault.
    pub vault: &'a VaultArn,
    /// The upload.
    pub upload: &'a UploadId,
    /// When it was initiated, and its description, if that is known. It never changes.
    pub facts: Option<(OffsetDateTime, Option<&'a str>)>,
    /// Who must be allowed to abort it beside the caller.
    pub others: &'a [Actor],
}

/// What a job sees of an upload.
#[derive(Clone, Debug)]
pub struct SeenUpload {
    /// When it was initiated.
    pub created: OffsetDateTime,
    /// Its description.
    pub description: Option<String>,
    /// How many parts it has received.
    pub parts: i64,
    /// How many bytes these have.
    pub bytes: i64,
    /// What stands for the set of its parts.
    pub digest: [u8; 32],
}

/// What a look found.
#[derive(Debug)]
pub struct Look {
    /// What the policies say: `allowed`, `explicitDeny` or `implicitDeny`. Only an upload that
    /// may be aborted is looked at.
    pub decision: &'static str,
    /// What was seen; if nothing, why not.
    pub seen: Result<SeenUpload, &'static str>,
    /// How often Glacier was asked, and whether it wanted to be asked less.
    pub asked: AskedGlacier,
}

/// What became of an attempt to abort an upload.
#[derive(Debug)]
pub struct Attempted {
    /// In the trail's words; `None` if nothing was begun because it is another's turn.
    pub outcome: Option<&'static str>,
    /// The code of what stood in its way.
    pub code: Option<&'static str>,
    /// How often Glacier was asked, and whether it wanted to be asked less.
    pub asked: AskedGlacier,
}

/// How Glacier took the requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct AskedGlacier {
    /// How many requests were sent.
    pub requests: u32,
    /// Whether one was throttled.
    pub throttled: bool,
}

impl Call {
    /// Whether the policies let the caller do `action` with a job, or with all of a team's
    /// (`*`). Nothing is noted.
    pub fn may_with_job(&self, action: GatewayAction, team: &str, id: &str) -> bool {
        let reach = format!("{team}/{id}");
        let reach = Reach::Team(&reach);
        self.policies.decide_own(&self.principal, action, reach, &self.context).is_ok()
    }

    /// The same by the policies that are in force now, for a call that lasts long.
    pub fn may_still_with_job(&self, action: GatewayAction, team: &str, id: &str) -> bool {
        let reach = format!("{team}/{id}");
        let policies = self.gateway.policies.current();
        policies.decide_own(&self.principal, action, Reach::Team(&reach), &self.context).is_ok()
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
            Some(durable) => self.recorded(durable).await,
            None => Ok(()),
        }
    }

    /// Looks at an upload that a job may abort. The record does not say which, so that many
    /// looks are counted as one.
    pub async fn look_for_job(&self, upload: JobUpload<'_>) -> Look {
        let decided = self.decide_for_job(upload).await;
        self.asks(Operation::ListParts.action(), Asked::new(upload.vault.clone()).seen().text());
        self.recorder.edit().upload_id = None;
        let seen = match decided {
            Ok(permit) => self.see(&permit.look(), upload.upload).await.map_err(Refusal::from),
            Err(refusal) => Err(refusal),
        };
        let mut record = self.recorder.edit();
        record.result = Some(seen.as_ref().map_or_else(outcome_of, |_| "ok"));
        record.error_code = seen.as_ref().err().map(Refusal::code);
        let decision = record.decision.unwrap_or("implicitDeny");
        let asked = asked(&record);
        Look { decision, seen: seen.map_err(|refusal| refusal.code()), asked }
    }

    /// Aborts an upload for a job. `check` says of what is seen just before whether it still
    /// is what was chosen; without it nothing is looked at. `holds` says whether it is still
    /// this process's turn. Whatever becomes of it is durable on record, once it was begun.
    pub async fn abort_for_job(
        &self,
        upload: JobUpload<'_>,
        check: Option<impl FnOnce(&SeenUpload) -> Result<(), &'static str>>,
        holds: impl Fn() -> bool,
    ) -> Attempted {
        let begun = async {
            let permit = self.decide_for_job(upload).await?;
            if let Some(check) = check {
                let seen = self.see(&permit.look(), upload.upload).await?;
                if let Err(code) = check(&seen) {
                    return Ok(Err(code));
                }
            }
            Ok(Ok(permit))
        };
        let permit = match begun.await {
            Ok(Ok(permit)) => permit,
            Ok(Err(code)) => return self.not_begun("not-attempted", Some(code)).await,
            Err(refusal) => {
                return self.not_begun(outcome_of(&refusal), Some(Refusal::code(&refusal))).await;
            }
        };
        let route = match self.route(&permit).await {
            Ok(route) => route,
            Err(error) => {
                let code = error.kind.code();
                return self.not_begun("not-attempted", Some(code)).await;
            }
        };
        let slot = match self.slot(&permit).await {
            Ok(slot) => slot,
            Err(error) => {
                return self.not_begun("not-attempted", Some(error.kind.code())).await;
            }
        };
        if !holds() {
            return self.abandoned();
        }
        let intent = match self.intent().await {
            Ok(intent) => intent,
            // The trail has it, or nothing happened.
            Err(refusal) => {
                let (outcome, code) = (Some("not-attempted"), Some(refusal.code()));
                return Attempted { outcome, code, asked: asked(&self.recorder.edit()) };
            }
        };
        if !holds() {
            intent.settle("not-attempted", None, None);
            return self.abandoned();
        }
        let upstream = &self.gateway.upstream;
        let result = self
            .forward(&route, slot, upstream.abort_multipart_upload(&route, &intent, upload.upload))
            .await;
        let outcome = result.as_ref().map_or_else(UpstreamError::outcome, |()| "aborted");
        let mut record = self.recorder.edit();
        record.result = Some(outcome);
        intent.settle(outcome, record.error_code, record.asked());
        let asked = asked(&record);
        Attempted { outcome: Some(outcome), code: record.error_code, asked }
    }

    /// Notes of which job's item the call is.
    pub fn for_item(&self, job: JobRef) {
        self.recorder.edit().job = Some(job);
    }

    /// The ID of the call's event.
    pub fn event(&self) -> uuid::Uuid {
        self.recorder.edit().event_id
    }

    /// Decides whether an upload may be aborted: the caller and all others must be allowed.
    async fn decide_for_job(
        &self,
        upload: JobUpload<'_>,
    ) -> Result<Permit<AbortMultipartUpload>, Refusal> {
        let JobUpload { vault, upload, facts, others } = upload;
        let about = |context: crate::policy::Context| match facts {
            Some((created, description)) => {
                context.upload(OffsetDateTime::now_utc() - created, description)
            }
            None => context,
        };
        let asked = Asked::new(vault.clone());
        let permit = match facts {
            None => self.authorize_upload(vault.clone(), upload).await?,
            Some(_) => {
                self.recorder.edit().upload_id = Some(upload.clone());
                self.asks(Operation::AbortMultipartUpload.action(), asked.seen().text());
                self.concerns(asked.seen());
                self.decide(&asked, &about(self.context.clone()))?
            }
        };
        for other in others {
            let context = other.context.at(OffsetDateTime::now_utc()).via_job();
            let context = context.accounts(self.gateway.upstream.accounts().directory().clone());
            let operation = Operation::AbortMultipartUpload;
            let seen = asked.seen().clone();
            let span = self.trace.span("decide");
            let decision = self.policies.decide(&other.principal, operation, seen, &about(context));
            if let Err(denial) = decision {
                self.note(span, operation.action(), Err(&denial));
                return Err(self.not_authorized(operation.name(), denial));
            }
        }
        Ok(permit)
    }

    /// Lists all parts of an upload.
    async fn see(
        &self,
        permit: &Permit<ListParts>,
        upload: &UploadId,
    ) -> Result<SeenUpload, UpstreamError> {
        let route = self.route(permit).await?;
        let (mut parts, mut pages) = (Vec::new(), Pages::of_parts());
        let (mut attempts, mut throttled) = (0, false);
        loop {
            let slot = self.slot(permit).await?;
            let listed = self.gateway.upstream.list_parts(&route, upload, pages.next());
            let (result, mut forwarded) = self.ask(Operation::ListParts, slot, listed).await;
            attempts += forwarded.attempts;
            throttled |= forwarded.throttled;
            (forwarded.attempts, forwarded.throttled) = (attempts, throttled);
            {
                let mut record = self.recorder.edit();
                record.lookup = Some(forwarded);
                record.error_code = result.as_ref().err().map(|error| error.kind.code());
            }
            let page = result?;
            parts.extend(page.parts);
            if !pages.go_on(page.marker)? {
                let created = page.upload.created(Operation::ListParts)?;
                let (bytes, digest) = sum_of_parts(&parts).ok_or_else(|| {
                    let cause = "a part's range is not one";
                    UpstreamError::invalid_response(Operation::ListParts, cause)
                })?;
                return Ok(SeenUpload {
                    created,
                    description: page.upload.archive_description,
                    parts: i64::try_from(parts.len()).unwrap_or(i64::MAX),
                    bytes,
                    digest,
                });
            }
        }
    }

    /// Puts on record that an abort was not begun.
    async fn not_begun(&self, outcome: &'static str, code: Option<&'static str>) -> Attempted {
        let durable = {
            let mut record = self.recorder.edit();
            (record.result, record.error_code) = (Some(outcome), code);
            record.on_record = true;
            self.gateway.trail.record_durably(&record.event())
        };
        let durable = self.recorded(durable).await;
        let asked = asked(&self.recorder.edit());
        match durable {
            Ok(()) => Attempted { outcome: Some(outcome), code, asked },
            Err(refusal) => {
                let code = Some(refusal.code());
                Attempted { outcome: Some("not-attempted"), code, asked }
            }
        }
    }

    fn abandoned(&self) -> Attempted {
        let mut record = self.recorder.edit();
        record.on_record = true;
        Attempted { outcome: None, code: None, asked: asked(&record) }
    }
}

/// What became of an abort that was refused before it was begun, in the trail's words.
fn outcome_of(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Upstream(error) if error.kind == UpstreamErrorKind::UploadNotFound => "gone",
        _ => "not-attempted",
    }
}

/// How Glacier took the call's requests.
fn asked(record: &Record) -> AskedGlacier {
    let sent = record.lookup.iter().chain(&record.upstream);
    // Any other failure is no reason to ask less.
    sent.fold(AskedGlacier::default(), |asked, sent| AskedGlacier {
        requests: asked.requests + sent.attempts,
        throttled: asked.throttled || sent.throttled,
    })
}
