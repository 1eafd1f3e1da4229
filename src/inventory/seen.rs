//! The uploads that were seen. Whoever looks says when it began to look, so that what is
//! written late does not take back what was seen meanwhile.

use sqlx::AssertSqlSafe;

use super::parts::Observation;
use crate::{
    domain::{UploadId, VaultArn},
    store::{Store, StoreError, both},
};

/// The time by the store's clock.
///
/// # Errors
/// When the store does not answer.
pub async fn now(store: &Store) -> Result<i64, StoreError> {
    let sql = format!("SELECT {}", store.now());
    let (now,): (i64,) = both!(store, pool => {
        sqlx::query_as(AssertSqlSafe(sql)).fetch_one(pool).await?
    });
    Ok(now)
}

/// Keeps what a look at an upload's parts found that began at `begun`. If the parts are those
/// of the look before, `upload_seen.changed` stays; else they have changed just now.
///
/// # Errors
/// When the store does not answer.
pub async fn observed(
    store: &Store,
    vault: &VaultArn,
    begun: i64,
    observation: &Observation,
) -> Result<(), StoreError> {
    let Observation { upload, created, parts, bytes, digest } = observation;
    let now = store.now();
    let sql = format!(
        "INSERT INTO upload_seen (account, region, vault, upload, created, description, \
         part_size, parts, bytes, digest, first_seen, last_seen, observed, changed) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, {now}, {now}) \
         ON CONFLICT (account, region, vault, upload) DO UPDATE SET \
         parts = excluded.parts, bytes = excluded.bytes, digest = excluded.digest, \
         observed = excluded.observed, \
         changed = CASE WHEN upload_seen.digest = excluded.digest \
            THEN upload_seen.changed ELSE excluded.changed END, \
         {AGAIN}"
    );
    both!(store, pool => {
        sqlx::query(AssertSqlSafe(sql))
            .bind(vault.account.as_str())
            .bind(vault.region.as_str())
            .bind(vault.vault.as_str())
            .bind(upload.upload_id.as_str())
            .bind(created)
            .bind(upload.archive_description.as_deref())
            .bind(upload.part_size_in_bytes)
            .bind(parts)
            .bind(bytes)
            .bind(digest.as_slice())
            .bind(begun)
            .execute(pool)
            .await?;
    });
    Ok(())
}

/// What is true of an upload that is seen again: it was there when the look began.
pub(super) const AGAIN: &str = "\
    last_seen = CASE WHEN upload_seen.last_seen > excluded.last_seen \
        THEN upload_seen.last_seen ELSE excluded.last_seen END, \
    missing = CASE WHEN upload_seen.missing > excluded.last_seen \
        THEN upload_seen.missing ELSE NULL END, \
    gone = CASE WHEN upload_seen.gone > excluded.last_seen \
        THEN upload_seen.gone ELSE NULL END";

/// Keeps that Glacier answered a question that was asked at `begun` or later with 404: the
/// upload is gone.
///
/// # Errors
/// When the store does not answer.
pub async fn gone(
    store: &Store,
    vault: &VaultArn,
    upload: &UploadId,
    begun: i64,
) -> Result<(), StoreError> {
    let sql = format!(
        "UPDATE upload_seen SET gone = coalesce(missing, {}) WHERE account = $1 AND region = $2 \
         AND vault = $3 AND upload = $4 AND gone IS NULL AND last_seen <= $5",
        store.now()
    );
    both!(store, pool => {
        sqlx::query(AssertSqlSafe(sql))
            .bind(vault.account.as_str())
            .bind(vault.region.as_str())
            .bind(vault.vault.as_str())
            .bind(upload.as_str())
            .bind(begun)
            .execute(pool)
            .await?;
    });
    Ok(())
}
