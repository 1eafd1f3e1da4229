//! The numbers of what is in the vaults.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::place::Place;

/// What was seen in an account and region the last time.
#[derive(Clone, Debug)]
pub struct InventoryLevel {
    /// The account's configured name.
    pub account: String,
    /// The region.
    pub region: String,
    /// How many uploads are in progress.
    pub uploads: i64,
    /// How many bytes those have whose parts were looked at.
    pub bytes: i64,
    /// When the oldest was initiated, in seconds since 1970.
    pub oldest: Option<i64>,
    /// The earliest time that the other numbers are of, in seconds since 1970.
    pub as_of: i64,
    /// How many are at least so many days old: days and number.
    pub stale: Vec<(i64, i64)>,
}

/// What is told of each account and region. There are as many as the configuration names.
#[derive(Debug)]
pub(super) struct InventoryMetrics {
    uploads: Family<Place, Gauge>,
    stale: Family<Stale, Gauge>,
    bytes: Family<Place, Gauge>,
    oldest: Family<Place, Gauge>,
    as_of: Family<Place, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stale {
    account: String,
    region: String,
    days: i64,
}

impl InventoryMetrics {
    pub fn new(registry: &mut Registry) -> Self {
        let inventory = Self {
            uploads: Family::default(),
            stale: Family::default(),
            bytes: Family::default(),
            oldest: Family::default(),
            as_of: Family::default(),
        };
        registry.register(
            "inventory_uploads",
            "Uploads in progress, as of the last look",
            inventory.uploads.clone(),
        );
        registry.register(
            "inventory_stale_uploads",
            "Uploads in progress that are at least so many days old, as of the last look",
            inventory.stale.clone(),
        );
        registry.register_with_unit(
            "inventory_upload",
            "What the uploads have received whose parts were looked at",
            Unit::Bytes,
            inventory.bytes.clone(),
        );
        registry.register_with_unit(
            "inventory_oldest_upload_timestamp",
            "When the oldest upload in progress was initiated, in seconds since 1970",
            Unit::Seconds,
            inventory.oldest.clone(),
        );
        registry.register_with_unit(
            "inventory_as_of_timestamp",
            "When the vault was looked through whose last look is the longest ago, in seconds since 1970",
            Unit::Seconds,
            inventory.as_of.clone(),
        );
        inventory
    }

    /// Places that are not among these any more are not told of.
    pub fn set(&self, levels: impl Iterator<Item = InventoryLevel>) {
        self.uploads.clear();
        self.stale.clear();
        self.bytes.clear();
        self.oldest.clear();
        self.as_of.clear();
        for level in levels {
            let InventoryLevel { account, region, .. } = &level;
            for (days, uploads) in &level.stale {
                let (account, region) = (account.clone(), region.clone());
                let stale = Stale { account, region, days: *days };
                self.stale.get_or_create(&stale).set(*uploads);
            }
            let place = Place { account: account.clone(), region: region.clone() };
            self.uploads.get_or_create(&place).set(level.uploads);
            self.bytes.get_or_create(&place).set(level.bytes);
            self.as_of.get_or_create(&place).set(level.as_of);
            if let Some(oldest) = level.oldest {
                self.oldest.get_or_create(&place).set(oldest);
            }
        }
    }
}
