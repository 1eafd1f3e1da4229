//! How much callers may ask of this process: requests each second and at once, of each team
//! and of each subject in a team.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
};
use moka::sync::Cache;

use crate::{
    config::{Allowance, CallerLimits},
    domain::Principal,
};

/// Of how many teams and subjects it is known what they have asked. If there are more, those
/// who ask seldom are forgotten, and may ask for more than the limits say.
const MOST_KNOWN: u64 = 20_000;
/// After how long without a request one is forgotten.
const IDLE: Duration = Duration::from_secs(600);
/// After how long one of many requests is likely to have ended.
const SOON: Duration = Duration::from_secs(1);

/// What callers may ask, and what they have asked.
pub(super) struct Callers {
    settings: CallerLimits,
    /// Among how many processes a limit is divided.
    processes: AtomicU32,
    /// `None` if there are no limits.
    known: Option<Cache<Name, Arc<Asked>>>,
}

/// A team, or a subject in it.
#[derive(PartialEq, Eq, Hash)]
struct Name {
    team: String,
    /// The subject's issuer and name.
    subject: Option<(String, String)>,
    /// Among how many processes its limits are divided.
    processes: u32,
}

/// What one may ask and has asked.
struct Asked {
    rate: Option<(NonZeroU32, DefaultDirectRateLimiter<StateInformationMiddleware>)>,
    most_in_flight: Option<NonZeroU32>,
    in_flight: AtomicU32,
}

/// A limit of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Of a team, each second.
    TeamRate,
    /// Of a team, at once.
    TeamInFlight,
    /// Of a subject in a team, each second.
    SubjectRate,
    /// Of a subject in a team, at once.
    SubjectInFlight,
}

impl Limit {
    /// What it is called in replies and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TeamRate => "team-rate",
            Self::TeamInFlight => "team-in-flight",
            Self::SubjectRate => "subject-rate",
            Self::SubjectInFlight => "subject-in-flight",
        }
    }

    /// Whether it is of requests each second, not at once.
    pub const fn is_rate(self) -> bool {
        matches!(self, Self::TeamRate | Self::SubjectRate)
    }
}

/// How it stands with a limit.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Which.
    pub limit: Limit,
    /// How many requests there may be.
    pub most: u32,
    /// How many more there may be now.
    pub remaining: u32,
}

/// Leave to ask. The request is in flight until this is dropped.
#[derive(Default)]
pub struct Admission {
    in_flight: Vec<InFlight>,
    /// How it stands with the limits that there are.
    pub standings: Vec<Standing>,
}

