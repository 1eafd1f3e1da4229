//! Documented cases: AWS's, and our own from the IAM User Guide.

use glacier_gateway::policy::simulate_line;
use serde_json::{Value, json};

use crate::support::{PHOTOS, case, decision};

/// Cases of AWS's documentation with its answers.
#[test]
fn the_documented_cases_are_answered_as_aws_documents() {
    let file: Value = serde_json::from_str(include_str!("aws-cases.json")).unwrap();
    let cases = file["cases"].as_array().unwrap();
    let mut wrong = Vec::new();
    for case in cases {
        let mut asked = case.clone();
        for note in ["expected", "accept", "status", "reason", "source"] {
            asked.as_object_mut().unwrap().remove(note);
        }
        let answer = decision(&asked);
        let right = match case["accept"].as_array() {
            Some(accepted) => accepted.iter().any(|accepted| *accepted == answer),
            None => case["expected"] == answer,
        };
        if !right {
            wrong.push(format!("{}: {answer}, not {}", case["id"], case["expected"]));
        }
    }
    assert!(wrong.is_empty() && cases.len() > 50, "{wrong:#?}");
}

const ALLOWED: &str = "allowed";
const DENIED: &str = "explicitDeny";
const NOTHING: &str = "implicitDeny";
const ERROR: &str = "error";

fn document(statements: Value) -> Value {
    json!({ "Version": "2012-10-17", "Statement": statements })
}

fn statement(effect: &str, more: Value) -> Value {
    let mut statement = json!({ "Effect": effect, "Action": "glacier:*", "Resource": "*" });
    for (key, value) in more.as_object().unwrap() {
        if let Some(element) = key.strip_prefix("Not") {
            statement.as_object_mut().unwrap().remove(element);
        }
        statement[key] = value.clone();
    }
    statement
}

/// What an Allow with these elements comes to, and a Deny beside an Allow of
/// everything.
fn both(more: Value, context: Value) -> [String; 2] {
    let allow = document(statement("Allow", more.clone()));
    let deny = document(json!([statement("Allow", json!({})), statement("Deny", more)]));
    [allow, deny].map(|document| decision(&case(json!([document]), context.clone())))
}

/// The statement applies: an Allow allows, a Deny denies.
fn applies(name: &str, more: Value, context: Value) {
    assert_eq!(both(more, context), [ALLOWED, DENIED], "{name}");
}

/// The statement does not apply.
fn does_not_apply(name: &str, more: Value, context: Value) {
    assert_eq!(both(more, context), [NOTHING, ALLOWED], "{name}");
}

/// Fails closed: an Allow does not apply, a Deny does.
fn fails_closed(name: &str, more: Value, context: Value) {
    assert_eq!(both(more, context), [NOTHING, DENIED], "{name}");
}

fn condition(operator: &str, key: &str, values: Value) -> Value {
    json!({ "Condition": { operator: { key: values } } })
}

#[test]
fn actions_match_by_name_without_regard_to_case() {
    for action in [
        json!("*"),
        json!("*:*"),
        json!("glacier:*"),
        json!("GLACIER:ABORTMULTIPARTUPLOAD"),
        json!("glacier:AbortMultipartUploa?"),
        json!("glacier:*?MultipartUpload"),
        json!("glacier:A*t*t*d"),
        json!(["s3:*", "glacier:Abort*"]),
    ] {
        applies("action", json!({ "Action": action }), json!({}));
        does_not_apply("not action", json!({ "NotAction": action }), json!({}));
    }
    for action in
        [json!("glacier:Abort"), json!("glacier:AbortMultipartUpload?"), json!("s3:Abort*")]
    {
        does_not_apply("action", json!({ "Action": action }), json!({}));
        applies("not action", json!({ "NotAction": action }), json!({}));
    }
}

#[test]
fn resources_match_as_whole_texts_with_regard_to_case() {
    for resource in [
        json!("*"),
        json!(PHOTOS),
        json!("arn:aws:glacier:us-east-1:123456789012:vaults/*"),
        json!("arn:aws:glacier:us-east-1:123456789012:vaults/ph?t?s"),
        json!("arn:aws:glacier:us-east-1:123456789012:vaults/photo*?"),
        json!("arn:aws:glacier:*:*:*"),
        json!("arn:*:glacier:*/photos"),
        json!("arn:aws:glacier:us-*"),
        json!("arn:aws:glacier"),
        json!("arn:aws:glacier:us-east-1"),
        json!("arn:aws:*"),
        json!("arn:aws:glacier:*:123456789012"),
        json!("arn:*:vaults/photos"),
        json!(["arn:aws:s3:::x", PHOTOS]),
    ] {
        applies("resource", json!({ "Resource": resource }), json!({}));
        does_not_apply("not resource", json!({ "NotResource": resource }), json!({}));
    }
    for resource in [
        json!("arn:aws:glacier:us-east-1:123456789012:vaults/Photos"),
        json!("arn:aws:glacier:us-east-1:123456789012:vaults/photo"),
        json!("arn:aws:glacier:us-east-1:123456789012:vaults/photos?"),
        json!("arn:aws:glacier:us-east-1:123456789012:vaults/photos*?"),
        json!("arn:aws:glacier:us-east-1:123456789012:vaults/photos/*"),
        json!("arn:aws:glacier:eu-central-1"),
        json!("arn:AWS:glacier:us-east-1:123456789012:vaults/photos"),
    ] {
        does_not_apply("resource", json!({ "Resource": resource }), json!({}));
        applies("not resource", json!({ "NotResource": resource }), json!({}));
    }
}

