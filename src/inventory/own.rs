//! What the gateway itself has aborted, as its trail says. So an upload that is gone can be
//! told from one that disappeared by itself.

use serde::Deserialize;
use sqlx::AssertSqlSafe;

use crate::{
    domain::VaultArn,
    store::{Kind, Store, StoreError, both},
};

/// How many records of the trail are read at once.
const AT_ONCE: i64 = 2_000;

/// An outcome, as far as it matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    event_name: String,
    resource: Option<String>,
    upload_id: Option<String>,
    outcome: Option<String>,
}

/// Notes all aborts that were recorded since the last time. The first time there are none: no
/// upload was seen before.
///
/// # Errors
/// When the store does not answer.
pub(super) async fn note(store: &Store) -> Result<(), StoreError> {
    let position = "SELECT position FROM inventory_trail";
    let found: Option<(i64,)> =
        both!(store, pool => sqlx::query_as(position).fetch_optional(pool).await?);
    let Some((mut from,)) = found else {
        let begin = "INSERT INTO inventory_trail (id, position) \
                     SELECT 1, coalesce(max(position), -1) FROM audit_entry \
                     WHERE true ON CONFLICT (id) DO NOTHING";
        both!(store, pool => { sqlx::query(begin).execute(pool).await?; });
        return Ok(());
    };
    loop {
        let (outcome, late) = (Kind::Outcome as i64, Kind::LateOutcome as i64);
        let sql = format!(
            "SELECT position, at, CASE WHEN kind IN ({outcome}, {late}) THEN entry END \
             FROM audit_entry WHERE position > $1 ORDER BY position LIMIT {AT_ONCE}"
        );
        let rows: Vec<(i64, i64, Option<Vec<u8>>)> = both!(store, pool => {
            sqlx::query_as(AssertSqlSafe(sql)).bind(from).fetch_all(pool).await?
        });
        let Some((last, ..)) = rows.last() else { return Ok(()) };
        let (before, all) = (from, (rows.len() as i64) < AT_ONCE);
        from = *last;
        let outcomes = rows.iter().filter_map(|(_, at, entry)| {
            let outcome: Outcome = serde_json::from_slice(entry.as_ref()?).ok()?;
            let abort = outcome.event_name == "AbortMultipartUpload";
            let vault = VaultArn::parse(outcome.resource.as_deref()?).filter(|_| abort)?;
            Some((vault, outcome.upload_id?, outcome.outcome?, *at))
        });
        let asked: Vec<_> = outcomes
            .filter(|(_, _, outcome, _)| matches!(&**outcome, "aborted" | "gone" | "unknown"))
            .collect();
        both!(store, pool => {
            let mut transaction = pool.begin_with(store.begin()).await?;
            for (vault, upload, outcome, at) in &asked {
                // Glacier's 204 and its 404 both say that the upload is not there any more.
                let sql = "UPDATE upload_seen SET abort_asked = $1, gone = \
                     CASE WHEN $2 = 1 AND last_seen <= $1 THEN coalesce(gone, $1) ELSE gone END \
                     WHERE account = $3 AND region = $4 AND vault = $5 AND upload = $6";
                sqlx::query(sql)
                    .bind(at)
                    .bind(i64::from(outcome != "unknown"))
                    .bind(vault.account.as_str())
                    .bind(vault.region.as_str())
                    .bind(vault.vault.as_str())
                    .bind(upload)
                    .execute(&mut *transaction)
                    .await?;
            }
            sqlx::query("UPDATE inventory_trail SET position = $1 WHERE position = $2")
                .bind(from)
                .bind(before)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
        });
        if all {
            return Ok(());
        }
    }
}
