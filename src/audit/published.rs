//! A log as its readers get it: the checkpoint, tiles and entry bundles of `tlog-tiles`
//! (<https://c2sp.org/tlog-tiles>), up to the last checkpoint.

use super::log::{LogName, LogPath, append_to_bundle, rows, tile_width};
use crate::store::{Store, StoreError};

/// What is at `path` of the log `name`. `None` if there is no such log, if it has no
/// checkpoint, and for whatever the checkpoint does not vouch for or retention has dropped.
///
/// # Errors
/// When the store does not answer.
pub async fn read(
    store: &Store,
    name: LogName,
    path: LogPath,
) -> Result<Option<Vec<u8>>, StoreError> {
    let pool = store.pool();
    let logs = rows::logs(pool).await?;
    let log = logs.into_iter().find(|log| LogName::of_origin(&log.origin) == Some(name));
    let Some((log, checkpoint)) = log.and_then(|log| Some((log.log, log.checkpoint?))) else {
        return Ok(None);
    };
    let size = checkpoint.size;
    match path {
        LogPath::Checkpoint => Ok(Some(checkpoint.note.into_bytes())),
        LogPath::Tile { level, index, width } => {
            if width > tile_width(level, index, size) {
                return Ok(None);
            }
            let hashes = rows::tile(pool, log, level, index, width).await?;
            let whole = hashes.len() == usize::from(width);
            Ok(whole.then(|| hashes.iter().flat_map(|hash| hash.0).collect()))
        }
        LogPath::Entries { index, width } => {
            if width > tile_width(0, index, size) {
                return Ok(None);
            }
            let first = index * super::log::TILE_WIDTH;
            let records = rows::records(pool, log, first, first + u64::from(width)).await?;
            let mut bundle = Vec::new();
            let appended =
                records.iter().try_for_each(|record| append_to_bundle(&mut bundle, &record.entry));
            let whole = records.len() == usize::from(width) && appended.is_ok();
            Ok(whole.then_some(bundle))
        }
    }
}
