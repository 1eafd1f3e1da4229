//! Errors that the gateway finds beyond IAM's grammar: statements that cannot mean what
//! their author meant. IAM accepts most of them, and they match nothing, which is
//! dangerous for a Deny.

use super::arn;
use crate::domain::{AccountId, GatewayAction, Region};
use crate::policy::engine::condition;
use crate::policy::engine::decision::Layer;
use crate::policy::engine::instant::Instant;
use crate::policy::engine::pattern::{self, Pattern, Syntax};
use crate::policy::language::actions::GLACIER_ACTIONS;
use crate::policy::language::document::{ConditionNode, Document, PrincipalId, StatementNode};
use crate::policy::language::finding::{Finding, Spanned};
use crate::policy::language::keys::{self, Fitness, Known};
use crate::policy::language::lint_code::LintCode;
use crate::policy::language::operator::Kind;
use crate::spelling::{nearest, within};

/// Reports the errors in a document that follows IAM's grammar.
pub(crate) fn find(document: &Document, layer: Layer, findings: &mut Vec<Finding>) {
    for statement in &document.statements {
        let mut check = Check { statement, variables: document.variables, findings };
        check.sid(layer);
        statement.actions.values.iter().for_each(|action| check.action(action));
        statement.resources.values.iter().for_each(|resource| check.resource(resource));
        statement.conditions.iter().for_each(|condition| check.condition(condition));
        check.principals();
    }
}

struct Check<'a> {
    statement: &'a StatementNode,
    variables: bool,
    findings: &'a mut Vec<Finding>,
}