#[test]
fn variables_are_replaced_by_literal_text() {
    let vault = |rest: &str| format!("arn:aws:glacier:us-east-1:123456789012:vaults/{rest}");
    let tag = |value: &str| json!({ "aws:PrincipalTag/Team": value });
    let own = json!({ "Resource": vault("${aws:principaltag/team}") });
    applies("value", own.clone(), tag("photos"));
    does_not_apply("another value", own.clone(), tag("video"));
    does_not_apply("a star is no wildcard", own.clone(), tag("*"));
    does_not_apply("nor is a question mark", own.clone(), tag("photo?"));
    does_not_apply("a variable in a value is none", own.clone(), tag("${aws:PrincipalTag/Team}"));
    does_not_apply("absent", own, json!({}));

    let prefix = json!({ "Resource": vault("${aws:PrincipalTag/team}*") });
    applies("wildcards beside it still are", prefix.clone(), tag("pho"));
    does_not_apply("absent is never empty", prefix.clone(), json!({}));
    does_not_apply("empty is no value", prefix, tag(""));

    let suffix = json!({ "Resource": vault("*${aws:PrincipalTag/team}") });
    applies("behind a star", suffix.clone(), tag("tos"));
    does_not_apply("behind a star it still counts", suffix, tag("video"));

    let default = json!({ "Resource": vault("${aws:PrincipalTag/team, 'photos'}") });
    applies("default", default.clone(), json!({}));
    does_not_apply("default is not needed", default, tag("video"));
    applies(
        "text behind a default",
        json!({ "Resource": vault("${aws:PrincipalTag/team, 'photo'}s") }),
        json!({}),
    );
    does_not_apply(
        "a default is literal",
        json!({ "Resource": vault("${aws:PrincipalTag/team, '*'}") }),
        json!({}),
    );
    applies(
        "an empty default behind a star",
        json!({ "Resource": vault("*${aws:PrincipalTag/team, ''}") }),
        json!({}),
    );
    does_not_apply(
        "a key with several values is no variable",
        json!({ "Resource": vault("${jwt:groups, 'photos'}") }),
        json!({ "jwt:groups": ["photos", "video"] }),
    );
    fails_closed(
        "NotResource with a variable without value",
        json!({ "NotResource": vault("${aws:PrincipalTag/team}") }),
        json!({}),
    );
}

#[test]
fn variables_without_value_in_conditions_equal_nothing() {
    let context = json!({ "aws:username": "ann" });
    for (operator, holds) in [
        ("StringEquals", false),
        ("StringLike", false),
        ("StringEqualsIgnoreCase", false),
        ("StringNotEquals", true),
        ("StringNotLike", true),
        ("StringNotEqualsIgnoreCase", true),
    ] {
        let more = condition(operator, "aws:username", json!("${aws:PrincipalTag/name}"));
        match holds {
            true => applies(operator, more, context.clone()),
            false => does_not_apply(operator, more, context.clone()),
        }
    }
    applies(
        "one value of two suffices",
        condition("StringEquals", "aws:username", json!(["${aws:PrincipalTag/name}", "ann"])),
        context,
    );
}

#[test]
fn old_versions_have_no_variables() {
    for version in [Some("2008-10-17"), None] {
        let mut policy = document(statement(
            "Allow",
            json!({ "Resource": "arn:aws:glacier:us-east-1:123456789012:vaults/${aws:username}" }),
        ));
        match version {
            Some(version) => policy["Version"] = json!(version),
            None => drop(policy.as_object_mut().unwrap().remove("Version")),
        }
        let mut case = case(json!([policy]), json!({ "aws:username": "photos" }));
        assert_eq!(decision(&case), NOTHING, "{version:?}");
        case["request"]["resource"] =
            json!("arn:aws:glacier:us-east-1:123456789012:vaults/${aws:username}");
        assert_eq!(decision(&case), ALLOWED, "{version:?}");
    }
}

