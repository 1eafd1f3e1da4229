//! What is in the vaults, summed up, for those who may see it.

use std::str::FromStr;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sqlx::AssertSqlSafe;

use super::ages::AGES;
use crate::{
    domain::{AccountId, Operation, Region, RegionalAccount, VaultArn, VaultName},
    gateway::Call,
    store::{Store, StoreError, both},
};

/// How many vaults one request looks at, about.
const MOST: usize = 10_000;
/// How many are read at once.
const AT_ONCE: i64 = 1_000;

/// How many uploads there are, and how old.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Levels {
    /// How many there are.
    pub uploads: i64,
    /// Of how many the parts were looked at.
    pub sized: i64,
    /// How many bytes those have.
    pub bytes: i64,
    /// When the oldest was initiated.
    pub oldest: Option<i64>,
    /// How many are at least so old, by [`AGES`].
    pub older: [i64; AGES.len()],
    /// How many disappeared without the gateway's doing.
    pub gone: i64,
    /// How many of these were at least so old when they were last seen.
    pub gone_older: [i64; AGES.len()],
    /// When that was so; of several, the earliest.
    pub as_of: i64,
}

/// A vault, or what several have in common, and what is in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The account.
    pub account: AccountId,
    /// The region, unless the row is about an account.
    pub region: Option<Region>,
    /// The vault, if the row is about one.
    pub vault: Option<VaultName>,
    /// What is in it; of sizes only those that the caller may know.
    pub levels: Levels,
}

/// What a row is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Group {
    /// A vault.
    #[default]
    Vault,
    /// An account in a region.
    Region,
    /// An account.
    Account,
}

/// Where a list goes on: in a place after a vault, or with the next place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The place.
    pub at: RegionalAccount,
    /// The vault.
    pub vault: Option<VaultName>,
    /// The upload in it; empty in a list of vaults.
    pub upload: String,
}

/// Some rows, and where the list goes on, if it does.
pub type Page<T> = (Vec<T>, Option<Marker>);

#[derive(sqlx::FromRow)]
struct Stored {
    vault: String,
    as_of: i64,
    uploads: i64,
    sized: i64,
    bytes: i64,
    oldest: Option<i64>,
    older_1: i64,
    older_7: i64,
    older_30: i64,
    older_90: i64,
    older_365: i64,
    gone: i64,
    gone_1: i64,
    gone_7: i64,
    gone_30: i64,
    gone_90: i64,
    gone_365: i64,
}

impl From<&Stored> for Levels {
    fn from(s: &Stored) -> Self {
        Self {
            uploads: s.uploads,
            sized: s.sized,
            bytes: s.bytes,
            oldest: s.oldest,
            older: [s.older_1, s.older_7, s.older_30, s.older_90, s.older_365],
            gone: s.gone,
            gone_older: [s.gone_1, s.gone_7, s.gone_30, s.gone_90, s.gone_365],
            as_of: s.as_of,
        }
    }
}

impl Levels {
    /// Both together.
    pub fn add(&mut self, other: &Self) {
        let sum = |one: &mut i64, other: &i64| *one = one.saturating_add(*other);
        sum(&mut self.uploads, &other.uploads);
        sum(&mut self.sized, &other.sized);
        sum(&mut self.bytes, &other.bytes);
        sum(&mut self.gone, &other.gone);
        self.older.iter_mut().zip(&other.older).for_each(|(one, other)| sum(one, other));
        self.gone_older.iter_mut().zip(&other.gone_older).for_each(|(one, other)| sum(one, other));
        self.oldest = self.oldest.into_iter().chain(other.oldest).min();
        self.as_of = self.as_of.min(other.as_of);
    }
}

impl Row {
    /// What is in several, if there is one.
    pub fn total(rows: &[Self]) -> Option<Levels> {
        let levels = |row: &Self| row.levels.clone();
        rows.iter().map(levels).reduce(|mut sum, other| {
            sum.add(&other);
            sum
        })
    }

    fn is_like(&self, other: &Self) -> bool {
        (&self.account, &self.region, &self.vault) == (&other.account, &other.region, &other.vault)
    }
}

/// Sums up the vaults of `places` that the caller may list the uploads of and that `meant`
/// holds for. A page may have fewer rows than `limit` and not be the last.
///
/// # Errors
/// When the store does not answer.
pub async fn list(
    call: &Call,
    store: &Store,
    places: &[RegionalAccount],
    meant: impl Fn(&str) -> bool,
    group: Group,
    after: Option<&Marker>,
    limit: usize,
) -> Result<Page<Row>, StoreError> {
    let mut rows: Vec<Row> = Vec::new();
    let mut looked_at = 0;
    for at in remaining(places, after) {
        let mut from = match after {
            Some(Marker { at: last, vault: Some(vault), .. }) if last == at => vault.to_string(),
            _ => String::new(),
        };
        let enough = |rows: &[Row]| match (group, rows.last()) {
            // The next place may belong to the last row.
            (Group::Account, Some(last)) => rows.len() >= limit && last.account != at.account,
            _ => rows.len() >= limit,
        };
        if enough(&rows) || looked_at >= MOST {
            let last = places.iter().take_while(|place| *place != at).last();
            let next = |at: &RegionalAccount| Marker::after_place(at.clone());
            return Ok((rows, last.map(next)));
        }
        loop {
            let some = read(store, at, &from).await?;
            let more = some.len() as i64 == AT_ONCE;
            for stored in &some {
                looked_at += 1;
                from.clone_from(&stored.vault);
                let Ok(vault) = stored.vault.parse::<VaultName>() else { continue };
                if !meant(&stored.vault) {
                    continue;
                }
                let RegionalAccount { region, account } = at.clone();
                let arn = VaultArn { region, account, vault: vault.clone() };
                if !call.may_with_vault(Operation::ListMultipartUploads, arn.clone()) {
                    continue;
                }
                let mut levels = Levels::from(stored);
                if !call.may_with_vault(Operation::ListParts, arn) {
                    (levels.sized, levels.bytes) = (0, 0);
                }
                let row = Row {
                    account: at.account.clone(),
                    region: (group != Group::Account).then(|| at.region.clone()),
                    vault: (group == Group::Vault).then_some(vault),
                    levels,
                };
                match rows.last_mut().filter(|last| last.is_like(&row)) {
                    Some(last) => last.levels.add(&row.levels),
                    None => rows.push(row),
                }
                if group == Group::Vault && rows.len() >= limit {
                    let vault = stored.vault.parse().ok();
                    return Ok((
                        rows,
                        Some(Marker { at: at.clone(), vault, upload: String::new() }),
                    ));
                }
            }
            if !more {
                break;
            }
        }
    }
    Ok((rows, None))
}

