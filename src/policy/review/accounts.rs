//! Warnings of conditions about accounts that the gateway does not serve, for whoever knows
//! which it serves.

use std::path::Path;
use std::sync::Arc;

use super::diagnostic::Diagnostic;
use crate::domain::AccountDirectory;
use crate::policy::engine::condition::Condition;
use crate::policy::engine::decision::StatementId;
use crate::policy::engine::pattern::Pattern;
use crate::policy::engine::set::PolicySet;
use crate::policy::engine::statement::Statement;
use crate::policy::language::finding::Finding;
use crate::policy::language::lint_code::LintCode;
use crate::policy::language::operator::Kind;

impl PolicySet {
    /// Warns of each `gateway:AccountTag/KEY` that none of the accounts has, and of each
    /// `gateway:AccountName` that is none's: a Deny with a misspelt one denies nothing.
    pub fn unknown_accounts(&self, accounts: &AccountDirectory) -> Vec<Diagnostic> {
        let mut found: Vec<_> = self
            .statements()
            .flat_map(|stored| {
                let unknown = unknown(&stored.statement, accounts);
                unknown.into_iter().map(|message| (&*stored.id, message))
            })
            .collect();
        found.sort_by(|(a, x), (b, y)| {
            (&a.policy, a.statement, x).cmp(&(&b.policy, b.statement, y))
        });
        found.dedup();
        let diagnostic = |(id, message): (&StatementId, String)| {
            let StatementId { policy, statement, .. } = id;
            let message = format!("statement {statement}: {message}");
            let finding = Finding::new(LintCode::UnknownAccount, 0..0, message);
            Diagnostic::new(Path::new(policy), &Arc::from(""), finding)
        };
        found.into_iter().map(diagnostic).collect()
    }
}

fn unknown(statement: &Statement, accounts: &AccountDirectory) -> Vec<String> {
    let tags = accounts.values().flat_map(|facts| facts.tags.keys());
    let has_tag = |key: &str| tags.clone().any(|tag| tag.to_lowercase() == key);
    let keys = statement.keys().filter(|key| {
        key.lower().strip_prefix("gateway:accounttag/").is_some_and(|tag| !has_tag(tag))
    });
    let tags = keys.map(|key| format!("no configured account has the tag of {key}"));
    let is_named = |condition: &Condition, pattern: &Pattern| {
        let mut names = accounts.values().map(|facts| facts.name.as_str());
        match (condition.operator().kind, pattern.literal()) {
            (Kind::StringIgnoreCase, Some(name)) => names.any(|n| n.eq_ignore_ascii_case(name)),
            _ => names.any(|name| pattern.matches_text(name)),
        }
    };
    let about_names =
        statement.conditions.iter().filter(|c| c.key.lower() == "gateway:accountname");
    let names = about_names.flat_map(|condition| {
        let plain = condition.texts().iter().filter(|text| text.variable_keys().next().is_none());
        plain
            .filter(|text| !is_named(condition, text))
            .map(|text| format!("no configured account has the {} {text}", condition.key))
    });
    tags.chain(names).collect()
}
