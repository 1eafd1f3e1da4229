//! What the linter says of bad and doubtful documents.

use std::path::Path;

use glacier_gateway::policy::{
    Diagnostic, Format, Layer, LintCode, PolicySet, Severity, lint_document, render,
};
use serde_json::{Value, json};

use crate::support::folder;

/// The diagnostics of one document.
pub fn lint(file: &str, document: &str) -> Vec<Diagnostic> {
    let folder = folder([(file, document.to_owned())]);
    match PolicySet::load(folder.path()) {
        Ok((_, warnings)) => warnings,
        Err(diagnostics) => diagnostics,
    }
}

pub fn codes(file: &str, statements: &Value) -> Vec<&'static str> {
    lint(file, &policy_of(statements)).into_iter().map(|diagnostic| diagnostic.code).collect()
}

const PHOTOS: &str = "arn:aws:glacier:us-east-1:123456789012:vaults/photos";

/// A statement about aborts in one vault, changed.
pub fn statement(changes: &Value) -> Value {
    let mut statement =
        json!({ "Effect": "Allow", "Action": "glacier:AbortMultipartUpload", "Resource": PHOTOS });
    for (key, value) in changes.as_object().unwrap() {
        if let Some(element) = key.strip_prefix("Not") {
            statement.as_object_mut().unwrap().remove(element);
        }
        statement[key] = value.clone();
    }
    statement
}

fn condition(operator: &str, key: &str, value: Value) -> Value {
    json!({ "Condition": { operator: { key: value } } })
}

#[test]
fn the_documented_bad_documents_are_found() {
    let file: Value = serde_json::from_str(include_str!("aws-cases.json")).unwrap();
    for case in file["lint"].as_array().unwrap() {
        let found = lint("teams/a.json", case["document"].as_str().unwrap());
        let worst = match found.iter().map(|diagnostic| diagnostic.severity).max() {
            None => "none",
            Some(Severity::Warning) => "warning",
            Some(Severity::Error) => "error",
        };
        assert_eq!(worst, case["expected"], "{}: {found:?}", case["id"]);
    }
}

#[test]
fn errors_have_stable_codes() {
    for (changes, code) in [
        (json!({ "Action": "glacier:AbortUpload*" }), "unknown-action"),
        (json!({ "NotAction": "glacier:Abort" }), "unknown-action"),
        (json!({ "Action": "gateway:Simulate" }), "unknown-action"),
        (json!({ "Action": "gateway:ReadAudits" }), "unknown-action"),
        (json!({ "Action": "glaciers:*" }), "unknown-service"),
        (json!({ "Action": "glaceir:ListParts" }), "unknown-service"),
        (json!({ "Action": "gatway:SimulateAccess" }), "unknown-service"),
        (json!({ "Sid": "not this" }), "invalid-sid"),
        (json!({ "Resource": "arn:aws:glacier:us-east-1:12345678901:vaults/a" }), "impossible-arn"),
        (json!({ "Resource": "arn:aws:glacier:useast1:123456789012:vaults/a" }), "impossible-arn"),
        (
            json!({ "Resource": "arn:was:glacier:us-east-1:123456789012:vaults/a" }),
            "impossible-arn",
        ),
        (json!({ "Resource": "arn:aws:glacier:us-east-1:123456789012:vault/a" }), "impossible-arn"),
        (json!({ "Resource": "arn:aws:glacier:us-east-1:123456789012:a*" }), "impossible-arn"),
        (condition("StringEquals", "team", json!("a")), "unknown-key"),
        (condition("StringEquals", "aw:PrincipalTag/team", json!("a")), "unknown-key"),
        (condition("StringEquals", "gateway:UploadAge", json!("a")), "unknown-key"),
        (condition("StringEquals", "aws:SourceIpp", json!("a")), "unknown-key"),
        (condition("StringEquals", "glaceir:ResourceTag/a", json!("a")), "unknown-key"),
        (condition("StringEquals", "aws:PrincipalTag/", json!("a")), "unknown-key"),
        (condition("IpAddress", "aws:username", json!("10.0.0.0/8")), "type-mismatch"),
        (condition("Bool", "aws:SourceIp", json!("true")), "type-mismatch"),
        (condition("Bool", "aws:SecureTransport", json!("yes")), "wrong-value"),
        (condition("Bool", "aws:SecureTransport", json!("${jwt:tls}")), "wrong-value"),
        (condition("Null", "aws:username", json!("no")), "wrong-value"),
        (condition("DateLessThan", "aws:CurrentTime", json!("2027-01-01T00:00:00")), "wrong-value"),
        (condition("ArnLike", "aws:PrincipalArn", json!("arn:aws:*")), "wrong-value"),
        (condition("BinaryEquals", "jwt:blob", json!("?")), "wrong-value"),
        (condition("StringLike", "aws:username", json!("${aws:usernam}")), "unknown-key"),
    ] {
        let found = codes("teams/a.json", &statement(&changes));
        assert!(found.contains(&code), "{changes}: {found:?}");
    }
    for principal in [
        json!({ "AWS": "arn:aws:glacier-gateway:::team/*" }),
        json!({ "AWS": "photos" }),
        json!({ "AWS": "arn:aws:iam" }),
    ] {
        let found = codes("vaults/a.json", &statement(&json!({ "Principal": principal })));
        assert_eq!(found, ["invalid-principal"], "{principal}");
    }
}

