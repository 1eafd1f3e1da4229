//! Writes what was listed. All lanes share one writer, which commits in groups what has come
//! meanwhile, so that many accounts at once keep others only a little from the store.

use std::{collections::HashSet, time::Duration};

use sqlx::AssertSqlSafe;
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

use super::{
    listed::Listed,
    seen::AGAIN,
    vaults::{FENCE, Halt, Tenure},
};
use crate::store::{Store, StoreError, both};

/// How many pages are committed at once: so few that nobody waits long.
const AT_ONCE: usize = 10;
/// How long others have the store to themselves between two commits.
const BREATH: Duration = Duration::from_millis(1);

/// A page of a vault's uploads, and where its list goes on.
pub(super) struct Listing {
    pub tenure: Tenure,
    pub vault: String,
    pub begun: i64,
    pub uploads: Vec<Listed>,
    pub next: Option<String>,
}

/// Hands pages to the writer.
#[derive(Clone)]
pub(super) struct Pages(mpsc::Sender<(Listing, oneshot::Sender<bool>)>);

impl Pages {
    /// Starts the writer, which ends when nobody can hand it anything any more.
    pub fn start(store: Store) -> Self {
        let (pages, mut coming) = mpsc::channel::<(Listing, oneshot::Sender<bool>)>(4 * AT_ONCE);
        tokio::spawn(async move {
            let mut group = Vec::with_capacity(AT_ONCE);
            while coming.recv_many(&mut group, AT_ONCE).await > 0 {
                match write(&store, &group).await {
                    Ok(held) => {
                        for ((_, done), held) in group.drain(..).zip(held) {
                            let _ = done.send(held);
                        }
                    }
                    // Whoever waits learns that it is not written, and comes again.
                    Err(error) => {
                        tracing::debug!(%error, "what was listed in vaults cannot be written");
                        group.clear();
                    }
                }
                sleep(BREATH).await;
            }
        });
        Self(pages)
    }

    /// Writes a page.
    pub async fn write(&self, listing: Listing) -> Result<(), Halt> {
        let unwritten = || Halt::Store(StoreError::Unusable("a page was not written".to_owned()));
        let (done, written) = oneshot::channel();
        self.0.send((listing, done)).await.map_err(|_| unwritten())?;
        match written.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Halt::Lost),
            Err(_) => Err(unwritten()),
        }
    }
}

/// Writes all pages or none, but for those whose lane another process works on: false.
async fn write(
    store: &Store,
    group: &[(Listing, oneshot::Sender<bool>)],
) -> Result<Vec<bool>, StoreError> {
    Ok(both!(store, pool => {
        let mut transaction = pool.begin_with(store.begin()).await?;
        let mut held = Vec::with_capacity(group.len());
        for (Listing { tenure, vault, begun, uploads, next }, _) in group {
            let at = &tenure.at;
            let lane = sqlx::query(FENCE)
                .bind(&tenure.run)
                .bind(at.account.as_str())
                .bind(at.region.as_str())
                .bind(tenure.epoch)
                .execute(&mut *transaction)
                .await?;
            held.push(lane.rows_affected() > 0);
            if lane.rows_affected() == 0 {
                continue;
            }
            let mut known = HashSet::new();
            let uploads: Vec<&Listed> =
                uploads.iter().filter(|listed| known.insert(&listed.upload)).collect();
            for uploads in uploads.chunks(50) {
                let mut query = sqlx::query(AssertSqlSafe(insert(uploads.len())))
                    .bind(at.account.as_str())
                    .bind(at.region.as_str())
                    .bind(vault)
                    .bind(begun);
                for Listed { upload, created, description, part_size } in uploads.iter().copied() {
                    query = query.bind(upload.as_str()).bind(created).bind(description).bind(part_size);
                }
                query.execute(&mut *transaction).await?;
            }
            let progress = "UPDATE inventory_vault SET marker = $1 WHERE run = $2 \
                 AND account = $3 AND region = $4 AND vault = $5 AND begun = $6";
            sqlx::query(progress)
                .bind(next)
                .bind(&tenure.run)
                .bind(at.account.as_str())
                .bind(at.region.as_str())
                .bind(vault)
                .bind(begun)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        held
    }))
}

/// The statement for so many uploads.
fn insert(uploads: usize) -> String {
    let row = |n: usize| {
        let first = 5 + 4 * n;
        let [created, description, part_size] = [first + 1, first + 2, first + 3];
        format!("($1, $2, $3, ${first}, ${created}, ${description}, ${part_size}, $4, $4)")
    };
    let rows: Vec<String> = (0..uploads).map(row).collect();
    format!(
        "INSERT INTO upload_seen (account, region, vault, upload, created, description, \
         part_size, first_seen, last_seen) VALUES {} \
         ON CONFLICT (account, region, vault, upload) DO UPDATE SET {AGAIN}",
        rows.join(", ")
    )
}