#[test]
fn string_operators_compare_text() {
    let context = json!({ "aws:UserAgent": "Füße/1" });
    let agent = |operator, value| condition(operator, "aws:useragent", value);
    for (operator, value) in [
        ("StringEquals", json!("Füße/1")),
        ("StringEquals", json!(["x", "Füße/1"])),
        ("StringEqualsIgnoreCase", json!("füße/1")),
        ("StringEqualsIgnoreCase", json!("FÜßE/1")),
        ("StringLike", json!("F??e/*")),
        ("StringLike", json!("*")),
        ("StringLike", json!("*e/1")),
        ("StringNotEquals", json!("füße/1")),
        ("StringNotEquals", json!(["x", "y"])),
        ("StringNotEqualsIgnoreCase", json!("x")),
        ("StringNotLike", json!(["x*", "?"])),
    ] {
        applies(operator, agent(operator, value), context.clone());
    }
    for (operator, value) in [
        ("StringEquals", json!("füße/1")),
        ("StringEquals", json!("F*")),
        ("StringEquals", json!("F??e/1")),
        ("StringLike", json!("f*")),
        ("StringLike", json!("F?e/1")),
        ("StringLike", json!("${*}")),
        ("StringLike", json!("")),
        ("StringNotEquals", json!(["x", "Füße/1"])),
        ("StringNotEqualsIgnoreCase", json!("FÜßE/1")),
        ("StringNotLike", json!(["x", "F*"])),
    ] {
        does_not_apply(operator, agent(operator, value), context.clone());
    }
}

#[test]
fn numeric_operators_compare_decimal_numbers_exactly() {
    let days = |operator: &str, value| condition(operator, "gateway:UploadAgeInDays", value);
    let context = json!({ "gateway:UploadAgeInDays": 10 });
    for (operator, value) in [
        ("NumericEquals", json!("10.0")),
        ("NumericEquals", json!(10)),
        ("NumericEquals", json!("1e1")),
        ("NumericEquals", json!(["3", "+10"])),
        ("NumericNotEquals", json!("10.5")),
        ("NumericLessThan", json!("10.0001")),
        ("NumericLessThanEquals", json!("10")),
        ("NumericGreaterThan", json!("-11")),
        ("NumericGreaterThan", json!("9")),
        ("NumericGreaterThanEquals", json!("10")),
    ] {
        applies(operator, days(operator, value), context.clone());
    }
    for (operator, value) in [
        ("NumericEquals", json!("1")),
        ("NumericEquals", json!("ten")),
        ("NumericNotEquals", json!(["10", "11"])),
        ("NumericLessThan", json!("10")),
        ("NumericLessThanEquals", json!("9.99")),
        ("NumericGreaterThan", json!("10")),
        ("NumericGreaterThanEquals", json!("10.01")),
    ] {
        does_not_apply(operator, days(operator, value), context.clone());
    }
    applies(
        "without a leading zero",
        days("NumericEquals", json!(".5")),
        json!({ "gateway:UploadAgeInDays": 0.5 }),
    );
    does_not_apply(
        "beyond a float's digits",
        days("NumericEquals", json!("9007199254740993")),
        json!({ "gateway:UploadAgeInDays": "9007199254740992" }),
    );
    for nonsense in ["abc", "", "1_0", "0x10", "inf", "NaN", "1 0", ".", "-", "1_0e1", "_1e1"] {
        let context = json!({ "gateway:UploadAgeInDays": nonsense });
        does_not_apply(nonsense, days("NumericLessThan", json!("99")), context.clone());
        fails_closed(nonsense, days("NumericNotEquals", json!("99")), context);
    }
}

#[test]
fn date_operators_read_w3c_dates_and_seconds() {
    let now = |operator: &str, value| condition(operator, "aws:CurrentTime", value);
    let context = json!({ "aws:CurrentTime": "2026-11-23T10:00:00Z" });
    for (operator, value) in [
        ("DateEquals", json!("2026-11-23T10:00:00Z")),
        ("DateEquals", json!("2026-11-23T10:00Z")),
        ("DateEquals", json!("2026-11-23T11:30:00.000+01:30")),
        ("DateEquals", json!("2026-11-23T05:00:00-05:00")),
        ("DateEquals", json!(1795428000)),
        ("DateNotEquals", json!("2026-11-23")),
        ("DateGreaterThan", json!("2026-11-23")),
        ("DateGreaterThan", json!("2026-11")),
        ("DateGreaterThan", json!("2026")),
        ("DateGreaterThan", json!("1577836800")),
        ("DateLessThan", json!("2027")),
        ("DateLessThan", json!("2026-12")),
        ("DateLessThan", json!("2026-11-23T10:00:00.000000001Z")),
        ("DateLessThanEquals", json!("2026-11-23T10:00:00Z")),
        ("DateGreaterThanEquals", json!("2026-11-23T10:00:00Z")),
    ] {
        applies(&value.to_string(), now(operator, value), context.clone());
    }
    for (operator, value) in [
        ("DateEquals", json!("2026-11-23T10:00:00")),
        ("DateLessThan", json!("2026-11-24T10:00:00")),
        ("DateLessThan", json!("2026-13-01")),
        ("DateLessThan", json!("2027-02-29")),
        ("DateLessThan", json!("2027-1-1")),
        ("DateLessThan", json!("2027-01T10:00Z")),
        ("DateLessThan", json!("2027-01-01T24:00Z")),
        ("DateLessThan", json!("2027-01-01T10:60Z")),
        ("DateLessThan", json!("2027-01-01T10Z")),
        ("DateLessThan", json!("2027-01-01T10:00:00.Z")),
        ("DateLessThan", json!("2027-01-01T10:00:00+0100")),
        ("DateLessThan", json!("2027-01-01T10:00:00+01:60")),
        ("DateLessThan", json!("2027-01-01T10:00:00.0000000001Z")),
        ("DateLessThan", json!("tomorrow")),
        ("DateLessThan", json!("2026-11-23T10:00:00Z")),
        ("DateGreaterThan", json!("2026-11-23T10:00:00Z")),
        ("DateNotEquals", json!("2026-11-23T10:00:00Z")),
    ] {
        let ours = both(now(operator, value.clone()), context.clone());
        assert_eq!(ours, [NOTHING, ALLOWED], "{operator} {value}");
    }
    let half = json!({ "aws:CurrentTime": "2026-11-23T10:00:00.5Z" });
    applies("a fraction", now("DateEquals", json!("2026-11-23T10:00:00.500Z")), half.clone());
    does_not_apply("another", now("DateEquals", json!("2026-11-23T10:00:00.05Z")), half);
    applies(
        "seconds in the request",
        condition("DateLessThan", "aws:EpochTime", json!("2030-01-01T00:00:00Z")),
        json!({ "aws:EpochTime": 1795428000 }),
    );
    applies(
        "seconds as a number",
        condition("NumericGreaterThan", "aws:EpochTime", json!(1795427999)),
        json!({ "aws:EpochTime": 1795428000 }),
    );
}

