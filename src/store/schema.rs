//! Which versions of the gateway can work with which versions of the schema.
//!
//! A migration first adds what is new, and only a later one takes away what is old. So
//! gateways of two versions can share a store, and the older one is told by
//! `oldest_reader` when it no longer can.

use super::error::StoreError;

/// How many migrations this gateway knows: the version of the schema that it makes.
pub(super) const VERSION: i64 = 4;
/// The oldest version that can work with the schema that this gateway makes.
pub(super) const OLDEST_READER: i64 = 1;

/// How many entries there are, as the logs say, and how many intents are open.
pub(super) const COUNTS: &str = "SELECT \
    CAST(coalesce((SELECT sum(size) FROM audit_log WHERE dropped = 0), 0) \
        + coalesce((SELECT next FROM audit_head), 0) AS BIGINT), \
    (SELECT count(*) FROM audit_open)";

/// What `store_info` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub version: i64,
    pub oldest_reader: i64,
}

impl Version {
    /// How many of the migrations the store has.
    ///
    /// # Errors
    /// A schema that this gateway is too old for.
    pub fn applied(self) -> Result<usize, StoreError> {
        let Self { version, oldest_reader } = self;
        if oldest_reader > VERSION {
            return Err(StoreError::unusable(format!(
                "the store's schema has version {version} and needs a gateway that knows version \
                 {oldest_reader}; this one knows {VERSION}: install a newer one"
            )));
        }
        Ok(usize::try_from(version).unwrap_or(0))
    }
}
