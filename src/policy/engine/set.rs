//! The compiled policy set and the decision.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::context::{Context, Facts, Request};
use super::decision::{Denial, Grant, Missed, NearMiss, StatementId};
use super::resource::Resource;
use super::rule::{self, Found, Verdict};
use super::statement::Statement;
use crate::domain::Operation;
use crate::domain::Principal;
use crate::policy::language::document::Effect;
use crate::policy::language::keys::ContextKey;

/// How many near misses a denial tells of.
const NEAR_MISSES: usize = 5;

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
    /// By [`Operation`] as a number.
    by_operation: [Index; Operation::ALL.len()],
    /// Whether any statement reads a fact about the upload.
    reads_upload: bool,
}

#[derive(Debug)]
pub(crate) struct Stored {
    pub statement: Statement,
    pub id: Arc<StatementId>,
}

/// Finds the statements whose resource patterns may match a resource: by the
/// literal text a pattern begins with. A decision takes one look-up for each
/// different length of those, however many statements there are.
#[derive(Debug, Default)]
struct Index {
    lengths: Vec<usize>,
    by_prefix: HashMap<Box<str>, Vec<usize>>,
}

impl Index {
    fn new<'a>(statements: impl Iterator<Item = (usize, &'a Stored)>) -> Self {
        let mut by_prefix: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        for (position, stored) in statements {
            for prefix in BTreeSet::from_iter(stored.statement.resource_prefixes()) {
                by_prefix.entry(prefix.into()).or_default().push(position);
            }
        }
        let lengths = BTreeSet::from_iter(by_prefix.keys().map(|prefix| prefix.len()));
        Self { lengths: lengths.into_iter().collect(), by_prefix }
    }

    fn candidates(&self, resource: &str) -> impl Iterator<Item = usize> {
        let prefixes = self.lengths.iter().filter_map(|length| resource.get(..*length));
        prefixes.filter_map(|prefix| self.by_prefix.get(prefix)).flatten().copied()
    }
}

impl Statements {
    fn new(all: Vec<Stored>) -> Self {
        let by_operation = Operation::ALL.map(|operation| {
            let action = operation.action().to_ascii_lowercase();
            let about = |(_, stored): &(usize, &Stored)| stored.statement.covers_action(&action);
            Index::new(all.iter().enumerate().filter(about))
        });
        let reads_upload = all.iter().any(|stored| reads_upload(&stored.statement));
        Self { all, by_operation, reads_upload }
    }

    pub fn candidates(
        &self,
        operation: Operation,
        resource: &str,
    ) -> impl Iterator<Item = &Stored> {
        let index = &self.by_operation[operation as usize];
        index.candidates(resource).map(|position| &self.all[position])
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

    /// As `find`, for an action without an index.
    fn find_action(&self, action: &str, resource: &str, facts: &dyn Facts) -> Found<&Stored> {
        let applying = self.all.iter().filter(|Stored { statement, .. }| {
            statement.covers_action(action) && statement.applies(resource, facts)
        });
        let mut found = Found::Nothing;
        for stored in applying {
            match stored.statement.effect {
                Effect::Deny => return Found::Deny(stored),
                Effect::Allow => found = Found::Allow(stored),
            }
        }
        found
    }

    fn near_misses(
        &self,
        operation: Operation,
        resource: &str,
        facts: &dyn Facts,
    ) -> impl Iterator<Item = NearMiss> {
        let action = operation.action().to_ascii_lowercase();
        self.all.iter().filter_map(move |Stored { statement, id }| {
            if statement.effect == Effect::Deny || !statement.covers_action(&action) {
                return None;
            }
            let missed = if statement.covers_resource(resource, facts) {
                Missed::Condition { key: statement.failed_condition(facts)?.key.to_string() }
            } else {
                Missed::Resource
            };
            Some(NearMiss { statement: Arc::clone(id), missed })
        })
    }
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

    /// Decides whether the caller may do something that is the gateway's own, not
    /// Glacier's: an action of [`GATEWAY_ACTIONS`](crate::policy::GATEWAY_ACTIONS) on a
    /// resource such as `arn:aws:glacier-gateway:::team/TEAM`.
    ///
    /// # Errors
    /// A [`Denial`], which says why, but for near misses.
    pub fn decide_own<'s>(
        &'s self,
        principal: &Principal,
        action: &str,
        resource: &str,
        context: &Context,
    ) -> Result<Arc<StatementId>, Denial> {
        let action = format!("gateway:{}", action.to_ascii_lowercase());
        let (mut allowed, mut limited_by_guardrails) = (None, false);
        for team in &principal.teams {
            let facts = Request::new(principal, team, None, context);
            let find = |layer: &'s Statements| layer.find_action(&action, resource, &facts);
            let own = self.teams.get(team).map_or(Found::Nothing, find);
            match rule::judge(own, self.guardrails.as_ref().map(find), find(&self.vaults)) {
                Verdict::Deny(stored) => {
                    let statement = Arc::clone(&stored.id);
                    return Err(Denial::ExplicitDeny { team: team.clone(), statement });
                }
                Verdict::Allow(stored) => allowed = Some(Arc::clone(&stored.id)),
                Verdict::Limited => limited_by_guardrails = true,
                Verdict::Nothing => {}
            }
        }
        let near_misses = Vec::new();
        allowed.ok_or(Denial::ImplicitDeny { limited_by_guardrails, near_misses })
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
        // A failed condition is nearer than another resource.
        near_misses.sort_by_key(|near| matches!(near.missed, Missed::Resource));
        near_misses.truncate(NEAR_MISSES);
        Denial::ImplicitDeny { limited_by_guardrails, near_misses }
    }
}
