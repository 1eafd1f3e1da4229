//! Warnings of parts of a policy that are legal, but that the author hardly meant.

use super::arn;
use super::contradiction;
use crate::domain::{GatewayAction, Operation, SERVICE_ARN, TEAM_ARN};
use crate::policy::engine::decision::Layer;
use crate::policy::engine::pattern::{Pattern, Syntax};
use crate::policy::engine::statement::Statement;
use crate::policy::language::actions::performed;
use crate::policy::language::document::{
    ConditionNode, Document, Effect, PrincipalId, StatementNode,
};
use crate::policy::language::finding::{Finding, Spanned};
use crate::policy::language::keys::{self, Fitness, KeyType, Known};
use crate::policy::language::lint_code::LintCode;
use crate::policy::language::operator::{Kind, Set};

/// AWS's limit on a managed policy, in characters that are not white space.
const MANAGED_POLICY_SIZE: usize = 6144;
/// Glacier's limit on a vault access policy, in bytes.
const VAULT_POLICY_SIZE: usize = 20 * 1024;

/// How many pieces of patterns a document's conditions may compare at each character
/// of a request's value. With a value of 4 KiB, the longest that callers may give, that
/// is a million comparisons: some milliseconds of a thread that serves others, too.
const COMPARISONS_PER_CHARACTER: usize = 256;

/// Reports the warnings of a document.
pub(crate) fn find(
    text: &str,
    document: &Document,
    statements: &[Statement],
    layer: Layer,
    findings: &mut Vec<Finding>,
) {
    size(text, layer, findings);
    slowness(document, findings);
    if !document.variables {
        let (code, message) = match document.has_version {
            true => (LintCode::OldVersion, "this version of the language has no policy variables"),
            false => (
                LintCode::NoVersion,
                "a policy without Version is of version 2008-10-17, which has no variables",
            ),
        };
        let finding = Finding::new(code, 0..text.len().min(1), message);
        findings.push(finding.help("write \"Version\": \"2012-10-17\""));
    }
    for (node, statement) in document.statements.iter().zip(statements) {
        let variables = document.variables;
        let mut lint = Lint { node, statement, variables, layer, findings };
        lint.actions();
        lint.resources();
        lint.breadth();
        lint.principals();
        node.conditions.iter().for_each(|condition| lint.condition(condition));
        findings.extend(contradiction::find(node, statement));
    }
}

fn size(text: &str, layer: Layer, findings: &mut Vec<Finding>) {
    let (size, limit) = match layer {
        Layer::VaultPolicies => (text.len(), VAULT_POLICY_SIZE),
        _ => (text.chars().filter(|c| !c.is_whitespace()).count(), MANAGED_POLICY_SIZE),
    };
    if size > limit {
        let message = format!("this policy has {size} characters: AWS accepts at most {limit}");
        findings.push(Finding::new(LintCode::TooBig, 0..text.len().min(1), message));
    }
}

/// Warns of conditions whose patterns take long to match in the worst case.
fn slowness(document: &Document, findings: &mut Vec<Finding>) {
    let syntax = Syntax { wildcards: true, variables: document.variables };
    let conditions = document.statements.iter().flat_map(|statement| &statement.conditions);
    let patterns = conditions
        .filter(|condition| matches!(condition.operator.value.kind, Kind::StringLike | Kind::Arn))
        .flat_map(|condition| &condition.values);
    let comparisons: Vec<(usize, &Spanned<String>)> = patterns
        .filter_map(|value| {
            let pattern = Pattern::parse(&value.value, syntax).ok()?;
            Some((pattern.comparisons_per_character(), value))
        })
        .collect();
    let sum: usize = comparisons.iter().map(|(count, _)| count).sum();
    if sum > COMPARISONS_PER_CHARACTER
        && let Some((_, worst)) = comparisons.iter().max_by_key(|(count, _)| count)
    {
        let message = format!(
            "the conditions of this policy are slow: they may compare {sum} parts of patterns at \
             each character of a value, and the limit is {COMPARISONS_PER_CHARACTER}; the next \
             version refuses this policy"
        );
        let finding = Finding::new(LintCode::SlowPatterns, worst.span.clone(), message);
        findings
            .push(finding.help("write fewer patterns with \"*\", and fewer \"?\" after a \"*\""));
    }
}

