//! What the linter says of resources: which ARNs are impossible, and which do not go
//! with the statement's actions.

use std::path::Path;

use glacier_gateway::policy::{Layer, lint_document};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use crate::lint::{codes, lint, policy_of, statement};

/// The codes of a statement with this action and this resource.
fn of(action: &str, resource: &str) -> Vec<&'static str> {
    let about_vaults = json!({ "Action": action, "Resource": resource });
    codes("teams/a.json", &statement(&about_vaults))
}

/// What is said of the one thing that is wrong with a resource.
fn said(resource: &str) -> String {
    let document = policy_of(&statement(&json!({ "Resource": resource })));
    let found = lint("teams/a.json", &document);
    let [only] = &found[..] else { panic!("{resource}: {found:?}") };
    format!("{} {}", only.code, only.message)
}

#[test]
fn an_arn_that_no_vault_can_have_is_an_error() {
    let long = "v".repeat(256);
    for (rest, wrong) in [
        ("us-east-1:123456789012:vaults/photos/*", "vault name"),
        ("us-east-1:123456789012:vaults/my vault", "vault name"),
        ("us-east-1:123456789012:vaults/a:b", "vault name"),
        ("us-east-1:123456789012:vaults/", "vault name"),
        ("us-east-1:123456789012:vaults/${*}", "vault name"),
        (&format!("us-east-1:123456789012:vaults/{long}"), "vault name"),
        (&format!("us-east-1:123456789012:vaults/*{long}"), "vault name"),
        ("*:*:vaults/a/*", "vault name"),
        ("us-*:vaults/a/*", "vault name"),
        ("us-east-1:123456789012:vaults/.", "path segments"),
        ("us-east-1:123456789012:vaults/..", "path segments"),
        ("us-east-1:123456789012:*vault/a", "vaults/NAME"),
        ("us-east-1:123456789012:policies/*", "vaults/NAME"),
        ("us-east-1:1234567890123*", "not an account"),
        ("us-east-1:1234567890123*:vaults/a", "not an account"),
        ("us-east-1:12345678901?2:vaults/a", "not an account"),
        ("*:1234:vaults/a", "not an account"),
        ("useast1:123456789012:vaults/a", "not a region"),
        ("us--east-1:*", "not a region"),
        ("EU-*:123456789012:vaults/a", "not a region"),
        ("cn-north-1:123456789012:vaults/a", "not in the partition \"aws\""),
        ("cn-*:123456789012:vaults/a", "not in the partition \"aws\""),
    ] {
        let said = said(&format!("arn:aws:glacier:{rest}"));
        assert!(said.starts_with("impossible-arn") && said.contains(wrong), "{rest}: {said}");
    }
    for arn in [
        "arn:aws-cn:glacier:eu-central-1:123456789012:vaults/a",
        "arn:aws-cn:glacier:eu-*:vaults/a",
        "arn:aws-us-gov:glacier:us-east-1:123456789012:vaults/a",
    ] {
        assert!(said(arn).contains("is not in the partition"), "{arn}");
    }
}

#[test]
fn an_arn_that_a_vault_can_have_is_none() {
    let longest = format!("us-east-1:123456789012:vaults/{}", "v".repeat(255));
    for rest in [
        "us-east-1:123456789012:vaults/...",
        "us-east-1:123456789012:vaults/.?",
        "us-east-1:123456789012:vaults/*",
        "us-east-1:123456789012:*",
        "us-east-1:123456789012:v*s",
        "us-east-1:12345678901*",
        "us-east-1:123*:vaults/a",
        "us-east-1:????????????:vaults/a",
        "us-east-1*123456789012?vaults/a",
        "us-*",
        "us-*:vaults/a",
        "us-*vaults/a",
        "*a",
        "*",
        "??-*-1:*",
        "us-east-1:123456789012:vaults/${aws:PrincipalTag/team}-*",
        "us-east-1:123456789012:vaults/${aws:PrincipalTag/team, 'a}b'}",
        "us-east-1:123456789012:${jwt:vault}",
        &longest,
        "af-south-1:123456789012:vaults/a",
    ] {
        assert_eq!(of("glacier:ListParts", &format!("arn:aws:glacier:{rest}")), [""; 0], "{rest}");
    }
    for arn in [
        "arn:*:glacier:cn-north-1:123456789012:vaults/a",
        "arn:aws*:glacier:*:123456789012:vaults/a",
        "arn:aws-cn:glacier:*:123456789012:vaults/a",
        "arn:aws-cn:glacier:cn-north-1:123456789012:vaults/a",
        "arn:aws-eusc:glacier:eusc-de-east-1:123456789012:vaults/a",
        "arn:aws-iso-e:glacier:eu-isoe-west-1:123456789012:vaults/a",
        "arn:aws-iso-f:glacier:us-isof-*:vaults/a",
        "arn:aws-us-gov:glacier:us-gov-*:vaults/a",
        "arn:aws:glacier*",
    ] {
        assert_eq!(of("glacier:ListParts", arn), [""; 0], "{arn}");
    }
}