#[test]
fn bool_and_null_take_true_and_false() {
    let tls = |value| condition("Bool", "aws:SecureTransport", value);
    for value in [json!(true), json!("true"), json!("TRUE"), json!(["false", "true"])] {
        applies("bool", tls(value.clone()), json!({ "aws:SecureTransport": true }));
    }
    does_not_apply("bool", tls(json!("false")), json!({ "aws:SecureTransport": "true" }));
    does_not_apply("not a boolean", tls(json!("yes")), json!({ "aws:SecureTransport": "yes" }));
    does_not_apply("absent", tls(json!("false")), json!({}));

    let null = |value| condition("Null", "aws:username", value);
    applies("absent", null(json!("true")), json!({}));
    applies("empty list", null(json!(true)), json!({ "aws:username": [] }));
    applies("present", null(json!("false")), json!({ "aws:username": "" }));
    applies("either", null(json!(["true", "false"])), json!({}));
    does_not_apply("absent", null(json!("false")), json!({}));
    does_not_apply("present", null(json!("true")), json!({ "aws:username": "ann" }));
}

#[test]
fn ip_operators_take_addresses_and_blocks_of_both_families() {
    let from = |operator: &str, value| condition(operator, "aws:SourceIp", value);
    let v4 = json!({ "aws:SourceIp": "203.0.113.7" });
    let v6 = json!({ "aws:SourceIp": "2001:db8:1234:5678::1" });
    for (value, context) in [
        ("203.0.113.0/24", &v4),
        ("203.0.113.7", &v4),
        ("203.0.113.7/32", &v4),
        ("203.0.113.99/24", &v4),
        ("0.0.0.0/0", &v4),
        ("2001:DB8:1234:5678::/64", &v6),
        ("2001:db8:1234:5678:0:0:0:1", &v6),
        ("::/0", &v6),
    ] {
        applies(value, from("IpAddress", json!(value)), context.clone());
        does_not_apply(value, from("NotIpAddress", json!(["10.0.0.1", value])), context.clone());
    }
    for (value, context) in
        [("203.0.112.0/24", &v4), ("::/0", &v4), ("0.0.0.0/0", &v6), ("2001:db8::/64", &v6)]
    {
        does_not_apply(value, from("IpAddress", json!(value)), context.clone());
        applies(value, from("NotIpAddress", json!(value)), context.clone());
    }
    let garbled = json!({ "aws:SourceIp": "203.0.113.7:80" });
    does_not_apply("garbled", from("IpAddress", json!("0.0.0.0/0")), garbled.clone());
    fails_closed("garbled", from("NotIpAddress", json!("10.0.0.0/8")), garbled);
}

#[test]
fn arn_operators_match_field_by_field() {
    let context = json!({ "aws:SourceArn": "arn:aws:sns:us-east-1:123456789012:topic:a/b" });
    for operator in ["ArnLike", "ArnEquals"] {
        let like = |value| condition(operator, "aws:SourceArn", json!(value));
        for value in [
            "arn:aws:sns:us-east-1:123456789012:topic:a/b",
            "arn:aws:sns:*:*:*",
            "arn:*:s?s:us-*-1:123456789012:t*b",
            "arn:aws:sns:*:123456789012:topic*",
        ] {
            applies(value, like(value), context.clone());
        }
        for value in [
            "*",
            "arn:*",
            "arn:aws:sns:*",
            "arn:aws:sns:us-east-1:*:a/b",
            "arn:aws:sns:*:topic:a/b",
            "arn:aws:SNS:*:*:*",
            "arn:aws:sns:us-east-1?123456789012:topic:a/b",
        ] {
            does_not_apply(value, like(value), context.clone());
        }
    }
    for operator in ["ArnNotLike", "ArnNotEquals"] {
        let unlike = |value| condition(operator, "aws:SourceArn", json!(value));
        applies(operator, unlike("arn:aws:sns:*:*:other"), context.clone());
        applies(operator, unlike("arn:aws:sns:*:*:other"), json!({}));
        does_not_apply(operator, unlike("arn:aws:sns:*:*:topic*"), context.clone());
    }
    applies(
        "with a variable for the whole",
        condition("ArnEquals", "aws:SourceArn", json!("${aws:PrincipalArn}")),
        json!({ "aws:SourceArn": "arn:aws:iam::1:user/a", "aws:PrincipalArn": "arn:aws:iam::1:user/a" }),
    );
}

