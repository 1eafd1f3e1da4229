//! The uploads that were seen, one by one, for those who may see them.

use super::summary::{Marker, Page, remaining};
use crate::{
    domain::{Operation, RegionalAccount, VaultArn, VaultName},
    gateway::Call,
    policy::matches_wildcards,
    store::{Store, StoreError, both, time},
};

/// How many uploads, and how many vaults, one request looks at, about.
const MOST: usize = 10_000;
/// How many are read at once.
const AT_ONCE: i64 = 500;

/// Which uploads.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Those in this state.
    pub state: Option<State>,
    /// Those that were initiated earlier.
    pub initiated_before: Option<i64>,
    /// Those of at least so many bytes, as far as that is known.
    pub min_bytes: Option<i64>,
    /// Those whose description fits, with IAM's wildcards.
    pub description: Option<String>,
}

/// What is known of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The last complete crawl of its vault saw it.
    Present,
    /// The last complete crawl of its vault did not see it, and the one before did.
    Missing,
    /// Two complete crawls did not see it, or Glacier said that it does not know it.
    Gone,
}

/// An upload that was seen.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Seen {
    /// Its ID.
    pub upload: String,
    /// When it was initiated.
    pub created: i64,
    /// What its uploader wrote about the archive.
    pub description: Option<String>,
    /// The size of every part but the last, in bytes.
    pub part_size: i64,
    /// How many parts it had when these were last looked at.
    pub parts: Option<i64>,
    /// How many bytes these have.
    pub bytes: Option<i64>,
    /// When it was first seen.
    pub first_seen: i64,
    /// When it was last seen.
    pub last_seen: i64,
    /// When its parts were last looked at.
    pub observed: Option<i64>,
    /// The first look that found these parts.
    pub changed: Option<i64>,
    /// The first complete crawl that did not see it.
    pub missing: Option<i64>,
    /// Since when it is known to be gone.
    pub gone: Option<i64>,
    /// When the gateway asked Glacier to abort it.
    pub abort_asked: Option<i64>,
}

impl Seen {
    /// What is known of it.
    pub fn state(&self) -> State {
        match (self.gone, self.missing) {
            (Some(_), _) => State::Gone,
            (None, Some(_)) => State::Missing,
            (None, None) => State::Present,
        }
    }
}

impl Filter {
    fn holds(&self, seen: &Seen) -> bool {
        let described = |pattern: &String| {
            matches_wildcards(pattern, seen.description.as_deref().unwrap_or_default())
        };
        self.state.is_none_or(|state| state == seen.state())
            && self.initiated_before.is_none_or(|before| seen.created < before)
            && self.min_bytes.is_none_or(|least| seen.bytes.is_some_and(|bytes| bytes >= least))
            && self.description.as_ref().is_none_or(described)
    }
}

/// Lists uploads in the vaults of `places` that the caller may list the uploads of and that
/// `meant` holds for, each with its vault. Sizes that the caller may not know of are left
/// out. A page may have fewer than `limit` and not be the last.
///
/// # Errors
/// When the store does not answer.
pub async fn list(
    call: &Call,
    store: &Store,
    places: &[RegionalAccount],
    meant: impl Fn(&str) -> bool,
    filter: &Filter,
    after: Option<&Marker>,
    limit: usize,
) -> Result<Page<(VaultArn, Seen)>, StoreError> {
    let mut found = Vec::new();
    let mut looked_at = 0;
    for at in remaining(places, after) {
        let resumed = after.filter(|marker| marker.at == *at);
        let mut from = resumed.and_then(|marker| marker.vault.clone());
        // The first vault is the marker's own, which may have more uploads.
        let mut inside = from.is_some().then(|| after.map(|m| m.upload.clone())).flatten();
        loop {
            let vault = match (&inside, &from) {
                (Some(_), Some(vault)) => Some(vault.clone()),
                _ => next(store, at, from.as_ref()).await?,
            };
            let Some(vault) = vault else { break };
            from = Some(vault.clone());
            looked_at += 1;
            let mut upload = inside.take().unwrap_or_default();
            let RegionalAccount { region, account } = at.clone();
            let arn = VaultArn { region, account, vault: vault.clone() };
            let seen = meant(vault.as_str())
                && call.may_with_vault(Operation::ListMultipartUploads, arn.clone());
            let mut more = seen;
            while more {
                let some = read(store, &arn, &upload).await?;
                more = some.len() as i64 == AT_ONCE;
                for mut seen in some {
                    looked_at += 1;
                    upload.clone_from(&seen.upload);
                    let created = time(seen.created);
                    let description = seen.description.as_deref();
                    if !call.may_look_at(arn.clone(), created, description) {
                        (seen.parts, seen.bytes, seen.observed, seen.changed) =
                            (None, None, None, None);
                    }
                    if filter.holds(&seen) {
                        found.push((arn.clone(), seen));
                    }
                    if found.len() >= limit || looked_at >= MOST {
                        let vault = Some(vault);
                        return Ok((found, Some(Marker { at: at.clone(), vault, upload })));
                    }
                }
            }
            if looked_at >= MOST {
                let vault = Some(vault);
                // No upload's ID is greater.
                return Ok((found, Some(Marker { at: at.clone(), vault, upload: "~".to_owned() })));
            }
        }
    }
    Ok((found, None))
}

/// The vault after another, in an account and region.
async fn next(
    store: &Store,
    at: &RegionalAccount,
    after: Option<&VaultName>,
) -> Result<Option<VaultName>, StoreError> {
    let sql = "SELECT vault FROM inventory_vault WHERE account = $1 AND region = $2 \
               AND vault > $3 ORDER BY vault LIMIT 1";
    let found: Option<(String,)> = both!(store, pool => {
        sqlx::query_as(sql)
            .bind(at.account.as_str())
            .bind(at.region.as_str())
            .bind(after.map_or("", VaultName::as_str))
            .fetch_optional(pool)
            .await?
    });
    Ok(found.and_then(|(vault,)| vault.parse().ok()))
}

async fn read(store: &Store, vault: &VaultArn, after: &str) -> Result<Vec<Seen>, StoreError> {
    let sql = "SELECT upload, created, description, part_size, parts, bytes, first_seen, \
               last_seen, observed, changed, missing, gone, abort_asked FROM upload_seen \
               WHERE account = $1 AND region = $2 AND vault = $3 AND upload > $4 \
               ORDER BY upload LIMIT $5";
    Ok(both!(store, pool => {
        sqlx::query_as(sql)
            .bind(vault.account.as_str())
            .bind(vault.region.as_str())
            .bind(vault.vault.as_str())
            .bind(after)
            .bind(AT_ONCE)
            .fetch_all(pool)
            .await?
    }))
}
