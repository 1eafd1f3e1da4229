//! The compiled policy set and the decision.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use foldhash::HashMap;

use super::context::{Context, Facts, Request};
use super::decision::{Denial, Grant, Missed, NearMiss, StatementId};
use super::index::Index;
use super::resource::Resource;
use super::rule::{self, Found, Verdict};
use super::statement::Statement;
use crate::domain::{GatewayAction, Operation, Principal};
use crate::policy::language::document::Effect;
use crate::policy::language::keys::ContextKey;

/// How many near misses a denial tells of.
const NEAR_MISSES: usize = 5;
/// How many statements on the resource are looked at for near misses.
const LOOKED_AT: usize = 64;

/// All policies of a gateway, compiled: immutable, and cheap to share in an
/// [`Arc`].
///
/// Each of the caller's teams is judged with that team's facts, by the
/// rule (`rule::judge`) of the layers. A Deny for one of the teams is a
/// Deny for the caller; otherwise one team's Allow suffices.
#[derive(Debug, Default)]
pub struct PolicySet {
    teams: HashMap<String, Statements>,
    guardrails: Option<Statements>,
    vaults: Statements,
}

/// The statements of one layer (for the team layer: of one team) and the index
/// over them.
#[derive(Debug, Default)]
pub(super) struct Statements {
    pub all: Vec<Stored>,
    index: Index,
    /// The positions of those that are about the gateway's own actions, by the action's
    /// number.
    own: [Box<[usize]>; GatewayAction::ALL.len()],
    /// Whether any statement reads a fact about the upload.
    reads_upload: bool,
}

#[derive(Debug)]
pub(crate) struct Stored {
    pub statement: Statement,
    pub id: Arc<StatementId>,
    /// Whether the statement is about an [`Operation`], by its number.
    operations: [bool; Operation::ALL.len()],
}

impl Stored {
    pub fn new(statement: Statement, id: StatementId) -> Self {
        let about = |operation| statement.covers_action(lower_case(operation));
        let operations = Operation::ALL.map(about);
        Self { statement, id: Arc::new(id), operations }
    }

    fn is_about(&self, operation: Operation) -> bool {
        self.operations[operation as usize]
    }
}

impl Statements {
    fn new(all: Vec<Stored>) -> Self {
        let index = Index::new(all.iter().map(|stored| &stored.statement));
        let reads_upload = all.iter().any(|stored| reads_upload(&stored.statement));
        let own = GatewayAction::ALL.map(|action| {
            let action = action.action().to_ascii_lowercase();
            let about = |stored: &Stored| stored.statement.covers_action(&action);
            (0..all.len()).filter(|position| about(&all[*position])).collect()
        });
        Self { all, index, own, reads_upload }
    }

    /// The statements that are about the operation and may be about the resource. One
    /// may come twice.
    pub fn candidates<'s>(
        &'s self,
        operation: Operation,
        resource: &str,
    ) -> impl Iterator<Item = &'s Stored> {
        let stored = self.index.candidates(resource).map(|position| &self.all[position]);
        stored.filter(move |stored| stored.is_about(operation))
    }

    fn find(&self, operation: Operation, resource: &str, facts: &dyn Facts) -> Found<&Stored> {
        let mut found = Found::Nothing;
        for stored in self.candidates(operation, resource) {
            match stored.statement.effect {
                Effect::Allow if matches!(found, Found::Allow(_)) => {}
                effect if stored.statement.applies(resource, facts) => match effect {
                    Effect::Allow => found = Found::Allow(stored),
                    Effect::Deny => return Found::Deny(stored),
                },
                _ => {}
            }
        }
        found
    }

    /// The statements that are about one of the gateway's own actions.
    pub fn own(&self, action: GatewayAction) -> impl Iterator<Item = &Stored> {
        self.own[action as usize].iter().map(|position| &self.all[*position])
    }

    /// Allows of the operation that did not apply, the nearest first: a failed condition
    /// is nearer than another resource, and a name nearer the more it begins like the
    /// vault's. Looks at a bounded number of statements.
    fn near_misses(
        &self,
        operation: Operation,
        resource: &str,
        facts: &dyn Facts,
    ) -> Vec<(Nearness, NearMiss)> {
        let allows = |position: &usize| {
            let stored = &self.all[*position];
            stored.statement.effect == Effect::Allow && stored.is_about(operation)
        };
        let covering = self.index.candidates(resource).filter(allows).take(LOOKED_AT);
        let beside = self.index.nearest(resource).filter(|(position, _)| allows(position));
        let mut alike = BTreeMap::from_iter(covering.map(|position| (position, 0)));
        for (position, bytes) in beside {
            let most = alike.entry(position).or_default();
            *most = bytes.max(*most);
        }
        let miss = |(position, alike): (usize, usize)| {
            let Stored { statement, id, .. } = &self.all[position];
            let missed = if statement.covers_resource(resource, facts) {
                Missed::Condition { key: statement.failed_condition(facts)?.key.to_string() }
            } else {
                Missed::Resource
            };
            let elsewhere = missed == Missed::Resource;
            let nearness = (elsewhere, Reverse(if elsewhere { alike } else { 0 }));
            Some((nearness, NearMiss { statement: Arc::clone(id), missed }))
        };
        alike.into_iter().filter_map(miss).collect()
    }
}

