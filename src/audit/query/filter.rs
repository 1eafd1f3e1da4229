//! Which events are asked for.

use super::record::Record;
use crate::store::Kind;

/// What events must say to be listed. What is `None` may be anything.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// No earlier than this, in microseconds since 1970.
    pub from: Option<i64>,
    /// Earlier than this, in microseconds since 1970.
    pub to: Option<i64>,
    /// A team whose events they are.
    pub team: Option<String>,
    /// Who called.
    pub subject: Option<String>,
    /// The vault's name.
    pub vault: Option<String>,
    /// The upload.
    pub upload: Option<String>,
    /// The action, with or without `glacier:` or `gateway:`; case does not matter.
    pub action: Option<String>,
    /// `allowed`, `explicitDeny` or `implicitDeny`.
    pub decision: Option<String>,
    /// What became of it.
    pub outcome: Option<String>,
    /// The caller's ID of the request.
    pub request_id: Option<String>,
}

/// What became of an event, by the entries that say so.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// The outcome of a change.
    pub outcome: Option<Record>,
    /// An outcome that came when the change had one already.
    pub late: Option<Record>,
}

impl Filter {
    /// Whether an event's first entry is one that is asked for. Of a change it does not
    /// tell the outcome.
    pub(super) fn fits(&self, record: &Record) -> bool {
        let text = |record: &Record, name: &str| {
            record.get(name).and_then(|value| value.as_str()).map(str::to_owned)
        };
        let within = |outer: &str, name: &str| {
            let outer = record.get(outer).and_then(|value| value.as_object());
            outer.and_then(|outer| text(outer, name))
        };
        let is = |wanted: &Option<String>, found: Option<String>| {
            wanted.is_none() || (found.is_some() && *wanted == found)
        };
        is(&self.subject, within("userIdentity", "subject"))
            && is(&self.upload, text(record, "uploadId"))
            && is(&self.decision, within("decision", "outcome"))
            && is(&self.request_id, text(record, "requestID"))
            && self.vault.as_ref().is_none_or(|vault| {
                let name = |arn: String| arn.ends_with(&format!(":vaults/{vault}"));
                text(record, "resource").is_some_and(name)
            })
            && self.action.as_ref().is_none_or(|action| is_action(record, action))
    }

    /// Whether the time and the team are all that is asked for.
    pub(super) fn is_simple(&self) -> bool {
        let Self { from: _, to: _, team: _, subject, vault, upload, action, .. } = self;
        let Self { decision, outcome, request_id, .. } = self;
        let others = [subject, vault, upload, action, decision, outcome, request_id];
        others.into_iter().all(Option::is_none)
    }

    /// Whether the whole event, with its outcome, is one that is asked for.
    pub(super) fn fits_outcome(&self, event: &Record) -> bool {
        let is = |wanted: &str, name: &str| event.get(name).is_some_and(|value| value == wanted);
        self.outcome.as_ref().is_none_or(|w| is(w, "outcome") || is(w, "lateOutcome"))
    }
}

fn is_action(record: &Record, wanted: &str) -> bool {
    let text = |name: &str| record.get(name).and_then(|value| value.as_str()).unwrap_or_default();
    let service = match text("eventSource") {
        "glacier.amazonaws.com" => "glacier",
        _ => "gateway",
    };
    let (of, name) = wanted.split_once(':').unwrap_or((service, wanted));
    of.eq_ignore_ascii_case(service) && name.eq_ignore_ascii_case(text("eventName"))
}

impl Outcomes {
    /// Notes an entry of this kind, if it is one that tells an outcome. The first counts: the
    /// log's order says which that is.
    pub(super) fn note(&mut self, kind: i64, record: Option<Record>) {
        match kind {
            _ if kind == Kind::Outcome as i64 => self.outcome = self.outcome.take().or(record),
            _ if kind == Kind::LateOutcome as i64 => self.late = record,
            _ => {}
        }
    }

    /// Adds what became of a change to what its intent says.
    pub(super) fn add_to(self, event: &mut Record) {
        for name in ["outcome", "errorCode", "upstream"] {
            let found = self.outcome.as_ref().and_then(|outcome| outcome.get(name));
            if let Some(found) = found {
                event.insert(name.to_owned(), found.clone());
            }
        }
        if let Some(found) = self.late.as_ref().and_then(|late| late.get("outcome")) {
            event.insert("lateOutcome".to_owned(), found.clone());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn record(value: Value) -> Record {
        let Value::Object(record) = value else { panic!("no object") };
        record
    }

    #[test]
    fn every_filter_is_about_its_own_part_of_the_record() {
        let event = record(json!({
            "eventSource": "glacier.amazonaws.com",
            "eventName": "AbortMultipartUpload",
            "requestID": "r",
            "userIdentity": { "subject": "ann" },
            "resource": "arn:aws:glacier:eu-central-1:111122223333:vaults/own-a",
            "uploadId": "u",
            "decision": { "outcome": "allowed" },
        }));
        type Set = fn(&mut Filter, Option<String>);
        let with = |set: Set, value: &str| {
            let mut filter = Filter::default();
            set(&mut filter, Some(value.to_owned()));
            filter.fits(&event)
        };
        assert!(Filter::default().fits(&event) && Filter::default().fits(&Record::new()));
        let cases: [(Set, &[&str], &[&str]); 6] = [
            (|f, v| f.subject = v, &["ann"], &["Ann", "an", ""]),
            (|f, v| f.vault = v, &["own-a"], &["a", "own", "vaults/own-a"]),
            (|f, v| f.upload = v, &["u"], &["U", ""]),
            (
                |f, v| f.action = v,
                &["AbortMultipartUpload", "glacier:abortmultipartupload"],
                &["gateway:AbortMultipartUpload", "Abort", "glacier:"],
            ),
            (|f, v| f.decision = v, &["allowed"], &["explicitDeny"]),
            (|f, v| f.request_id = v, &["r"], &["s"]),
        ];
        for (set, fitting, others) in cases {
            assert!(fitting.iter().all(|value| with(set, value)), "{fitting:?}");
            assert!(!others.iter().any(|value| with(set, value)), "{others:?}");
        }
    }

    #[test]
    fn of_two_outcomes_the_first_counts() {
        let mut outcomes = Outcomes::default();
        for what in ["aborted", "gone"] {
            outcomes.note(Kind::Outcome as i64, Some(record(json!({ "outcome": what }))));
        }
        let mut event = record(json!({}));
        outcomes.add_to(&mut event);
        assert_eq!(event["outcome"], "aborted");
    }

    #[test]
    fn an_outcome_is_added_to_its_intent_and_a_late_one_beside_it() {
        let mut event = record(json!({ "eventName": "AbortMultipartUpload" }));
        let outcomes = Outcomes {
            outcome: Some(record(json!({ "eventType": "Outcome", "outcome": "unknown" }))),
            late: Some(record(json!({ "eventType": "LateOutcome", "outcome": "aborted" }))),
        };
        outcomes.add_to(&mut event);
        assert_eq!(
            (&event["outcome"], &event["lateOutcome"]),
            (&json!("unknown"), &json!("aborted"))
        );
        for (wanted, fits) in [("unknown", true), ("aborted", true), ("gone", false)] {
            let filter = Filter { outcome: Some(wanted.to_owned()), ..Filter::default() };
            assert_eq!(filter.fits_outcome(&event), fits, "{wanted}");
        }
    }
}