#[test]
fn binary_values_compare_as_bytes() {
    let blob = |value| condition("BinaryEquals", "jwt:blob", json!(value));
    applies("same", blob("QUJDRA=="), json!({ "jwt:blob": "QUJDRA==" }));
    does_not_apply("other case is other bytes", blob("QUJD"), json!({ "jwt:blob": "qujd" }));
    does_not_apply("not base64", blob("!"), json!({ "jwt:blob": "!" }));
    does_not_apply("absent", blob("QUJD"), json!({}));
}

#[test]
fn absent_keys_fail_plain_operators_and_fulfil_negated_ones() {
    for (operator, value) in [
        ("StringEquals", "a"),
        ("StringLike", "*"),
        ("NumericGreaterThan", "1"),
        ("DateLessThan", "2030-01-01"),
        ("Bool", "false"),
        ("IpAddress", "0.0.0.0/0"),
        ("ArnLike", "arn:aws:*:*:*:*"),
        ("BinaryEquals", "QUJD"),
    ] {
        does_not_apply(operator, condition(operator, "jwt:x", json!(value)), json!({}));
        let if_exists = format!("{operator}IfExists");
        applies(&if_exists, condition(&if_exists, "jwt:x", json!(value)), json!({}));
    }
    for (operator, value) in [
        ("StringNotEquals", "a"),
        ("StringNotLike", "*"),
        ("StringNotEqualsIgnoreCase", "a"),
        ("NumericNotEquals", "1"),
        ("DateNotEquals", "2030-01-01"),
        ("NotIpAddress", "0.0.0.0/0"),
        ("ArnNotLike", "arn:aws:*:*:*:*"),
    ] {
        applies(operator, condition(operator, "jwt:x", json!(value)), json!({}));
        let if_exists = format!("{operator}IfExists");
        applies(&if_exists, condition(&if_exists, "jwt:x", json!(value)), json!({}));
    }
    does_not_apply(
        "IfExists compares a key that exists",
        condition("StringNotEqualsIfExists", "jwt:x", json!("a")),
        json!({ "jwt:x": "a" }),
    );
}

#[test]
fn set_operators_compare_sets() {
    let groups = |operator: &str, value| condition(operator, "jwt:groups", value);
    let request = |values: Value| json!({ "jwt:groups": values });
    for (operator, policy, values) in [
        ("ForAllValues:StringEquals", json!(["a", "b", "c"]), json!(["a", "b"])),
        ("ForAllValues:StringLike", json!("t*"), json!(["t1", "t2"])),
        ("ForAllValues:StringEquals", json!("a"), json!([])),
        ("ForAllValues:StringNotEquals", json!(["a", "b"]), json!(["c", "d"])),
        ("ForAllValues:StringNotEquals", json!("a"), json!([])),
        ("ForAllValues:StringEquals", json!("a"), json!("a")),
        ("ForAnyValue:StringEquals", json!(["a", "b"]), json!(["x", "b"])),
        ("ForAnyValue:StringNotEquals", json!("a"), json!(["a", "b"])),
        ("ForAnyValue:StringLike", json!("t*"), json!(["x", "t"])),
        ("ForAnyValue:NumericLessThan", json!("5"), json!(["9", "3"])),
        ("ForAnyValue:StringEqualsIfExists", json!("a"), json!([])),
    ] {
        let name = format!("{operator} {policy} {values}");
        applies(&name, groups(operator, policy), request(values));
    }
    for (operator, policy, values) in [
        ("ForAllValues:StringEquals", json!(["a", "b"]), json!(["a", "x"])),
        ("ForAllValues:StringNotEquals", json!("a"), json!(["a", "b"])),
        ("ForAnyValue:StringEquals", json!("a"), json!(["x", "y"])),
        ("ForAnyValue:StringEquals", json!("a"), json!([])),
        ("ForAnyValue:StringNotEquals", json!("a"), json!([])),
        ("ForAnyValue:StringNotEquals", json!(["a", "b"]), json!(["a", "b"])),
    ] {
        let name = format!("{operator} {policy} {values}");
        does_not_apply(&name, groups(operator, policy), request(values));
    }
}

#[test]
fn several_values_without_a_set_operator_fail_closed() {
    let groups = |operator: &str| condition(operator, "jwt:groups", json!("a"));
    let request = json!({ "jwt:groups": ["a", "b"] });
    fails_closed("equal to one of two", groups("StringEquals"), request.clone());
    fails_closed("unequal to one of two", groups("StringNotEquals"), request);
    does_not_apply("to neither", groups("StringEquals"), json!({ "jwt:groups": ["b", "c"] }));
    applies("to both", groups("StringNotEquals"), json!({ "jwt:groups": ["b", "c"] }));
}