/// How near a near miss is: whether it is about another resource, and how many bytes of
/// the vault's name it spells out. The least is the nearest.
type Nearness = (bool, Reverse<usize>);

/// An operation's action in lower case, as statements take it.
fn lower_case(operation: Operation) -> &'static str {
    static ACTIONS: LazyLock<[String; Operation::ALL.len()]> =
        LazyLock::new(|| Operation::ALL.map(|operation| operation.action().to_ascii_lowercase()));
    &ACTIONS[operation as usize]
}

fn reads_upload(statement: &Statement) -> bool {
    statement.keys().any(ContextKey::is_upload_fact)
}

impl PolicySet {
    /// Builds a set from compiled statements: those of each team, the guardrails
    /// (`None` when there is no such policy, so that nothing is limited) and
    /// the vaults'.
    pub(crate) fn new(
        teams: BTreeMap<String, Vec<Stored>>,
        guardrails: Option<Vec<Stored>>,
        vaults: Vec<Stored>,
    ) -> Self {
        Self {
            teams: teams.into_iter().map(|(team, all)| (team, Statements::new(all))).collect(),
            guardrails: guardrails.map(Statements::new),
            vaults: Statements::new(vaults),
        }
    }

    /// Whether every request is denied, whatever it is.
    pub fn allows_nothing(&self) -> bool {
        let mut granting = self.teams.values().chain([&self.vaults]).flat_map(|layer| &layer.all);
        granting.all(|stored| stored.statement.effect == Effect::Deny)
    }

    /// Decides whether the caller may perform the operation on the resource.
    ///
    /// # Errors
    /// A [`Denial`], which says why.
    pub fn decide(
        &self,
        principal: &Principal,
        operation: Operation,
        resource: Resource,
        context: &Context,
    ) -> Result<Grant, Denial> {
        if !context.knows_upload()
            && self.reads_upload(principal, operation, &resource, context).is_some()
        {
            // Without the facts a Deny that asks for them would not apply.
            return Err(Denial::ImplicitDeny {
                limited_by_guardrails: false,
                near_misses: Vec::new(),
            });
        }
        let mut permit = None;
        for (index, team) in principal.teams.iter().enumerate() {
            let facts = Request::new(principal, team, Some(&resource), context);
            match self.judge(team, operation, resource.as_str(), &facts) {
                Verdict::Deny(stored) => {
                    let statement = Arc::clone(&stored.id);
                    return Err(Denial::ExplicitDeny { team: team.clone(), statement });
                }
                Verdict::Allow(stored) => {
                    permit.get_or_insert((index, &stored.id));
                }
                Verdict::Limited | Verdict::Nothing => {}
            }
        }
        match permit {
            Some((team, id)) => Ok(Grant::new(operation, resource, team, Arc::clone(id))),
            None => Err(self.implicit_denial(principal, operation, &resource, context)),
        }
    }

    /// A permit to look up the upload's facts (with ListParts), if a policy that
    /// could apply to the request reads them: `gateway:UploadAgeInDays`,
    /// `gateway:UploadDescription`. Ask this before deciding; such a request is
    /// denied without the facts. They are for the policies, not for the caller.
    pub fn upload_lookup(
        &self,
        principal: &Principal,
        operation: Operation,
        resource: &Resource,
        context: &Context,
    ) -> Option<Grant> {
        let (team, asking) = self.reads_upload(principal, operation, resource, context)?;
        let id = Arc::clone(&asking.id);
        Some(Grant::new(Operation::ListParts, resource.clone(), team, id))
    }