/// Vaults' ARNs in which wildcards have taken the place of what they match.
#[test]
fn a_pattern_that_matches_a_vault_is_never_impossible() {
    const NAME: &[u8] = b"aZ09_-.";
    let mut random = StdRng::seed_from_u64(3);
    for _ in 0..3000 {
        let name: String = (0..random.random_range(1..12))
            .map(|_| char::from(NAME[random.random_range(0..7)]))
            .collect();
        let region = ["us-east-1", "ap-southeast-12", "me-south-1"][random.random_range(0..3)];
        if name == "." || name == ".." {
            continue;
        }
        let mut pattern: Vec<char> =
            format!("{region}:012345678901:vaults/{name}").chars().collect();
        for _ in 0..random.random_range(0..6) {
            let at = random.random_range(0..pattern.len());
            let end = (at + random.random_range(0..9)).min(pattern.len());
            match random.random_bool(0.5) {
                true => drop(pattern.splice(at..end, ['*'])),
                false if pattern[at] != '*' => pattern[at] = '?',
                false => {}
            }
        }
        let pattern = format!("arn:aws:glacier:{}", pattern.iter().collect::<String>());
        let document = policy_of(&statement(&json!({ "Resource": pattern })));
        let found = lint_document(Path::new("a.json"), &document, Layer::Policies);
        let unreachable = ["impossible-arn", "never-matches"];
        assert!(!found.iter().any(|found| unreachable.contains(&found.code)), "{pattern}");
    }
}

#[test]
fn the_gateways_own_resources_are_teams_and_their_shares_of_the_trail() {
    for resource in [
        "arn:aws:glacier-gateway:::teams/x",
        "arn:aws:glacier-gateway:::audit",
        "arn:aws:glacier-gateway:::audits/*",
        "arn:aws:glacier-gateway:::audit/",
        "arn:aws:glacier-gateway:::team/",
        "arn:aws:glacier-gateway:us-east-1::team/x",
        "arn:aws:glacier-gateway::123456789012:team/x",
        "arn:aws-cn:glacier-gateway:::team/x",
    ] {
        assert_eq!(of("gateway:SimulateAccess", resource), ["impossible-arn"], "{resource}");
    }
    for resource in [
        "arn:aws:glacier-gateway:::team/x",
        "arn:aws:glacier-gateway:::team/${aws:PrincipalTag/team}",
        "arn:aws:glacier-gateway:*:*:team/*",
        "arn:aws:glacier-gateway:::*",
        "arn:aws:glacier-gateway:*",
        "arn:aws:glacier-gateway:*x",
    ] {
        assert_eq!(of("gateway:SimulateAccess", resource), [""; 0], "{resource}");
    }
    for resource in [
        "arn:aws:glacier-gateway:::audit/x",
        "arn:aws:glacier-gateway:::audit/*",
        "arn:aws:glacier-gateway:::audit/${aws:PrincipalTag/team}",
        "arn:aws:glacier-gateway:*",
        "*",
    ] {
        assert_eq!(of("gateway:ReadAudit", resource), [""; 0], "{resource}");
    }
    assert_eq!(of("gateway:SimulateAccess", "arn:aws:glacier-gateway"), ["incomplete-arn"]);
    for (written, meant) in [("adit/x", "audit/x"), ("Teams/x", "team/x"), ("aduit/*", "audit/*")] {
        let resource = format!("arn:aws:glacier-gateway:::{written}");
        let document = policy_of(&statement(&json!({ "Resource": resource })));
        let found = lint("teams/a.json", &document);
        let help = format!("did you mean \"arn:aws:glacier-gateway:::{meant}\"?");
        assert_eq!(found[0].help.as_deref(), Some(help.as_str()), "{found:?}");
    }
}

