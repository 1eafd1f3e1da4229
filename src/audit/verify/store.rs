//! Verification of the store's own trail, while a gateway may be writing it.

use super::{
    check::upper_tiles,
    plan::{Found, Kept, Report, dropped, plan},
};
use crate::{
    audit::log::{
        TrustedKeys,
        rows::{self, LogRow},
    },
    store::{Pool, StoreError},
};

/// How many records are read at once.
const AT_ONCE: u64 = 4096;

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
    let plan = plan(&found, kept, keys);
    let mut report = plan.report;
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
            for record in rows::records(pool, log, from, to).await? {
                check.record(record.index, &record.entry, Some(record.leaf));
                if check.has_stopped() {
                    break 'records;
                }
            }
            if check.size() < to {
                break;
            }
        }
        for (level, index, width) in upper_tiles(tiled) {
            let hashes = rows::tile(pool, log, level, index, width).await?;
            check.tile(level, index, &hashes);
            if hashes.len() != usize::from(width) {
                let first = (index * 256 + hashes.len() as u64) << (8 * u32::from(level));
                check.wrong_tile(first, format!("tile {index} of level {level} is cut or missing"));
            }
        }
        report.logs.push(check.finish(promised));
    }
    Ok(report)
}
