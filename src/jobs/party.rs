//! In whose names a job acts, as the settings and revocations have them now.

use std::sync::Arc;

use super::{error::JobError, rows::Row};
use crate::{
    authn::Lapsed,
    gateway::{Actor, Gateway},
};

/// Those in whose names a job acts.
#[derive(Clone, Debug)]
pub(super) struct Party {
    /// The creator as a member of the job's team: whose permission and session it is.
    pub creator: Actor,
    /// Who must be allowed as well: the creator with all teams, so that a Deny of any of them
    /// counts, and the confirmer.
    pub others: Vec<Actor>,
    /// Who confirmed the job.
    pub confirmer: Option<Actor>,
}

/// Why a job stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    /// The stable code.
    pub code: &'static str,
    /// What happened and what to do.
    pub detail: String,
}

impl Stop {
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

impl Party {
    /// Those in whose names the job of `row` acts now.
    ///
    /// # Errors
    /// Why it may not act any more.
    pub fn of(gateway: &Gateway, row: &Row) -> Result<Result<Self, Stop>, JobError> {
        let (creator, confirmer) = (row.creator()?, row.confirmer()?);
        let renewed = || {
            let creator = renew(gateway, creator, &row.team, "creator")?;
            let confirmer = confirmer.map(|actor| renew(gateway, actor, "", "confirmer"));
            let confirmer = confirmer.transpose()?;
            let mut others = Vec::new();
            if creator.principal.teams.len() > 1 {
                others.push(creator.clone());
            }
            others.extend(confirmer.clone().filter(|confirmer| {
                confirmer.principal != creator.principal || confirmer.context != creator.context
            }));
            Ok(Self { creator: creator.in_team(&row.team), others, confirmer })
        };
        Ok(renewed())
    }
}

/// The actor as it is now, in `team` if one is named.
fn renew(gateway: &Gateway, actor: Actor, team: &str, who: &str) -> Result<Actor, Stop> {
    let subject = &actor.principal.subject;
    let renewed = gateway.authenticator.renewed(&actor.principal).map_err(|lapsed| match lapsed {
        Lapsed::Revoked => Stop::new(
            "caller-revoked",
            format!("The job's {who}, {subject}, is revoked. Ask for the job anew as somebody else."),
        ),
        Lapsed::Issuer => Stop::new(
            "caller-unknown",
            format!("The job's {who}, {subject}, is not known any more: the issuer's settings have changed."),
        ),
        Lapsed::Team => Stop::new(
            "team-lost",
            format!("The job's {who}, {subject}, is in no team any more."),
        ),
    })?;
    if !team.is_empty() && !renewed.teams.iter().any(|own| own == team) {
        let detail = format!("The job's {who}, {subject}, is not in the team {team} any more.");
        return Err(Stop::new("team-lost", detail));
    }
    Ok(Actor { principal: Arc::clone(&renewed), context: actor.context })
}
