//! Conditions of a statement that no request fulfils, so that the statement never
//! matches.

use std::collections::BTreeSet;

use crate::domain::Operation;
use crate::policy::engine::condition::Condition;
use crate::policy::engine::context::{Facts, Values};
use crate::policy::engine::statement::Statement;
use crate::policy::language::actions;
use crate::policy::language::document::{ConditionNode, Effect, StatementNode};
use crate::policy::language::finding::Finding;
use crate::policy::language::keys::{self, ContextKey, Known};
use crate::policy::language::lint_code::LintCode;
use crate::policy::language::operator::{Kind, Operator, Set};

/// Warns of conditions that exclude each other, or all of the statement's actions.
pub(super) fn find(node: &StatementNode, statement: &Statement) -> Vec<Finding> {
    let mut findings = Vec::new();
    let conditions: Vec<_> = node.conditions.iter().zip(&statement.conditions).collect();
    let keys: BTreeSet<&ContextKey> = statement.conditions.iter().map(|c| &c.key).collect();
    for key in keys {
        let own = conditions.iter().filter(|(_, condition)| condition.key == *key);
        let (nodes, compiled): (Vec<&ConditionNode>, Vec<&Condition>) = own.copied().unzip();
        let single = statement.effect == Effect::Allow || is_single_valued(key);
        if (exclude_each_other(&nodes, single)
            || (single && are_without_witness(key, &compiled, statement.effect)))
            && let Some(last) = nodes.last()
        {
            let message = format!("no value of {key} fulfils all conditions on this key");
            let at = last.key.span.clone();
            findings.push(Finding::new(LintCode::ContradictingConditions, at, message));
        }
    }
    let performed: Vec<_> = actions::performed().filter(|a| statement.covers_action(a)).collect();
    let about_upload = [Operation::AbortMultipartUpload, Operation::ListParts]
        .map(|operation| operation.action().to_ascii_lowercase());
    if !performed.is_empty() && !performed.iter().any(|action| about_upload.contains(action)) {
        let asking = conditions.iter().filter(|(node, condition)| {
            condition.key.is_upload_fact()
                && (needs_value(node.operator.value) || is_null(node, "false"))
        });
        findings.extend(asking.map(|(node, _)| {
            let message = "this never holds: only AbortMultipartUpload and ListParts are about an upload, \
                           and the statement has neither";
            Finding::new(LintCode::NeverMatches, node.key.span.clone(), message)
        }));
    }
    findings
}

/// Whether no request has several values of the key. If a request has, a Deny without a
/// set operator applies if one value fulfils the first condition and another the next.
fn is_single_valued(key: &ContextKey) -> bool {
    matches!(keys::look_up(key.lower()), Known::Key(known) if known.multivalued == Some(false))
}

/// Whether two conditions on one key say the opposite of each other, or one needs a
/// value of the key and the other needs its absence. If `single`, a condition without a
/// set operator is about every value.
fn exclude_each_other(conditions: &[&ConditionNode], single: bool) -> bool {
    let about_every_value = |operator: Operator| match operator.set {
        Set::Single => single,
        Set::ForAllValues => true,
        Set::ForAnyValue => false,
    };
    let contradict = |one: &ConditionNode, other: &ConditionNode| {
        let (plain, negated) = (one.operator.value, other.operator.value);
        let listed = |value: &str| other.values.iter().any(|other| other.value == value);
        plain.kind == negated.kind
            && (plain.negated, negated.negated) == (false, true)
            && one.values.iter().all(|value| listed(&value.value))
            && ((needs_value(plain) && about_every_value(negated))
                || (about_every_value(plain) && needs_value(negated)))
    };
    let mut needing = conditions.iter().filter(|node| needs_value(node.operator.value));
    conditions.iter().any(|one| conditions.iter().any(|other| contradict(one, other)))
        || (needing.next().is_some() && conditions.iter().any(|node| is_null(node, "true")))
}

/// Whether a condition fails if its key is absent.
fn needs_value(operator: Operator) -> bool {
    let Operator { set, kind, negated, if_exists } = operator;
    kind != Kind::Null
        && !if_exists
        && match set {
            Set::Single => !negated,
            Set::ForAllValues => false,
            Set::ForAnyValue => true,
        }
}

/// Whether a condition is `Null` with this value.
fn is_null(node: &ConditionNode, flag: &str) -> bool {
    node.operator.value.kind == Kind::Null
        && !node.values.is_empty()
        && node.values.iter().all(|value| value.value.eq_ignore_ascii_case(flag))
}

/// Whether certainly no value of a key fulfils the conditions on it, nor does its
/// absence.
fn are_without_witness(key: &ContextKey, conditions: &[&Condition], effect: Effect) -> bool {
    let simple = |c: &&&Condition| c.operator().set == Set::Single && c.keys().count() == 1;
    let simple: Vec<&Condition> = conditions.iter().filter(simple).copied().collect();
    let Some(witnesses) = witnesses(&simple) else { return false };
    let fulfilled = |value: Option<&str>| {
        let facts = Single { key: key.lower(), value };
        simple.iter().all(|condition| condition.holds(&facts, effect))
    };
    !fulfilled(None) && !witnesses.iter().any(|value| fulfilled(Some(value)))
}

/// A list of values: if any value fulfils the conditions, one of these does. `None` if
/// there is no such list.
fn witnesses(conditions: &[&Condition]) -> Option<Vec<String>> {
    if conditions.len() < 2 {
        return None;
    }
    let listed = conditions.iter().find_map(|condition| condition.only_values());
    // Among bounds alone, each interval between two of them has a value near one.
    let near_bounds = || -> Option<Vec<_>> {
        let bounds: Option<Vec<_>> = conditions.iter().map(|c| c.around_bounds()).collect();
        Some(bounds?.concat())
    };
    listed.or_else(near_bounds)
}

/// The facts of a request that has only one key.
struct Single<'a> {
    key: &'a str,
    value: Option<&'a str>,
}

impl Facts for Single<'_> {
    fn caller(&self) -> &str {
        ""
    }

    fn get(&self, key: &str) -> Option<Values<'_>> {
        self.value.filter(|_| key == self.key).map(|value| Values::One(value.into()))
    }
}
