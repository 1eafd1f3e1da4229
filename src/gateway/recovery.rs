//! Finds out what became of changes whose process is gone, and records it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use uuid::Uuid;

use super::Gateway;
use crate::{
    audit::{Abandoned, Recovery, StoreError},
    domain::{UploadId, VaultArn, action::ListParts},
    glacier::{Page, UpstreamErrorKind},
    policy::Permit,
};

/// How often this process says that it lives, and looks for changes left by others.
const EVERY: Duration = Duration::from_secs(5);
/// How long the store may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often Glacier is asked about one change.
const MOST_TRIES: u32 = 10;
/// How many questions to Glacier are under way at once.
const AT_ONCE: usize = 8;

/// What was found out about a change.
enum Found {
    /// The upload is not there.
    Gone(&'static str),
    /// The upload is still there.
    Kept,
    /// Glacier did not tell.
    Nothing(&'static str),
}

/// What this process knows of a change that another one left.
struct Known {
    since: Instant,
    tries: u32,
}

impl Gateway {
    /// Lets those who share the store know that this process lives, and settles what those
    /// left behind that are gone. Never ends, unless there is no store.
    pub async fn recover(self: Arc<Self>) {
        let Some(store) = self.trail.store() else { return };
        let recovery = Recovery::of(store.clone());
        tokio::join!(beat(&recovery), self.settle(&recovery));
    }

    async fn settle(self: &Arc<Self>, recovery: &Recovery) {
        let mut known = HashMap::new();
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.settle_some(recovery, &mut known).await {
                tracing::debug!(%error, "cannot look for changes without an outcome");
            }
        }
    }

    async fn settle_some(
        self: &Arc<Self>,
        recovery: &Recovery,
        known: &mut HashMap<Uuid, Known>,
    ) -> Result<(), StoreError> {
        let Ok(abandoned) = timeout(PATIENCE, recovery.abandoned()).await else { return Ok(()) };
        let abandoned = abandoned?;
        known.retain(|id, _| abandoned.iter().any(|intent| intent.id() == *id));
        if abandoned.is_empty() {
            return Ok(());
        }
        let Ok(lease) = timeout(PATIENCE, recovery.lease()).await else { return Ok(()) };
        let Some(lease) = lease? else { return Ok(()) };
        for some in abandoned.chunks(AT_ONCE) {
            let mut asking = JoinSet::new();
            for (n, intent) in some.iter().enumerate() {
                let question = self.question(intent);
                asking.spawn(async move { (n, question.await) });
            }
            while let Some(Ok((n, found))) = asking.join_next().await {
                let known = known
                    .entry(some[n].id())
                    .or_insert_with(|| Known { since: Instant::now(), tries: 0 });
                known.tries += 1;
                if let Some((outcome, code)) = self.verdict(&found, known)
                    && lease.holds()
                {
                    let event_id = some[n].id();
                    tracing::warn!(%event_id, outcome, code, "a change without an outcome is settled");
                    recovery.settle(&some[n], outcome, Some(code));
                }
            }
        }
        Ok(())
    }

    /// Asks Glacier whether the upload of `intent` is still there.
    fn question(
        self: &Arc<Self>,
        intent: &Abandoned,
    ) -> impl Future<Output = Found> + Send + use<> {
        let vault = intent.resource().and_then(VaultArn::parse);
        let upload = intent.upload_id().and_then(|id| id.parse::<UploadId>().ok());
        let permit = vault.zip(intent.statement().zip(intent.principal())).map(
            |(vault, (statement, principal))| {
                Permit::<ListParts>::recorded(vault, statement, principal)
            },
        );
        let gateway = self.clone();
        async move {
            let Some((permit, upload)) = permit.zip(upload) else {
                return Found::Nothing("internal-error");
            };
            let page = Page { marker: None, limit: Some(1) };
            let asked = async {
                let route = gateway.upstream.route(&permit).await?;
                gateway.upstream.list_parts(&route, &upload, page).await
            };
            match asked.await {
                Ok(_) => Found::Kept,
                Err(error) => match error.kind {
                    kind @ (UpstreamErrorKind::UploadNotFound
                    | UpstreamErrorKind::VaultNotFound) => Found::Gone(kind.code()),
                    kind => Found::Nothing(kind.code()),
                },
            }
        }
    }

    /// The outcome and its code, once it is certain or as good as can be.
    fn verdict(&self, found: &Found, known: &Known) -> Option<(&'static str, &'static str)> {
        match found {
            Found::Gone(code) => Some(("gone", code)),
            // What was sent before its process ended may still be on its way.
            Found::Kept if known.since.elapsed() < self.settings.aws.operation_timeout => None,
            Found::Kept => Some(("failed", "upload-still-there")),
            Found::Nothing(code) => (known.tries >= MOST_TRIES).then_some(("unknown", *code)),
        }
    }
}

async fn beat(recovery: &Recovery) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match timeout(PATIENCE, recovery.beat()).await {
            Ok(Ok(())) if recovery.is_alone() => return,
            Ok(Err(error)) => {
                tracing::debug!(%error, "cannot tell the other replicas that this one lives");
            }
            _ => {}
        }
    }
}
