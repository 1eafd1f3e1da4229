//! Verification of the store's own trail, while a gateway may be writing it.

use std::time::Duration;

use super::{
    changes::{Changes, not_under_way},
    check::{Wrong, upper_tiles},
    columns::{self, Columns, Order, first_between, first_beyond_head},
    plan::{Found, Kept, Report, dropped, plan},
    told::Told,
};
use crate::{
    audit::log::{
        Checkpoint, LogStart, TrustedKeys,
        rows::{self, LogRow},
    },
    store::{Pool, Position, StoreError},
};

/// How many records are read at once.
const AT_ONCE: u64 = 4096;
/// How long a log may be without its first checkpoint, in microseconds: another process
/// may first have to take the lease.
const FIRST_CHECKPOINT: i64 = 30_000_000;

/// Verifies the trail that is in a store, against its own checkpoints and `kept` ones.
/// Without `keys` no signature is verified. Retention can have dropped what ended longer ago
/// than `keep`.
///
/// # Errors
/// When the store does not answer.
pub async fn verify_store(
    pool: &Pool,
    kept: &[Kept],
    keys: Option<&TrustedKeys>,
    keep: Duration,
) -> Result<Report, StoreError> {
    let dropped = |logs: &[LogRow]| logs.iter().filter(|log| log.dropped).count();
    loop {
        let logs = rows::logs(pool).await?;
        let report = verify_logs(pool, &logs, kept, keys, keep).await?;
        // Retention may have dropped meanwhile what was to be read.
        if report.wrong().next().is_none() || dropped(&rows::logs(pool).await?) == dropped(&logs) {
            return Ok(report);
        }
    }
}

async fn verify_logs(
    pool: &Pool,
    logs: &[LogRow],
    kept: &[Kept],
    keys: Option<&TrustedKeys>,
    keep: Duration,
) -> Result<Report, StoreError> {
    let mut found = Vec::new();
    for row in logs {
        let first = rows::records(pool, row.log, 0, 1).await?;
        found.push(Found {
            origin: row.origin.clone(),
            checkpoint: row.checkpoint.clone(),
            first: first.into_iter().next().map(|record| record.entry),
            dropped: row.dropped,
        });
    }
    let noted = unaccepted(rows::lost(pool).await?, logs, &found);
    let kept = [kept, &noted].concat();
    let plan = plan(&found, &kept, keys);
    let mut report = plan.report;
    let mut columns = Columns::default();
    let mut changes = Changes::default();
    for (i, mut check) in plan.checks.into_iter().enumerate() {
        let LogRow { log, records: promised, tiled, times, .. } = logs[i];
        if found[i].dropped {
            let next = found.get(i + 1);
            report.logs.push(dropped(&found[i], check, next));
            continue;
        }
        let mut order = Order::default();
        'records: for from in (0..promised).step_by(AT_ONCE as usize) {
            let to = promised.min(from + AT_ONCE);
            for row in columns::rows(pool, log, from, to).await? {
                check.record(row.index, &row.entry, Some(row.leaf));
                if check.has_stopped() {
                    break 'records;
                }
                order.pass(&row);
                let Some(told) = Told::of(&row.entry) else { continue };
                let wrong = columns.wrong(&row, &told);
                if !wrong.is_empty() {
                    check.wrong_columns(row.index, &wrong);
                }
                if let Some(wrong) = changes.pass(i, row.index, &told, &row.entry) {
                    check.wrong_record(row.index, wrong);
                }
            }
            if check.size() < to {
                break;
            }
        }
        for (level, index, width) in upper_tiles(tiled, check.size()) {
            let hashes = rows::tile(pool, log, level, index, width).await?;
            check.tile(level, index, &hashes);
            if hashes.len() != usize::from(width) {
                let first = (index * 256 + hashes.len() as u64) << (8 * u32::from(level));
                check.wrong_tile(first, format!("tile {index} of level {level} is cut or missing"));
            }
        }
        let mut checked = check.finish(promised);
        if !checked.wrong.is_empty() {
            changes.lose_track();
        }
        let is_unvouched = checked.size > 0 && checked.vouched == 0 && checked.wrong.is_empty();
        if keys.is_some() && is_unvouched && is_overdue(pool, log).await? {
            checked.wrong.push(Wrong {
                origin: checked.origin.clone(),
                first: 0,
                last: None,
                reason: "no checkpoint vouches for it, nor for any record after it".to_owned(),
            });
        }
        if times.is_some_and(|times| !order.is_within(times)) {
            let reason = "searches by time can pass over it: what the store notes of the times of \
                          the log's events was changed";
            checked.wrong.push(trail_wrong(&checked.origin, reason));
        }
        report.logs.push(checked);
    }
    report.wrong.extend(gaps(pool, logs, &found, keep).await?);
    report.wrong.extend(strays(pool, logs).await?);
    report.under_way = changes.open();
    report.wrong.extend(forgotten(pool, logs, changes).await?);
    Ok(report)
}

