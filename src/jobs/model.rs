//! A job, as the API reads and shows it.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

pub use super::named::{MAX_UPLOAD_IDS, Placed, UploadName};
use super::{duration::IsoDuration, named};

/// How many uploads a job has at most, unless its request says so.
pub const MAX_UPLOADS: u32 = 100_000;
/// At which share of failures a job stops, unless its request says so.
pub const MAX_FAILURE_RATE: f64 = 0.5;

/// What a job is to abort.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewAbortJob {
    /// The team that the job is of; required of a caller with several. The job acts by this
    /// team's permissions and sessions, and waits in this team's queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub team: Option<String>,
    /// Where the uploads are.
    pub target: JobTarget,
    /// Which of the uploads there.
    pub select: Select,
    /// Why; kept with the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 1024)]
    pub reason: Option<String>,
    /// A job that finds more uploads fails and aborts none of them.
    #[serde(default = "max_uploads")]
    #[schema(minimum = 1, default = 100_000)]
    pub max_uploads: u32,
    /// The share of items that failed or whose outcome is unknown, from 0 to 1, above which
    /// the job stops. It counts once 20 items have ended.
    #[serde(default = "max_failure_rate")]
    #[schema(minimum = 0, maximum = 1, default = 0.5)]
    pub max_failure_rate: f64,
    /// Not to abort anything before this.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false, value_type = Option<String>, format = DateTime)]
    pub not_before: Option<OffsetDateTime>,
    /// Whether somebody must look at what was found before it is aborted.
    #[serde(default)]
    pub confirm: Confirm,
}

fn max_uploads() -> u32 {
    MAX_UPLOADS
}

fn max_failure_rate() -> f64 {
    MAX_FAILURE_RATE
}

/// Whether somebody must confirm a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = AbortJobConfirm)]
pub enum Confirm {
    /// The job waits for a confirmation of what it found.
    #[default]
    Required,
    /// The job aborts what it found. The caller needs `gateway:ConfirmOwnAbortJob`.
    Auto,
    /// The job ends with what it found, and aborts nothing.
    Never,
}

/// Where uploads are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = AbortJobTarget)]
pub struct JobTarget {
    /// Accounts: 12 digits, names with IAM's wildcards, or `-` for the default account.
    #[serde(default = "default_account")]
    #[schema(min_items = 1, max_items = 1000, default = json!(["-"]))]
    pub accounts: Vec<String>,
    /// Regions with IAM's wildcards; the default region if there are none.
    #[serde(default)]
    #[schema(max_items = 100)]
    pub regions: Vec<String>,
    /// Names of vaults with IAM's wildcards.
    #[schema(min_items = 1, max_items = 1000)]
    pub vaults: Vec<String>,
}

fn default_account() -> Vec<String> {
    vec!["-".to_owned()]
}

/// Which uploads: those for which all of these hold, or all of them, or those that are named.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = AbortJobSelect)]
pub struct Select {
    /// Initiated this long ago or longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<String>, example = "P7D")]
    pub older_than: Option<IsoDuration>,
    /// Initiated before this.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false, value_type = Option<String>, format = DateTime)]
    pub initiated_before: Option<OffsetDateTime>,
    /// With a description like this, with IAM's wildcards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 1024, example = "tmp-*")]
    pub description_matches: Option<String>,
    /// With parts of this many bytes in all, or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub min_bytes: Option<u64>,
    /// Whose parts have not changed for this long; `jobs.quiet_for` of the gateway's settings
    /// unless given. Glacier does not say when a part came: an upload is quiet once two looks
    /// at it this far apart found the same parts. The first is the inventory's or this job's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<String>, example = "PT24H")]
    pub quiet_for: Option<IsoDuration>,
    /// All of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// These, active or not unless `quietFor` is given, as with the abort of one.
    #[serde(default, deserialize_with = "named::at_most", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_items = 1, max_items = 100_000)]
    pub upload_ids: Option<Vec<UploadName>>,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = AbortJobState)]
