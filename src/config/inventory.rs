//! `[inventory]`: when the vaults are looked through, and how.

use std::time::Duration;

use serde::Deserialize;

use crate::domain::{CronPattern, Zone, check_team};

/// `[inventory]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// When all vaults are looked through.
    pub schedule: Option<CronPattern>,
    /// The time zone of the schedule.
    pub time_zone: Zone,
    /// The team whose policies say what may be looked at on schedule.
    pub team: Option<String>,
    /// How closely, on schedule.
    pub detail: Detail,
    /// How many requests a second Glacier is sent for an account and region.
    pub pace: u32,
    /// How long it is kept that an upload is gone, and what became of a run.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
}

/// How closely vaults are looked at.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Detail {
    /// Which uploads there are.
    #[default]
    Uploads,
    /// And which parts these have, by a request or more for each.
    Sizes,
}

impl Inventory {
    /// What the types cannot say.
    pub(super) fn check(&self, has_store: bool, mut wrong: impl FnMut(String, &str)) {
        match (&self.schedule, &self.team) {
            (Some(_), None) => wrong(
                "inventory.team".into(),
                "name the team whose policies say what the schedule may look at",
            ),
            (Some(_), Some(_)) if !has_store => wrong(
                "inventory.schedule".into(),
                "what is found is kept in a store: set store.url",
            ),
            _ => {}
        }
        if let Some(team) = self.team.as_ref().filter(|team| check_team(team).is_err()) {
            wrong("inventory.team".into(), &format!("{team:?} is not a team"));
        }
        if !(1..=1000).contains(&self.pace) {
            wrong("inventory.pace".into(), "write 1 to 1000 requests a second");
        }
        if self.keep < Duration::from_secs(24 * 3600) {
            wrong("inventory.keep".into(), "write a day or more, such as \"180days\"");
        }
    }
}