/// The places that a list has still to go through.
pub(super) fn remaining<'a>(
    places: &'a [RegionalAccount],
    after: Option<&Marker>,
) -> impl Iterator<Item = &'a RegionalAccount> {
    let key = |at: &RegionalAccount| (at.account.clone(), at.region.clone());
    let after = after.map(|marker| (key(&marker.at), marker.vault.is_some()));
    places.iter().filter(move |at| match &after {
        None => true,
        Some((last, true)) => key(at) >= *last,
        Some((last, false)) => key(at) > *last,
    })
}

async fn read(store: &Store, at: &RegionalAccount, after: &str) -> Result<Vec<Stored>, StoreError> {
    let sql = "SELECT vault, as_of, uploads, sized, bytes, oldest, older_1, older_7, older_30, \
               older_90, older_365, gone, gone_1, gone_7, gone_30, gone_90, gone_365 \
               FROM inventory_vault WHERE account = $1 AND region = $2 AND vault > $3 \
               AND as_of IS NOT NULL ORDER BY vault LIMIT $4";
    Ok(both!(store, pool => {
        sqlx::query_as(sql)
            .bind(at.account.as_str())
            .bind(at.region.as_str())
            .bind(after)
            .bind(AT_ONCE)
            .fetch_all(pool)
            .await?
    }))
}

/// What is in an account and region.
#[derive(Clone, Debug)]
pub(super) struct InPlace {
    pub account: String,
    pub region: String,
    pub levels: Levels,
}

#[derive(sqlx::FromRow)]
struct Place {
    account: String,
    region: String,
    #[sqlx(flatten)]
    stored: Stored,
}

/// What is in each account and region, whoever may see it.
pub(super) async fn by_place(store: &Store) -> Result<Vec<InPlace>, StoreError> {
    let sums: Vec<String> = ["uploads", "sized", "bytes"]
        .map(str::to_owned)
        .into_iter()
        .chain(AGES.map(|days| format!("older_{days}")))
        .chain(["gone".to_owned()])
        .chain(AGES.map(|days| format!("gone_{days}")))
        // Each is far below what a sum of a few thousand could not hold.
        .map(|column| {
            let sum = format!("sum(CAST({column} AS DOUBLE PRECISION))");
            format!(
                "CASE WHEN {sum} > 9e18 THEN 9000000000000000000 \
                 ELSE CAST({sum} AS BIGINT) END AS {column}"
            )
        })
        .collect();
    let sql = format!(
        "SELECT account, region, '' AS vault, min(as_of) AS as_of, min(oldest) AS oldest, {} \
         FROM inventory_vault WHERE as_of IS NOT NULL GROUP BY account, region",
        sums.join(", ")
    );
    let places: Vec<Place> = both!(store, pool => {
        sqlx::query_as(AssertSqlSafe(sql)).fetch_all(pool).await?
    });
    let levels = |Place { account, region, stored }: Place| InPlace {
        account,
        region,
        levels: Levels::from(&stored),
    };
    Ok(places.into_iter().map(levels).collect())
}

impl Marker {
    /// With the place after this one.
    fn after_place(at: RegionalAccount) -> Self {
        Self { at, vault: None, upload: String::new() }
    }
}

impl std::fmt::Display for Marker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { at, vault, upload } = self;
        let vault = vault.as_ref().map_or("", VaultName::as_str);
        let text = format!("{}/{}/{vault}/{upload}", at.account, at.region);
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(text))
    }
}

/// A text that is no marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("send the marker of the page before as it was, or none for the first page")]
pub struct InvalidMarker;

impl FromStr for Marker {
    type Err = InvalidMarker;

    fn from_str(text: &str) -> Result<Self, InvalidMarker> {
        let read = || {
            let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
            let [account, region, vault, upload] = text.split('/').collect::<Vec<_>>()[..] else {
                return None;
            };
            let at =
                RegionalAccount { account: account.parse().ok()?, region: region.parse().ok()? };
            let vault = match vault {
                "" => None,
                vault => Some(vault.parse().ok()?),
            };
            let harmless = upload.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_~".contains(&b));
            harmless.then(|| Self { at, vault, upload: upload.to_owned() })
        };
        read().ok_or(InvalidMarker)
    }
}