    /// A statement that could apply and reads the upload's facts, and the index
    /// of the team for which it does: only where the facts can make the difference
    /// between allowed and denied, so that nobody learns of an upload, or makes
    /// Glacier work, who is denied whatever it is.
    fn reads_upload(
        &self,
        principal: &Principal,
        operation: Operation,
        resource: &Resource,
        context: &Context,
    ) -> Option<(usize, &Stored)> {
        if !matches!(operation, Operation::AbortMultipartUpload | Operation::ListParts) {
            return None;
        }
        let asking = principal.teams.iter().enumerate().find_map(|(index, team)| {
            let facts = Request::new(principal, team, Some(resource), context);
            let asks = |stored: &&Stored| {
                let Stored { statement, .. } = stored;
                reads_upload(statement)
                    && statement.could_apply(resource.as_str(), &facts, ContextKey::is_upload_fact)
            };
            let layers = self.layers(team).filter(|statements| statements.reads_upload);
            let mut candidates =
                layers.flat_map(|layer| layer.candidates(operation, resource.as_str()));
            Some((index, candidates.find(asks)?))
        })?;
        let mut allowed = false;
        for team in &principal.teams {
            match self.judge_any_upload(principal, team, operation, resource, context) {
                Verdict::Deny(()) => return None,
                verdict => allowed |= verdict == Verdict::Allow(()),
            }
        }
        allowed.then_some(asking)
    }

    /// What is decided for the most fortunate of uploads: Denies that hang on the
    /// upload do not apply, and Allows that do, do.
    fn judge_any_upload(
        &self,
        principal: &Principal,
        team: &str,
        operation: Operation,
        resource: &Resource,
        context: &Context,
    ) -> Verdict<()> {
        let facts = Request::new(principal, team, Some(resource), context);
        let resource = resource.as_str();
        let find = |layer: &Statements| {
            let applying =
                layer.candidates(operation, resource).map(|s| &s.statement).filter(|s| {
                    s.could_apply(resource, &facts, ContextKey::is_upload_fact)
                        && !(s.effect == Effect::Deny && reads_upload(s))
                });
            applying.fold(Found::Nothing, |found, statement| match (found, statement.effect) {
                (Found::Deny(()), _) | (_, Effect::Deny) => Found::Deny(()),
                (_, Effect::Allow) => Found::Allow(()),
            })
        };
        rule::judge(
            self.teams.get(team).map_or(Found::Nothing, find),
            self.guardrails.as_ref().map(find),
            find(&self.vaults),
        )
    }

    pub(super) fn team(&self, team: &str) -> Option<&Statements> {
        self.teams.get(team)
    }

    pub(super) fn guardrails(&self) -> Option<&Statements> {
        self.guardrails.as_ref()
    }

    pub(super) fn vaults(&self) -> &Statements {
        &self.vaults
    }

    pub(super) fn layers(&self, team: &str) -> impl Iterator<Item = &Statements> {
        self.teams.get(team).into_iter().chain(&self.guardrails).chain([&self.vaults])
    }

    fn judge<'s>(
        &'s self,
        team: &str,
        operation: Operation,
        resource: &str,
        facts: &dyn Facts,
    ) -> Verdict<&'s Stored> {
        let find = |layer: &'s Statements| layer.find(operation, resource, facts);
        rule::judge(
            self.teams.get(team).map_or(Found::Nothing, find),
            self.guardrails.as_ref().map(find),
            find(&self.vaults),
        )
    }

    fn implicit_denial(
        &self,
        principal: &Principal,
        operation: Operation,
        resource: &Resource,
        context: &Context,
    ) -> Denial {
        let mut limited_by_guardrails = false;
        let mut near_misses = Vec::new();
        for team in &principal.teams {
            let facts = Request::new(principal, team, Some(resource), context);
            let verdict = self.judge(team, operation, resource.as_str(), &facts);
            limited_by_guardrails |= matches!(verdict, Verdict::Limited);
            if let Some(statements) = self.teams.get(team) {
                near_misses.extend(statements.near_misses(operation, resource.as_str(), &facts));
            }
        }
        near_misses.sort_by_key(|(nearness, _)| *nearness);
        let near_misses = near_misses.into_iter().map(|(_, near)| near).take(NEAR_MISSES);
        Denial::ImplicitDeny { limited_by_guardrails, near_misses: near_misses.collect() }
    }
}