#[test]
fn all_conditions_must_hold() {
    let more = json!({ "Condition": {
        "StringEquals": { "jwt:a": "1", "jwt:b": ["2", "3"] },
        "StringLike": { "jwt:a": "?" },
    }});
    applies("all", more.clone(), json!({ "jwt:a": "1", "jwt:b": "3" }));
    does_not_apply("one key fails", more.clone(), json!({ "jwt:a": "1", "jwt:b": "4" }));
    does_not_apply("one key is absent", more, json!({ "jwt:a": "1" }));
    applies("none", json!({ "Condition": {} }), json!({}));
    does_not_apply(
        "no values",
        condition("StringEquals", "jwt:a", json!([])),
        json!({ "jwt:a": 1 }),
    );
    applies("no values", condition("StringNotEquals", "jwt:a", json!([])), json!({ "jwt:a": 1 }));
}

fn layers(policies: Value, guardrails: Value, vaults: Value) -> String {
    let mut case = case(policies, json!({}));
    case["guardrails"] = guardrails;
    case["vaultPolicies"] = vaults;
    decision(&case)
}

#[test]
fn guardrails_limit_and_vault_policies_grant() {
    let allow = || json!([document(statement("Allow", json!({})))]);
    let deny = || json!([document(statement("Deny", json!({})))]);
    let other = || json!([document(statement("Allow", json!({ "Action": "s3:*" })))]);
    let vault = |effect| json!([document(statement(effect, json!({ "Principal": "*" })))]);
    let none = || json!([]);
    for (policies, guardrails, vaults, expected) in [
        (allow(), none(), none(), ALLOWED),
        (none(), allow(), none(), NOTHING),
        (allow(), allow(), none(), ALLOWED),
        (allow(), other(), none(), NOTHING),
        (allow(), deny(), none(), DENIED),
        (none(), deny(), none(), DENIED),
        (none(), none(), vault("Allow"), ALLOWED),
        (none(), other(), vault("Allow"), NOTHING),
        (none(), allow(), vault("Allow"), ALLOWED),
        (allow(), none(), vault("Deny"), DENIED),
        (deny(), none(), vault("Allow"), DENIED),
        (other(), none(), none(), NOTHING),
    ] {
        let name = format!("{policies} {guardrails} {vaults}");
        assert_eq!(layers(policies, guardrails, vaults), expected, "{name}");
    }
}

#[test]
fn principals_are_named_in_full_or_all_meant() {
    let user = "arn:aws:iam::123456789012:user/team-a";
    let session = "arn:aws:sts::123456789012:assumed-role/backup/nightly";
    let member = "arn:aws:glacier-gateway:::team/photos/ann";
    let provider = "accounts.example.com";
    // Whose subject only begins as the member's does.
    let other = "arn:aws:glacier-gateway:::team/photos/ann/photos";
    let team = json!({ "AWS": "arn:aws:glacier-gateway:::team/photos" });
    let account = json!({ "AWS": "123456789012" });
    let root = json!({ "AWS": "arn:aws:iam::123456789012:root" });
    // Allow Principal, Deny Principal, Allow NotPrincipal, Deny NotPrincipal.
    let named = [ALLOWED, DENIED, NOTHING, ALLOWED];
    let unnamed = [NOTHING, ALLOWED, ALLOWED, DENIED];
    // An account only delegates: a Deny is for all in it, nothing else is.
    let in_account = [NOTHING, DENIED, NOTHING, DENIED];
    let of_role = [ALLOWED, DENIED, NOTHING, DENIED];
    for (caller, principal, expected) in [
        (user, json!("*"), named),
        (user, json!({ "AWS": "*" }), named),
        (user, json!({ "AWS": user }), named),
        (user, json!({ "AWS": ["arn:aws:iam::123456789012:user/x", user] }), named),
        (user, json!({ "AWS": "arn:aws:iam::123456789012:user/Team-A" }), unnamed),
        (user, json!({ "AWS": "arn:aws:iam::123456789012:user/*" }), unnamed),
        (user, json!({ "Service": "*" }), unnamed),
        (user, json!({ "Federated": "123456789012" }), unnamed),
        (user, json!({ "CanonicalUser": "123456789012" }), unnamed),
        (user, account.clone(), in_account),
        (user, root.clone(), in_account),
        (user, json!({ "AWS": "210987654321" }), unnamed),
        (user, team.clone(), unnamed),
        (session, json!({ "AWS": session }), named),
        (session, json!({ "AWS": "arn:aws:iam::123456789012:role/backup" }), of_role),
        (session, json!({ "AWS": "arn:aws:iam::123456789012:role/ops/backup" }), of_role),
        (session, json!({ "AWS": "arn:aws:iam::123456789012:role/backups" }), unnamed),
        (session, json!({ "AWS": "arn:aws:iam::210987654321:role/backup" }), unnamed),
        (session, account, in_account),
        (member, team.clone(), named),
        (member, json!({ "AWS": member }), named),
        (provider, json!({ "Federated": provider }), named),
        (provider, json!({ "Service": provider }), named),
        (provider, json!({ "CanonicalUser": [provider] }), named),
        (provider, json!({ "Federated": "accounts.example.org" }), unnamed),
        (other, team, named),
        (other, json!({ "AWS": member }), unnamed),
        (other, json!({ "AWS": other }), named),
        (member, json!({ "AWS": "arn:aws:glacier-gateway:::team/phot" }), unnamed),
        (member, json!({ "AWS": "arn:aws:glacier-gateway:::team/photos/bob" }), unnamed),
        (member, root, unnamed),
    ] {
        let answers = [
            ("Allow", "Principal"),
            ("Deny", "Principal"),
            ("Allow", "NotPrincipal"),
            ("Deny", "NotPrincipal"),
        ]
        .map(|(effect, element)| {
            let own = match effect {
                "Deny" => json!([document(statement("Allow", json!({})))]),
                _ => json!([]),
            };
            let mut vault = statement(effect, json!({}));
            vault[element] = principal.clone();
            let mut case = case(own, json!({}));
            case["vaultPolicies"] = json!([document(vault)]);
            case["request"]["principal"] = json!(caller);
            decision(&case)
        });
        assert_eq!(answers, expected, "{caller} {principal}");
    }
}

