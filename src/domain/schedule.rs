//! When something is due again and again: a cron pattern in a time zone.

use std::{fmt, str::FromStr};

use croner::Cron;
use jiff::{Timestamp, Zoned, tz::TimeZone};
use serde::Deserialize;
use time::OffsetDateTime;

/// A cron pattern of five fields, or of six with seconds first; also `@daily` and its like.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(try_from = "String")]
pub struct CronPattern {
    text: String,
    cron: Cron,
}

/// A time zone by its name in the IANA Time Zone Database, of which a copy is in the
/// program: all replicas of one version agree on it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(try_from = "String")]
pub struct Zone(TimeZone);

/// When something is due.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    pattern: CronPattern,
    zone: Zone,
}

impl TryFrom<String> for CronPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let wrong = |error: &dyn fmt::Display| {
            format!("write a cron pattern, such as \"0 3 * * *\", not {text:?}: {error}")
        };
        let cron = Cron::from_str(&text).map_err(|error| wrong(&error))?;
        let now = Timestamp::now().to_zoned(TimeZone::UTC);
        if cron.find_next_occurrence(&now, false).is_err() {
            return Err(wrong(&"there is no such time"));
        }
        Ok(Self { text, cron })
    }
}

impl TryFrom<String> for Zone {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let unknown =
            |_| format!("write a time zone, such as \"Europe/Berlin\" or \"UTC\", not {text:?}");
        TimeZone::get(&text).map(Self).map_err(unknown)
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl fmt::Display for CronPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

impl Schedule {
    /// What is due when `pattern` says so in `zone`.
    ///
    /// Daylight saving: what is due at a fixed time that a day lacks is due when the clocks
    /// have gone on, and at a time that a day has twice only the first time. What is due
    /// every so often keeps to the time that passes.
    pub fn new(pattern: CronPattern, zone: Zone) -> Self {
        Self { pattern, zone }
    }

    /// The first time after `moment`; `None` if there is none any more.
    pub fn next(&self, moment: OffsetDateTime) -> Option<OffsetDateTime> {
        let found = self.pattern.cron.find_next_occurrence(&self.here(moment)?, false).ok()?;
        moment_of(&found)
    }

    /// The last time up to and with `moment`; `None` if there was none.
    pub fn last(&self, moment: OffsetDateTime) -> Option<OffsetDateTime> {
        let found = self.pattern.cron.find_previous_occurrence(&self.here(moment)?, true).ok()?;
        moment_of(&found)
    }

    fn here(&self, moment: OffsetDateTime) -> Option<Zoned> {
        let second = Timestamp::from_second(moment.unix_timestamp()).ok()?;
        Some(second.to_zoned(self.zone.0.clone()))
    }
}

fn moment_of(found: &Zoned) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(found.timestamp().as_second()).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use time::{Duration, macros::datetime};

    use super::*;

    fn schedule(pattern: &str, zone: &str) -> Schedule {
        let (pattern, zone) = (pattern.to_owned().try_into(), zone.to_owned().try_into());
        Schedule::new(pattern.unwrap(), zone.unwrap())
    }

    #[test]
    fn what_can_never_be_due_is_refused_with_what_to_write() {
        for text in ["", "soon", "0 25 * * *", "0 0 30 2 *", "* * *", "0 0 1 1 * 2020"] {
            let told = CronPattern::try_from(text.to_owned()).unwrap_err();
            assert!(told.contains("\"0 3 * * *\""), "{told}");
        }
        for text in ["0 3 * * *", "@daily", "30 0 3 * * MON-FRI", "0 3 L * *"] {
            assert_eq!(CronPattern::try_from(text.to_owned()).unwrap().to_string(), text);
        }
        assert!(Zone::try_from("Europe/Nowhere".to_owned()).is_err());
        assert_eq!(
            Zone::try_from("Europe/Berlin".to_owned()).unwrap().to_string(),
            "Europe/Berlin"
        );
        assert_eq!(Zone::default().to_string(), "UTC");
    }

    #[test]
    fn a_time_that_the_clocks_leave_out_is_due_when_they_have_gone_on() {
        let berlin = schedule("30 2 * * *", "Europe/Berlin");
        // At 01:00 UTC on 28 March 2027 the clocks go from 02:00 to 03:00.
        let due = berlin.next(datetime!(2027-03-27 12:00 UTC)).unwrap();
        assert_eq!(due, datetime!(2027-03-28 01:00 UTC));
        assert_eq!(berlin.next(due), Some(datetime!(2027-03-29 00:30 UTC)));
        let hourly = schedule("0 * * * *", "Europe/Berlin");
        let due = hourly.next(datetime!(2027-03-28 00:30 UTC)).unwrap();
        assert_eq!(due, datetime!(2027-03-28 01:00 UTC));
        assert_eq!(hourly.next(due), Some(datetime!(2027-03-28 02:00 UTC)));
    }

    #[test]
    fn a_time_that_the_clocks_repeat_is_due_once() {
        let berlin = schedule("30 2 * * *", "Europe/Berlin");
        // At 01:00 UTC on 31 October 2027 the clocks go from 03:00 back to 02:00.
        let due = berlin.next(datetime!(2027-10-30 12:00 UTC)).unwrap();
        assert_eq!(due, datetime!(2027-10-31 00:30 UTC));
        assert_eq!(berlin.next(due), Some(datetime!(2027-11-01 01:30 UTC)));
        let hourly = schedule("0 * * * *", "Europe/Berlin");
        let due = hourly.next(datetime!(2027-10-30 23:30 UTC)).unwrap();
        assert_eq!(due, datetime!(2027-10-31 00:00 UTC));
        assert_eq!(hourly.next(due), Some(datetime!(2027-10-31 01:00 UTC)));
    }

    #[test]
    fn looking_back_finds_the_times_that_looking_ahead_found() {
        let days = [datetime!(2027-03-27 12:00 UTC), datetime!(2027-10-30 12:00 UTC)];
        let patterns = ["30 2 * * *", "0 3 * * *", "*/20 * * * *", "15 2,3 * * *", "0 0 * * SUN"];
        for (begin, pattern) in days.into_iter().flat_map(|day| patterns.map(|text| (day, text))) {
            let berlin = schedule(pattern, "Europe/Berlin");
            let mut due = berlin.last(begin).unwrap();
            for minute in (0..48 * 60).step_by(10) {
                let now = begin + Duration::minutes(minute);
                while berlin.next(due).unwrap() <= now {
                    due = berlin.next(due).unwrap();
                }
                assert_eq!(berlin.last(now), Some(due), "{pattern} at {now}");
                // A part of a second does not count.
                assert_eq!(berlin.last(now + Duration::milliseconds(999)), Some(due));
            }
        }
    }
}
