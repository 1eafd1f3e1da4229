//! A run, as the API reads and shows it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::model::rfc3339;
use crate::{
    config,
    inventory::{
        run::{Lane, Run},
        target::Target,
    },
};

/// How closely vaults are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum InventoryDetail {
    /// Which uploads there are.
    #[default]
    Uploads,
    /// And which parts these have: a request to Glacier, or more, for each.
    Sizes,
}

impl From<InventoryDetail> for config::Detail {
    fn from(detail: InventoryDetail) -> Self {
        match detail {
            InventoryDetail::Uploads => Self::Uploads,
            InventoryDetail::Sizes => Self::Sizes,
        }
    }
}

/// Which vaults to look through, and how closely. A list that is left out fits all.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NewInventoryRun {
    /// Accounts by their numbers or names, in which `*` and `?` are wildcards; `-` is the
    /// gateway's default account.
    #[schema(example = json!(["media-*"]), max_items = 1000)]
    accounts: Vec<String>,
    /// Regions by their codes, with wildcards.
    #[schema(example = json!(["eu-central-1"]), max_items = 1000)]
    regions: Vec<String>,
    /// Vaults by their names, with wildcards.
    #[schema(example = json!(["photos", "tmp-*"]), max_items = 1000)]
    vaults: Vec<String>,
    /// How closely; `uploads` by default.
    #[schema(inline = false)]
    pub detail: InventoryDetail,
}

impl NewInventoryRun {
    /// Which vaults.
    pub(super) fn target(&self) -> Target {
        let Self { accounts, regions, vaults, .. } = self;
        let (accounts, regions, vaults) = (accounts.clone(), regions.clone(), vaults.clone());
        Target { accounts, regions, vaults }
    }
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum InventoryRunState {
    /// Nothing has begun.
    Waiting,
    /// Vaults are looked through.
    Running,
    /// All vaults were looked through.
    Completed,
    /// It is done, and some vaults could not be looked through, or were not to be.
    Incomplete,
}

/// How many vaults, and what became of them.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryRunCounts {
    /// Vaults that were looked through.
    #[schema(minimum = 0)]
    crawled: i64,
    /// Vaults whose uploads the policies did not let the run list.
    #[schema(minimum = 0)]
    denied: i64,
    /// Vaults that could not be looked through.
    #[schema(minimum = 0)]
    failed: i64,
    /// Uploads in those that were.
    #[schema(minimum = 0)]
    uploads: i64,
}

/// An account and region of a run.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryLane {
    /// The account's number.
    #[schema(pattern = "^[0-9]{12}$")]
    account_id: String,
    /// The region.
    region: String,
    /// `waiting`, `listing` (of vaults), `crawling`, `completed`, or `failed` if the vaults
    /// could not be listed.
    #[schema(example = "completed")]
    state: String,
    /// Why the vaults could not be listed: the code of a problem.
    #[schema(required)]
    error: Option<String>,
    /// When it began.
    #[schema(required, format = DateTime)]
    started: Option<String>,
    /// When it was done.
    #[schema(required, format = DateTime)]
    finished: Option<String>,
    /// What became of its vaults so far.
    counts: InventoryRunCounts,
}

/// A vault that could not be looked through. What was known of it stays.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedVault {
    /// The account's number.
    #[schema(pattern = "^[0-9]{12}$")]
    pub(super) account_id: String,
    /// The region.
    pub(super) region: String,
    /// The vault.
    pub(super) vault_name: String,
    /// Why: the code of a problem.
    pub(super) error: String,
}

/// A run, as far as it is about accounts that the caller may see.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryRun {
    /// Its ID.
    #[schema(format = "uuid")]
    run_id: String,
    /// Where it is.
    state: InventoryRunState,
    /// When it was asked for.
    #[schema(format = DateTime)]
    created: String,
    /// When it was done.
    #[schema(required, format = DateTime)]
    finished: Option<String>,
    /// The time of the schedule that it is for.
    #[schema(required, format = DateTime)]
    scheduled: Option<String>,
    /// Who asked for it: the issuer and the caller's name there. `gateway-services` is the
    /// gateway itself.
    issuer: String,
    /// The caller's name.
    subject: String,
    /// Which vaults.
    target: Target,
    /// How closely.
    detail: InventoryDetail,
    /// What became of its vaults so far.
    counts: InventoryRunCounts,
    /// Its accounts and regions.
    lanes: Vec<InventoryLane>,
    /// Vaults that could not be looked through and that the caller may see: the first hundred.
    /// Only of a single run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) failed_vaults: Option<Vec<FailedVault>>,
}

/// Some of the runs.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryRunPage {
    /// The newest first.
    pub(super) runs: Vec<InventoryRun>,
    /// Send this as `marker` for the next page; `null` on the last page.
    #[schema(required)]
    pub(super) marker: Option<String>,
}

impl From<Run> for InventoryRun {
    fn from(run: Run) -> Self {
        let counts =
            run.lanes.iter().fold(InventoryRunCounts::default(), |sum, lane| InventoryRunCounts {
                crawled: sum.crawled + lane.crawled,
                denied: sum.denied + lane.denied,
                failed: sum.failed + lane.failed,
                uploads: sum.uploads.saturating_add(lane.uploads),
            });
        let unlisted = run.lanes.iter().any(|lane| lane.state == "failed");
        let state = match run.finished {
            Some(_) if counts.denied + counts.failed > 0 || unlisted => {
                InventoryRunState::Incomplete
            }
            Some(_) => InventoryRunState::Completed,
            None if run.lanes.iter().any(|lane| lane.started.is_some()) => {
                InventoryRunState::Running
            }
            None => InventoryRunState::Waiting,
        };
        let principal = &run.order.actor.principal;
        Self {
            run_id: run.id,
            state,
            created: rfc3339(run.created),
            finished: run.finished.map(rfc3339),
            scheduled: run.tick.map(rfc3339),
            issuer: principal.issuer.clone(),
            subject: principal.subject.clone(),
            target: run.order.target.clone(),
            detail: match run.order.sizes {
                true => InventoryDetail::Sizes,
                false => InventoryDetail::Uploads,
            },
            counts,
            lanes: run.lanes.into_iter().map(InventoryLane::from).collect(),
            failed_vaults: None,
        }
    }
}

impl From<Lane> for InventoryLane {
    fn from(lane: Lane) -> Self {
        let Lane { account, region, state, error, crawled, denied, failed, uploads, .. } = lane;
        Self {
            account_id: account,
            region,
            state,
            error,
            started: lane.started.map(rfc3339),
            finished: lane.finished.map(rfc3339),
            counts: InventoryRunCounts { crawled, denied, failed, uploads },
        }
    }
}
