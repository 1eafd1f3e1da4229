//! When a rule's next run is due.

use aws_lc_rs::digest::{SHA256, digest};
use time::{Duration, OffsetDateTime};

use crate::config::LifecycleRule;

/// How late a run may be and still count as on time.
const ON_TIME: Duration = Duration::minutes(1);

/// What is due. The time is that of the schedule, before jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing.
    Nothing,
    /// A run.
    Run(OffsetDateTime),
    /// A run that is too late to make up for.
    Missed(OffsetDateTime),
}

/// What is due of the rule at `now`, if everything up to `handled` was dealt with. Of several
/// runs that were missed only the last counts.
pub(super) fn due(
    id: &str,
    rule: &LifecycleRule,
    handled: OffsetDateTime,
    now: OffsetDateTime,
) -> Due {
    let schedule = rule.when();
    let mut tick = schedule.last(now);
    while let Some(at) = tick.filter(|at| *at > handled) {
        let begins = at + delay(id, rule, at);
        if begins > now {
            tick = schedule.last(at - Duration::SECOND);
            continue;
        }
        let window = ON_TIME.max(Duration::try_from(rule.catch_up).unwrap_or(ON_TIME));
        return if now - begins <= window { Due::Run(at) } else { Due::Missed(at) };
    }
    Due::Nothing
}

/// When the next run begins, if everything up to `handled` was dealt with.
pub(super) fn next(
    id: &str,
    rule: &LifecycleRule,
    handled: OffsetDateTime,
    now: OffsetDateTime,
) -> Option<OffsetDateTime> {
    if let Due::Run(tick) = due(id, rule, handled, now) {
        return Some(tick + delay(id, rule, tick));
    }
    let schedule = rule.when();
    let jitter = Duration::try_from(rule.jitter).unwrap_or(Duration::ZERO);
    let mut tick = schedule.next(handled.max(now - jitter))?;
    while tick + delay(id, rule, tick) <= now {
        tick = schedule.next(tick)?;
    }
    Some(tick + delay(id, rule, tick))
}

/// By how much later a run begins: the same on all replicas, different for each rule and run.
fn delay(id: &str, rule: &LifecycleRule, tick: OffsetDateTime) -> Duration {
    let text = format!("{id} {}", tick.unix_timestamp());
    let hash = digest(&SHA256, text.as_bytes());
    let number = hash.as_ref().iter().take(7).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let seconds = number % (rule.jitter.as_secs() + 1);
    Duration::seconds(i64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::config::Settings;

    fn rule(more: &str) -> LifecycleRule {
        let text = format!(
            "{}\n[lifecycle.rules.stale]\nteam = \"media\"\nvaults = [\"v\"]\n\
             days_after_initiation = 7\nschedule = \"0 3 * * *\"\n{more}\n",
            include_str!("../../config/example.toml")
        );
        Settings::from_toml(&text).unwrap().lifecycle.rules.remove("stale").unwrap()
    }

    #[test]
    fn a_run_is_due_once_and_a_missed_one_is_made_up_for_once() {
        let rule = rule("catch_up = \"6h\"");
        let due = |handled, now| due("stale", &rule, handled, now);
        let night = datetime!(2026-11-29 03:00 UTC);
        assert_eq!(due(night - Duration::HOUR, night - Duration::SECOND), Due::Nothing);
        assert_eq!(due(night - Duration::HOUR, night), Due::Run(night));
        assert_eq!(due(night, night + Duration::HOUR), Due::Nothing);
        // Of two weeks of missed runs the last one is left.
        let long_ago = night - Duration::WEEK * 2;
        assert_eq!(due(long_ago, night + Duration::HOUR), Due::Run(night));
        assert_eq!(due(long_ago, night + Duration::hours(7)), Due::Missed(night));
        let next = |handled, now| next("stale", &rule, handled, now).unwrap();
        assert_eq!(next(night, night), night + Duration::DAY);
        assert_eq!(next(long_ago, night + Duration::HOUR), night);
        assert_eq!(next(long_ago, night + Duration::hours(7)), night + Duration::DAY);
    }

    #[test]
    fn jitter_delays_each_run_by_its_own_time_and_changes_no_tick() {
        let rule = rule("jitter = \"1h\"");
        let mut delays = std::collections::BTreeSet::new();
        for day in 1..=28 {
            let tick = datetime!(2026-11-01 03:00 UTC) + Duration::days(day);
            let before = tick - Duration::HOUR;
            let begins = next("stale", &rule, before, tick).unwrap();
            assert!((Duration::ZERO..=Duration::HOUR).contains(&(begins - tick)));
            assert_eq!(due("stale", &rule, before, begins - Duration::SECOND), Due::Nothing);
            assert_eq!(due("stale", &rule, before, begins), Due::Run(tick));
            delays.insert(begins - tick);
        }
        assert!(delays.len() > 20, "{delays:?}");
    }
}