#[test]
fn what_iam_refuses_is_an_error() {
    let allow = || statement("Allow", json!({}));
    let with = |key: &str, value: Value| {
        let mut statement = allow();
        statement[key] = value;
        document(statement)
    };
    let without = |key: &str| {
        let mut statement = allow();
        statement.as_object_mut().unwrap().remove(key);
        document(statement)
    };
    for policy in [
        json!([]),
        json!("policy"),
        json!({}),
        json!({ "Statement": [] }),
        json!({ "Statement": "x" }),
        json!({ "Version": "2012-10-18", "Statement": allow() }),
        json!({ "Version": 2012, "Statement": allow() }),
        json!({ "Version": "2012-10-17", "statement": allow() }),
        json!({ "Version": "2012-10-17", "Statement": [allow()], "Comment": "x" }),
        without("Effect"),
        without("Action"),
        without("Resource"),
        with("Effect", json!("allow")),
        with("Effect", json!(true)),
        with("Action", json!([])),
        with("Action", json!("AbortMultipartUpload")),
        with("Action", json!("gl*:Abort")),
        with("Action", json!(":Abort")),
        with("Action", json!("glacier:")),
        with("Action", json!(["glacier:*", 1])),
        with("NotAction", json!("glacier:*")),
        with("NotResource", json!("*")),
        with("Resource", json!("vaults/photos")),
        with("Resource", json!("arn:aws:gl*:us-east-1:123456789012:vaults/photos")),
        with("Resource", json!("arn:aws:glacier:us-east-1:${aws:x}:vaults/photos")),
        with("Resource", json!("arn:aws:glacier:us-east-1:123456789012:vaults/${aws:x")),
        with("Resource", json!("arn:aws:glacier:us-east-1:123456789012:vaults/${}")),
        with("Resource", json!("arn:aws:glacier:us-east-1:123456789012:vaults/${a b}")),
        with("Resource", json!("arn:aws:glacier:us-east-1:123456789012:vaults/${a$b}")),
        with("Resource", json!("arn:aws:glacier:us-east-1:123456789012:vaults/${a{b}")),
        with("Resource", json!("arn:aws:glacier:us-east-1:123456789012:vaults/${a, b}")),
        with("Resource", json!("arn:aws:glacier:us-east-1:123456789012:vaults/${a,'b'}")),
        with("Resource", json!("arn:aws:glacier:us-east-1:123456789012:vaults/${a, 'b}")),
        with("Principal", json!("*")),
        with("Sid", json!(1)),
        with("Condition", json!([])),
        with("Condition", json!({ "StringEqual": { "jwt:x": "y" } })),
        with("Condition", json!({ "stringequals": { "jwt:x": "y" } })),
        with("Condition", json!({ "ForEachValue:StringEquals": { "jwt:x": "y" } })),
        with("Condition", json!({ "NullIfExists": { "jwt:x": "true" } })),
        with("Condition", json!({ "NumericLess": { "jwt:x": "1" } })),
        with("Condition", json!({ "NumericNotLessThan": { "jwt:x": "1" } })),
        with("Condition", json!({ "StringEquals": "x" })),
        with("Condition", json!({ "StringEquals": { "jwt:x": null } })),
        with("Condition", json!({ "StringEquals": { "jwt:x": ["y", ["z"]] } })),
        with("Condition", json!({ "StringEquals": { "jwt:x": "${y" } })),
    ] {
        assert_eq!(decision(&case(json!([policy]), json!({}))), ERROR, "{policy}");
    }
    let vault = |principal: Value| document(statement("Allow", json!({ "Principal": principal })));
    for policy in [
        document(allow()),
        vault(json!("arn:aws:iam::1:user/x")),
        vault(json!(["*"])),
        vault(json!({})),
        vault(json!({ "AWS": [] })),
        vault(json!({ "aws": "*" })),
    ] {
        assert_eq!(layers(json!([]), json!([]), json!([policy])), ERROR, "{policy}");
    }
}

