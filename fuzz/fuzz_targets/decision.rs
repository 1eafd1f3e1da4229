//! Any line of the batch form is answered by one line of JSON, the same twice,
//! and a further Deny of everything never allows.
#![no_main]

use glacier_gateway::policy::simulate_line;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|line: &[u8]| {
    if line.contains(&b'\n') {
        return;
    }
    let text = simulate_line(line);
    assert_eq!(text, simulate_line(line));
    assert!(!text.contains('\n'));
    let answer: Value = serde_json::from_str(&text).unwrap();
    let (Some(_), Ok(mut case)) = (answer.get("decision"), serde_json::from_slice::<Value>(line))
    else {
        return;
    };
    let deny = json!({ "Statement": { "Effect": "Deny", "Action": "*", "Resource": "*" } });
    match case.get_mut("policies").and_then(Value::as_array_mut) {
        Some(policies) => policies.push(deny),
        None => case["policies"] = json!([deny]),
    }
    let answer: Value = serde_json::from_str(&simulate_line(case.to_string().as_bytes())).unwrap();
    if answer.get("error").is_none() {
        assert_eq!(answer["decision"], "explicitDeny");
    }
});
