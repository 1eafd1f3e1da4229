//! A job, as far as a person is told of it.

use std::fmt::Write;

use indicatif::{HumanBytes, HumanCount};
use serde::Deserialize;

/// Where jobs are.
pub(super) const PATH: &str = "/v1/abort-jobs";

/// A job, as far as a person is told of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Job {
    pub(super) job_id: String,
    pub(super) state: String,
    pub(super) counts: Counts,
    pub(super) selection_token: Option<String>,
    pub(super) preview: Option<Preview>,
    pub(super) problem: Option<JobProblem>,
}

/// Its items by what became of them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Counts {
    pub(super) selected: u64,
    pub(super) waiting: u64,
    pub(super) aborted: u64,
    pub(super) gone: u64,
    pub(super) failed: u64,
    pub(super) skipped: u64,
    pub(super) unknown: u64,
    pub(super) remaining: u64,
}

/// What it found before it aborted anything.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Preview {
    vaults: u64,
    vaults_denied: u64,
    denied: u64,
    waiting: u64,
    parts: u64,
    bytes: u64,
    oldest: Option<String>,
    newest: Option<String>,
    calls: u64,
}

/// Why it failed.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct JobProblem {
    code: String,
    detail: String,
}

impl Job {
    /// Whether nothing more happens by itself.
    pub(super) fn has_ended(&self) -> bool {
        matches!(&*self.state, "completed" | "failed" | "cancelled")
    }

    /// Why it did not go well, if so.
    pub(super) fn shortcoming(&self) -> Option<String> {
        let Counts { selected, failed, skipped, unknown, .. } = self.counts;
        let id = &self.job_id;
        match failed + unknown {
            0 if self.state != "completed" => Some(format!("the job is {}", self.state)),
            // Some may be skipped, because they are not forgotten; all are if nothing is allowed.
            0 if skipped == selected && selected > 0 => {
                Some(format!("all {selected} items were skipped: see \"jobs report {id}\""))
            }
            0 => None,
            count => {
                Some(format!("{count} items did not end well: see \"jobs report {id} --failed\""))
            }
        }
    }

    /// How it is, in a line.
    pub(super) fn told(&self) -> String {
        let mut told = format!("{}: {}", self.state, self.counts.told());
        if let Some(JobProblem { code, detail }) = &self.problem {
            let _ = write!(told, ". {code}: {detail}");
        }
        told
    }

    /// What it found, in some lines.
    pub(super) fn found(&self) -> String {
        let Some(preview) = &self.preview else { return self.told() };
        let Preview { vaults, vaults_denied, denied, waiting, parts, bytes, oldest, newest, calls } =
            preview;
        let selected = self.counts.selected;
        let mut told = format!(
            "Job {} found {} uploads in {} {}, with {} parts and {}",
            self.job_id,
            HumanCount(selected),
            HumanCount(*vaults),
            if *vaults == 1 { "vault" } else { "vaults" },
            HumanCount(*parts),
            HumanBytes(*bytes)
        );
        if let (Some(oldest), Some(newest)) = (oldest, newest) {
            let day = |text: &str| text.get(..10).unwrap_or(text).to_owned();
            let _ = write!(told, ", initiated from {} to {}", day(oldest), day(newest));
        }
        let _ = write!(told, ".\nTo abort them takes {} calls of Glacier.", HumanCount(*calls));
        for (count, what) in [
            (vaults_denied, "vaults are left out: the policies do not let you list their uploads"),
            (denied, "of the uploads will be skipped: the policies do not let you abort them"),
            (waiting, "of the uploads wait until their parts are known not to change"),
        ] {
            if *count > 0 {
                let _ = write!(told, "\n{} {what}.", HumanCount(*count));
            }
        }
        told
    }
}

impl Counts {
    /// How many have ended.
    pub(super) fn ended(&self) -> u64 {
        self.selected.saturating_sub(self.remaining)
    }

    /// What became of them, in a line.
    pub(super) fn told(&self) -> String {
        let Self { aborted, gone, failed, skipped, unknown, remaining, waiting, .. } = *self;
        let parts = [
            (aborted, "aborted"),
            (gone, "gone"),
            (failed, "failed"),
            (skipped, "skipped"),
            (unknown, "unknown"),
            (remaining, "remaining"),
            (waiting, "waiting until they are quiet"),
        ];
        let seen = |(count, name): &(u64, &str)| *count > 0 || *name == "aborted";
        let text = |(count, name): &(u64, &str)| format!("{} {name}", HumanCount(*count));
        parts.iter().filter(|part| seen(part)).map(text).collect::<Vec<_>>().join(", ")
    }
}
