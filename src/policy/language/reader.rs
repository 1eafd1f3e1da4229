//! From JSON to a document, element by element (IAM User Guide, "IAM JSON policy
//! elements reference").

use std::collections::HashSet;
use std::ops::Range;

use jsonc_parser::ast::{Object, Value};
use jsonc_parser::common::Ranged;

use super::document::{
    ConditionNode, Document, DocumentKind, Effect, Element, PrincipalId, StatementNode,
};
use super::finding::{Finding, Spanned};
use super::json;
use super::lint_code::LintCode;
use super::operator::Operator;
use crate::spelling::nearest;

/// Reads a document.
///
/// # Errors
/// Everything in it that IAM's grammar refuses.
pub(crate) fn parse(text: &str, kind: DocumentKind) -> Result<Document, Vec<Finding>> {
    let value = json::parse(text).map_err(|finding| vec![finding])?;
    Reader::new(kind).read(&value)
}

/// Reads one document and notes what is wrong with it.
struct Reader {
    kind: DocumentKind,
    findings: Vec<Finding>,
}

const VERSIONS: [&str; 2] = ["2012-10-17", "2008-10-17"];

impl Reader {
    /// A reader of documents of this kind.
    fn new(kind: DocumentKind) -> Self {
        Self { kind, findings: Vec::new() }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// Everything in it that IAM's grammar refuses.
    fn read(mut self, value: &Value<'_>) -> Result<Document, Vec<Finding>> {
        match self.document(value) {
            Some(document) if self.findings.is_empty() => Ok(document),
            _ => Err(self.findings),
        }
    }

    fn note(&mut self, code: LintCode, at: &impl Ranged, message: impl Into<String>) {
        self.findings.push(Finding::new(code, span(at), message));
    }

    /// Reports a wrong type; gives `None` so that callers can `?` on.
    fn wrong_type<T>(&mut self, what: &str, wanted: &str, found: &Value<'_>) -> Option<T> {
        let message = format!("{what} must be {wanted}, not {}", type_name(found));
        self.note(LintCode::WrongType, found, message);
        None
    }

    fn document(&mut self, value: &Value<'_>) -> Option<Document> {
        let Value::Object(object) = value else {
            return self.wrong_type("a policy document", "an object", value);
        };
        self.check_names(object, "a policy document", &["Version", "Id", "Statement"]);
        let version = member(object, "Version").and_then(|v| self.string("Version", v));
        if let Some(version) = &version
            && !VERSIONS.contains(&version.value.as_str())
        {
            self.findings.push(
                Finding::new(
                    LintCode::UnknownVersion,
                    version.span.clone(),
                    format!(
                        "the version {:?} of the policy language does not exist",
                        version.value
                    ),
                )
                .help("write \"2012-10-17\", or \"2008-10-17\" for a policy without variables"),
            );
        }
        if let Some(id) = member(object, "Id") {
            self.string("Id", id);
        }
        let Some(statement) = member(object, "Statement") else {
            self.note(LintCode::MissingElement, object, "the policy has no Statement");
            return None;
        };
        let nodes = self.one_or_more("Statement", statement);
        let statements: Vec<_> = nodes.iter().filter_map(|node| self.statement(node)).collect();
        self.check_sids(&statements);
        let has_version = version.is_some();
        let variables = version.is_some_and(|version| version.value == VERSIONS[0]);
        Some(Document { has_version, variables, statements })
    }

    fn check_sids(&mut self, statements: &[StatementNode]) {
        let mut seen = HashSet::new();
        for sid in statements.iter().filter_map(|statement| statement.sid.as_ref()) {
            if !sid.value.is_empty() && !seen.insert(&sid.value) {
                let message =
                    format!("the Sid {:?} is used twice: Sids are unique in a policy", sid.value);
                self.findings.push(Finding::new(LintCode::DuplicateSid, sid.span.clone(), message));
            }
        }
    }

    fn statement(&mut self, value: &Value<'_>) -> Option<StatementNode> {
        let Value::Object(object) = value else {
            return self.wrong_type("a statement", "an object", value);
        };
        const NAMES: [&str; 9] = [
            "Sid",
            "Effect",
            "Principal",
            "NotPrincipal",
            "Action",
            "NotAction",
            "Resource",
            "NotResource",
            "Condition",
        ];
        self.check_names(object, "a statement", &NAMES);
        let sid = member(object, "Sid").and_then(|sid| self.string("Sid", sid));
        let effect = self.effect(object);
        let principal = self.principal(object);
        let actions = self.strings(object, ["Action", "NotAction"]);
        let resources = self.strings(object, ["Resource", "NotResource"]);
        for action in actions.iter().flat_map(|element| &element.values) {
            self.action(action);
        }
        for resource in resources.iter().flat_map(|element| &element.values) {
            self.resource(resource);
        }
        let conditions = self.conditions(object);
        Some(StatementNode {
            span: span(object),
            sid,
            effect: effect?,
            principal: principal?,
            actions: actions?,
            resources: resources?,
            conditions,
        })
    }

    fn effect(&mut self, object: &Object<'_>) -> Option<Effect> {
        let Some(value) = member(object, "Effect") else {
            self.note(LintCode::MissingElement, object, "the statement has no Effect");
            return None;
        };
        let effect = self.string("Effect", value)?;
        match effect.value.as_str() {
            "Allow" => Some(Effect::Allow),
            "Deny" => Some(Effect::Deny),
            other => {
                let message = format!("Effect is \"Allow\" or \"Deny\", not {other:?}");
                self.note(LintCode::WrongEffect, value, message);
                None
            }
        }
    }

    /// `Some(None)`: rightly absent.
    fn principal(&mut self, object: &Object<'_>) -> Option<Option<Element<PrincipalId>>> {
        let Some((not, value)) = self.one_of(object, ["Principal", "NotPrincipal"]) else {
            if self.kind == DocumentKind::Resource {
                let message = "every statement of a vault policy names a principal: add Principal";
                self.note(LintCode::MissingElement, object, message);
                return None;
            }
            return Some(None);
        };
        if self.kind == DocumentKind::Identity {
            let message = "only vault policies may have a principal: this policy is about its own team, or about all teams";
            self.note(LintCode::PrincipalNotAllowed, value, message);
            return None;
        }
        let map = match value {
            Value::StringLit(text) if text.value == "*" => {
                let everyone = Spanned { value: PrincipalId::Everyone, span: span(text) };
                return Some(Some(Element { not, values: vec![everyone] }));
            }
            Value::Object(map) => map,
            other => {
                let wanted = "\"*\" or an object such as {\"AWS\": [ARN, …]}";
                return self.wrong_type("Principal", wanted, other);
            }
        };
        self.check_names(map, "a Principal", &["AWS", "Federated", "Service", "CanonicalUser"]);
        let mut values = Vec::new();
        for property in &map.properties {
            let kind: fn(String) -> PrincipalId = match property.name.as_str() {
                "AWS" => |id| match id.as_str() {
                    "*" => PrincipalId::Everyone,
                    _ => PrincipalId::Aws(id),
                },
                "Federated" => PrincipalId::Federated,
                "Service" => PrincipalId::Service,
                "CanonicalUser" => PrincipalId::CanonicalUser,
                _ => continue,
            };
            for node in self.one_or_more("a principal's identifier", &property.value) {
                if let Some(Spanned { value, span }) = self.string("a principal", node) {
                    values.push(Spanned { value: kind(value), span });
                }
            }
        }
        if map.properties.is_empty() {
            self.note(
                LintCode::EmptyElement,
                map,
                "Principal is empty: name a principal, or write \"*\"",
            );
        }
        Some(Some(Element { not, values }))
    }

    fn action(&mut self, action: &Spanned<String>) {
        let finding = match action.value.split_once(':') {
            _ if action.value == "*" => return,
            None => format!(
                "the action {:?} has no service prefix: write \"glacier:{}\"",
                action.value, action.value
            ),
            Some(("*", "*")) => return,
            Some((service, _)) if service.contains(['*', '?']) => {
                format!("the service prefix {service:?} has a wildcard: name one service")
            }
            Some((service, name)) if service.is_empty() || name.is_empty() => {
                format!("{:?} is not an action: write \"service:Action\"", action.value)
            }
            Some(_) => return,
        };
        self.findings.push(Finding::new(LintCode::InvalidAction, action.span.clone(), finding));
    }

    fn resource(&mut self, resource: &Spanned<String>) {
        let mut fields = resource.value.splitn(3, ':');
        let finding = match (fields.next(), fields.next(), fields.next()) {
            _ if resource.value == "*" => return,
            (Some("arn"), Some(_), Some(rest)) => {
                let service = rest.split(':').next().unwrap_or(rest);
                // "arn:aws:*" ends in its only wildcard and is a short ARN.
                if service.contains(['*', '?']) && service.len() < rest.len() {
                    format!("the ARN's service {service:?} has a wildcard: name one service")
                } else {
                    return;
                }
            }
            _ => format!("{:?} is not a resource: write an ARN or \"*\"", resource.value),
        };
        self.findings.push(Finding::new(LintCode::InvalidResource, resource.span.clone(), finding));
    }

    fn conditions(&mut self, object: &Object<'_>) -> Vec<ConditionNode> {
        let mut conditions = Vec::new();
        let Some(value) = member(object, "Condition") else { return conditions };
        let Value::Object(map) = value else {
            self.wrong_type::<()>("Condition", "an object of operators", value);
            return conditions;
        };
        self.check_duplicates(map);
        for property in &map.properties {
            let name = property.name.as_str();
            let Some(operator) = Operator::parse(name) else {
                let message = format!("the condition operator {name:?} does not exist");
                let finding =
                    Finding::new(LintCode::UnknownOperator, span(&property.name), message);
                self.findings.push(finding.help_maybe(nearest_operator(name)));
                continue;
            };
            let operator = Spanned { value: operator, span: span(&property.name) };
            let Value::Object(keys) = &property.value else {
                self.wrong_type::<()>(name, "an object of context keys", &property.value);
                continue;
            };
            self.check_duplicates(keys);
            for key in &keys.properties {
                let values = match &key.value {
                    Value::Array(array) => array.elements.iter().collect(),
                    single => vec![single],
                };
                conditions.push(ConditionNode {
                    operator: operator.clone(),
                    key: Spanned { value: key.name.as_str().to_owned(), span: span(&key.name) },
                    values: values.into_iter().filter_map(|v| self.condition_value(v)).collect(),
                });
            }
        }
        conditions
    }

    /// Strings, and numbers and booleans without quotation marks.
    fn condition_value(&mut self, value: &Value<'_>) -> Option<Spanned<String>> {
        let text = match value {
            Value::StringLit(text) => text.value.to_string(),
            Value::NumberLit(number) => number.value.to_owned(),
            Value::BooleanLit(flag) => flag.value.to_string(),
            other => {
                return self.wrong_type(
                    "a condition's value",
                    "a string, number or boolean",
                    other,
                );
            }
        };
        Some(Spanned { value: text, span: span(value) })
    }

    /// One of an element and its `Not…` twin; both at once is an error.
    fn one_of<'v, 'a>(
        &mut self,
        object: &'v Object<'a>,
        names: [&str; 2],
    ) -> Option<(bool, &'v Value<'a>)> {
        match names.map(|name| member(object, name)) {
            [Some(_), Some(both)] => {
                let message =
                    format!("a statement may not have both {} and {}", names[0], names[1]);
                self.note(LintCode::ExclusiveElements, both, message);
                None
            }
            [Some(value), None] => Some((false, value)),
            [None, Some(value)] => Some((true, value)),
            [None, None] => None,
        }
    }

    fn strings(&mut self, object: &Object<'_>, names: [&str; 2]) -> Option<Element<String>> {
        let before = self.findings.len();
        let Some((not, value)) = self.one_of(object, names) else {
            if self.findings.len() == before {
                let message = format!("the statement has neither {} nor {}", names[0], names[1]);
                self.note(LintCode::MissingElement, object, message);
            }
            return None;
        };
        let nodes = self.one_or_more(names[usize::from(not)], value);
        let values = nodes.iter().filter_map(|node| self.string(names[usize::from(not)], node));
        Some(Element { not, values: values.collect() })
    }

    /// A list's elements, or a single value as a list of one.
    fn one_or_more<'v, 'a>(&mut self, what: &str, value: &'v Value<'a>) -> Vec<&'v Value<'a>> {
        match value {
            Value::Array(array) => {
                if array.elements.is_empty() {
                    self.note(LintCode::EmptyElement, array, format!("{what} is an empty list"));
                }
                array.elements.iter().collect()
            }
            single => vec![single],
        }
    }

    fn string(&mut self, what: &str, value: &Value<'_>) -> Option<Spanned<String>> {
        match value {
            Value::StringLit(text) => {
                Some(Spanned { value: text.value.to_string(), span: span(text) })
            }
            other => self.wrong_type(what, "a string", other),
        }
    }

    fn check_names(&mut self, object: &Object<'_>, what: &str, names: &[&str]) {
        self.check_duplicates(object);
        for property in &object.properties {
            let name = property.name.as_str();
            if !names.contains(&name) {
                let finding = Finding::new(
                    LintCode::UnknownElement,
                    span(&property.name),
                    format!("{what} has no element {name:?}"),
                );
                self.findings.push(finding.help_maybe(nearest(name, names)));
            }
        }
    }

    fn check_duplicates(&mut self, object: &Object<'_>) {
        for (index, property) in object.properties.iter().enumerate() {
            let name = property.name.as_str();
            if object.properties[..index].iter().any(|earlier| earlier.name.as_str() == name) {
                let message =
                    format!("the key {name:?} is here twice: IAM would read only one of them");
                self.note(LintCode::DuplicateKey, &property.name, message);
            }
        }
    }
}

fn nearest_operator(name: &str) -> Option<String> {
    let (prefix, rest) = match name.rsplit_once(':') {
        Some((prefix, rest)) => (nearest(prefix, &["ForAllValues", "ForAnyValue"]), rest),
        None => (None, name),
    };
    let (base, suffix) = match rest.strip_suffix("IfExists") {
        Some(base) => (base, "IfExists"),
        None => (rest, ""),
    };
    let base = nearest(base, &Operator::NAMES)?;
    let prefix = prefix.map(|prefix| format!("{prefix}:")).unwrap_or_default();
    Some(format!("{prefix}{base}{suffix}"))
}

fn member<'v, 'a>(object: &'v Object<'a>, name: &str) -> Option<&'v Value<'a>> {
    object.properties.iter().find(|property| property.name.as_str() == name).map(|p| &p.value)
}

fn span(at: &impl Ranged) -> Range<usize> {
    at.start()..at.end()
}

fn type_name(value: &Value<'_>) -> &'static str {
    match value {
        Value::StringLit(_) => "a string",
        Value::NumberLit(_) => "a number",
        Value::BooleanLit(_) => "a boolean",
        Value::Object(_) => "an object",
        Value::Array(_) => "a list",
        Value::NullKeyword(_) => "null",
    }
}