impl Check<'_> {
    fn error<T>(&mut self, code: LintCode, at: &Spanned<T>, message: String) {
        self.suggest(code, at, message, None);
    }

    /// Reports an error with the probable spelling, if there is one.
    fn suggest<T>(
        &mut self,
        code: LintCode,
        at: &Spanned<T>,
        message: String,
        nearest: Option<String>,
    ) {
        let finding = Finding::new(code, at.span.clone(), message);
        self.findings.push(finding.help_maybe(nearest));
    }

    /// IAM wants Sids of identity-based policies alphanumeric ("IAM JSON policy
    /// elements: Sid").
    fn sid(&mut self, layer: Layer) {
        if let Some(sid) = &self.statement.sid
            && layer != Layer::VaultPolicies
            && !sid.value.bytes().all(|b| b.is_ascii_alphanumeric())
        {
            let message = format!("the Sid {:?} may have only letters and digits", sid.value);
            self.error(LintCode::InvalidSid, sid, message);
        }
    }

    fn action(&mut self, action: &Spanned<String>) {
        let Some((service, name)) = action.value.split_once(':') else { return };
        let known: &[&str] = match service.to_ascii_lowercase().as_str() {
            "glacier" => &GLACIER_ACTIONS,
            "gateway" => &GatewayAction::ALL.map(GatewayAction::name),
            other => {
                // AWS's apigateway is three letters from ours.
                if let Some(near) = within(2, other, &["glacier", "gateway"]) {
                    let message = format!("the service {service:?} does not exist");
                    let help = Some(format!("{near}:{name}"));
                    self.suggest(LintCode::UnknownService, action, message, help);
                }
                return;
            }
        };
        let pattern = Pattern::wildcards(&name.to_ascii_lowercase());
        if known.iter().any(|known| pattern.matches_text(&known.to_ascii_lowercase())) {
            return;
        }
        if name.contains(['*', '?']) {
            let message = format!("{:?} matches no action of {service}", action.value);
            self.error(LintCode::UnknownAction, action, message);
        } else {
            let message = format!("{service} has no action {name:?}");
            let help = nearest(name, known).map(|near| format!("{service}:{near}"));
            self.suggest(LintCode::UnknownAction, action, message, help);
        }
    }

    fn resource(&mut self, resource: &Spanned<String>) {
        let text = resource.value.as_str();
        if text == "*" {
            return;
        }
        self.variables(resource);
        // `Statement::compile` reports this error.
        if pattern::check_resource_variables(text).is_err() {
            return;
        }
        // A field that ends in `*` may reach over the colons that are missing.
        let mut fields = text.splitn(6, ':').map(|field| match field.contains(['*', '?']) {
            true => None,
            false => Some(field),
        });
        if let Some(Some(partition)) = fields.nth(1)
            && !Region::PARTITIONS.iter().any(|(known, _)| *known == partition)
        {
            let message =
                format!("the partition {partition:?} does not exist: most ARNs have \"aws\"");
            self.error(LintCode::ImpossibleArn, resource, message);
            return;
        }
        let message = match fields.next() {
            Some(Some("glacier")) if !arn::may_name_vault(text) => arn::why_no_vault(text),
            Some(Some("glacier-gateway")) if !arn::may_name_any_own(text) => {
                let message = format!(
                    "the gateway has no such resource: write {}",
                    arn::own_kinds().join(", ")
                );
                let nearest = arn::nearest_own(text);
                return self.suggest(LintCode::ImpossibleArn, resource, message, nearest);
            }
            Some(Some("glacier" | "glacier-gateway")) => return,
            Some(Some(service)) => return self.foreign_resource(service, resource),
            _ => return,
        };
        self.error(LintCode::ImpossibleArn, resource, message);
    }

    /// A statement that was written for several services may name their resources;
    /// one that has only Glacier's actions and only such resources is a mistake.
    fn foreign_resource(&mut self, service: &str, resource: &Spanned<String>) {
        let StatementNode { actions, resources, .. } = self.statement;
        let about_glacier =
            |action: &Spanned<String>| action.value.to_ascii_lowercase().starts_with("glacier:");
        let ours = |resource: &Spanned<String>| {
            arn::may_name_vault(&resource.value) || arn::may_name_any_own(&resource.value)
        };
        if !actions.not
            && actions.values.iter().all(about_glacier)
            && !resources.values.iter().any(ours)
        {
            let message =
                format!("Glacier's actions are not about resources of the service {service:?}");
            self.error(LintCode::ImpossibleArn, resource, message);
        }
    }

    fn condition(&mut self, node: &ConditionNode) {
        self.key(&node.key, "context key");
        let operator = node.operator.value;
        if let Known::Key(key) = keys::look_up(&node.key.value)
            && keys::fitness(operator, key.kind) == Fitness::Never
        {
            let message = format!(
                "this operator cannot compare {}, which is of the type {:?}",
                key.name, key.kind
            );
            self.error(LintCode::TypeMismatch, &node.operator, message);
        }
        let variables = self.variables && operator.takes_variables();
        for value in &node.values {
            if operator.takes_variables() {
                self.variables(value);
            }
            if let Some(what) = unreadable(operator.kind, &value.value, variables) {
                let message = if value.value.contains("${") {
                    format!(
                        "{:?} is not {what}, and this operator does not take variables",
                        value.value
                    )
                } else {
                    format!("{:?} is not {what}", value.value)
                };
                self.error(LintCode::WrongValue, value, message);
            }
        }
    }

    /// The keys of the variables in a text.
    fn variables(&mut self, text: &Spanned<String>) {
        let syntax = Syntax { wildcards: true, variables: self.variables };
        let Ok(pattern) = Pattern::parse(&text.value, syntax) else { return };
        let keys: Vec<String> = pattern.variable_keys().map(ToString::to_string).collect();
        for key in keys {
            self.key(&Spanned { value: key, span: text.span.clone() }, "policy variable");
        }
    }

    fn key(&mut self, key: &Spanned<String>, what: &str) {
        if let Known::Misspelt { nearest } = keys::look_up(&key.value) {
            let message = format!("the {what} {:?} does not exist", key.value);
            self.suggest(LintCode::UnknownKey, key, message, nearest);
        }
    }

    fn principals(&mut self) {
        for id in self.statement.principal.iter().flat_map(|element| &element.values) {
            let PrincipalId::Aws(text) = &id.value else { continue };
            let arn = text.starts_with("arn:") && text.splitn(6, ':').count() == 6;
            let message = if text.contains(['*', '?']) {
                "a wildcard may not stand for a part of a principal: write the whole name"
            } else if arn || text.parse::<AccountId>().is_ok() {
                continue;
            } else {
                "this is not a principal: write an ARN such as \
                 \"arn:aws:glacier-gateway:::team/TEAM\", or \"*\""
            };
            self.error(LintCode::InvalidPrincipal, id, message.to_owned());
        }
    }
}

/// What a value should be, if it is not that.
fn unreadable(kind: Kind, value: &str, variables: bool) -> Option<&'static str> {
    let (readable, what) = match kind {
        Kind::String | Kind::StringIgnoreCase | Kind::StringLike => return None,
        Kind::Numeric(_) => (condition::number(value).is_some(), "a number"),
        Kind::Date(_) => {
            (Instant::parse(value).is_some(), "a date such as \"2026-11-23T10:00:00Z\"")
        }
        Kind::Bool | Kind::Null => (condition::boolean(value).is_some(), "\"true\" or \"false\""),
        Kind::Binary => (condition::binary(value).is_some(), "base64"),
        Kind::IpAddress => (condition::network(value).is_some(), "an address or a CIDR block"),
        Kind::Arn => {
            let arn = value.starts_with("arn:") && value.splitn(6, ':').count() == 6;
            (arn || (variables && value.contains("${")), "an ARN with all six fields")
        }
    };
    (!readable).then_some(what)
}