struct Lint<'a> {
    node: &'a StatementNode,
    statement: &'a Statement,
    /// Whether the document's version has policy variables.
    variables: bool,
    layer: Layer,
    findings: &'a mut Vec<Finding>,
}

impl Lint<'_> {
    fn warn(&mut self, code: LintCode, at: &std::ops::Range<usize>, message: impl Into<String>) {
        self.findings.push(Finding::new(code, at.clone(), message));
    }

    /// Actions that the gateway never performs, or that are not about the statement's
    /// resources; and statements that have only such actions.
    fn actions(&mut self) {
        let about = |action: &String| self.statement.covers_action(action);
        let performed: Vec<String> = performed().filter(about).collect();
        if performed.is_empty() {
            let message =
                "this statement never matches: the gateway does not perform any of its actions";
            self.warn(LintCode::NeverMatches, &self.node.span, message);
            return;
        }
        let resources = &self.node.resources;
        let names: Vec<Names> = resources.values.iter().map(|r| Names::new(&r.value)).collect();
        let (reached, missed): (Vec<&String>, Vec<&String>) =
            performed.iter().partition(|action| {
                resources.not || names.iter().any(|names| names.resource_of(action))
            });
        let list_vaults = Operation::ListVaults.action().to_ascii_lowercase();
        if reached.is_empty() {
            let message = match missed[..] {
                [only] if *only == list_vaults => {
                    "this never matches: ListVaults is not about a vault, so write \"*\""
                }
                _ => {
                    "this never matches: the statement's actions are not about resources of this kind"
                }
            };
            self.warn(LintCode::NeverMatches, &resources.values[0].span, message);
            return;
        }
        for (resource, names) in resources.values.iter().zip(names).filter(|_| !resources.not) {
            if names.any() && !performed.iter().any(|action| names.resource_of(action)) {
                let message =
                    "this never matches: none of the statement's actions is about such a resource";
                self.warn(LintCode::NeverMatches, &resource.span, message);
            }
        }
        let mut never_performed: Vec<&Spanned<String>> = Vec::new();
        for action in self.node.actions.values.iter().filter(|_| !self.node.actions.not) {
            let pattern = Pattern::wildcards(&action.value.to_ascii_lowercase());
            let meant = |action: &&&String| pattern.matches_text(action);
            if reached.iter().any(|action| meant(&action)) {
                continue;
            }
            let message = match missed.iter().find(meant) {
                None => {
                    never_performed.push(action);
                    continue;
                }
                Some(missed) if **missed == list_vaults => {
                    "ListVaults is not about a vault: allow it in a statement with the resource \"*\"".to_owned()
                }
                Some(_) => format!(
                    "{} is not about any of the statement's resources: write a statement of its own",
                    action.value
                ),
            };
            self.warn(LintCode::NeverMatches, &action.span, message);
        }
        self.never_performed(&never_performed);
    }

    /// One warning for all such actions of a statement: policies that were written for
    /// AWS have many.
    fn never_performed(&mut self, actions: &[&Spanned<String>]) {
        let Some(first) = actions.first() else { return };
        let names: Vec<&str> = actions.iter().map(|action| action.value.as_str()).collect();
        let names = names.join(", ");
        let message = match (actions.len(), self.node.actions.values.len()) {
            (1, _) => format!("the gateway never performs {names}"),
            (count, all) => {
                format!("the gateway never performs {count} of these {all} actions: {names}")
            }
        };
        self.warn(LintCode::ActionNeverPerformed, &first.span, message);
    }

    fn resources(&mut self) {
        for resource in &self.node.resources.values {
            let fields: Vec<&str> = resource.value.splitn(6, ':').collect();
            if arn::ends_early(&resource.value) {
                let message = "this ARN is incomplete: each missing field counts as \"*\"";
                self.warn(LintCode::IncompleteArn, &resource.span, message);
            }
            if fields.get(2) == Some(&"glacier") && fields.get(4) == Some(&"") {
                let message = "this ARN has no account, so it matches no vault: write the 12 \
                               digits, or \"*\"";
                self.warn(LintCode::ArnWithoutAccount, &resource.span, message);
            }
            let foreign = fields.get(2).is_some_and(|service| {
                !["glacier", "glacier-gateway"].contains(service)
                    && !Names::new(&resource.value).any()
            });
            if foreign {
                let message = "this never matches: the resource belongs to another service";
                self.warn(LintCode::ForeignResource, &resource.span, message);
            }
            self.text_variables(resource);
        }
    }

    /// Variables that are plain text, and variables that never have a value.
    fn text_variables(&mut self, text: &Spanned<String>) {
        if !self.variables && text.value.contains("${") {
            let message = "this is plain text: only Version 2012-10-17 has policy variables";
            self.warn(LintCode::LiteralVariable, &text.span, message);
        }
        let syntax = Syntax { wildcards: true, variables: self.variables };
        let Ok(pattern) = Pattern::parse(&text.value, syntax) else { return };
        for key in pattern.variable_keys().filter(|key| !keys::is_filled(key.lower())) {
            let message = never_present(key);
            self.warn(LintCode::KeyNeverFilled, &text.span, message);
        }
    }

    /// Allows that allow more than their author is likely to see.
    fn breadth(&mut self) {
        let node = self.node;
        if node.effect != Effect::Allow || self.layer == Layer::Guardrails {
            return;
        }
        if node.actions.not {
            let message = "Allow with NotAction allows every action that it does not name";
            self.warn(LintCode::AllowNotAction, &node.actions.values[0].span, message);
        }
        if node.resources.not {
            let message = "Allow with NotResource allows every vault that it does not name";
            self.warn(LintCode::AllowNotResource, &node.resources.values[0].span, message);
        }
        let all = |value: &str| value == "*";
        let all_actions = node.actions.values.iter().any(|a| all(&a.value) || a.value == "*:*");
        if !node.actions.not
            && all_actions
            && node.resources.values.iter().any(|resource| all(&resource.value))
            && node.conditions.is_empty()
        {
            self.warn(LintCode::AllowAll, &node.span, "this allows everything on every vault");
        }
    }

    fn principals(&mut self) {
        let Some(principal) = &self.node.principal else { return };
        if principal.not && self.node.effect == Effect::Allow {
            let message = "Allow with NotPrincipal allows every caller that it does not name";
            self.warn(LintCode::AllowNotPrincipal, &principal.values[0].span, message);
        }
        for id in &principal.values {
            match &id.value {
                PrincipalId::Everyone => {
                    if !principal.not
                        && self.node.effect == Effect::Allow
                        && self.node.conditions.is_empty()
                    {
                        self.warn(LintCode::AllowEveryone, &id.span, "this allows every team");
                    }
                }
                PrincipalId::Aws(arn)
                    if arn.starts_with(TEAM_ARN) || arn.starts_with(SERVICE_ARN) => {}
                _ => {
                    let message = "no caller of the gateway is this principal: name a team as \
                                   \"arn:aws:glacier-gateway:::team/TEAM\"";
                    self.warn(LintCode::ForeignPrincipal, &id.span, message);
                }
            }
        }
    }

    fn condition(&mut self, condition: &ConditionNode) {
        let operator = condition.operator.value;
        let name = &condition.key.value;
        let at = &condition.key.span;
        if operator.takes_variables() {
            condition.values.iter().for_each(|value| self.text_variables(value));
        }
        if condition.values.is_empty() {
            self.warn(LintCode::NoValues, at, "this condition has no values to compare with");
        }
        let multivalued = match keys::look_up(name) {
            Known::Key(key) => {
                if !key.filled && operator.kind != Kind::Null {
                    let message = never_present(name);
                    self.warn(LintCode::KeyNeverFilled, at, message);
                }
                if keys::fitness(operator, key.kind) == Fitness::Doubtful {
                    let message = format!(
                        "{name} is of the type {:?}, which this operator hardly fits",
                        key.kind
                    );
                    self.warn(LintCode::DoubtfulOperator, &condition.operator.span, message);
                }
                if key.kind == KeyType::Arn
                    && matches!(operator.kind, Kind::String | Kind::StringLike)
                {
                    for value in condition.values.iter().filter(|value| !may_be_arn(&value.value)) {
                        let message = format!("{name} is always an ARN, and this text is not");
                        self.warn(LintCode::NotAnArn, &value.span, message);
                    }
                }
                key.multivalued
            }
            Known::Foreign => {
                self.warn(LintCode::KeyNeverFilled, at, never_present(name));
                None
            }
            Known::Misspelt { .. } => None,
        };
        match (operator.set, multivalued) {
            (Set::Single, Some(true)) if operator.kind != Kind::Null => {
                let message =
                    format!("{name} may have several values: use ForAllValues or ForAnyValue");
                self.warn(LintCode::MultivaluedKey, at, message);
            }
            (Set::ForAllValues | Set::ForAnyValue, Some(false)) => {
                let message =
                    format!("{name} has only one value: leave ForAllValues or ForAnyValue out");
                self.warn(LintCode::SingleValuedKey, &condition.operator.span, message);
            }
            _ => {}
        }
        if operator.set == Set::ForAllValues && self.node.effect == Effect::Allow {
            let guarded = self.node.conditions.iter().any(|other| {
                other.operator.value.kind == Kind::Null
                    && other.key.value.eq_ignore_ascii_case(name)
                    && other.values.iter().all(|value| value.value.eq_ignore_ascii_case("false"))
            });
            if !guarded {
                let message = format!(
                    "ForAllValues also holds if the request does not have {name}: add \"Null\": {{\"{name}\": \
                     \"false\"}}"
                );
                self.warn(LintCode::UnguardedForAllValues, &condition.operator.span, message);
            }
        }
    }
}