#[test]
fn warnings_have_stable_codes() {
    let null_guard = json!({ "Condition": {
        "ForAllValues:StringEquals": { "jwt:groups": "a" }, "Null": { "jwt:groups": "false" },
    }});
    for (changes, expected) in [
        (json!({}), vec![]),
        (null_guard, vec![]),
        (json!({ "Effect": "Deny", "NotAction": "glacier:Abort*" }), vec![]),
        (json!({ "Action": "s3:*" }), vec!["never-matches"]),
        (json!({ "Action": "apigateway:GET" }), vec!["never-matches"]),
        (json!({ "Action": "glacier:ListVaults" }), vec!["never-matches"]),
        (json!({ "Action": "glacier:ListVaults", "Resource": "*" }), vec![]),
        (
            json!({ "Action": ["glacier:Abort*", "glacier:DeleteVault", "s3:GetObject"] }),
            vec!["action-never-performed"],
        ),
        (json!({ "Action": "*", "Resource": "*" }), vec!["allow-all"]),
        (json!({ "NotAction": "glacier:Abort*" }), vec!["allow-not-action"]),
        (json!({ "NotResource": PHOTOS }), vec!["allow-not-resource"]),
        (
            json!({ "Resource": "arn:aws:glacier:us-east-1::vaults/photos" }),
            vec!["arn-without-account"],
        ),
        (json!({ "Resource": "arn:aws:glacier:us-east-1" }), vec!["incomplete-arn"]),
        (json!({ "Action": ["glacier:ListVaults", "glacier:ListParts"] }), vec!["never-matches"]),
        (
            json!({ "Action": ["glacier:ListVaults", "glacier:ListParts"], "NotResource": PHOTOS }),
            vec!["allow-not-resource"],
        ),
        (json!({ "Action": "glacier:List*" }), vec![]),
        (json!({ "Resource": "arn:aws:glacier:us-*" }), vec![]),
        (
            json!({ "Action": ["glacier:*", "s3:*"], "Resource": ["arn:aws:s3:::a", PHOTOS] }),
            vec!["action-never-performed", "foreign-resource"],
        ),
        (condition("StringEquals", "aws:SourceVpc", json!("a")), vec!["key-never-filled"]),
        (condition("StringEquals", "s3:prefix", json!("a")), vec!["key-never-filled"]),
        (condition("Bool", "gateway:DryRun", json!("false")), vec!["key-never-filled"]),
        (
            condition("StringEquals", "apigateway:Request/Stage", json!("a")),
            vec!["key-never-filled"],
        ),
        (condition("StringEquals", "aps:Workspace", json!("a")), vec!["key-never-filled"]),
        (condition("StringEquals", "aws:KeyOfTomorrow", json!("a")), vec!["key-never-filled"]),
        (
            condition("StringEquals", "jwt:vpc", json!("${aws:KeyOfTomorrow}")),
            vec!["key-never-filled"],
        ),
        (json!({ "Resource": format!("{PHOTOS}-${{aws:SourceVpc}}") }), vec!["key-never-filled"]),
        (condition("StringLike", "aws:SourceIp", json!("10.*")), vec!["doubtful-operator"]),
        (condition("StringEquals", "aws:PrincipalArn", json!("team/a")), vec!["not-an-arn"]),
        (
            condition("StringNotLike", "aws:principalarn", json!(["arn:*", "a*"])),
            vec!["not-an-arn"],
        ),
        (condition("StringLike", "aws:PrincipalArn", json!(["*/a", "?rn:*", "${jwt:a}"])), vec![]),
        (condition("StringEquals", "jwt:groups", json!([])), vec!["no-values"]),
        (
            condition("ForAnyValue:StringEquals", "aws:username", json!("a")),
            vec!["single-valued-key"],
        ),
        (
            condition("ForAllValues:StringEquals", "jwt:groups", json!("a")),
            vec!["unguarded-for-all-values"],
        ),
    ] {
        assert_eq!(codes("teams/a.json", &statement(&changes)), expected, "{changes}");
    }
    let everyone = statement(&json!({ "Principal": "*" }));
    assert_eq!(codes("vaults/a.json", &everyone), ["allow-everyone"]);
    let user = statement(&json!({ "Principal": { "AWS": "123456789012" } }));
    assert_eq!(codes("vaults/a.json", &user), ["foreign-principal"]);
    let all = json!({ "Effect": "Allow", "Action": "*", "Resource": "*" });
    assert_eq!(codes("guardrails/a.json", &all), [""; 0]);
}

