//! Verification of the store's own trail, while a gateway may be writing it.

use super::{
    check::{Wrong, upper_tiles},
    columns::{self, Columns, first_between, first_beyond_head},
    plan::{Found, Kept, Report, dropped, plan},
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
/// Without `keys` no signature is verified.
///
/// # Errors
/// When the store does not answer.
pub async fn verify_store(
    pool: &Pool,
    kept: &[Kept],
    keys: Option<&TrustedKeys>,
) -> Result<Report, StoreError> {
    // In this order nothing that is appended meanwhile looks as if it were missing.
    let logs = rows::logs(pool).await?;
    let head = rows::head(pool).await?;
    let mut found = Vec::new();
    for row in &logs {
        let first = rows::records(pool, row.log, 0, 1).await?;
        found.push(Found {
            origin: row.origin.clone(),
            checkpoint: row.checkpoint.clone(),
            first: first.into_iter().next().map(|record| record.entry),
            dropped: row.dropped,
        });
    }
    let noted = unaccepted(rows::lost(pool).await?, &logs, &found);
    let kept = [kept, &noted].concat();
    let plan = plan(&found, &kept, keys);
    let mut report = plan.report;
    let mut columns = Columns::default();
    for (i, mut check) in plan.checks.into_iter().enumerate() {
        let LogRow { log, size, tiled, .. } = logs[i];
        if found[i].dropped {
            let next = found.get(i + 1);
            report.logs.push(dropped(&found[i], check, next));
            continue;
        }
        let open = head.filter(|head| head.log == log).map(|head| head.next);
        let promised = size.or(open).unwrap_or(0);
        'records: for from in (0..promised).step_by(AT_ONCE as usize) {
            let to = promised.min(from + AT_ONCE);
            for row in columns::rows(pool, log, from, to).await? {
                check.record(row.index, &row.entry, Some(row.leaf));
                if check.has_stopped() {
                    break 'records;
                }
                let wrong = columns.wrong(&row);
                if !wrong.is_empty() {
                    check.wrong_columns(row.index, &wrong);
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
        let is_unvouched = checked.size > 0 && checked.vouched == 0 && checked.wrong.is_empty();
        if keys.is_some() && is_unvouched && is_overdue(pool, log).await? {
            checked.wrong.push(Wrong {
                origin: checked.origin.clone(),
                first: 0,
                last: None,
                reason: "no checkpoint vouches for it, nor for any record after it".to_owned(),
            });
        }
        report.logs.push(checked);
    }
    report.wrong.extend(strays(pool, &logs).await?);
    Ok(report)
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
        origin: logs
            .iter()
            .find(|row| row.log == log)
            .map_or_else(|| format!("log {log}, which there is not"), |row| row.origin.clone()),
        first: index as u64,
        last: None,
        reason: "it is beyond the end of the log: it was inserted, or the end was moved".to_owned(),
    };
    Ok(found.into_iter().map(wrong).collect())
}
