//! The crawl of an account and region: which vaults there are, which uploads are in each,
//! and, if asked for, which parts these have. It goes on where another process left off.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use time::OffsetDateTime;
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};
use uuid::Uuid;

use super::{
    listed::Listed,
    own,
    pacer::Pacer,
    pages::{Listing, Pages},
    parts,
    run::Order,
    seen,
    vaults::{self, Halt, Task, Tenure},
};
use crate::{
    domain::{RegionalAccount, UploadId, VaultArn, VaultName},
    gateway::{Actor, Call, Gateway, Record, Recorder, Refusal},
    glacier::{Pages as List, UpstreamError, UpstreamErrorKind::*},
    store::{Lease, Store, StoreError},
};

/// How many vaults of an account and region are looked through at once, and how many
/// requests are under way; the pace is for `pacer`.
const AT_ONCE: usize = 16;
/// How many uploads are taken up at once whose parts are to be looked at.
const SIZED_AT_ONCE: i64 = 100;
/// The most uploads of a page that are believed.
const MOST_UPLOADS: usize = 1_000;
/// How often a request is made that Glacier throttles, and one that it fails to answer.
const THROTTLED_TRIES: u32 = 20;
const FAILED_TRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The codes of what is told of a vault.
const DENIED: &str = "not-authorized";
const INVALID: &str = "glacier-invalid-response";

/// What works on a lane.
pub(super) struct Crawl {
    pub gateway: Arc<Gateway>,
    pub store: Store,
    pub pages: Pages,
    pub order: Order,
    pub tenure: Tenure,
    pub lease: Mutex<Lease>,
    pub pacer: Pacer,
    pub under_way: Semaphore,
}

/// Why a vault, or a lane, is not looked through.
enum Stop {
    Halt(Halt),
    /// The code of a problem.
    Refused(&'static str),
}

impl From<Halt> for Stop {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

impl From<UpstreamError> for Stop {
    fn from(error: UpstreamError) -> Self {
        Self::Refused(error.kind.code())
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Halt(error.into())
    }
}

impl Crawl {
    pub fn new(
        gateway: Arc<Gateway>,
        store: Store,
        pages: Pages,
        order: Order,
        tenure: Tenure,
        lease: Lease,
    ) -> Self {
        let pacer = Pacer::new(gateway.settings.inventory.pace);
        let (lease, under_way) = (Mutex::new(lease), Semaphore::new(AT_ONCE));
        Self { gateway, store, pages, order, tenure, lease, pacer, under_way }
    }

    /// Whether the lane is still this process's, as far as it can know.
    fn holds(&self) -> Result<(), Halt> {
        let lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        if lease.holds() { Ok(()) } else { Err(Halt::Lost) }
    }

    /// Looks through what is left of the lane.
    pub async fn run(self: Arc<Self>) -> Result<(), Halt> {
        let Self { store, tenure, .. } = &*self;
        if vaults::take(store, tenure).await? == "listing" {
            own::note(store).await?;
            match self.list_vaults().await {
                Ok(()) => vaults::listed(store, tenure).await?,
                Err(Stop::Refused(code)) => {
                    return vaults::finish(store, tenure, Some(code)).await;
                }
                Err(Stop::Halt(halt)) => return Err(halt),
            }
        }
        let mut pending = vaults::pending(store, tenure).await?.into_iter();
        let mut working = JoinSet::new();
        loop {
            while working.len() < AT_ONCE
                && let Some(task) = pending.next()
            {
                working.spawn(self.clone().vault(task));
            }
            match working.join_next().await {
                None => break,
                Some(Ok(done)) => done?,
                // It panicked. The lane is not done, and is taken up anew.
                Some(Err(_)) => return Err(Halt::Lost),
            }
        }
        vaults::finish(store, tenure, None).await
    }

