//! What looks at uploads found while a job is prepared.

use std::collections::HashMap;

use sqlx::AssertSqlSafe;

use crate::{
    jobs::{claims::Lane, rows::values},
    store::{Lease, Store, StoreError, both},
};

/// What a look found.
#[derive(Clone, Debug)]
pub(super) struct Looked {
    pub n: i64,
    pub vault: String,
    pub upload: String,
    /// `waiting`, `gone`, `unselected`, or `found` if it is to be looked at again.
    pub state: &'static str,
    pub code: Option<&'static str>,
    pub decision: Option<&'static str>,
    pub created: Option<i64>,
    pub description: Option<String>,
    pub parts: Option<i64>,
    pub bytes: Option<i64>,
    pub digest: Option<[u8; 32]>,
    /// When the look began, by the store's clock.
    pub at: i64,
    /// When it is to be looked at again, in microseconds after that.
    pub after: i64,
}

/// Writes what looks found. An upload waits until its parts are known to have been the same
/// for `quiet` microseconds; the inventory may know that already.
pub(super) async fn write(
    store: &Store,
    job: &str,
    lane: &Lane,
    lease: &Lease,
    looked: &[Looked],
    quiet: i64,
) -> Result<(), StoreError> {
    if looked.is_empty() {
        return Ok(());
    }
    let known = known(store, lane, looked).await?;
    let sql = format!(
        "UPDATE job_item SET state = c.column2, code = c.column3, decision = c.column4, \
         created = coalesce(c.column5, created), description = coalesce(c.column6, description), \
         parts = c.column7, bytes = c.column8, digest = c.column9, since = c.column10, \
         not_before = c.column11, \
         attempts = CASE WHEN c.column2 = 'found' THEN attempts + 1 ELSE 0 END, \
         ended = CASE WHEN c.column2 = 'gone' THEN {} ELSE NULL END \
         FROM (VALUES {}) AS c WHERE job = $1 AND n = c.column1 AND state = 'found' \
         AND EXISTS (SELECT 1 FROM lease WHERE name = $2 AND owner = $3 AND epoch = $4)",
        store.now(),
        values(looked.len(), 11, 4)
    );
    both!(store, pool => {
        let mut query = sqlx::query(AssertSqlSafe(sql))
            .bind(job)
            .bind(lane.lease())
            .bind(store.replica())
            .bind(lease.epoch);
        for one in looked {
            let since = one.digest.map(|digest| {
                let seen = known.get(&(one.vault.as_str(), one.upload.as_str()));
                let same = seen.filter(|(known, _)| *known == digest);
                same.map_or(one.at, |(_, changed)| one.at.min(*changed))
            });
            let quiet_at = since.map(|since| since.saturating_add(quiet));
            let not_before = match one.state {
                "found" => one.at.saturating_add(one.after),
                _ => quiet_at.filter(|quiet_at| *quiet_at > one.at).unwrap_or(0),
            };
            query = query
                .bind(one.n)
                .bind(one.state)
                .bind(one.code)
                .bind(one.decision)
                .bind(one.created)
                .bind(one.description.as_deref())
                .bind(one.parts)
                .bind(one.bytes)
                .bind(one.digest.map(|digest| digest.to_vec()))
                .bind(since)
                .bind(not_before);
        }
        query.execute(pool).await?;
    });
    Ok(())
}

type Known<'a> = HashMap<(&'a str, &'a str), (Vec<u8>, i64)>;

/// What the inventory knows of the same uploads: the set of parts, and since when.
async fn known<'a>(
    store: &Store,
    lane: &Lane,
    looked: &'a [Looked],
) -> Result<Known<'a>, StoreError> {
    let mut by_vault: HashMap<&str, Vec<&str>> = HashMap::new();
    for one in looked.iter().filter(|one| one.digest.is_some()) {
        by_vault.entry(&one.vault).or_default().push(&one.upload);
    }
    let mut known = HashMap::new();
    for (vault, uploads) in by_vault {
        let sql = format!(
            "SELECT upload, digest, changed FROM upload_seen WHERE account = $1 AND region = $2 \
             AND vault = $3 AND digest IS NOT NULL AND changed IS NOT NULL AND upload IN ({})",
            values(uploads.len(), 1, 3).replace(['(', ')'], "")
        );
        let rows: Vec<(String, Vec<u8>, i64)> = both!(store, pool => {
            let mut query = sqlx::query_as(AssertSqlSafe(sql))
                .bind(&lane.account)
                .bind(&lane.region)
                .bind(vault);
            for upload in &uploads {
                query = query.bind(*upload);
            }
            query.fetch_all(pool).await?
        });
        for (upload, digest, changed) in rows {
            if let Some(upload) = uploads.iter().find(|own| ***own == *upload) {
                known.insert((vault, *upload), (digest, changed));
            }
        }
    }
    Ok(known)
}
