//! The index of statements: it finds all that are about a vault, whatever stands before
//! the vault's name, and names of near misses that are near.

use glacier_gateway::domain::Operation;
use glacier_gateway::policy::{Denial, Layer, Resource, Severity, lint_document};
use serde_json::{Value, json};

use crate::folder::{allow, context, load, member, policy, vault, with};
use crate::reference;
use crate::support::folder;

/// What may stand before the vault's name, and the name.
const BEFORE: [&str; 16] = [
    "arn:aws:glacier:us-east-1:123456789012:vaults/",
    "arn:aws:glacier:us-east-1:210987654321:vaults/",
    "arn:aws:glacier:*:123456789012:vaults/",
    "arn:aws:glacier:*:*:vaults/",
    "arn:aws:glacier:us-*-1:123456789012:vaults/",
    "arn:aws:glacier:us-east-?:*:v*s/",
    "arn:aws:glacier:*12:vaults/",
    "arn:aws:glacier:*:123456789012:*/",
    "arn:aws:glacier:*/",
    "arn:aws:glacier:*vaults?",
    "arn:aws:glacier:*:123456789012:vaults*",
    "arn:aws:glacier:*s/*",
    "arn:*:vaults/",
    "arn:*/",
    "arn:aws:glacier:us-east-1:*",
    "arn:aws:*:us-east-1:*:vaults/",
];
const NAMES: [&str; 16] = [
    "photos",
    "photo",
    "photos-2",
    "photos*",
    "photos-*",
    "*photos",
    "p*s",
    "*-2",
    "?hotos",
    "photos?2",
    "*",
    "",
    "x/photos",
    "${aws:PrincipalTag/Stage}",
    "${aws:PrincipalTag/Stage}-2",
    "*${aws:PrincipalTag/none, ''}2",
];

fn document(effect: &str, element: &str, resource: &Value) -> Value {
    let mut statements = vec![json!({ "Effect": effect, "Action": "*", element: resource })];
    if effect == "Deny" {
        statements.push(json!({ "Effect": "Allow", "Action": "*", "Resource": "*" }));
    }
    json!({ "Version": "2012-10-17", "Statement": statements })
}

fn loads(document: &Value) -> bool {
    let findings = lint_document("x.json".as_ref(), &document.to_string(), Layer::Policies);
    findings.iter().all(|finding| finding.severity != Severity::Error)
}

#[test]
fn no_statement_about_a_vault_is_missed_whatever_stands_before_its_name() {
    let patterns =
        BEFORE.iter().flat_map(|before| NAMES.iter().map(move |name| format!("{before}{name}")));
    let documents: Vec<Value> = patterns
        .flat_map(|pattern| {
            let two = json!(["arn:aws:glacier:*:*:vaults/other", pattern]);
            [
                document("Allow", "Resource", &json!(pattern)),
                document("Deny", "Resource", &two),
                document("Allow", "NotResource", &json!(pattern)),
            ]
        })
        .filter(loads)
        .collect();
    let names: Vec<_> = (0..documents.len()).map(|n| format!("teams/photos-{n}.json")).collect();
    let texts = documents.iter().map(Value::to_string);
    let files = folder(names.iter().map(String::as_str).zip(texts));
    let set = load(files.path());
    let mut outcomes = [0_u32; 3];
    for (number, document) in documents.iter().enumerate() {
        for name in ["photos", "photos-2", "photo", "aphotos", "photos-22", "prod", "prod-2"] {
            let team = format!("photos-{number}");
            let ann = member(&[&team]);
            let decided = set.decide(&ann, Operation::DescribeVault, vault(name), &context());
            let decided = decided.map_or_else(|denial| denial.reason(), |_| "allowed");
            let case = json!({
                "policies": [document],
                "request": {
                    "principal": format!("arn:aws:glacier-gateway:::team/{team}/ann"),
                    "action": "glacier:DescribeVault",
                    "resource": vault(name).as_str(),
                    "context": { "aws:PrincipalTag/Stage": "prod" },
                },
            });
            assert_eq!(decided, reference::decide(&case), "{case:#}");
            let outcomes_known = ["allowed", "explicitDeny", "implicitDeny"];
            outcomes[outcomes_known.iter().position(|known| *known == decided).unwrap()] += 1;
        }
    }
    assert!(outcomes.iter().all(|count| *count > 200), "{outcomes:?}");
}

#[test]
fn of_many_statements_those_for_the_names_most_alike_are_the_near_misses() {
    let in_any_region = |name: &str| {
        with(
            allow("glacier:Abort*", name),
            "Resource",
            json!(format!("arn:aws:glacier:*:123456789012:vaults/{name}")),
        )
    };
    let mut statements: Vec<Value> = (0..300).map(|n| in_any_region(&format!("a{n:03}"))).collect();
    statements.push(in_any_region("photos-2025"));
    statements.extend((0..300).map(|n| in_any_region(&format!("z{n:03}"))));
    let dev = json!({ "StringEquals": { "aws:PrincipalTag/Stage": "dev" } });
    statements.push(with(in_any_region("photos-*"), "Condition", dev));
    statements.push(with(in_any_region("photos-2024"), "Action", json!("glacier:List*")));
    let files = folder([("teams/photos.json", policy(&json!(statements)))]);
    let photos: Resource = vault("photos-2026");
    let ann = member(&["photos"]);
    let denial = load(files.path())
        .decide(&ann, Operation::AbortMultipartUpload, photos, &context())
        .unwrap_err();
    let Denial::ImplicitDeny { near_misses, .. } = denial else { panic!("{denial:?}") };
    let near: Vec<_> = near_misses.iter().map(|near| near.statement.statement).collect();
    assert_eq!(near[..2], [601, 300], "{near:?}");
    assert_eq!(near.len(), 5);
}