pub enum State {
    /// It looks for what it would abort.
    Preparing,
    /// It has found that and waits for a confirmation.
    AwaitingConfirmation,
    /// It is confirmed, and waits for its time.
    Queued,
    /// It aborts.
    Running,
    /// It is told to pause, and some calls are under way.
    Pausing,
    /// It does nothing until it is resumed.
    Paused,
    /// All of its items have ended, or it was only to find them (`"confirm": "never"`).
    Completed,
    /// It has stopped; `problem` says why.
    Failed,
    /// It is told to end, and some calls are under way.
    Cancelling,
    /// It has ended before its items have.
    Cancelled,
}

impl State {
    /// All states.
    pub const ALL: [Self; 10] = [
        Self::Preparing,
        Self::AwaitingConfirmation,
        Self::Queued,
        Self::Running,
        Self::Pausing,
        Self::Paused,
        Self::Completed,
        Self::Failed,
        Self::Cancelling,
        Self::Cancelled,
    ];

    /// As it stands in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::AwaitingConfirmation => "awaiting-confirmation",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Pausing => "pausing",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether nothing happens any more by itself.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// A job.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AbortJob {
    /// The job's ID.
    #[schema(format = "uuid")]
    pub job_id: String,
    /// The team that it is of.
    pub team: String,
    /// How far it is.
    pub state: State,
    /// Goes up with each change.
    pub revision: i64,
    /// Its items by what became of them.
    pub counts: Counts,
    /// What a confirmation must show; there is none before the job has found its items. It
    /// stands for exactly those items.
    pub selection_token: Option<String>,
    /// What the job found, once it has.
    pub preview: Option<Preview>,
    /// Why the job has failed.
    pub problem: Option<JobProblem>,
    /// What keeps a job from moving on that has not ended, as far as the gateway that answers
    /// knows; it is tried again.
    #[serde(default)]
    pub obstacle: Option<JobProblem>,
    /// When it was asked for.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: OffsetDateTime,
    /// When it changed last.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub changed_at: OffsetDateTime,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<OffsetDateTime>,
    /// When it stops, however far it is.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: OffsetDateTime,
    /// When it goes on if it is paused; `null` if somebody must resume it.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub paused_until: Option<OffsetDateTime>,
    /// Who asked for it.
    pub created_by: Person,
    /// Who confirmed it.
    pub confirmed_by: Option<Person>,
    /// What was asked for. A list of uploads is not repeated (`uploadIds` is empty); see the
    /// items.
    pub request: NewAbortJob,
    /// The items, if the request waited for them (`Prefer: wait`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub items: Option<Vec<Item>>,
}

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[schema(as = AbortJobPerson)]
pub struct Person {
    /// The issuer that vouches for the caller.
    pub issuer: String,
    /// The caller's name at that issuer.
    pub subject: String,
}

/// Why a job has failed, or does not move on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[schema(as = AbortJobProblem)]
pub struct JobProblem {
    /// The stable code.
    #[schema(example = "too-many-uploads")]
    pub code: String,
    /// What happened and what to do.
    pub detail: String,
}

/// Items by what became of them. `selected` is the sum of `aborted`, `gone`, `failed`,
/// `skipped`, `unknown` and `remaining`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[schema(as = AbortJobCounts)]
pub struct Counts {
    /// Uploads that the job is about.
    pub selected: i64,
    /// Of those that remain: that wait until nobody has sent a part for long enough.
    pub waiting: i64,
    /// Glacier has aborted them.
    pub aborted: i64,
    /// Glacier did not know them any more: aborted by others, completed, or removed.
    pub gone: i64,
    /// Glacier refused, or could not be asked.
    pub failed: i64,
    /// The job left them alone: denied, active, or not as they were selected.
    pub skipped: i64,
    /// They may or may not be aborted: Glacier did not answer.
    pub unknown: i64,
    /// That have not ended yet.
    pub remaining: i64,
    /// Outcomes that came from a process which had been stopped for so long that another one
    /// had taken its place.
    pub late: i64,
    /// Items that were tried again although the call before may have succeeded.
    pub repeats: i64,
}