    async fn list_vaults(&self) -> Result<(), Stop> {
        let Self { store, tenure, order, .. } = self;
        if let Some(named) = order.target.named() {
            let named: Vec<&str> = named.iter().map(VaultName::as_str).collect();
            return Ok(vaults::add(store, tenure, &named).await?);
        }
        let mut list = List::of_vaults();
        loop {
            let page = self.ask(|call| {
                let page = list.next();
                async move {
                    self.pacer.turn().await;
                    call.list_all_vaults(self.tenure.at.clone(), page).await
                }
            });
            let page = page.await?;
            let names = page.vaults.iter().map(|vault| vault.vault_name.as_str());
            let meant =
                names.filter(|name| name.parse::<VaultName>().is_ok() && order.target.covers(name));
            vaults::add(store, tenure, &meant.collect::<Vec<_>>()).await?;
            if !list.go_on(page.marker)? {
                let known = vaults::known(store, tenure).await?;
                let known = known.iter().map(String::as_str);
                let meant: Vec<&str> = known.filter(|name| order.target.covers(name)).collect();
                return Ok(vaults::add(store, tenure, &meant).await?);
            }
        }
    }

    async fn vault(self: Arc<Self>, task: Task) -> Result<(), Halt> {
        match self.look_through(&task).await {
            Ok(()) => Ok(()),
            Err(Stop::Halt(halt)) => Err(halt),
            Err(Stop::Refused(code)) => {
                let state = if code == DENIED { "denied" } else { "failed" };
                vaults::fail(&self.store, &self.tenure, &task.vault, state, code).await
            }
        }
    }

    async fn look_through(self: &Arc<Self>, task: &Task) -> Result<(), Stop> {
        let name = task.vault.parse().map_err(|_| Stop::Refused(INVALID))?;
        let RegionalAccount { region, account } = self.tenure.at.clone();
        let vault = VaultArn { region, account, vault: name };
        match (task.state.as_str(), task.begun) {
            ("sizing", Some(begun)) => self.look_at_parts(&vault, begun, task.marker.clone()).await,
            _ => match self.list_uploads(task, &vault).await? {
                Some(begun) if self.order.sizes => self.look_at_parts(&vault, begun, None).await,
                _ => Ok(()),
            },
        }
    }

    /// Lists a vault's uploads, and gives when that began. `None` if there is no such vault
    /// any more.
    async fn list_uploads(&self, task: &Task, vault: &VaultArn) -> Result<Option<i64>, Stop> {
        let (mut begun, mut list) = match (task.begun, &task.marker) {
            (Some(begun), Some(marker)) => (begun, List::of_uploads().after(marker.clone())),
            _ => (self.begin(&task.vault).await?, List::of_uploads()),
        };
        let mut resumed = list.marker().is_some();
        loop {
            let page = self.ask(|call| {
                let page = list.next();
                async move {
                    self.pacer.turn().await;
                    call.list_multipart_uploads(vault.clone(), page).await
                }
            });
            let page = match page.await {
                Err(Stop::Refused("vault-not-found")) => {
                    vaults::vanished(&self.store, &self.tenure, &task.vault, begun).await?;
                    return Ok(None);
                }
                // Glacier may have forgotten where the process before this one was.
                Err(Stop::Refused("invalid-parameter")) if resumed => {
                    (begun, list) = (self.begin(&task.vault).await?, List::of_uploads());
                    resumed = false;
                    continue;
                }
                page => page?,
            };
            resumed = false;
            if page.uploads.len() > MOST_UPLOADS {
                return Err(Stop::Refused(INVALID));
            }
            let uploads: Option<Vec<_>> = page.uploads.into_iter().map(Listed::read).collect();
            let uploads = uploads.ok_or(Stop::Refused(INVALID))?;
            let more = list.go_on(page.marker)?;
            let (tenure, next) = (self.tenure.clone(), list.marker().map(str::to_owned));
            let listing = Listing { tenure, vault: task.vault.clone(), begun, uploads, next };
            self.pages.write(listing).await?;
            if !more {
                let sizes = self.order.sizes;
                vaults::complete(&self.store, &self.tenure, &task.vault, begun, sizes).await?;
                return Ok(Some(begun));
            }
        }
    }

    /// Begins with a vault, and gives when.
    async fn begin(&self, vault: &str) -> Result<i64, Stop> {
        let begun = seen::now(&self.store).await?;
        vaults::begin(&self.store, &self.tenure, vault, begun).await?;
        Ok(begun)
    }