fn never_present(key: impl std::fmt::Display) -> String {
    format!("{key} is never present in a request to the gateway")
}

/// Whether a text, which may begin with a wildcard or a variable, can be an ARN.
fn may_be_arn(text: &str) -> bool {
    ["arn:", "*", "?", "${"].iter().any(|start| text.starts_with(start))
}

/// The kinds of resources that a `Resource` may name.
struct Names {
    everything: bool,
    vaults: bool,
    /// For each of the gateway's own actions, whether it is about any of them.
    own: [bool; GatewayAction::ALL.len()],
}

impl Names {
    fn new(resource: &str) -> Self {
        Self {
            everything: resource == "*",
            vaults: arn::may_name_vault(resource),
            own: GatewayAction::ALL.map(|action| arn::may_name_own(resource, action)),
        }
    }

    /// Whether it may name a resource of the gateway.
    fn any(&self) -> bool {
        self.vaults || self.own.contains(&true)
    }

    /// Whether it may name a resource of the action, which is in lower case.
    fn resource_of(&self, action: &str) -> bool {
        let is_own = |own: &GatewayAction| own.action().eq_ignore_ascii_case(action);
        if let Some(own) = GatewayAction::ALL.into_iter().find(is_own) {
            self.own[own as usize]
        } else if action.eq_ignore_ascii_case(Operation::ListVaults.action()) {
            self.everything
        } else {
            self.vaults
        }
    }
}
