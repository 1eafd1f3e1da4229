//! Rules and their runs, as the API shows them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    config::{LifecycleRule as Settings, RuleMode},
    jobs::{
        IsoDuration,
        model::{Confirm, Counts, JobTarget, NewAbortJob, Person, Preview, Select},
    },
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A lifecycle rule, what it says and how it is.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LifecycleRule {
    /// The ID that the gateway's operators gave it.
    #[schema(example = "stale-media")]
    pub rule_id: String,
    /// What it says.
    pub settings: LifecycleRuleSettings,
    /// What its operators should know of it: that it matches nothing or everything, or finds
    /// nothing that another rule does not find.
    pub warnings: Vec<String>,
    /// When its next run begins; `null` while it is paused.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_run: Option<OffsetDateTime>,
    /// Whether the next run reports or aborts. The first run of a new or changed rule reports.
    pub next_mode: Mode,
    /// Why it does not run by itself.
    pub paused: Option<Paused>,
    /// Its runs, the newest first: up to 20, or the newest one in a list of rules.
    pub runs: Vec<LifecycleRun>,
}

/// What a lifecycle rule says.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LifecycleRuleSettings {
    /// When it is due: a cron pattern.
    #[schema(example = "0 3 * * *")]
    pub schedule: String,
    /// In which time zone.
    #[schema(example = "Europe/Berlin")]
    pub time_zone: String,
    /// By how much a run begins later, at the most.
    #[schema(value_type = String, example = "PT10M")]
    pub jitter: IsoDuration,
    /// How late a missed run is made up for.
    #[schema(value_type = String, example = "P1D")]
    pub catch_up: IsoDuration,
    /// Whether it aborts what it finds.
    pub mode: Mode,
    /// Whether it stops once a run has failed.
    pub pause_on_failure: bool,
    /// What the job of a run is asked to do.
    pub job: NewAbortJob,
}

/// Whether something is aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = LifecycleMode)]
pub enum Mode {
    /// It is only said what would be aborted.
    Report,
    /// What is found is aborted.
    Abort,
}

impl From<RuleMode> for Mode {
    fn from(mode: RuleMode) -> Self {
        match mode {
            RuleMode::Report => Self::Report,
            RuleMode::Abort => Self::Abort,
        }
    }
}

impl Mode {
    /// As it stands in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Abort => "abort",
        }
    }
}

/// That a rule does not run by itself, until a run that somebody asks for succeeds or the
/// rule is changed.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = LifecyclePause)]
pub struct Paused {
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub since: OffsetDateTime,
    /// Why.
    pub reason: String,
}

/// A run of a lifecycle rule.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LifecycleRun {
    /// When it was due by the schedule, or when somebody asked for it.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub scheduled_at: OffsetDateTime,
    /// Who asked for it; `null` if it was due.
    pub asked_by: Option<Person>,
    /// Whether it reports or aborts.
    pub mode: Mode,
    /// Its job, if it has one.
    #[schema(format = "uuid")]
    pub job_id: Option<String>,
    /// What became of it; `null` while it runs.
    pub outcome: Option<RunOutcome>,
    /// Why, if it is not simply done.
    pub detail: Option<String>,
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub begun_at: OffsetDateTime,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<OffsetDateTime>,
    /// What it found.
    pub found: Option<Preview>,
    /// What became of that.
    pub counts: Option<Counts>,
}

/// What became of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = LifecycleRunOutcome)]
pub enum RunOutcome {
    /// It has said what would be aborted.
    Reported,
    /// Its job has completed.
    Completed,
    /// Its job has failed, or there could be none.
    Failed,
    /// Somebody cancelled its job.
    Cancelled,
    /// The run before had not ended, or the rule was paused.
    Skipped,
    /// No gateway ran when it was due, nor soon enough afterwards.
    Missed,
}

impl RunOutcome {
    const ALL: [Self; 6] = [
        Self::Reported,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Skipped,
        Self::Missed,
    ];

    /// As it stands in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
        }
    }

    /// The outcome of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == name)
    }
}

/// All lifecycle rules that the caller may see.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LifecycleRuleList {
    /// The rules, by their IDs.
    pub rules: Vec<LifecycleRule>,
}

/// What a rule says, with a job of this mode.
pub(super) fn said(id: &str, rule: &Settings, mode: Mode) -> LifecycleRuleSettings {
    LifecycleRuleSettings {
        schedule: rule.schedule.to_string(),
        time_zone: rule.time_zone.to_string(),
        jitter: IsoDuration(rule.jitter),
        catch_up: IsoDuration(rule.catch_up),
        mode: rule.mode.into(),
        pause_on_failure: rule.pause_on_failure,
        job: NewAbortJob {
            team: Some(rule.team.clone()),
            target: JobTarget {
                accounts: rule.accounts.clone(),
                regions: rule.regions.clone(),
                vaults: rule.vaults.clone(),
            },
            select: Select {
                older_than: Some(IsoDuration(DAY * rule.days_after_initiation)),
                description_matches: rule.description_matches.clone(),
                quiet_for: rule.quiet_for.map(IsoDuration),
                ..Select::default()
            },
            reason: Some(format!("lifecycle rule {id}")),
            max_uploads: rule.max_uploads,
            max_failure_rate: rule.max_failure_rate,
            not_before: None,
            confirm: match mode {
                Mode::Report => Confirm::Never,
                Mode::Abort => Confirm::Auto,
            },
        },
    }
}