#[test]
fn duplicate_names_are_an_error_wherever_they_stand() {
    for policy in [
        r#"{"Version":"2012-10-17","Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#,
        r#"{"Statement":{"Effect":"Deny","Effect":"Allow","Action":"*","Resource":"*"}}"#,
        r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"aws:a":"true"},"Bool":{"aws:b":"true"}}}}"#,
        r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"aws:a":"true","aws:a":"false"}}}}"#,
        r#"{"Statement":[{"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"},{"Sid":"a","Effect":"Deny","Action":"*","Resource":"*"}]}"#,
    ] {
        let line = format!(
            r#"{{"id":7,"policies":[{policy}],"request":{{"principal":"p","action":"a:b","resource":"*"}}}}"#
        );
        let answer = simulate_line(line.as_bytes());
        assert!(answer.starts_with(r#"{"id":7,"error":"#), "{answer}");
    }
}

#[test]
fn the_answer_names_the_deciding_statements() {
    let policies = json!([
        document(json!([
            statement("Allow", json!({ "Action": "s3:*" })),
            statement("Allow", json!({ "Sid": "own" })),
        ])),
        document(statement("Allow", json!({}))),
    ]);
    let mut case = case(policies, json!({}));
    case["id"] = json!({ "any": "value" });
    let answer = |case: &Value| -> Value {
        serde_json::from_str(&simulate_line(case.to_string().as_bytes())).unwrap()
    };
    let own = json!({ "layer": "policies", "document": 0, "statement": 1, "sid": "own" });
    let other = json!({ "layer": "policies", "document": 1, "statement": 0, "sid": null });
    let expected =
        json!({ "id": { "any": "value" }, "decision": "allowed", "matched": [own, other] });
    assert_eq!(answer(&case), expected);

    case["guardrails"] = json!([document(statement("Deny", json!({ "Sid": "limit" })))]);
    let limit = json!({ "layer": "guardrails", "document": 0, "statement": 0, "sid": "limit" });
    assert_eq!(answer(&case)["matched"], json!([limit]));

    case["guardrails"] = json!([document(statement("Allow", json!({ "Action": "s3:*" })))]);
    assert_eq!(answer(&case)["matched"], json!([]));
}

#[test]
fn a_member_that_no_case_has_is_an_error_that_names_it() {
    let allow = json!([document(statement("Allow", json!({})))]);
    let deny = json!([document(statement("Deny", json!({})))]);
    let good = case(allow, json!({}));
    for (pointer, member) in [("", "guardrail"), ("", "vaultpolicies"), ("/request", "Context")] {
        let mut case = good.clone();
        case.pointer_mut(pointer).unwrap()[member] = deny.clone();
        let answer: Value =
            serde_json::from_str(&simulate_line(case.to_string().as_bytes())).unwrap();
        assert_eq!(answer["id"], 1);
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains(&format!("`{member}`")), "{error}");
    }
}

#[test]
fn a_context_value_of_no_such_type_is_an_error_that_names_its_key() {
    let allow = json!([document(statement("Allow", json!({})))]);
    for value in [json!({ "a": 1 }), json!([["a"]]), json!(["a", null])] {
        let case = case(allow.clone(), json!({ "jwt:Roles": value }));
        let answer = simulate_line(case.to_string().as_bytes());
        assert!(answer.contains(r#"the value of \"jwt:Roles\""#), "{answer}");
    }
    let twice = case(allow.clone(), json!({ "jwt:a": 1, "JWT:a": 2 }));
    let answer = simulate_line(twice.to_string().as_bytes());
    assert!(answer.contains("given twice"), "{answer}");
    let absent = case(
        json!([document(statement(
            "Allow",
            json!({ "Condition": { "Null": { "jwt:a": "true" } } })
        ))]),
        json!({ "jwt:a": null }),
    );
    assert_eq!(decision(&absent), ALLOWED);
}

#[test]
fn a_line_that_is_no_case_is_an_error_with_its_id() {
    for (line, id) in [
        ("", json!(null)),
        ("{", json!(null)),
        (r#"{"id":"x"}"#, json!("x")),
        (r#"{"id":3,"policies":[],"request":{"principal":"p","action":"a"}}"#, json!(3)),
    ] {
        let answer: Value = serde_json::from_str(&simulate_line(line.as_bytes())).unwrap();
        assert_eq!(answer["id"], id, "{line}");
        assert!(answer["error"].is_string(), "{line}");
    }
    for context in [r#"{"a":1e999}"#, r#"{"a":1,"a":2}"#] {
        let line = format!(
            r#"{{"id":12345678901234567890123,"request":{{"principal":"p","action":"a","resource":"r","context":{context}}}}}"#
        );
        let answer = simulate_line(line.as_bytes());
        assert!(answer.starts_with(r#"{"id":12345678901234567890123,"error":"#), "{answer}");
    }
    assert!(simulate_line(b"{\"id\":\"\xff\"}").starts_with(r#"{"id":null,"error":"#));
}
