//! What an attempt means for its item.

use std::time::Duration;

use super::model::ItemState;

/// How often an item is tried whose upload Glacier could not be asked about.
const MOST_TRIES: i64 = 5;

/// What comes after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The item has ended.
    End(ItemState),
    /// It is tried again after a while.
    Again(Duration),
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
        (
            _,
            Some(
                "upstream-throttled" | "overloaded" | "circuit-open" | "audit-unavailable"
                | "audit-rolled-back",
            ),
        ) => again,
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
            Next::Again(_) => None,
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
}
