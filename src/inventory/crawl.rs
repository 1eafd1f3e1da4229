//! The crawl of an account and region: which vaults there are, which uploads are in each,
//! and, if asked for, which parts these have. It goes on where another process left off.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use time::OffsetDateTime;
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};
use uuid::Uuid;

use super::{
    own,
    pacer::Pacer,
    pages::{Listed, Listing, Pages},
    parts,
    run::Order,
    seen,
    vaults::{self, Halt, Task, Tenure},
};
use crate::{
    domain::{RegionalAccount, UploadId, VaultArn, VaultName},
    gateway::{Actor, Call, Gateway, Record, Recorder, Refusal},
    glacier::{Page, Upload, UpstreamErrorKind::*},
    store::{Lease, Store, StoreError},
};

/// How many vaults of an account and region are looked through at once, and how many
/// requests are under way; the pace is for `pacer`.
const AT_ONCE: usize = 16;
/// How many uploads are taken up at once whose parts are to be looked at.
const SIZED_AT_ONCE: i64 = 100;
/// Glacier's most for a page of vaults and of uploads.
const VAULTS_PAGE: i32 = 10;
const UPLOADS_PAGE: i32 = 50;
/// How many pages a list has at most. A list that is longer, or comes back to where it was,
/// is not Glacier's.
const MOST_VAULT_PAGES: usize = 10_000;
const MOST_UPLOAD_PAGES: usize = 40_000;
/// The most uploads of a page that are believed, and the longest description, in characters
/// (Glacier API Reference, "Initiate Multipart Upload").
const MOST_UPLOADS: usize = 1_000;
const LONGEST_DESCRIPTION: usize = 1_024;
/// The longest marker, in bytes.
const LONGEST_MARKER: usize = 1_024;
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
        let mut markers = Markers::default();
        for _ in 0..MOST_VAULT_PAGES {
            let page = self.ask(|call| {
                let page = Page { marker: markers.last.clone(), limit: Some(VAULTS_PAGE) };
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
            if !markers.go_on(page.marker)? {
                let known = vaults::known(store, tenure).await?;
                let known = known.iter().map(String::as_str);
                let meant: Vec<&str> = known.filter(|name| order.target.covers(name)).collect();
                return Ok(vaults::add(store, tenure, &meant).await?);
            }
        }
        Err(Stop::Refused(INVALID))
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
        let (mut begun, mut markers) = match (task.begun, &task.marker) {
            (Some(begun), Some(marker)) => (begun, Markers::after(marker.clone())),
            _ => (self.begin(&task.vault).await?, Markers::default()),
        };
        let mut resumed = markers.last.is_some();
        for _ in 0..MOST_UPLOAD_PAGES {
            let page = self.ask(|call| {
                let page = Page { marker: markers.last.clone(), limit: Some(UPLOADS_PAGE) };
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
                    (begun, markers) = (self.begin(&task.vault).await?, Markers::default());
                    resumed = false;
                    continue;
                }
                page => page?,
            };
            resumed = false;
            if page.uploads.len() > MOST_UPLOADS {
                return Err(Stop::Refused(INVALID));
            }
            let uploads: Option<Vec<_>> = page.uploads.into_iter().map(listed).collect();
            let uploads = uploads.ok_or(Stop::Refused(INVALID))?;
            let more = markers.go_on(page.marker)?;
            let (tenure, next) = (self.tenure.clone(), markers.last.clone());
            let listing = Listing { tenure, vault: task.vault.clone(), begun, uploads, next };
            self.pages.write(listing).await?;
            if !more {
                let sizes = self.order.sizes;
                vaults::complete(&self.store, &self.tenure, &task.vault, begun, sizes).await?;
                return Ok(Some(begun));
            }
        }
        Err(Stop::Refused(INVALID))
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

/// The markers of a list. One that comes a second time would go round for ever.
#[derive(Default)]
struct Markers {
    last: Option<String>,
    known: HashSet<u64>,
    hasher: RandomState,
}

impl Markers {
    /// Goes on after a page of which only the marker is known.
    fn after(marker: String) -> Self {
        Self { last: Some(marker), ..Self::default() }
    }

    /// Whether the list goes on.
    fn go_on(&mut self, next: Option<String>) -> Result<bool, Stop> {
        if let Some(marker) = &next {
            let fits = (1..=LONGEST_MARKER).contains(&marker.len()) && !marker.contains('\0');
            if !fits || !self.known.insert(self.hasher.hash_one(marker)) {
                return Err(Stop::Refused(INVALID));
            }
        }
        self.last = next;
        Ok(self.last.is_some())
    }
}

/// An upload as it is kept, if it can be one of Glacier's.
fn listed(upload: Upload) -> Option<Listed> {
    let created = parts::created(&upload).ok()?;
    let Upload { upload_id, archive_description, part_size_in_bytes, .. } = upload;
    let description = archive_description.map(|text| {
        let text = text.chars().take(LONGEST_DESCRIPTION);
        text.map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
    });
    upload_id.parse::<UploadId>().ok()?;
    Some(Listed { upload: upload_id, created, description, part_size: part_size_in_bytes })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_comes_back_to_where_it_was_is_not_believed() {
        let mut markers = Markers::default();
        let mut go_on = |next: Option<&str>| markers.go_on(next.map(str::to_owned)).ok();
        assert_eq!((go_on(Some("a")), go_on(Some("b"))), (Some(true), Some(true)));
        assert_eq!(go_on(Some("a")), None);
        assert_eq!((go_on(Some("")), go_on(Some("a\0b"))), (None, None));
        assert_eq!(go_on(Some(&"m".repeat(LONGEST_MARKER + 1))), None);
        assert_eq!(go_on(None), Some(false));
    }

    #[test]
    fn an_upload_is_kept_if_it_can_be_one_and_its_description_is_tamed() {
        let upload = Upload {
            upload_id: "-id".to_owned(),
            vault_arn: String::new(),
            archive_description: Some("a\0b\u{1b}[31m".to_owned() + &"x".repeat(5_000)),
            part_size_in_bytes: 1 << 20,
            creation_date: "2026-11-01T00:00:00.000Z".to_owned(),
        };
        let description = listed(upload.clone()).unwrap().description.unwrap();
        assert!(description.starts_with("a\u{fffd}b\u{fffd}[31mx"));
        assert_eq!(description.chars().count(), LONGEST_DESCRIPTION);
        assert!(listed(Upload { upload_id: "a/b".to_owned(), ..upload.clone() }).is_none());
        assert!(listed(Upload { creation_date: "soon".to_owned(), ..upload }).is_none());
    }
}
