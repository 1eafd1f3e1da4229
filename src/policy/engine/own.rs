//! Decisions about the gateway's own actions, which are about teams or accounts and not
//! about vaults.

use std::sync::Arc;

use super::context::{Context, Facts, Request};
use super::decision::{Denial, StatementId};
use super::pattern::Pattern;
use super::rule::{self, Found, Verdict};
use super::set::{PolicySet, Statements, Stored};
use super::statement::Statement;
use crate::domain::{GatewayAction, Principal};
use crate::policy::language::document::Effect;

/// Whom one of the gateway's own actions is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach<'a> {
    /// One team, account, job (`TEAM/ID`) or lifecycle rule, whatever the action is about.
    Team(&'a str),
    /// All teams at once: an Allow must be about all of them, and a Deny about one of
    /// them denies.
    All,
    /// Some team, no matter which: an Allow may be about one of them, and only a Deny
    /// about all of them denies.
    Any,
}

/// That the caller may do one of the gateway's own actions.
#[derive(Clone, Debug)]
pub struct OwnGrant {
    /// The index of the permitted team in the principal's teams.
    pub team: usize,
    /// A statement that allowed it.
    pub statement: Arc<StatementId>,
}

impl Reach<'_> {
    /// The resource of `action`, as policies see it.
    pub fn resource(self, action: GatewayAction) -> String {
        action.resource(match self {
            Self::Team(team) => team,
            Self::All | Self::Any => "*",
        })
    }
}

impl Statements {
    fn find_own(
        &self,
        action: GatewayAction,
        about: impl Fn(&Statement, &dyn Facts) -> bool,
        facts: &dyn Facts,
    ) -> Found<&Stored> {
        let mut found = Found::Nothing;
        for stored in self.own(action).filter(|stored| about(&stored.statement, facts)) {
            match stored.statement.effect {
                Effect::Deny => return Found::Deny(stored),
                Effect::Allow => found = Found::Allow(stored),
            }
        }
        found
    }
}

impl PolicySet {
    /// Decides whether the caller may do something that is the gateway's own, not
    /// Glacier's.
    ///
    /// # Errors
    /// A [`Denial`], which says why, but for near misses.
    pub fn decide_own(
        &self,
        principal: &Principal,
        action: GatewayAction,
        reach: Reach<'_>,
        context: &Context,
    ) -> Result<OwnGrant, Denial> {
        let resource = reach.resource(action);
        let all = Pattern::wildcards(&resource);
        let about = |statement: &Statement, facts: &dyn Facts| {
            let covers = match (reach, statement.effect) {
                (Reach::Team(_), _) | (Reach::All, Effect::Allow) => {
                    statement.covers_resource(&resource, facts)
                }
                (Reach::All, Effect::Deny) | (Reach::Any, Effect::Allow) => {
                    statement.covers_resource(&resource, facts) || statement.is_within(&all)
                }
                (Reach::Any, Effect::Deny) => statement.contains(&all),
            };
            covers && statement.applies_to_caller(facts)
        };
        let (mut allowed, mut limited_by_guardrails) = (None, false);
        for (index, team) in principal.teams.iter().enumerate() {
            let facts = Request::new(principal, team, None, context);
            let find = |layer| Statements::find_own(layer, action, about, &facts);
            let own = self.team(team).map_or(Found::Nothing, find);
            match rule::judge(own, self.guardrails().map(find), find(self.vaults())) {
                Verdict::Deny(stored) => {
                    let statement = Arc::clone(&stored.id);
                    return Err(Denial::ExplicitDeny { team: team.clone(), statement });
                }
                Verdict::Allow(stored) => {
                    allowed
                        .get_or_insert(OwnGrant { team: index, statement: Arc::clone(&stored.id) });
                }
                Verdict::Limited => limited_by_guardrails = true,
                Verdict::Nothing => {}
            }
        }
        let near_misses = Vec::new();
        allowed.ok_or(Denial::ImplicitDeny { limited_by_guardrails, near_misses })
    }
}
