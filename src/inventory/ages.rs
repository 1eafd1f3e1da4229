//! The ages by which uploads are counted.

/// In days. Uploads are counted that are at least so old.
pub const AGES: [i64; 5] = [1, 7, 30, 90, 365];

/// A day, in microseconds.
pub const DAY: i64 = 24 * 3_600_000_000;

/// In SQL, whether an upload was so many days old at `moment`.
pub(super) fn older_than(moment: &str, days: i64) -> String {
    format!("created <= {moment} - CAST({} AS BIGINT)", days * DAY)
}
