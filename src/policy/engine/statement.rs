//! A compiled statement, and whether it applies to a request.

use super::condition::Condition;
use super::context::Facts;
use super::pattern::{self, Matched, Pattern, Syntax};
use crate::domain::TEAM_ARN;
use crate::policy::language::document::{Document, Effect, Element, PrincipalId, StatementNode};
use crate::policy::language::finding::{Finding, VariableError};
use crate::policy::language::keys::ContextKey;

/// A statement, compiled.
#[derive(Debug)]
pub(crate) struct Statement {
    pub sid: Option<Box<str>>,
    pub effect: Effect,
    principal: Option<Principals>,
    actions: Matcher,
    resources: Matcher,
    pub conditions: Box<[Condition]>,
}

/// An `Action` or `Resource` element, or its `Not…` twin.
#[derive(Debug)]
struct Matcher {
    not: bool,
    patterns: Box<[Pattern]>,
}

#[derive(Debug)]
struct Principals {
    not: bool,
    ids: Box<[PrincipalId]>,
}

impl Statement {
    /// Compiles a document's statements.
    ///
    /// # Errors
    /// Malformed policy variables.
    pub fn compile(document: &Document) -> Result<Vec<Self>, Vec<Finding>> {
        let mut findings = Vec::new();
        let compiled = document
            .statements
            .iter()
            .filter_map(|node| Self::new(node, document.variables, &mut findings))
            .collect();
        if findings.is_empty() { Ok(compiled) } else { Err(findings) }
    }

    fn new(node: &StatementNode, variables: bool, findings: &mut Vec<Finding>) -> Option<Self> {
        let before = findings.len();
        let actions =
            node.actions.values.iter().map(|a| Pattern::wildcards(&a.value.to_ascii_lowercase()));
        let mut resources = Vec::new();
        for resource in &node.resources.values {
            match resource_patterns(&resource.value, variables) {
                Ok(patterns) => resources.extend(patterns),
                Err(error) => findings.push(Finding::variable(resource, &error)),
            }
        }
        let mut conditions = Vec::new();
        for condition in &node.conditions {
            let values = condition.values.iter().map(|value| value.value.as_str());
            let operator = condition.operator.value;
            match Condition::new(operator, &condition.key.value, values, variables) {
                Ok(compiled) => conditions.push(compiled),
                Err((at, error)) => findings.push(Finding::variable(&condition.values[at], &error)),
            }
        }
        (findings.len() == before).then(|| Self {
            sid: node.sid.as_ref().map(|sid| sid.value.as_str().into()),
            effect: node.effect,
            principal: node.principal.as_ref().map(Principals::new),
            actions: Matcher { not: node.actions.not, patterns: actions.collect() },
            resources: Matcher { not: node.resources.not, patterns: resources.into() },
            conditions: conditions.into(),
        })
    }

    /// Whether the statement is about the action, given in lower case (action
    /// names are not case-sensitive).
    pub fn covers_action(&self, action: &str) -> bool {
        let Matcher { not, patterns } = &self.actions;
        patterns.iter().any(|pattern| pattern.matches_text(action)) != *not
    }

    /// Whether the statement is about the resource. A pattern with a variable
    /// that has no value matches no resource; under `NotResource` that makes a
    /// Deny apply, and (failing closed) an Allow not.
    pub fn covers_resource(&self, resource: &str, facts: &dyn Facts) -> bool {
        let Matcher { not, patterns } = &self.resources;
        let mut without_value = false;
        for pattern in patterns {
            match pattern.matches(resource, facts) {
                Matched::Yes => return !*not,
                Matched::NoValue => without_value = true,
                Matched::No => {}
            }
        }
        *not && !(without_value && self.effect == Effect::Allow)
    }

    /// Whether the statement is about the caller: always, where it names none.
    pub fn covers_principal(&self, facts: &dyn Facts) -> bool {
        let covers = |principals: &Principals| principals.cover(facts.caller(), self.effect);
        self.principal.as_ref().is_none_or(covers)
    }

    /// Whether a statement that is about the action applies to the request.
    pub fn applies(&self, resource: &str, facts: &dyn Facts) -> bool {
        self.covers_resource(resource, facts) && self.applies_to_caller(facts)
    }

    /// Whether a statement that is about the action and the resource applies.
    pub fn applies_to_caller(&self, facts: &dyn Facts) -> bool {
        self.covers_principal(facts) && self.failed_condition(facts).is_none()
    }

    /// Whether the statement is about some of the resources that `all` matches, and says
    /// so by a pattern of those alone.
    pub fn is_within(&self, all: &Pattern) -> bool {
        !self.resources.not && self.resources.patterns.iter().any(|pattern| all.contains(pattern))
    }

    /// Whether the statement is about all resources that `all` matches.
    pub fn contains(&self, all: &Pattern) -> bool {
        !self.resources.not && self.resources.patterns.iter().any(|pattern| pattern.contains(all))
    }

    /// Whether the statement would apply if it did not hang on keys that are
    /// `unknown` yet.
    pub fn could_apply(
        &self,
        resource: &str,
        facts: &dyn Facts,
        unknown: fn(&ContextKey) -> bool,
    ) -> bool {
        let mut variables = self.resources.patterns.iter().flat_map(Pattern::variable_keys);
        let mut known = self.conditions.iter().filter(|c| !c.keys().any(unknown));
        (variables.any(unknown) || self.covers_resource(resource, facts))
            && self.covers_principal(facts)
            && known.all(|condition| condition.holds(facts, self.effect))
    }

    /// The first condition that does not hold.
    pub fn failed_condition(&self, facts: &dyn Facts) -> Option<&Condition> {
        self.conditions.iter().find(|condition| !condition.holds(facts, self.effect))
    }

