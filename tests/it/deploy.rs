//! What the platform grants the gateway.

use std::collections::BTreeSet;

use glacier_gateway::domain::Operation;
use serde_json::Value;

#[test]
fn the_gateways_aws_role_may_do_what_the_gateway_does_and_nothing_else() {
    let policy: Value = serde_json::from_str(include_str!("../../deploy/aws-iam-policy.json"))
        .expect("deploy/aws-iam-policy.json is JSON");
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
            // Of the five only ListVaults is not about a vault.
            assert_eq!(statement["Resource"] == "*", action == "glacier:ListVaults", "{action}");
            assert!(granted.insert(action), "an action is granted twice");
        }
    }
    let performed: BTreeSet<String> =
        Operation::ALL.iter().map(|operation| operation.action().to_owned()).collect();
    assert_eq!(granted, performed);
}
