//! One look at an upload, or one abort.

use std::{cell::RefCell, rc::Rc};

use uuid::Uuid;

use super::looks::Looked;
use crate::{
    domain::{UploadId, VaultArn},
    gateway::{Attempted, JobRef, JobUpload, Look, SeenUpload},
    inventory::listed::tamed,
    jobs::{
        Jobs,
        claims::{Lane, Todo},
        ending::comes_later,
        model::{NewAbortJob, State},
        party::Party,
        rows::Row,
    },
    store::{Lease, micros, time},
    telemetry::traces::Span,
};

/// How often an upload is looked at if that fails.
const MOST_LOOKS: i64 = 5;

/// A job as the lane knows it.
pub(super) struct Known {
    pub row: Row,
    pub request: NewAbortJob,
    pub party: Party,
}

impl Known {
    pub fn is_running(&self) -> bool {
        self.row.state() == State::Running && self.row.error_code.is_none()
    }

    pub fn is_preparing(&self) -> bool {
        self.row.state() == State::Preparing && self.row.error_code.is_none()
    }

    /// For how long the parts must not have changed; `None` if they are not looked at.
    pub fn quiet(&self) -> Option<i64> {
        self.request.select.quiet_for.map(|quiet| quiet.micros())
    }
}

/// Something to do.
pub(super) struct Task {
    pub known: Rc<Known>,
    pub todo: Todo,
    /// The event of an item that was claimed; `None` for a look.
    pub event: Option<Uuid>,
    /// Ends when the last of those has ended that were taken together.
    pub batch: Rc<Span>,
}

/// What came of it.
pub(super) enum Came {
    Looked(Look),
    Attempted(Attempted),
}

impl Task {
    /// Does it. `now` is the time by the store's clock.
    pub async fn perform(
        &self,
        jobs: &Jobs,
        lane: &Lane,
        lease: &RefCell<Lease>,
        now: i64,
    ) -> Came {
        let Self { known, todo, event, batch } = self;
        let (account, region) = (lane.account.parse(), lane.region.parse());
        let (vault, upload) = (todo.vault.parse(), todo.upload.parse::<UploadId>());
        let (Ok(account), Ok(region), Ok(vault), Ok(upload)) = (account, region, vault, upload)
        else {
            // Only whole names come into the store.
            let (outcome, code, asked) =
                (Some("failed"), Some("internal-error"), Default::default());
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
                // Whatever the clock says.
                (Some(_), _) if quiet == 0 => Ok(()),
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

    /// What a look means for its item that was had at `at` by the store's clock.
    pub fn looked(&self, look: Look, at: i64) -> Looked {
        let Self { known, todo, .. } = self;
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
            Err(code) if comes_later(code) || todo.taken.attempts < MOST_LOOKS => {
                (looked.state, looked.code) = ("found", Some(code));
                looked.after = 1_000_000 << todo.taken.attempts.clamp(0, 5);
            }
            Err(code) => looked.code = Some(code),
        }
        looked
    }
}
