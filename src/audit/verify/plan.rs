//! What the logs of a trail are held against: their own checkpoints, those kept
//! elsewhere, and what the first record of the next log says.

use super::check::{Claim, LogCheck, LogReport, Wrong};
use crate::audit::log::{Checkpoint, LogName, LogStart, TrustedKeys};

/// What is known of a log before its records are read.
#[derive(Clone, Debug)]
pub struct Found {
    /// The log's origin.
    pub origin: String,
    /// The checkpoint that lies beside the records.
    pub checkpoint: Option<Checkpoint>,
    /// The first record.
    pub first: Option<Vec<u8>>,
    /// Whether retention has dropped the records.
    pub dropped: bool,
}

/// A checkpoint kept elsewhere, and where.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// For people: a file's name.
    pub from: String,
}

/// What the verification of a trail found.
#[derive(Debug, Default)]
pub struct Report {
    /// By log, from the oldest.
    pub logs: Vec<LogReport>,
    /// What is wrong with the trail as a whole.
    pub wrong: Vec<Wrong>,
    /// How many changes have no outcome yet.
    pub under_way: usize,
}

impl Report {
    /// Everything that is wrong, the first first.
    pub fn wrong(&self) -> impl Iterator<Item = &Wrong> {
        self.logs.iter().flat_map(|log| &log.wrong).chain(&self.wrong)
    }

    /// How many records were verified.
    pub fn records(&self) -> u64 {
        self.logs.iter().filter(|log| !log.dropped).map(|log| log.size).sum()
    }
}

/// A trail's logs, and what each is held against.
pub(super) struct Plan {
    pub checks: Vec<LogCheck>,
    pub report: Report,
}

/// Plans the verification of these logs, from the oldest.
pub(super) fn plan(found: &[Found], kept: &[Kept], keys: Option<&TrustedKeys>) -> Plan {
    let mut report = Report::default();
    let mut checks = Vec::new();
    let starts: Vec<Option<LogStart>> =
        found.iter().map(|log| log.first.as_deref().and_then(LogStart::of_entry)).collect();
    // What the trail itself says was lost.
    let abandoned: Vec<Kept> = found
        .iter()
        .zip(&starts)
        .flat_map(|(log, start)| {
            let notes = start.iter().flat_map(|start| &start.abandoned);
            let lost = notes.filter_map(|note| Checkpoint::parse(note).ok());
            lost.map(|checkpoint| Kept {
                checkpoint,
                from: format!("the first record of {}", log.origin),
            })
        })
        .collect();
    for (i, log) in found.iter().enumerate() {
        let origin = &log.origin;
        let mut wrong = |reason: String| {
            report.wrong.push(Wrong { origin: origin.clone(), first: 0, last: None, reason });
        };
        // Its place among the others.
        match (&starts[i], &log.first) {
            (Some(start), _) if start.origin == *origin => match (&start.previous, i) {
                // Older logs may be elsewhere.
                (_, 0) => {}
                (Some(previous), i) if previous.origin == found[i - 1].origin => {}
                (Some(previous), i) => wrong(format!(
                    "it follows the log {}, and stands after {}",
                    previous.origin,
                    found[i - 1].origin
                )),
                (None, i) => {
                    wrong(format!("it does not say that it follows {}", found[i - 1].origin))
                }
            },
            (Some(start), _) => wrong(format!("it begins the log {}", start.origin)),
            (None, Some(_)) => wrong("it is not the record that begins a log".to_owned()),
            (None, None) if log.dropped && found[..i].iter().any(|log| !log.dropped) => {
                wrong("it is missing, and older logs are there".to_owned());
            }
            (None, None) => {}
        }
        // What vouches for its records.
        let own = log.checkpoint.iter().map(|checkpoint| Kept {
            checkpoint: checkpoint.clone(),
            from: "the trail itself".to_owned(),
        });
        let next = starts.get(i + 1).and_then(Option::as_ref);
        let end = next.and_then(|start| start.previous.as_ref());
        let end_claim = end.and_then(|end| end.claim()).map(|checkpoint| Kept {
            checkpoint,
            from: format!("the first record of {}", found[i + 1].origin),
        });
        let abandoned: Vec<&Kept> =
            abandoned.iter().filter(|kept| kept.checkpoint.origin == *origin).collect();
        let is_own = |kept: &&Kept| kept.checkpoint.origin == *origin;
        let all = own
            .chain(end_claim)
            .chain(kept.iter().filter(is_own).cloned())
            .chain(abandoned.iter().map(|kept| (*kept).clone()));
        let own_size = log.checkpoint.as_ref().map_or(0, |own| own.size);
        let mut claims = Vec::new();
        for Kept { checkpoint, from } in all {
            if checkpoint.origin != *origin {
                wrong(format!("the checkpoint of {from} is one of {}", checkpoint.origin));
                continue;
            }
            let given_up = !checkpoint.note.is_empty()
                && checkpoint.size > own_size
                && abandoned.iter().any(|lost| checkpoint.size <= lost.checkpoint.size);
            claims.push(Claim { checkpoint, from, given_up });
        }
        checks.push(LogCheck::new(origin, claims, keys));
    }
    for Kept { checkpoint, from } in kept {
        let has_log = found.iter().any(|log| log.origin == checkpoint.origin);
        let was_given_up = abandoned.iter().any(|lost| {
            lost.checkpoint.origin == checkpoint.origin && checkpoint.size <= lost.checkpoint.size
        });
        if !has_log && !was_given_up {
            let reason = format!(
                "the log is missing: the checkpoint of {from} vouches for {} records of it",
                checkpoint.size
            );
            let origin = checkpoint.origin.clone();
            report.wrong.push(Wrong { origin, first: 0, last: None, reason });
        }
    }
    Plan { checks, report }
}

/// The report on a log whose records were dropped. What is left of it is its end: as the
/// next log's first record tells it, or, if that was dropped too, as its own final
/// checkpoint does.
pub(super) fn dropped(log: &Found, check: LogCheck, next: Option<&Found>) -> LogReport {
    let start = next.and_then(|next| next.first.as_deref()).and_then(LogStart::of_entry);
    let told = start.and_then(|start| start.previous).and_then(|end| end.claim());
    check.finish_dropped(told.as_ref().or(log.checkpoint.as_ref()), next.is_some())
}

/// Orders logs by month.
pub(super) fn by_name(a: &Found, b: &Found) -> std::cmp::Ordering {
    LogName::of_origin(&a.origin).cmp(&LogName::of_origin(&b.origin)).then(a.origin.cmp(&b.origin))
}
