//! The names of logs: one for each month.

use std::{fmt, str::FromStr};

use crate::store::time;

/// By how much, in microseconds, a clock may be set back within one log: a day.
const FAR: i64 = 24 * 3_600_000_000;

/// A month of the Gregorian calendar, in UTC: `2026-11`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month {
    year: u16,
    month: u8,
}

/// The name of a log within its store: its month, as `2026-11`, or `2026-11.2` for the
/// second log of a month. There is a second one only if the first was abandoned, or if a
/// clock was set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogName {
    /// The month.
    pub month: Month,
    /// Which of the month's logs, from 1.
    pub part: u32,
}

/// A text is not a log's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a month, such as 2026-11")]
pub struct MonthError;

impl Month {
    /// The month of a time in microseconds since 1970, UTC.
    pub fn of(micros: i64) -> Self {
        let time = time(micros);
        Self { year: time.year().clamp(0, 9999) as u16, month: u8::from(time.month()) }
    }

    /// The month after this one.
    pub fn next(self) -> Self {
        if self.month == 12 {
            Self { year: self.year + 1, month: 1 }
        } else {
            Self { month: self.month + 1, ..self }
        }
    }

    /// When the month begins, in microseconds since 1970, UTC.
    pub fn begins(self) -> i64 {
        time::Month::try_from(self.month)
            .ok()
            .and_then(|month| time::Date::from_calendar_date(i32::from(self.year), month, 1).ok())
            .map_or(0, |date| date.midnight().assume_utc().unix_timestamp() * 1_000_000)
    }
}

/// Whether a log that began at `begun` has ended at `now`, both in microseconds since 1970:
/// its month is over, or the clock was far ahead when it began. Otherwise every record until
/// that time would be in it, and retention would keep it as long.
pub fn is_over(begun: i64, now: i64) -> bool {
    Month::of(now) > Month::of(begun) || begun.saturating_sub(now) > FAR
}

impl LogName {
    /// The first log of a month.
    pub fn first_of(month: Month) -> Self {
        Self { month, part: 1 }
    }

    /// The log that follows this one at `now`, in microseconds since 1970: that of a later
    /// month, else another of the same. So names go up, whatever clocks say.
    pub fn next(self, now: i64) -> Self {
        let month = Month::of(now);
        if month > self.month {
            Self::first_of(month)
        } else {
            Self { part: self.part + 1, ..self }
        }
    }

    /// The log's origin: the name under which its checkpoints are signed. `prefix` is the
    /// store's ID, or the setting `audit.origin`.
    pub fn origin(self, prefix: &str) -> String {
        format!("{prefix}/audit/{self}")
    }

    /// The name in an origin.
    pub fn of_origin(origin: &str) -> Option<Self> {
        let (prefix, name) = origin.rsplit_once("/audit/")?;
        if prefix.is_empty() { None } else { name.parse().ok() }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl FromStr for Month {
    type Err = MonthError;

    fn from_str(text: &str) -> Result<Self, MonthError> {
        let (year, month) = text.split_once('-').ok_or(MonthError)?;
        let parsed = Self {
            year: year.parse().map_err(|_| MonthError)?,
            month: month.parse().map_err(|_| MonthError)?,
        };
        let proper = (1..=12).contains(&parsed.month) && parsed.to_string() == text;
        proper.then_some(parsed).ok_or(MonthError)
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            1 => self.month.fmt(f),
            part => write!(f, "{}.{part}", self.month),
        }
    }
}

impl FromStr for LogName {
    type Err = MonthError;

    fn from_str(text: &str) -> Result<Self, MonthError> {
        let (month, part) = match text.split_once('.') {
            None => (text, 1),
            Some((month, part)) => (month, part.parse().map_err(|_| MonthError)?),
        };
        let parsed = Self { month: month.parse()?, part };
        (part > 0 && parsed.to_string() == text).then_some(parsed).ok_or(MonthError)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// 2026-11-30T23:59:59.999999Z.
    const END_OF_NOVEMBER: i64 = 1_796_083_199_999_999;

    #[test]
    fn a_month_begins_at_midnight_utc() {
        assert_eq!(Month::of(END_OF_NOVEMBER).to_string(), "2026-11");
        assert_eq!(Month::of(END_OF_NOVEMBER + 1).to_string(), "2026-12");
        assert_eq!(Month::of(END_OF_NOVEMBER).next().begins(), END_OF_NOVEMBER + 1);
        assert_eq!("2026-12".parse::<Month>().unwrap().next().to_string(), "2027-01");
    }

    #[test]
    fn names_go_up_and_a_log_ends_with_its_month_or_when_its_clock_is_set_right() {
        let november = LogName::first_of(Month::of(END_OF_NOVEMBER));
        let december = november.next(END_OF_NOVEMBER + 1);
        assert_eq!(december.to_string(), "2026-12");
        assert_eq!(december.next(END_OF_NOVEMBER).to_string(), "2026-12.2");
        assert_eq!(november.next(END_OF_NOVEMBER).to_string(), "2026-11.2");
        let (day, december) = (24 * 3_600_000_000, END_OF_NOVEMBER + 1);
        assert!(is_over(END_OF_NOVEMBER, december) && is_over(0, december));
        assert!(!is_over(december, december + 30 * day) && is_over(december, december + 31 * day));
        assert!(!is_over(december, december - day) && is_over(december, december - day - 1));
    }

    #[test]
    fn a_name_has_one_spelling_and_an_origin_leads_back_to_it() {
        for name in ["2026-11", "2026-01.2", "2026-12.17"] {
            let parsed: LogName = name.parse().unwrap();
            assert_eq!(parsed.to_string(), name);
            assert_eq!(LogName::of_origin(&parsed.origin("a.example/b")), Some(parsed));
        }
        for name in
            ["2026-13", "2026-00", "2026-1", "26-11", "2026-11.1", "2026-11.02", "2026-11.0"]
        {
            assert!(name.parse::<LogName>().is_err(), "{name}");
        }
        assert_eq!(LogName::of_origin("/audit/2026-11"), None);
    }
}
