//! Points in time as date operators take them.

use time::{Date, Month, OffsetDateTime, Time, UtcOffset};

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(i128);

impl Instant {
    /// Reads a W3C date (`2026`, `2026-11`, `2026-11-23`, `2026-11-23T10:30Z`,
    /// `2026-11-23T10:30:05.5+01:00`) or seconds since 1970 ("Date condition
    /// operators": "W3C implementations of the ISO 8601 date formats or … epoch
    /// (UNIX) time"). Four digits alone are a year.
    pub fn parse(text: &str) -> Option<Self> {
        let seconds = text.strip_prefix('-').unwrap_or(text);
        let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
        if seconds.len() != text.len() || (digits(text) && text.len() != 4) {
            if !digits(seconds) {
                return None;
            }
            return text.parse::<i64>().ok().map(|s| Self(i128::from(s) * 1_000_000_000));
        }
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (date, Some(time)),
            None => (text, None),
        };
        let mut parts = date.split('-');
        let year = field(parts.next()?, 4)?;
        let month = parts.next().map_or(Some(1), |m| field(m, 2))?;
        let day = parts.next().map_or(Some(1), |d| field(d, 2))?;
        // A time of day needs a whole date, and is never without its zone.
        if parts.next().is_some() || (time.is_some() && date.len() != 10) {
            return None;
        }
        let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
        let date = Date::from_calendar_date(year, month, u8::try_from(day).ok()?).ok()?;
        let (time, offset) = time.map_or(Some((Time::MIDNIGHT, UtcOffset::UTC)), time_of_day)?;
        let moment = OffsetDateTime::new_in_offset(date, time, offset);
        Some(Self(moment.unix_timestamp_nanos()))
    }
}

impl Instant {
    /// This second and its neighbours, as seconds since 1970.
    pub fn around(self) -> [String; 3] {
        let second = self.0.div_euclid(1_000_000_000);
        [second, second - 1, second + 1].map(|second| second.to_string())
    }
}

/// `hh:mm[:ss[.s…]]` with `Z` or `±hh:mm`.
fn time_of_day(text: &str) -> Option<(Time, UtcOffset)> {
    let at = text.find(['Z', '+', '-'])?;
    let (clock, zone) = text.split_at(at);
    let offset = if zone == "Z" {
        UtcOffset::UTC
    } else {
        let (hours, minutes) = zone[1..].split_once(':')?;
        let seconds = field(hours, 2)? * 3600 + minute(minutes)? * 60;
        UtcOffset::from_whole_seconds(if zone.starts_with('-') { -seconds } else { seconds })
            .ok()?
    };
    let mut parts = clock.split(':');
    let (hour, minutes) = (field(parts.next()?, 2)?, minute(parts.next()?)?);
    let (second, nanos) = match parts.next() {
        None => (0, 0),
        Some(seconds) => match seconds.split_once('.') {
            None => (field(seconds, 2)?, 0),
            Some((seconds, fraction)) => {
                let digits = fraction.bytes().all(|b| b.is_ascii_digit());
                if fraction.is_empty() || fraction.len() > 9 || !digits {
                    return None;
                }
                let scale = 10_u32.pow(9 - u32::try_from(fraction.len()).ok()?);
                (field(seconds, 2)?, fraction.parse::<u32>().ok()? * scale)
            }
        },
    };
    if parts.next().is_some() {
        return None;
    }
    let small = |n: i32| u8::try_from(n).ok();
    let time = Time::from_hms_nano(small(hour)?, small(minutes)?, small(second)?, nanos).ok()?;
    Some((time, offset))
}

fn minute(text: &str) -> Option<i32> {
    field(text, 2).filter(|minutes| *minutes < 60)
}

/// A number of exactly `width` digits.
fn field(text: &str, width: usize) -> Option<i32> {
    (text.len() == width && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}
