//! What holds for all policies and requests.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::generate::Generator;
use crate::support::decision;

/// A random case and a random further statement.
fn case_and_statement() -> impl Strategy<Value = (Value, Value)> {
    (any::<u64>(), any::<u64>()).prop_map(|(case, statement)| {
        (Generator::new(case).case(), Generator::new(statement).statement(false))
    })
}

fn add(case: &Value, layer: &str, mut statement: Value, effect: &str) -> Value {
    statement["Effect"] = json!(effect);
    let mut case = case.clone();
    let document = json!({ "Version": "2012-10-17", "Statement": statement });
    case[layer].as_array_mut().unwrap().push(document);
    case
}

proptest! {
    #[test]
    fn adding_a_deny_never_allows((case, statement) in case_and_statement()) {
        let (before, after) = (decision(&case), decision(&add(&case, "policies", statement, "Deny")));
        prop_assert!(after == before || after == "explicitDeny", "{before} {after}");
    }

    #[test]
    fn adding_an_allow_never_denies((case, statement) in case_and_statement()) {
        let (before, after) = (decision(&case), decision(&add(&case, "policies", statement, "Allow")));
        prop_assert!(after == before || (before == "implicitDeny" && after == "allowed"));
    }

    #[test]
    fn guardrails_only_narrow((case, statement) in case_and_statement(), deny: bool) {
        let mut unguarded = case.clone();
        unguarded["guardrails"] = json!([]);
        let effect = if deny { "Deny" } else { "Allow" };
        let (before, after) =
            (decision(&unguarded), decision(&add(&unguarded, "guardrails", statement, effect)));
        prop_assert!(after != "allowed" || before == "allowed");
        prop_assert!(before != "explicitDeny" || after == "explicitDeny");
    }

    #[test]
    fn the_order_of_documents_and_statements_is_irrelevant(seed: u64) {
        let case = Generator::new(seed).case();
        let mut reversed = case.clone();
        for layer in ["policies", "guardrails", "vaultPolicies"] {
            let Some(documents) = reversed.get_mut(layer).and_then(Value::as_array_mut) else {
                continue;
            };
            documents.reverse();
            for document in documents {
                if let Some(statements) = document["Statement"].as_array_mut() {
                    statements.reverse();
                }
            }
        }
        prop_assert_eq!(decision(&case), decision(&reversed));
    }

    #[test]
    fn no_text_makes_the_engine_panic(text: String) {
        glacier_gateway::policy::simulate_line(text.as_bytes());
        let document = json!({ "Version": "2012-10-17", "Statement": {
            "Effect": "Allow", "Action": "*", "Resource": format!("arn:{text}"),
            "Condition": { "StringLike": { "jwt:x": text }, "ArnLike": { "jwt:x": text } },
        }});
        let mut case = Generator::new(0).case();
        case["policies"] = json!([document]);
        case["request"]["context"] = json!({ "jwt:x": text });
        decision(&case);
    }
}
