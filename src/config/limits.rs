//! `[limits]`: how much is let through, and for whom.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use serde::Deserialize;

use super::store::StoreUrl;

/// The shortest and longest times that a connection may be kept waiting.
const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(3600);

/// `[limits]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Requests, whoever sends them.
    pub server: ServerLimits,
    /// Calls of Glacier, in each account and region.
    pub upstream: UpstreamLimits,
    /// Requests of callers.
    pub callers: CallerLimits,
}

/// `[limits.server]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerLimits {
    /// The most connections at once; 0 is as many as open files allow.
    pub connections: usize,
    /// How long a connection may be without a request.
    #[serde(with = "humantime_serde")]
    pub keep_alive: Duration,
    /// How long the line and header fields of a request may take to arrive.
    #[serde(with = "humantime_serde")]
    pub head_timeout: Duration,
    /// How long a body may take to arrive.
    #[serde(with = "humantime_serde")]
    pub body_timeout: Duration,
    /// The longest URL, in bytes.
    pub url_size: usize,
    /// The longest header fields, together, in bytes.
    pub head_size: usize,
    /// The longest body, in bytes.
    pub body_size: usize,
}

/// `[limits.upstream]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamLimits {
    /// The most calls that are under way at once.
    pub concurrency: u32,
    /// Which share of them jobs and inventory runs may have.
    pub background_share: f64,
    /// The most callers that wait for one of them.
    pub queue: u32,
    /// The longest that a caller waits.
    #[serde(with = "humantime_serde")]
    pub queue_timeout: Duration,
    /// After how many failures in a row no further call is made; 0 is never.
    pub breaker_failures: u32,
    /// How often one call is tried then, or if all calls hang.
    #[serde(with = "humantime_serde")]
    pub breaker_interval: Duration,
}

/// `[limits.callers]`; of each number, 0 is no limit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallerLimits {
    /// Requests of a team, each second.
    pub rate: u32,
    /// Requests of a team, at once.
    pub in_flight: u32,
    /// Requests of a subject in a team, each second.
    pub subject_rate: u32,
    /// Requests of a subject in a team, at once.
    pub subject_in_flight: u32,
    /// Refused credentials from an address, each minute.
    pub refused_credentials: u32,
    /// Whether the numbers, but for that of refused credentials, are of all replicas together.
    pub shared: bool,
    /// What is otherwise for some teams.
    #[serde(default)]
    pub teams: BTreeMap<String, TeamLimits>,
}

/// `[limits.callers.teams.NAME]`; whatever is not there is as for all teams.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeamLimits {
    /// Requests of the team, each second.
    pub rate: Option<u32>,
    /// Requests of the team, at once.
    pub in_flight: Option<u32>,
    /// Requests of a subject in the team, each second.
    pub subject_rate: Option<u32>,
    /// Requests of a subject in the team, at once.
    pub subject_in_flight: Option<u32>,
}

/// How much one may ask; `None` is no limit.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// Requests each second.
    pub rate: Option<NonZeroU32>,
    /// Requests at once.
    pub in_flight: Option<NonZeroU32>,
}

impl CallerLimits {
    /// What a team may ask.
    pub fn of_team(&self, team: &str) -> Allowance {
        let own = self.teams.get(team);
        Allowance {
            rate: limit(own.and_then(|own| own.rate), self.rate),
            in_flight: limit(own.and_then(|own| own.in_flight), self.in_flight),
        }
    }

    /// What a subject in a team may ask.
    pub fn of_subject(&self, team: &str) -> Allowance {
        let own = self.teams.get(team);
        Allowance {
            rate: limit(own.and_then(|own| own.subject_rate), self.subject_rate),
            in_flight: limit(own.and_then(|own| own.subject_in_flight), self.subject_in_flight),
        }
    }

    /// Whether there is a limit of anybody's requests.
    pub fn are_any(&self) -> bool {
        let mut teams = self.teams.keys().map(String::as_str).chain([""]);
        teams.any(|team| {
            let all = [self.of_team(team), self.of_subject(team)];
            all.into_iter().any(|of| of.rate.is_some() || of.in_flight.is_some())
        })
    }
}

fn limit(own: Option<u32>, of_all: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(own.unwrap_or(of_all))
}

impl Limits {
    /// What the types cannot say.
    pub(super) fn check(&self, store: &StoreUrl, mut wrong: impl FnMut(String, &str)) {
        if self.callers.shared && *store == StoreUrl::None {
            let what = "name a store (store.url), in which replicas know of each other";
            wrong("limits.callers.shared".into(), what);
        }
        let server = &self.server;
        for (key, duration) in [
            ("limits.server.keep_alive", server.keep_alive),
            ("limits.server.head_timeout", server.head_timeout),
            ("limits.server.body_timeout", server.body_timeout),
        ] {
            if !(LEAST..=MOST).contains(&duration) {
                wrong(key.into(), "write a duration from \"1s\" to \"1h\"");
            }
        }
        for (key, size, sizes) in [
            ("limits.server.url_size", server.url_size, 1 << 10..=64_000),
            // Beyond, the HTTP library answers by itself.
            ("limits.server.head_size", server.head_size, 4 << 10..=128 << 10),
            ("limits.server.body_size", server.body_size, 64 << 10..=64 << 20),
        ] {
            if !sizes.contains(&size) {
                let (least, most) = (sizes.start(), sizes.end());
                wrong(key.into(), &format!("write a number of bytes from {least} to {most}"));
            }
        }
        let UpstreamLimits { concurrency, background_share, .. } = &self.upstream;
        if !(1..=10_000).contains(concurrency) {
            wrong("limits.upstream.concurrency".into(), "write a number from 1 to 10000");
        }
        if !(*background_share > 0.0 && *background_share <= 1.0) {
            wrong("limits.upstream.background_share".into(), "write a share above 0 and up to 1");
        }
        for (key, duration) in [
            ("limits.upstream.queue_timeout", self.upstream.queue_timeout),
            ("limits.upstream.breaker_interval", self.upstream.breaker_interval),
        ] {
            if duration.is_zero() {
                wrong(key.into(), "write a duration above zero, such as \"2s\"");
            }
        }
    }
}