struct InFlight(Arc<Asked>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// A caller asks too much.
#[derive(Debug)]
pub struct Excess {
    /// In this team.
    pub team: String,
    /// Beyond this limit.
    pub limit: Limit,
    /// After how long there may be another request.
    pub retry_after: Duration,
    /// How it stands with this limit, and with those that were asked about before.
    pub standings: Vec<Standing>,
}

impl Callers {
    pub fn new(settings: &CallerLimits) -> Self {
        let known = Cache::builder().max_capacity(MOST_KNOWN).time_to_idle(IDLE);
        let known = settings.are_any().then(|| known.build());
        Self { settings: settings.clone(), processes: AtomicU32::new(1), known }
    }

    /// So many processes live that serve callers. If limits are of all together, each lets
    /// through its part.
    pub fn share_with(&self, processes: u32) {
        if self.settings.shared {
            self.processes.store(processes.max(1), Relaxed);
        }
    }

    /// Counts a request against the limits of the first of the caller's teams that has room.
    ///
    /// # Errors
    /// None has. The error is about the first.
    pub fn admit(&self, caller: &Principal) -> Result<Admission, Excess> {
        let Some(known) = &self.known else { return Ok(Admission::default()) };
        let mut first = None;
        for team in &caller.teams {
            match self.admit_to(known, team, caller) {
                Ok(admission) => return Ok(admission),
                Err(excess) => _ = first.get_or_insert(excess),
            }
        }
        first.map_or_else(|| Ok(Admission::default()), Err)
    }

    /// The subject is asked about first, so that what is refused of it counts against no team.
    fn admit_to(
        &self,
        known: &Cache<Name, Arc<Asked>>,
        team: &str,
        caller: &Principal,
    ) -> Result<Admission, Excess> {
        let mut admission = Admission::default();
        let subject = Some((caller.issuer.clone(), caller.subject.clone()));
        let processes = self.processes.load(Relaxed);
        for (subject, allowance, in_flight, rate) in [
            (subject, self.settings.of_subject(team), Limit::SubjectInFlight, Limit::SubjectRate),
            (None, self.settings.of_team(team), Limit::TeamInFlight, Limit::TeamRate),
        ] {
            let name = Name { team: team.to_owned(), subject, processes };
            let asked = known.get_with(name, || Arc::new(Asked::new(allowance, processes)));
            let begun = asked.begin(in_flight, &mut admission);
            begun.and_then(|()| asked.count(rate, &mut admission)).map_err(
                |(limit, retry_after)| {
                    let standings = std::mem::take(&mut admission.standings);
                    Excess { team: team.to_owned(), limit, retry_after, standings }
                },
            )?;
        }
        Ok(admission)
    }
}

impl Asked {
    fn new(Allowance { rate, in_flight }: Allowance, processes: u32) -> Self {
        let part = |all: NonZeroU32| NonZeroU32::new(all.get().div_ceil(processes)).unwrap_or(all);
        let (rate, in_flight) = (rate.map(part), in_flight.map(part));
        let limiter = |rate| RateLimiter::direct(Quota::per_second(rate)).with_middleware();
        let rate = rate.map(|rate| (rate, limiter(rate)));
        Self { rate, most_in_flight: in_flight, in_flight: AtomicU32::new(0) }
    }

    /// Counts a request among those at once.
    fn begin(
        self: &Arc<Self>,
        limit: Limit,
        admission: &mut Admission,
    ) -> Result<(), (Limit, Duration)> {
        let Some(most) = self.most_in_flight else { return Ok(()) };
        let before = self.in_flight.fetch_add(1, Relaxed);
        let begun = InFlight(self.clone());
        let remaining = most.get().checked_sub(before + 1);
        admission.note(limit, most, remaining.unwrap_or(0));
        if remaining.is_none() {
            return Err((limit, SOON));
        }
        admission.in_flight.push(begun);
        Ok(())
    }

    /// Counts a request among those of this second.
    fn count(&self, limit: Limit, admission: &mut Admission) -> Result<(), (Limit, Duration)> {
        let Some((most, limiter)) = &self.rate else { return Ok(()) };
        let checked = limiter.check();
        let remaining = checked.as_ref().map_or(0, |state| state.remaining_burst_capacity());
        admission.note(limit, *most, remaining);
        checked
            .map(drop)
            .map_err(|wait| (limit, wait.wait_time_from(DefaultClock::default().now())))
    }
}

impl Admission {
    /// Notes how it stands with a limit.
    fn note(&mut self, limit: Limit, most: NonZeroU32, remaining: u32) {
        self.standings.push(Standing { limit, most: most.get(), remaining });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn caller(subject: &str, teams: &[&str]) -> Principal {
        Principal {
            issuer: "corporate".to_owned(),
            subject: subject.to_owned(),
            teams: teams.iter().map(ToString::to_string).collect(),
            tags: Default::default(),
            claims: Default::default(),
        }
    }

    fn callers(in_flight: u32, subject_in_flight: u32) -> Callers {
        Callers::new(&CallerLimits {
            rate: 0,
            in_flight,
            subject_rate: 0,
            subject_in_flight,
            refused_credentials: 0,
            shared: true,
            teams: Default::default(),
        })
    }

    #[test]
    fn processes_share_a_limit() {
        let (callers, ann) = (callers(5, 0), caller("ann", &["media"]));
        let most = |callers: &Callers| callers.admit(&ann).unwrap().standings[0].most;
        assert_eq!(most(&callers), 5);
        callers.share_with(2);
        assert_eq!(most(&callers), 3);
        callers.share_with(10);
        assert_eq!(most(&callers), 1);
        callers.share_with(0);
        assert_eq!(most(&callers), 5);
    }

    #[test]
    fn a_caller_of_several_teams_counts_against_the_first_that_has_room() {
        let (callers, both) = (callers(1, 0), caller("ann", &["media", "video"]));
        let media = callers.admit(&caller("bob", &["media"])).unwrap();
        let video = callers.admit(&both).unwrap();
        assert_eq!(callers.admit(&both).err().unwrap().team, "media");
        drop(media);
        let _media = callers.admit(&both).unwrap();
        drop(video);
        assert!(callers.admit(&caller("bob", &["video"])).is_ok());
    }

    #[test]
    fn what_is_refused_of_a_subject_counts_against_no_team() {
        let callers = callers(3, 2);
        let _two = [0; 2].map(|_| callers.admit(&caller("ann", &["media"])).unwrap());
        for _ in 0..5 {
            let excess = callers.admit(&caller("ann", &["media"])).err().unwrap();
            assert_eq!(excess.limit, Limit::SubjectInFlight);
        }
        let third = callers.admit(&caller("bob", &["media"])).unwrap();
        let remaining: Vec<u32> = third.standings.iter().map(|of| of.remaining).collect();
        assert_eq!(remaining, [1, 0]);
    }
}