    /// Whether the statement lists the resources it is not about.
    pub fn excludes_resources(&self) -> bool {
        self.resources.not
    }

    /// The resources as they are written, but for literal `${*}`.
    pub fn resources(&self) -> impl Iterator<Item = String> {
        self.resources.patterns.iter().map(Pattern::to_string)
    }

    /// The patterns of which a resource must match one for the statement to apply;
    /// `None` if it lists the resources it is not about.
    pub fn resource_patterns(&self) -> Option<&[Pattern]> {
        (!self.resources.not).then_some(&self.resources.patterns)
    }

    /// Whether this is a Deny that leaves nothing of an Allow: one without
    /// conditions, for everyone, on all of the Allow's resources and on those of
    /// its `actions` that the gateway performs.
    pub fn shadows(&self, allow: &Statement, actions: &[String]) -> bool {
        let denies_all = self.effect == Effect::Deny
            && self.conditions.is_empty()
            && self
                .principal
                .as_ref()
                .is_none_or(|p| !p.not && p.ids.contains(&PrincipalId::Everyone));
        let resources = |allowed: &Pattern| {
            self.resources.patterns.iter().any(|denied| denied.contains(allowed))
        };
        denies_all
            && allow.effect == Effect::Allow
            && !(self.resources.not || allow.resources.not)
            && allow.resources.patterns.iter().all(resources)
            && actions.iter().all(|a| !allow.covers_action(a) || self.covers_action(a))
    }

    /// The context keys that the statement reads.
    pub fn keys(&self) -> impl Iterator<Item = &ContextKey> {
        let resources = self.resources.patterns.iter().flat_map(Pattern::variable_keys);
        resources.chain(self.conditions.iter().flat_map(Condition::keys))
    }
}

/// Compiles a resource. Fields that an ARN lacks count as `*` (IAM User Guide, "IAM
/// JSON policy elements: Resource"). The same page has a `*` at the end of a field
/// reach over colons, so that one with a `*` may lack no field after all: it is taken
/// both ways.
fn resource_patterns(
    text: &str,
    variables: bool,
) -> Result<impl Iterator<Item = Pattern>, VariableError> {
    let syntax = Syntax { wildcards: true, variables };
    let missing = match text.starts_with("arn:") {
        true => 5_usize.saturating_sub(text.matches(':').count()),
        false => 0,
    };
    if variables {
        pattern::check_resource_variables(text)?;
    }
    let completed = Pattern::parse(&(text.to_owned() + &":*".repeat(missing)), syntax)?;
    let as_written = match missing > 0 && text.contains('*') {
        true => Some(Pattern::parse(text, syntax)?),
        false => None,
    };
    Ok(as_written.into_iter().chain([completed]))
}

/// How an identifier in `Principal` fits a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// It names the caller.
    Caller,
    /// It names the role whose session the caller is.
    Role,
    /// It names the account the caller belongs to.
    Account,
}

impl Principals {
    fn new(element: &Element<PrincipalId>) -> Self {
        let ids = element.values.iter().map(|id| id.value.clone()).collect();
        Self { not: element.not, ids }
    }

    /// Whether the statement is about the caller (IAM User Guide, "AWS JSON
    /// policy elements: Principal" and "… NotPrincipal").
    ///
    /// An Allow for an account hands the decision to the account's own
    /// policies, so it grants nothing by itself. A Deny with `NotPrincipal`
    /// spares only those it names themselves: naming their account as well, as
    /// the guide advises, does not spare everyone in it.
    fn cover(&self, caller: &str, effect: Effect) -> bool {
        let mut fits = self.ids.iter().filter_map(|id| fit(id, caller));
        match (self.not, effect) {
            (false, Effect::Allow) => fits.any(|fit| fit != Fit::Account),
            (false, Effect::Deny) => fits.next().is_some(),
            (true, Effect::Allow) => fits.next().is_none(),
            (true, Effect::Deny) => !fits.any(|fit| fit == Fit::Caller),
        }
    }
}

fn fit(id: &PrincipalId, caller: &str) -> Option<Fit> {
    let id = match id {
        PrincipalId::Everyone => return Some(Fit::Caller),
        PrincipalId::Aws(id) => id.as_str(),
        PrincipalId::Federated(id) | PrincipalId::Service(id) | PrincipalId::CanonicalUser(id) => {
            return (id == caller).then_some(Fit::Caller);
        }
    };
    if id == caller {
        return Some(Fit::Caller);
    }
    // The gateway's own: a team stands for each of its members, a member for
    // itself alone. A team's name has no slash; a subject may have some.
    if let Some(team) = id.strip_prefix(TEAM_ARN) {
        let (of, _) = caller.strip_prefix(TEAM_ARN)?.split_once('/')?;
        return (of == team).then_some(Fit::Caller);
    }
    let mut fields = caller.splitn(6, ':');
    let service = fields.nth(2)?;
    let account = fields.nth(1)?;
    let name = fields.next()?;
    if account.is_empty() {
        return None;
    }
    if id == account {
        return Some(Fit::Account);
    }
    let mut id_fields = id.splitn(6, ':');
    if (id_fields.next(), id_fields.nth(1), id_fields.nth(1))
        != (Some("arn"), Some("iam"), Some(account))
    {
        return None;
    }
    let id_name = id_fields.next()?;
    if id_name == "root" {
        return Some(Fit::Account);
    }
    let role = id_name.strip_prefix("role/")?.rsplit('/').next()?;
    let session = name.strip_prefix("assumed-role/").filter(|_| service == "sts")?;
    (session.split('/').next() == Some(role)).then_some(Fit::Role)
}
