//! Times as columns have them: microseconds since 1970, UTC.

use time::{OffsetDateTime, PrimitiveDateTime};

/// The time for a column.
pub fn micros(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX)
}

/// A column's time. What has none stands for the nearest that there is.
pub fn time(micros: i64) -> OffsetDateTime {
    let nanos = i128::from(micros) * 1000;
    let nearest = if nanos < 0 { PrimitiveDateTime::MIN } else { PrimitiveDateTime::MAX };
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(nearest.assume_utc())
}
