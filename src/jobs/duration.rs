//! Durations as the API writes them: ISO 8601, in weeks, days and time. Years and months
//! are no fixed time.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// Such as `P7D`, `PT24H` or `P1DT12H`; to the second, at most 100 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct IsoDuration(pub Duration);

/// A text is no such duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a duration in weeks, days and time, such as \"P7D\" or \"PT24H\"")]
pub struct InvalidDuration;

/// The units before and after the `T`, in their order, in seconds.
const DATE: [(char, u64); 2] = [('W', 604_800), ('D', 86_400)];
const TIME: [(char, u64); 3] = [('H', 3600), ('M', 60), ('S', 1)];
const LONGEST: u64 = 36_525 * 86_400;

impl IsoDuration {
    /// In microseconds.
    pub fn micros(self) -> i64 {
        i64::try_from(self.0.as_micros()).unwrap_or(i64::MAX)
    }
}

impl FromStr for IsoDuration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let rest = text.strip_prefix('P').ok_or(InvalidDuration)?;
        let (date, time) = match rest.split_once('T') {
            Some((_, "")) => return Err(InvalidDuration),
            Some((date, time)) => (date, time),
            None => (rest, ""),
        };
        if date.is_empty() && time.is_empty() {
            return Err(InvalidDuration);
        }
        let seconds = sum(date, &DATE)?.checked_add(sum(time, &TIME)?).ok_or(InvalidDuration)?;
        if seconds > LONGEST {
            Err(InvalidDuration)
        } else {
            Ok(Self(Duration::from_secs(seconds)))
        }
    }
}

impl TryFrom<String> for IsoDuration {
    type Error = InvalidDuration;

    fn try_from(text: String) -> Result<Self, InvalidDuration> {
        text.parse()
    }
}

impl From<IsoDuration> for String {
    fn from(duration: IsoDuration) -> Self {
        duration.to_string()
    }
}

/// The seconds of a text such as `1W2D`, whose units come in their order.
fn sum(mut text: &str, units: &[(char, u64)]) -> Result<u64, InvalidDuration> {
    let (mut units, mut seconds) = (units.iter(), 0u64);
    while !text.is_empty() {
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or(InvalidDuration)?;
        let (number, rest) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| InvalidDuration)?;
        let unit = rest.chars().next().ok_or(InvalidDuration)?;
        let (_, length) = units.find(|(own, _)| *own == unit).ok_or(InvalidDuration)?;
        let part = number.checked_mul(*length).ok_or(InvalidDuration)?;
        seconds = seconds.checked_add(part).ok_or(InvalidDuration)?;
        text = &rest[1..];
    }
    Ok(seconds)
}

impl fmt::Display for IsoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut seconds = self.0.as_secs();
        f.write_str("P")?;
        for (units, mark) in [(&DATE[1..], ""), (&TIME[..], "T")] {
            if seconds > 0 {
                f.write_str(mark)?;
            }
            for (unit, length) in units {
                if seconds >= *length {
                    write!(f, "{}{unit}", seconds / length)?;
                    seconds %= length;
                }
            }
        }
        if self.0.as_secs() == 0 { f.write_str("T0S") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_days_and_time_are_read_and_written() {
        for (text, seconds, written) in [
            ("P7D", 604_800, "P7D"),
            ("P1W", 604_800, "P7D"),
            ("PT24H", 86_400, "P1D"),
            ("P1DT12H", 129_600, "P1DT12H"),
            ("PT90M", 5_400, "PT1H30M"),
            ("PT0S", 0, "PT0S"),
            ("P1W1DT1H1M1S", 694_861, "P8DT1H1M1S"),
        ] {
            let read = text.parse().map(|IsoDuration(read)| read.as_secs());
            assert_eq!(read, Ok(seconds), "{text}");
            assert_eq!(IsoDuration(Duration::from_secs(seconds)).to_string(), written);
        }
    }

    #[test]
    fn what_is_no_fixed_time_is_refused() {
        for text in [
            "",
            "P",
            "PT",
            "P1DT",
            "7D",
            "P7",
            "P1Y",
            "P1M",
            "P1D1W",
            "PT1H1H",
            "P-1D",
            "P1.5D",
            "PT1D",
            "P7d",
            " P7D",
            "P99999999999999999999D",
            "P400000D",
        ] {
            assert_eq!(text.parse::<IsoDuration>(), Err(InvalidDuration), "{text}");
        }
    }
}