/// What a job found before it aborted anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AbortJobPreview)]
pub struct Preview {
    /// Vaults whose uploads were looked through.
    pub vaults: u64,
    /// Vaults that match and whose uploads the creator may not list. They are left out.
    pub vaults_denied: u64,
    /// Vaults that the target names and that Glacier does not have.
    #[serde(default)]
    pub vaults_not_found: u64,
    /// Uploads that were found there, selected or not.
    pub uploads: u64,
    /// Of the selected: that the policies would let the job abort now.
    pub allowed: u64,
    /// Of the selected: that the policies would not.
    pub denied: u64,
    /// Of the selected: that were gone already.
    pub gone: u64,
    /// Of the selected: whose parts are not known to have been the same for long enough.
    pub waiting: u64,
    /// How many parts they have in all.
    pub parts: u64,
    /// How many bytes they have in all.
    pub bytes: u64,
    /// When the oldest was initiated.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub oldest: Option<OffsetDateTime>,
    /// When the newest was initiated.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub newest: Option<OffsetDateTime>,
    /// How many calls of Glacier the aborts will take, with the looks before each.
    pub calls: u64,
}

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = AbortJobItemState)]
pub enum ItemState {
    /// It is yet to be looked at.
    Found,
    /// It is to be aborted.
    Waiting,
    /// It is under way.
    Claimed,
    /// Glacier has aborted it.
    Aborted,
    /// Glacier did not know it any more.
    Gone,
    /// Glacier refused, or could not be asked.
    Failed,
    /// The job left it alone.
    Skipped,
    /// It may or may not be aborted.
    Unknown,
}

impl ItemState {
    /// All states.
    pub const ALL: [Self; 8] = [
        Self::Found,
        Self::Waiting,
        Self::Claimed,
        Self::Aborted,
        Self::Gone,
        Self::Failed,
        Self::Skipped,
        Self::Unknown,
    ];

    /// As it stands in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Waiting => "waiting",
            Self::Claimed => "claimed",
            Self::Aborted => "aborted",
            Self::Gone => "gone",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Unknown => "unknown",
        }
    }

    /// The state of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// An upload of a job.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AbortJobItem)]
pub struct Item {
    /// Its number in the job, from 0.
    pub item: i64,
    /// The account.
    pub account_id: String,
    /// The region.
    pub region: String,
    /// The vault.
    pub vault_name: String,
    /// The upload.
    pub upload_id: String,
    /// What became of it.
    pub state: ItemState,
    /// Why, if it is not simply done: a stable code.
    pub code: Option<String>,
    /// What the policies said when it was found: `allowed`, `explicitDeny` or `implicitDeny`.
    pub decision: Option<String>,
    /// When the upload was initiated.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub creation_date: Option<OffsetDateTime>,
    /// What its uploader wrote about the archive.
    pub archive_description: Option<String>,
    /// How many parts it had when it was found.
    pub parts: Option<i64>,
    /// How many bytes these have.
    pub bytes: Option<i64>,
    /// When it is to be tried at the earliest, if it has to wait.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub not_before: Option<OffsetDateTime>,
    /// How often it was begun.
    pub attempts: i64,
    /// The event of the audit trail that tells of the last attempt.
    #[serde(rename = "auditEventID")]
    #[schema(format = "uuid")]
    pub audit_event_id: Option<String>,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<OffsetDateTime>,
}

/// A page of jobs, the newest first.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[schema(as = AbortJobPage)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<AbortJob>,
    /// Send this as `marker` for the next page; `null` on the last page.
    pub marker: Option<String>,
}

/// A page of a job's items, by their numbers.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[schema(as = AbortJobItemPage)]
pub struct ItemPage {
    /// The items.
    pub items: Vec<Item>,
    /// Send this as `marker` for the next page; `null` on the last page.
    pub marker: Option<String>,
}

/// What confirms a job.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfirmAbortJob {
    /// The token of what the job found.
    pub selection_token: String,
}

/// What pauses a job.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseAbortJob {
    /// When it goes on by itself; never if absent.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false, value_type = Option<String>, format = DateTime)]
    pub until: Option<OffsetDateTime>,
}