#[test]
fn a_resource_that_is_none_of_the_actions_is_warned_of() {
    let vault = "arn:aws:glacier:us-east-1:123456789012:vaults/a";
    let team = "arn:aws:glacier-gateway:::team/x";
    assert_eq!(of("glacier:ListParts", team), ["never-matches"]);
    assert_eq!(of("gateway:SimulateAccess", vault), ["never-matches"]);
    let audit = "arn:aws:glacier-gateway:::audit/x";
    assert_eq!(of("gateway:SimulateAccess", audit), ["never-matches"]);
    assert_eq!(of("gateway:ReadAudit", team), ["never-matches"]);
    assert_eq!(of("gateway:ReadAudit", vault), ["never-matches"]);
    assert_eq!(of("*", "arn:aws:s3:::a"), ["never-matches", "foreign-resource"]);
    for (actions, resources, expected) in [
        (json!(["glacier:ListParts", "gateway:*"]), json!([vault, team]), vec![]),
        (json!(["glacier:ListParts", "gateway:*"]), json!(vault), vec!["never-matches"]),
        (json!("glacier:ListParts"), json!([vault, team]), vec!["never-matches"]),
        (json!("*"), json!(team), vec![]),
        (json!("gateway:*"), json!([team, audit]), vec![]),
        (json!("gateway:Read*"), json!([team, audit]), vec!["never-matches"]),
    ] {
        let both = json!({ "Action": actions, "Resource": resources });
        assert_eq!(codes("teams/a.json", &statement(&both)), expected, "{both}");
    }
}

#[test]
fn an_arn_that_is_completed_is_said_to_be_even_if_it_has_a_star() {
    let said = said("arn:aws:glacier:*:123456789012");
    assert!(said.starts_with("incomplete-arn") && said.contains("counts as"), "{said}");
}

#[test]
fn of_a_variable_that_is_malformed_or_stands_too_early_only_that_is_told() {
    for resource in [
        "arn:aws:glacier:us-east-1:123456789012:vaults/${ü",
        "arn:aws:glacier:us-east-1:123456789012:vaults/${jwt:a, 'ü",
        "arn:aws:glacier:us-east-1:${aws:userid}:vaults/x",
        "arn:aws:glacier:${aws:RequestedRegion}:123456789012:vaults/x",
        "arn:${jwt:partition}:glacier:us-east-1:123456789012:vaults/x",
    ] {
        assert!(said(resource).starts_with("invalid-variable"), "{resource}");
    }
}

/// `${*}`, `${?}` and `${$}` are characters, wherever they stand.
#[test]
fn a_literal_character_is_not_a_variable_that_stands_too_early() {
    for (account, code) in [("${*}", "impossible-arn"), ("${jwt:a}", "invalid-variable")] {
        let resource = format!("arn:aws:glacier:us-east-1:{account}:vaults/${{aws:username}}");
        let document = policy_of(&statement(&json!({ "Resource": resource })));
        let found = lint("teams/a.json", &document);
        assert_eq!(found.iter().map(|found| found.code).collect::<Vec<_>>(), [code], "{found:?}");
    }
    // The text of such a condition is read by the same rule.
    let literal = json!({ "Condition": { "ArnLike": { "aws:PrincipalArn": "arn:aws:${*}:::a" } } });
    assert_eq!(codes("teams/a.json", &statement(&literal)), [""; 0]);
}

#[test]
fn all_of_awss_partitions_are_known() {
    for partition in [
        "aws",
        "aws-cn",
        "aws-eusc",
        "aws-iso",
        "aws-iso-b",
        "aws-iso-e",
        "aws-iso-f",
        "aws-us-gov",
    ] {
        let found = of("s3:GetObject", &format!("arn:{partition}:s3:::bucket/*"));
        assert_eq!(found, ["never-matches", "foreign-resource"], "{partition}");
    }
    assert!(said("arn:aws-isoe:glacier:*:*:vaults/a").contains("does not exist"));
}