/// As the visual editor of AWS's console writes it, with a bucket beside the vaults.
#[test]
fn a_policy_of_the_aws_console_has_one_warning_for_the_actions_of_a_statement() {
    let text = include_str!("aws-console-policy.json");
    let found = lint("teams/a.json", text);
    let said: Vec<_> = found.iter().map(|d| (d.code, d.severity)).collect();
    let warnings = ["action-never-performed", "never-matches", "foreign-resource"];
    assert_eq!(said, warnings.map(|code| (code, Severity::Warning)), "{found:#?}");
    let actions = &found[0].message;
    assert!(actions.contains("never performs 37 of these 42 actions: "), "{actions}");
    for action in ["glacier:DeleteArchive", "s3:GetObject", "glacier:UploadMultipartPart"] {
        assert!(actions.contains(action), "{action}: {actions}");
    }
}

#[test]
fn resources_of_another_service_are_an_error_only_by_themselves() {
    let bucket = "arn:aws:s3:::a";
    for (resource, expected) in [
        (json!([bucket, PHOTOS]), vec!["foreign-resource"]),
        (json!([bucket, "*"]), vec!["foreign-resource"]),
        (json!([bucket]), vec!["impossible-arn"]),
        (json!([bucket, "arn:aws:sns:us-east-1:123456789012:a"]), vec!["impossible-arn"; 2]),
    ] {
        assert_eq!(codes("teams/a.json", &statement(&json!({ "Resource": resource }))), expected);
    }
}

#[test]
fn patterns_that_are_slow_in_the_worst_case_are_warned_of() {
    let usual = json!((0..30).map(|n| format!("*client-{n}*/????.?")).collect::<Vec<_>>());
    for (patterns, slow) in [
        (usual, false),
        (json!(format!("{}*", "a?".repeat(300))), false),
        (json!(format!("*{}", "a?".repeat(100))), false),
        (json!(format!("*{}", "a?".repeat(200))), true),
        (json!(vec![format!("*{}", "a?".repeat(50)); 3]), true),
    ] {
        let found = codes("teams/a.json", &statement(&condition("StringLike", "jwt:a", patterns)));
        assert_eq!(found.contains(&"slow-patterns"), slow, "{found:?}");
    }
}

#[test]
fn keys_of_aws_are_known_with_their_types() {
    for (key, operator, value) in [
        ("aws:CalledViaAWSMCP", "StringEquals", "aws-mcp.amazonaws.com"),
        ("aws:IsMcpServiceAction", "Bool", "true"),
        ("aws:ViaAWSMCPService", "Bool", "true"),
        ("aws:SignInSessionArn", "ArnEquals", "arn:aws:signin:us-east-1:123456789012:session/a"),
        ("aws:SourceOwner", "StringEquals", "123456789012"),
        ("aws:VpceAccount", "StringEquals", "123456789012"),
        ("aws:VpceOrgID", "StringEquals", "o-a"),
        ("aws:VpceOrgPaths", "ForAnyValue:StringLike", "o-a/*"),
    ] {
        let found = codes("teams/a.json", &statement(&condition(operator, key, json!(value))));
        assert_eq!(found, ["key-never-filled"], "{key}");
        let never = if operator == "Bool" { "NumericEquals" } else { "Bool" };
        let value = if operator == "Bool" { "1" } else { "true" };
        let found = codes("teams/a.json", &statement(&condition(never, key, json!(value))));
        assert_ne!(found, ["key-never-filled"], "{key}");
    }
}

