//! What an attempt means for its item.

use std::time::Duration;

use uuid::Uuid;

use super::model::ItemState;

/// The code of an item that waits although an attempt at it may have succeeded.
pub(super) const UNANSWERED: &str = "unanswered";
/// The code of an item whose upload was gone after such an attempt: most likely it was that.
pub(super) const GONE_AFTER_ABORT: &str = "gone-after-abort";
/// The policies do not allow an item.
const DENIED: &str = "not-authorized";

/// How often an item is tried whose upload Glacier could not be asked about.
const MOST_TRIES: i64 = 5;

/// What comes after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The item has ended.
    End(ItemState),
    /// It is tried again after a while.
    Again(Duration),
    /// It waits, and the job stops: the policies allowed the item when it was found, and do not
    /// any more.
    Stop,
}

/// What became of an item that was claimed with `event`.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub n: i64,
    pub event: Uuid,
    /// `Waiting` if it is to be tried again.
    pub state: ItemState,
    pub code: Option<String>,
    /// When it is to be tried again, in microseconds from now.
    pub after: i64,
    /// Whether the earlier attempt may have succeeded.
    pub repeats: bool,
    /// Whether the job stops, since it has lost the permission for this.
    pub stops: bool,
    /// Whether this process did it, and has not tried to write that before. If another has
    /// ended the item meanwhile, it came late.
    pub is_own: bool,
}

/// An item as it was taken up.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Taken {
    pub n: i64,
    /// How often it was begun.
    pub attempts: i64,
    /// What the policies said when it was found.
    pub decision: Option<String>,
    /// What came of the attempt before.
    pub code: Option<String>,
}

impl Taken {
    /// What an attempt with `event` makes of it, which ended with `outcome` and `code`, in the
    /// trail's words. `recovered`: its process is gone, and another found that out.
    pub fn done(&self, event: Uuid, outcome: &str, code: Option<&str>, recovered: bool) -> Done {
        let allowed = self.decision.as_deref() == Some("allowed");
        let next = match (outcome, code) {
            ("not-attempted", Some(DENIED)) if allowed => Next::Stop,
            _ => next(outcome, code, recovered, self.attempts),
        };
        let (state, after) = match next {
            Next::End(state) => (state, Duration::ZERO),
            Next::Again(after) => (ItemState::Waiting, after),
            Next::Stop => (ItemState::Waiting, Duration::ZERO),
        };
        let waits = state == ItemState::Waiting;
        let repeats = waits && outcome == "unknown";
        let unanswered = repeats || recovered || self.code.as_deref() == Some(UNANSWERED);
        let code = match state {
            ItemState::Waiting if unanswered => Some(UNANSWERED),
            ItemState::Gone if unanswered => Some(GONE_AFTER_ABORT),
            _ => code,
        };
        Done {
            n: self.n,
            event,
            state,
            code: code.map(str::to_owned),
            after: i64::try_from(after.as_micros()).unwrap_or(0),
            repeats,
            stops: next == Next::Stop,
            is_own: true,
        }
    }

    /// That nothing was begun, and it waits again.
    pub fn put_back(&self, event: Uuid) -> Done {
        self.done(event, "not-attempted", None, false)
    }
}

/// Whether `code` says only that there are too many calls of Glacier now. Such an item is tried
/// however often that was said of it.
pub(super) fn comes_later(code: &str) -> bool {
    matches!(code, "upstream-throttled" | "overloaded" | "circuit-open")
}

/// What comes after the `attempts`th attempt that ended with `outcome`, in the trail's words,
/// and `code`. `recovered`: its process is gone, and another found that out.
pub(super) fn next(outcome: &str, code: Option<&str>, recovered: bool, attempts: i64) -> Next {
    use ItemState::{Aborted, Failed, Gone, Skipped, Unknown};
    let doubling = u32::try_from(attempts.clamp(0, 6)).unwrap_or(0);
    let again = Next::Again(Duration::from_millis(500) * 2u32.pow(doubling));
    match (outcome, code) {
        ("aborted", _) => Next::End(Aborted),
        ("gone", _) => Next::End(Gone),
        (_, Some("audit-unavailable" | "audit-rolled-back")) => again,
        (_, Some(code)) if comes_later(code) => again,
        // It was still there after its process had gone: an abort may be repeated.
        ("unknown", _) if recovered && attempts < MOST_TRIES => again,
        ("unknown", _) => Next::End(Unknown),
        ("not-attempted", None) => Next::Again(Duration::ZERO),
        ("not-attempted", Some("not-authorized" | "changed" | "not-quiet" | "not-observed")) => {
            Next::End(Skipped)
        }
        ("not-attempted" | "failed", _) if attempts < MOST_TRIES => again,
        _ => Next::End(Failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_ends_or_is_tried_again() {
        let end = |outcome, code| match next(outcome, code, false, 1) {
            Next::End(state) => Some(state),
            Next::Again(_) | Next::Stop => None,
        };
        for (outcome, code, ended) in [
            ("aborted", None, Some(ItemState::Aborted)),
            ("gone", Some("upload-not-found"), Some(ItemState::Gone)),
            ("unknown", Some("glacier-timeout"), Some(ItemState::Unknown)),
            (
                "refused-by-glacier",
                Some("gateway-not-authorized-upstream"),
                Some(ItemState::Failed),
            ),
            ("refused-by-glacier", Some("upstream-throttled"), None),
            ("not-attempted", Some("upstream-throttled"), None),
            ("not-attempted", Some("changed"), Some(ItemState::Skipped)),
            ("not-attempted", Some("not-authorized"), Some(ItemState::Skipped)),
            ("not-attempted", Some("glacier-unavailable"), None),
            ("not-attempted", None, None),
        ] {
            assert_eq!(end(outcome, code), ended, "{outcome} {code:?}");
        }
        let tired = next("not-attempted", Some("glacier-unavailable"), false, 5);
        assert_eq!(tired, Next::End(ItemState::Failed));
        assert!(matches!(next("unknown", None, true, 1), Next::Again(_)));
        assert_eq!(next("unknown", None, true, 5), Next::End(ItemState::Unknown));
    }

    #[test]
    fn an_upload_that_is_gone_after_an_attempt_without_an_answer_is_told_apart() {
        let taken = |code: Option<&str>| Taken {
            n: 0,
            attempts: 2,
            decision: Some("allowed".to_owned()),
            code: code.map(str::to_owned),
        };
        let done = |before, outcome, code, recovered| {
            let done = taken(before).done(Uuid::nil(), outcome, code, recovered);
            (done.state, done.code, done.repeats, done.stops)
        };
        let text = |code: &str| Some(code.to_owned());
        let (waits, gone) = (ItemState::Waiting, ItemState::Gone);
        let missing = Some("upload-not-found");
        let again = (waits, text(UNANSWERED), true, false);
        assert_eq!(done(None, "unknown", Some("glacier-timeout"), true), again);
        let put_back = taken(Some(UNANSWERED)).put_back(Uuid::nil());
        assert_eq!((put_back.state, put_back.code), (waits, text(UNANSWERED)));
        let after = (gone, text(GONE_AFTER_ABORT), false, false);
        assert_eq!(done(Some(UNANSWERED), "gone", missing, false), after);
        assert_eq!(done(None, "gone", missing, true), after);
        let by_others = (gone, text("upload-not-found"), false, false);
        assert_eq!(done(Some("upstream-throttled"), "gone", missing, false), by_others);
        let lost = (waits, text(DENIED), false, true);
        assert_eq!(done(None, "not-attempted", Some(DENIED), false), lost);
    }
}
