//! Finds out what became of changes whose process is gone, and records it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};
use uuid::Uuid;

use super::{
    Gateway,
    ceilings::{Caller, Took},
};
use crate::{
    audit::{Abandoned, Recovery, StoreError},
    domain::{Operation, UploadId, VaultArn, action::ListParts},
    glacier::{
        Page,
        UpstreamErrorKind::{self, *},
    },
    policy::Permit,
    telemetry::traces::Trace,
};

/// How often this process says that it lives, and looks for changes left by others.
const EVERY: Duration = Duration::from_secs(5);
/// How seldom it looks if Glacier is to be left alone.
const SELDOM: Duration = Duration::from_secs(60);
/// How often Glacier is asked about one change.
const MOST_TRIES: u32 = 10;
/// How many questions to Glacier are under way at once.
const AT_ONCE: usize = 8;
/// How old a change is if no request for it can reach Glacier any more. AWS takes a signature
/// no longer than 15 minutes before and after its time; the rest is for clocks that differ.
const SPENT: Duration = Duration::from_secs(3600);

/// The code of an upload that Glacier still had when it was asked.
const STILL_THERE: &str = "upload-still-there";

impl Gateway {
    /// Lets those who share the store know that this process lives, and settles what those
    /// left behind that are gone. Never ends, unless there is no store.
    pub async fn recover(self: Arc<Self>) {
        let Some(store) = self.trail.store() else { return };
        let recovery = Recovery::of(store.clone());
        tokio::join!(self.beat(&recovery), self.settle(&recovery));
    }

    async fn beat(&self, recovery: &Recovery) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match recovery.beat().await {
                Ok(_) if recovery.is_alone() => return,
                Ok(living) => self.callers.share_with(living),
                Err(error) => {
                    tracing::debug!(%error, "cannot tell the other replicas that this one lives");
                }
            }
        }
    }

    async fn settle(self: &Arc<Self>, recovery: &Recovery) {
        if recovery.is_alone() {
            // What the process before this one sent at its end may still be on its way.
            sleep(self.settings.aws.operation_timeout).await;
        }
        let mut tries = HashMap::new();
        let mut rest = EVERY;
        loop {
            match self.settle_all(recovery, &mut tries).await {
                Ok(true) => rest = EVERY,
                Ok(false) => rest = SELDOM.min(2 * rest),
                Err(error) => {
                    tracing::debug!(%error, "cannot look for changes without an outcome");
                }
            }
            sleep(rest).await;
        }
    }

    /// Settles all that can be settled now, as fast as Glacier answers. Gives false if
    /// Glacier is to be left alone for a while.
    async fn settle_all(
        self: &Arc<Self>,
        recovery: &Recovery,
        tries: &mut HashMap<Uuid, u32>,
    ) -> Result<bool, StoreError> {
        let mut from = None;
        loop {
            // What is settled stays open until it is written.
            if !recovery.can_settle() {
                return Ok(true);
            }
            let abandoned = recovery.abandoned(from).await?;
            let Some(last) = abandoned.last() else { break };
            from = Some(last.position());
            let Some(lease) = recovery.lease().await? else { return Ok(true) };
            let mut left = abandoned.iter().enumerate();
            let mut asking = JoinSet::new();
            let mut answers = true;
            loop {
                while answers
                    && asking.len() < AT_ONCE
                    && let Some((n, intent)) = left.next()
                {
                    let question = self.question(intent);
                    asking.spawn(async move { (n, question.await) });
                }
                let Some(Ok((n, found))) = asking.join_next().await else { break };
                let event_id = abandoned[n].id();
                let tries = tries.entry(event_id).or_default();
                if let Err(
                    Throttled | Unavailable | Timeout | Unreachable | OutOfDescriptors | Overloaded
                    | CircuitOpen,
                ) = found
                {
                    answers = false;
                }
                if !matches!(found, Err(Throttled | Overloaded | CircuitOpen)) {
                    *tries += 1;
                }
                if let Some((outcome, code)) = verdict(found, &abandoned[n], *tries)
                    && lease.holds()
                {
                    tracing::warn!(%event_id, outcome, code, "a change without an outcome is settled");
                    recovery.settle(&abandoned[n], outcome, Some(code));
                }
            }
            if !answers {
                return Ok(false);
            }
        }
        if from.is_none() {
            tries.clear();
        }
        Ok(true)
    }

    /// Asks Glacier whether the upload of `intent` is still there.
    fn question(
        self: &Arc<Self>,
        intent: &Abandoned,
    ) -> impl Future<Output = Result<(), UpstreamErrorKind>> + Send + use<> {
        let vault = intent.resource().and_then(VaultArn::parse);
        let upload = intent.upload_id().and_then(|id| id.parse::<UploadId>().ok());
        let permit = vault.zip(intent.statement().zip(intent.principal())).map(
            |(vault, (statement, principal))| {
                Permit::<ListParts>::recorded(vault, statement, principal)
            },
        );
        let gateway = self.clone();
        async move {
            let Some((permit, upload)) = permit.zip(upload) else { return Err(Internal) };
            let page = Page { marker: None, limit: Some(1) };
            let asked = async {
                let Gateway { upstream, ceilings, .. } = gateway.as_ref();
                let route =
                    upstream.route(&upstream.accounts(), &permit, &Trace::default()).await?;
                let ceiling = ceilings.of(permit.account(), permit.region());
                let slot = ceiling.enter(Caller::Background).await;
                let mut slot = slot.map_err(|held| held.error(Operation::ListParts))?;
                let asked = upstream.list_parts(&route, &upload, page).await;
                slot.took = Took::from(&asked);
                asked
            };
            asked.await.map(drop).map_err(|error| error.kind)
        }
    }
}

/// The outcome and its code, once it is certain or as good as can be.
fn verdict(
    found: Result<(), UpstreamErrorKind>,
    intent: &Abandoned,
    tries: u32,
) -> Option<(&'static str, &'static str)> {
    match found {
        Err(kind @ (UploadNotFound | VaultNotFound)) => Some(("gone", kind.code())),
        Err(kind) => (tries >= MOST_TRIES).then_some(("unknown", kind.code())),
        Ok(()) if intent.age() < SPENT => Some(("unknown", STILL_THERE)),
        Ok(()) => Some(("failed", STILL_THERE)),
    }
}