#[test]
fn a_malformed_variable_is_shown_where_it_stands() {
    let resource = "arn:aws:glacier:us-east-1:123456789012:vaults/a-${b";
    let document = policy_of(&statement(&json!({ "Resource": resource })));
    let found = lint("teams/a.json", &document);
    assert_eq!(found[0].code, "invalid-variable");
    assert_eq!(found[0].column, document.find("${b").unwrap() + 1);
}

pub fn policy_of(statements: &Value) -> String {
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}

#[test]
fn versions_without_variables_are_warned_of() {
    for (version, code) in [(r#""Version": "2008-10-17","#, "old-version"), ("", "no-version")] {
        let document = format!(r#"{{{version} "Statement": {}}}"#, statement(&json!({})));
        let found = lint("teams/a.json", &document);
        assert_eq!(found.iter().map(|d| d.code).collect::<Vec<_>>(), [code]);
    }
}

#[test]
fn conditions_that_exclude_each_other_are_found() {
    let age = "gateway:UploadAgeInDays";
    let now = "aws:CurrentTime";
    for (conditions, contradict) in [
        (
            json!({ "StringEquals": { "aws:username": "a" }, "StringLike": { "aws:username": "b*" } }),
            true,
        ),
        (
            json!({ "StringEquals": { "aws:username": "ba" }, "StringLike": { "aws:username": "b*" } }),
            false,
        ),
        (
            json!({ "StringEquals": { "aws:username": "a" }, "StringNotEquals": { "aws:username": "a" } }),
            true,
        ),
        (
            json!({ "StringEquals": { "aws:username": "a" }, "Null": { "aws:username": "true" } }),
            true,
        ),
        (
            json!({ "StringEquals": { "aws:username": "a" }, "Null": { "aws:username": "false" } }),
            false,
        ),
        (json!({ "NumericLessThan": { age: "3" }, "NumericGreaterThan": { age: "5" } }), true),
        (json!({ "NumericLessThan": { age: "5" }, "NumericGreaterThan": { age: "3" } }), false),
        (
            json!({ "NumericLessThan": { age: "3" }, "NumericGreaterThanEquals": { age: "3" } }),
            true,
        ),
        (
            json!({ "DateLessThan": { now: "2026-01-01" }, "DateGreaterThan": { now: "2027-01-01" } }),
            true,
        ),
        (
            json!({ "DateLessThan": { now: "2027-01-01" }, "DateGreaterThan": { now: "2026-01-01" } }),
            false,
        ),
        (
            json!({ "StringLike": { "aws:username": "a*" }, "StringNotLike": { "aws:username": "b*" } }),
            false,
        ),
        (opposites("StringLike", "StringNotLike", "jwt:role", &["a*", "${jwt:b}"]), true),
        (opposites("IpAddress", "NotIpAddress", "aws:SourceIp", &["10.0.0.0/8"]), true),
        (opposites("IpAddressIfExists", "NotIpAddress", "aws:SourceIp", &["10.0.0.0/8"]), false),
        (opposites("ArnLike", "ArnNotEquals", "aws:PrincipalArn", &["arn:aws:a:::*"]), true),
        (opposites("StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "jwt:a", &["b"]), true),
        (opposites("ForAnyValue:StringLike", "ForAnyValue:StringNotLike", "jwt:a", &["b"]), false),
        (opposites("ForAnyValue:StringLike", "ForAllValues:StringNotLike", "jwt:a", &["b"]), true),
        (
            opposites("ForAllValues:StringLike", "ForAllValues:StringNotLike", "jwt:a", &["b"]),
            false,
        ),
        (
            json!({ "StringLike": { "jwt:a": ["a", "b"] }, "StringNotLike": { "jwt:a": "a" } }),
            false,
        ),
        (json!({ "StringLike": { "jwt:a": "a" }, "StringNotLike": { "jwt:a": ["a", "b"] } }), true),
        (json!({ "ForAnyValue:StringLike": { "jwt:a": "a" }, "Null": { "jwt:a": "true" } }), true),
        (
            json!({ "ForAnyValue:StringLike": { "jwt:a": "a" }, "Null": { "jwt:a": "false" } }),
            false,
        ),
        (
            json!({ "ForAllValues:StringLike": { "jwt:a": "a" }, "Null": { "jwt:a": "true" } }),
            false,
        ),
    ] {
        let found = codes("teams/a.json", &statement(&json!({ "Condition": conditions })));
        assert_eq!(
            found.contains(&"contradicting-conditions"),
            contradict,
            "{conditions} {found:?}"
        );
    }
}

/// An operator and its negation with the same values.
fn opposites(plain: &str, negated: &str, key: &str, values: &[&str]) -> Value {
    json!({ plain: { key: values }, negated: { key: values } })
}

/// A Deny applies when one of a claim's values is as it says, and another not.
#[test]
fn a_deny_of_what_several_values_fulfil_contradicts_nothing() {
    for (key, contradicts) in [("jwt:roles", false), ("aws:username", true)] {
        for equals in ["StringEquals", "StringLike"] {
            let not = format!("StringNot{}", &equals[6..]);
            let conditions = opposites(equals, &not, key, &["a"]);
            let deny = statement(&json!({ "Effect": "Deny", "Condition": conditions }));
            let found = codes("teams/a.json", &deny);
            assert_eq!(found.contains(&"contradicting-conditions"), contradicts, "{deny}");
        }
    }
}

#[test]
fn a_fact_about_an_upload_that_no_action_has_is_found() {
    let older = |operator: &str| json!({ operator: { "gateway:UploadAgeInDays": "7" } });
    let null = |flag: &str| json!({ "Null": { "gateway:uploaddescription": flag } });
    for (action, conditions, expected) in [
        ("glacier:DescribeVault", older("NumericGreaterThan"), vec!["never-matches"]),
        ("glacier:ListMultipartUploads", older("NumericGreaterThan"), vec!["never-matches"]),
        ("glacier:DescribeVault", null("false"), vec!["never-matches"]),
        ("glacier:DescribeVault", null("true"), vec![]),
        ("glacier:DescribeVault", older("NumericGreaterThanIfExists"), vec![]),
        ("glacier:List*", older("NumericGreaterThan"), vec![]),
        ("glacier:AbortMultipartUpload", null("false"), vec![]),
        ("s3:GetObject", older("NumericGreaterThan"), vec!["never-matches"]),
    ] {
        let changes = json!({ "Action": action, "Condition": conditions });
        assert_eq!(codes("teams/a.json", &statement(&changes)), expected, "{changes}");
    }
}

#[test]
fn an_allow_of_which_a_deny_leaves_nothing_is_found() {
    for (deny, shadowed) in [
        (json!({ "Effect": "Deny" }), true),
        (json!({ "Effect": "Deny", "Action": "*", "Resource": "*" }), true),
        (json!({ "Effect": "Deny", "Resource": "arn:aws:glacier:*:*:vaults/ph*" }), true),
        (json!({ "Effect": "Deny", "Resource": "arn:aws:glacier:*:*:vaults/pha*" }), false),
        (json!({ "Effect": "Deny", "Action": "glacier:ListParts" }), false),
        (
            json!({ "Effect": "Deny", "Condition": { "Bool": { "aws:SecureTransport": "false" } } }),
            false,
        ),
        (json!({ "Effect": "Deny", "NotResource": "arn:aws:glacier:*:*:vaults/x" }), false),
        (json!({ "Effect": "Deny", "NotResource": PHOTOS }), false),
    ] {
        let found = codes("teams/a.json", &json!([statement(&json!({})), statement(&deny)]));
        assert_eq!(found == ["shadowed-allow"], shadowed, "{deny} {found:?}");
    }
    let team = |name: &str| json!({ "AWS": format!("arn:aws:glacier-gateway:::team/{name}") });
    for (element, principal, shadowed) in [
        ("Principal", json!("*"), true),
        ("Principal", team("video"), false),
        ("NotPrincipal", team("video"), false),
    ] {
        let deny = statement(&json!({ "Effect": "Deny", element: principal }));
        let files = folder([
            ("teams/a.json", policy_of(&statement(&json!({})))),
            ("vaults/a.json", policy_of(&deny)),
        ]);
        let (_, found) = PolicySet::load(files.path()).unwrap();
        let found = found.iter().any(|diagnostic| diagnostic.code == "shadowed-allow");
        assert_eq!(found, shadowed, "{deny}");
    }
}

#[test]
fn an_allow_of_any_layer_may_be_shadowed_by_a_deny_for_everyone() {
    let of = |effect: &str, file: &str| {
        let mut statement = statement(&json!({ "Effect": effect }));
        if file.starts_with("vaults") {
            statement["Principal"] = match effect {
                "Deny" => json!("*"),
                _ => json!({ "AWS": "arn:aws:glacier-gateway:::team/a" }),
            };
        }
        statement
    };
    for (allow, deny, shadowed) in [
        ("vaults/a.json", "vaults/a.json", true),
        ("vaults/a.json", "vaults/b.json", true),
        ("vaults/a.json", "guardrails/a.json", true),
        ("vaults/a.json", "teams/a.json", false),
        ("guardrails/a.json", "guardrails/a.json", true),
        ("guardrails/a.json", "teams/a.json", false),
        ("teams/a/a.json", "teams/a/b.json", true),
        ("teams/a.json", "teams/b.json", false),
    ] {
        let (allowing, denying) = (of("Allow", allow), of("Deny", deny));
        let files = match allow == deny {
            true => folder([(allow, policy_of(&json!([allowing, denying])))]),
            false => folder([(allow, policy_of(&allowing)), (deny, policy_of(&denying))]),
        };
        let (_, found) = PolicySet::load(files.path()).unwrap();
        let found: Vec<_> = found.iter().map(|d| (d.code, d.file.to_str().unwrap())).collect();
        let expected = if shadowed { vec![("shadowed-allow", allow)] } else { vec![] };
        assert_eq!(found, expected, "{allow} {deny}");
    }
}

#[test]
fn a_document_by_itself_is_linted_as_in_a_folder() {
    let both = json!([statement(&json!({})), statement(&json!({ "Effect": "Deny" }))]);
    let found = lint_document(Path::new("a.json"), &policy_of(&both), Layer::Policies);
    assert_eq!(found.iter().map(|found| found.code).collect::<Vec<_>>(), ["shadowed-allow"]);
}

#[test]
fn the_examples_of_the_documentation_are_without_errors() {
    let text = include_str!("../../docs/policies.md");
    let blocks: Vec<&str> =
        text.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 5);
    for block in blocks {
        let value: Value = serde_json::from_str(block).unwrap();
        let document = match value.get("Statement") {
            Some(_) => value,
            None => json!({ "Version": "2012-10-17", "Statement": value }),
        };
        let file =
            if block.contains("Principal\"") { "vaults/a.json" } else { "guardrails/a.json" };
        let found = lint(file, &document.to_string());
        assert!(found.is_empty(), "{block} {found:?}");
    }
}

#[test]
fn the_documentation_lists_every_code_with_its_meaning() {
    let text = include_str!("../../docs/policy-reference.md");
    let (_, section) = text.split_once("## What the linter says").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    for (severity, head) in [(Severity::Error, "error"), (Severity::Warning, "warning")] {
        let head = format!("| {head} | meaning |\n| --- | --- |\n");
        let (_, table) = section.split_once(&head).unwrap();
        let documented: Vec<&str> = table.lines().take_while(|l| l.starts_with('|')).collect();
        let codes = LintCode::ALL.iter().filter(|code| code.severity() == severity);
        let row = |code: &LintCode| format!("| `{}` | {} |", code.as_str(), code.meaning());
        assert_eq!(documented, codes.map(row).collect::<Vec<_>>());
    }
}

#[test]
fn diagnostics_print_for_people_and_programs() {
    let text =
        "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": {\n    \"Efect\": \"Allow\"\n  }\n}";
    let diagnostics = lint("teams/a.json", text);
    let human = render(&diagnostics, Format::Human);
    for part in [
        "error[unknown-element]",
        "teams/a.json:4:5",
        "\"Efect\": \"Allow\"",
        "did you mean \"Effect\"?",
        "4 errors, 0 warnings",
    ] {
        assert!(human.contains(part), "{part}: {human}");
    }
    let json: Value = serde_json::from_str(&render(&diagnostics, Format::Json)).unwrap();
    let element = json.as_array().unwrap().iter().find(|d| d["code"] == "unknown-element").unwrap();
    assert_eq!(element["severity"], "error");
    assert_eq!((&element["line"], &element["column"]), (&json!(4), &json!(5)));
    let sarif: Value = serde_json::from_str(&render(&diagnostics, Format::Sarif)).unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), diagnostics.len());
    let place = &results[0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "teams/a.json");
    let region = json!({ "startLine": 4, "startColumn": 5, "endLine": 4, "endColumn": 12 });
    let misspelt = results.iter().find(|result| result["ruleId"] == "unknown-element").unwrap();
    assert_eq!(misspelt["locations"][0]["physicalLocation"]["region"], region);
    let missing = results.iter().find(|result| result["ruleId"] == "missing-element").unwrap();
    let region = json!({ "startLine": 3, "startColumn": 16, "endLine": 5, "endColumn": 4 });
    assert_eq!(missing["locations"][0]["physicalLocation"]["region"], region);
    assert_eq!(sarif["runs"][0]["columnKind"], "unicodeCodePoints");
}
