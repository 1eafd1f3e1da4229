//! What the platform grants the gateway.

use std::collections::BTreeSet;

use glacier_gateway::domain::Operation;
use serde_json::Value;

/// The gateway's own role, with what it takes to act in other accounts.
const POLICY: &str = include_str!("../../deploy/aws-iam-policy.json");
/// The role of another account: a template of CloudFormation's, and as Terraform has it.
const TEMPLATE: &str = include_str!("../../deploy/account-role.yaml");
const TERRAFORM: &str = include_str!("../../docs/accounts.md");

fn performed() -> BTreeSet<String> {
    Operation::ALL.iter().map(|operation| operation.action().to_owned()).collect()
}

#[test]
fn the_gateways_aws_role_may_do_what_the_gateway_does_and_nothing_else() {
    let policy: Value = serde_json::from_str(POLICY).expect("deploy/aws-iam-policy.json is JSON");
    let mut granted = BTreeSet::new();
    for statement in policy["Statement"].as_array().unwrap() {
        assert_eq!(statement["Effect"], "Allow");
        assert!(statement.get("NotAction").is_none());
        let actions = match &statement["Action"] {
            Value::Array(actions) => actions.clone(),
            one => vec![one.clone()],
        };
        for action in actions {
            let action = action.as_str().unwrap().to_owned();
            // Of all these only ListVaults is not about a vault or a role.
            assert_eq!(statement["Resource"] == "*", action == "glacier:ListVaults", "{action}");
            assert!(granted.insert(action), "an action is granted twice");
        }
    }
    let sts = ["sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession"].map(str::to_owned);
    assert_eq!(granted, &performed() | &BTreeSet::from(sts));
}

/// The actions of `service` that `text` names.
fn actions(text: &str, service: &str) -> BTreeSet<String> {
    let prefix = format!("{service}:");
    let named = text.match_indices(&prefix).filter_map(|(at, prefix)| {
        let name: String =
            text[at + prefix.len()..].chars().take_while(char::is_ascii_alphanumeric).collect();
        let is_action = name.starts_with(|first: char| first.is_ascii_uppercase());
        is_action.then(|| format!("{prefix}{name}"))
    });
    named.collect()
}

#[test]
fn an_accounts_role_allows_what_the_gateway_does_and_nothing_else() {
    let terraform = TERRAFORM.split("```hcl\n").nth(1).and_then(|text| text.split("```").next());
    for role in [TEMPLATE, terraform.unwrap()] {
        assert_eq!(actions(role, "glacier"), performed());
        let mut sts = actions(role, "sts");
        for condition in ["sts:ExternalId", "sts:SourceIdentity"] {
            assert!(sts.remove(condition), "{condition}");
        }
        let trusted = ["sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession"];
        assert!(sts.iter().eq(trusted), "{sts:?}");
        assert!(!role.contains("glacier:*\""), "a wildcard");
    }
}