    /// Looks at the parts of a vault's uploads, of those after `after`. They were listed at
    /// `listed`.
    async fn look_at_parts(
        self: &Arc<Self>,
        vault: &VaultArn,
        listed: i64,
        after: Option<String>,
    ) -> Result<(), Stop> {
        let Self { store, tenure, .. } = &**self;
        let name = vault.vault.as_str();
        let mut after = after.unwrap_or_default();
        loop {
            let begun = seen::now(store).await?;
            let some = vaults::some(store, tenure, name, &after, SIZED_AT_ONCE).await?;
            let Some(last) = some.last() else { break };
            after.clone_from(last);
            let mut looking = JoinSet::new();
            for upload in some {
                let Ok(upload) = upload.parse() else { continue };
                looking.spawn(self.clone().look_at(vault.clone(), upload, begun));
            }
            while let Some(looked) = looking.join_next().await {
                looked.map_err(|_| Halt::Lost)??;
            }
            vaults::sized(store, tenure, name, &after).await?;
        }
        Ok(vaults::sum_up(store, tenure, name, listed, "completed").await?)
    }

    /// Looks at the parts of an upload. One whose parts may not be listed, or cannot be
    /// understood, keeps its sizes.
    async fn look_at(
        self: Arc<Self>,
        vault: VaultArn,
        upload: UploadId,
        begun: i64,
    ) -> Result<(), Stop> {
        let look = self.ask(|call| {
            let (this, vault, upload) = (&self, &vault, &upload);
            async move { parts::observe(&call, vault, upload, || this.pacer.turn()).await }
        });
        match look.await {
            Ok(found) => Ok(seen::observed(&self.store, &vault, begun, &found).await?),
            Err(Stop::Refused("upload-not-found" | "vault-not-found")) => {
                Ok(seen::gone(&self.store, &vault, &upload, begun).await?)
            }
            Err(Stop::Refused(DENIED | INVALID)) => Ok(()),
            Err(stop) => Err(stop),
        }
    }

    /// Asks Glacier in the name of whoever ordered the run, again if that may help.
    async fn ask<T, F: Future<Output = Result<T, Refusal>>>(
        &self,
        question: impl Fn(Call) -> F,
    ) -> Result<T, Stop> {
        let (mut throttled, mut failed) = (0, 0);
        loop {
            let refusal = {
                let _turn = self.under_way.acquire().await;
                self.holds()?;
                match question(self.call()).await {
                    Ok(answer) => {
                        self.pacer.answered();
                        return Ok(answer);
                    }
                    Err(refusal) => refusal,
                }
            };
            let (tries, most) = match &refusal {
                Refusal::Upstream(error) => match error.kind {
                    Throttled => {
                        self.pacer.throttled();
                        (&mut throttled, THROTTLED_TRIES)
                    }
                    Unavailable | Timeout | Unreachable | OutOfDescriptors | Overloaded
                    | CircuitOpen => (&mut failed, FAILED_TRIES),
                    _ => return Err(Stop::Refused(refusal.code())),
                },
                Refusal::Unrecorded(_) => (&mut failed, FAILED_TRIES),
                _ => return Err(Stop::Refused(refusal.code())),
            };
            *tries += 1;
            if *tries >= most {
                return Err(Stop::Refused(refusal.code()));
            }
            sleep((FIRST_WAIT * 2u32.pow(*tries - 1)).min(LONGEST_WAIT)).await;
        }
    }

    fn call(&self) -> Call {
        let Actor { principal, context } = &self.order.actor;
        let now = OffsetDateTime::now_utc();
        let record = Record {
            event_id: Uuid::now_v7(),
            time: Some(now),
            request_id: self.tenure.run.clone(),
            door: "inventory",
            source_ip: context.source_ip,
            in_bulk: true,
            ..Record::default()
        };
        let recorder = Recorder::new(record);
        let context = context.at(now);
        Call::new(self.gateway.clone(), principal.clone(), context, recorder).in_background()
    }
}