fn trail_wrong(origin: &str, reason: &str) -> Wrong {
    Wrong { origin: origin.to_owned(), first: 0, last: None, reason: reason.to_owned() }
}

/// Changes of which the store and the records do not say the same.
async fn forgotten(
    pool: &Pool,
    logs: &[LogRow],
    changes: Changes,
) -> Result<Vec<Wrong>, StoreError> {
    let mut wrong = Vec::new();
    for (log, index, event) in changes.forgotten(pool).await? {
        let reason = format!(
            "it is the intent of the event {event}, which has no outcome and is not under way"
        );
        let origin = logs.get(log).map(|log| log.origin.clone()).unwrap_or_default();
        wrong.push(Wrong { origin, first: index, last: None, reason });
    }
    let is_dropped = |log: i64| logs.iter().any(|row| row.log == log && row.dropped);
    for (position, reason) in not_under_way(pool).await? {
        if !is_dropped(position.log) {
            let Position { log, index } = position;
            let reason = reason.to_owned();
            wrong.push(Wrong {
                origin: origin(logs, log),
                first: index as u64,
                last: None,
                reason,
            });
        }
    }
    Ok(wrong)
}

/// The origin of the log with this number.
fn origin(logs: &[LogRow], log: i64) -> String {
    let row = logs.iter().find(|row| row.log == log);
    row.map_or_else(|| format!("log {log}, which there is not"), |row| row.origin.clone())
}

/// Logs that are not there, or of which the records are not, though retention keeps both.
async fn gaps(
    pool: &Pool,
    logs: &[LogRow],
    found: &[Found],
    keep: Duration,
) -> Result<Vec<Wrong>, StoreError> {
    let mut wrong = Vec::new();
    let lacks = "the log before it is not in the store, where retention keeps the end of each";
    let first = found.first().and_then(|log| LogStart::of_entry(log.first.as_deref()?));
    let follows = first.is_some_and(|start| start.previous.is_some());
    let gap = logs.iter().zip(1..).position(|(log, number)| log.log != number);
    if let Some(log) = gap.or(follows.then_some(0)).and_then(|index| logs.get(index)) {
        wrong.push(trail_wrong(&log.origin, lacks));
    }
    let Some(last) = logs.iter().rposition(|log| log.dropped) else { return Ok(wrong) };
    let mut ended = None;
    for log in &logs[last + 1..] {
        let begun = rows::begun(pool, log.log).await?;
        ended = begun.into_iter().chain(ended).min();
    }
    let keep = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
    let until = rows::now(pool).await?.saturating_sub(keep);
    if ended.is_some_and(|ended| ended >= until) {
        let reason = "its records are not there, though it ended less than audit.keep ago: they \
                      were deleted, or retention ran with a shorter audit.keep";
        wrong.push(trail_wrong(&logs[last].origin, reason));
    }
    Ok(wrong)
}

/// The checkpoints that the store was found not to bear out, but for those of which the
/// first record of a later log says that the loss was accepted.
fn unaccepted(noted: Vec<(i64, Vec<Checkpoint>)>, logs: &[LogRow], found: &[Found]) -> Vec<Kept> {
    let mut kept = Vec::new();
    for (when, lost) in noted {
        let later = logs.iter().zip(found).filter(|(row, _)| row.log > when);
        let starts = later.filter_map(|(_, log)| LogStart::of_entry(log.first.as_deref()?));
        let accepted: Vec<String> = starts.flat_map(|start| start.abandoned).collect();
        let still = lost.into_iter().filter(|lost| !accepted.contains(&lost.note));
        kept.extend(still.map(|checkpoint| Kept {
            checkpoint,
            from: "the store's own note of a loss".to_owned(),
        }));
    }
    kept
}

/// Whether a log ought to have a checkpoint by now.
async fn is_overdue(pool: &Pool, log: i64) -> Result<bool, StoreError> {
    let begun = rows::begun(pool, log).await?.unwrap_or(0);
    Ok(rows::now(pool).await?.saturating_sub(begun) > FIRST_CHECKPOINT)
}

/// Records that are in no log, where no checkpoint vouches for them and searches still
/// find them: of each place the first.
async fn strays(pool: &Pool, logs: &[LogRow]) -> Result<Vec<Wrong>, StoreError> {
    let mut found = Vec::new();
    let begin = |row: &LogRow| Position { log: row.log, index: 0 };
    if let Some(first) = logs.first() {
        found.extend(first_between(pool, Position::from_i64(i64::MIN), begin(first)).await?);
    }
    for (row, next) in logs.iter().zip(logs.iter().skip(1)) {
        let Some(size) = row.size else { continue };
        let end = Position { log: row.log, index: size as i64 };
        found.extend(first_between(pool, end, begin(next)).await?);
    }
    found.extend(first_beyond_head(pool).await?);
    let wrong = |Position { log, index }| Wrong {
        origin: origin(logs, log),
        first: index as u64,
        last: None,
        reason: "it is beyond the end of the log: it was inserted, or the end was moved".to_owned(),
    };
    Ok(found.into_iter().map(wrong).collect())
}
