//! Policies that read facts about the upload: when those are looked up.

use glacier_gateway::domain::Operation;
use glacier_gateway::policy::PolicySet;
use serde_json::{Value, json};
use time::Duration;

use crate::folder::{allow, context, deny, load, member, policy, vault, with};
use crate::support::folder;

const VAULTS: &str = "arn:aws:glacier:us-east-1:123456789012:vaults";

fn when(statement: Value, operator: &str, key: &str, value: &str) -> Value {
    with(statement, "Condition", json!({ operator: { key: value } }))
}

fn if_old(statement: Value) -> Value {
    when(statement, "NumericGreaterThanEquals", "gateway:UploadAgeInDays", "7")
}

/// The member's stage is `prod`.
fn if_dev(statement: Value) -> Value {
    when(statement, "StringEquals", "aws:PrincipalTag/Stage", "dev")
}

fn on(statement: Value, resource: &str) -> Value {
    with(statement, "Resource", json!(format!("{VAULTS}/{resource}")))
}

fn of(statement: Value, team: &str) -> Value {
    let principal = json!({ "AWS": format!("arn:aws:glacier-gateway:::team/{team}") });
    with(statement, "Principal", principal)
}

fn set(files: &[(&str, Vec<Value>)]) -> PolicySet {
    let files = files.iter().map(|(name, statements)| (*name, policy(&json!(statements))));
    load(folder(files).path())
}

/// The team for which the upload is looked up, when a member of the teams photos
/// and video aborts one in the vault photos.
///
/// A request for which it is looked up is denied without the facts.
fn looked_up(set: &PolicySet) -> Option<usize> {
    let ann = member(&["photos", "video"]);
    let abort = Operation::AbortMultipartUpload;
    let lookup = set.upload_lookup(&ann, abort, &vault("photos"), &context());
    let decided = set.decide(&ann, abort, vault("photos"), &context());
    assert!(decided.is_err() || lookup.is_none(), "{decided:?}");
    lookup.map(|permit| permit.team())
}

#[test]
fn an_upload_is_looked_up_for_statements_that_hang_on_it() {
    let aborts = || allow("glacier:Abort*", "photos");
    let denies = || deny("glacier:Abort*", "photos");
    for (name, files, team) in [
        ("an Allow", vec![("teams/photos.json", vec![if_old(aborts())])], 0),
        ("the second team's", vec![("teams/video.json", vec![if_old(aborts())])], 1),
        ("a Deny", vec![("teams/photos.json", vec![aborts(), if_old(denies())])], 0),
        (
            "a Deny of a team that has no Allow",
            vec![
                ("teams/photos.json", vec![aborts()]),
                ("teams/video.json", vec![if_old(denies())]),
            ],
            1,
        ),
        (
            "beside a Deny that does not apply",
            vec![("teams/photos.json", vec![if_old(aborts()), if_dev(denies())])],
            0,
        ),
        (
            "a guardrail",
            vec![
                ("teams/photos.json", vec![aborts()]),
                ("guardrails/a.json", vec![if_old(aborts())]),
            ],
            0,
        ),
        ("a vault policy", vec![("vaults/a.json", vec![of(if_old(aborts()), "video")])], 1),
        (
            "a variable in the resource",
            vec![("teams/photos.json", vec![on(aborts(), "${gateway:UploadDescription}")])],
            0,
        ),
    ] {
        assert_eq!(looked_up(&set(&files)), Some(team), "{name}");
    }
}

#[test]
fn an_upload_is_not_looked_up_for_who_is_denied_whatever_it_is() {
    let aborts = || allow("glacier:Abort*", "photos");
    let denies = || deny("glacier:Abort*", "photos");
    let dev_if_old = || {
        let mut statement = if_old(aborts());
        statement["Condition"]["StringEquals"] = json!({ "aws:PrincipalTag/Stage": "dev" });
        statement
    };
    for (name, files) in [
        ("a Deny alone", vec![("teams/photos.json", vec![if_old(denies())])]),
        (
            "beside a Deny that applies",
            vec![("teams/photos.json", vec![if_old(aborts()), denies()])],
        ),
        (
            "beside another team's Deny that applies",
            vec![
                ("teams/photos.json", vec![if_old(aborts())]),
                ("teams/video.json", vec![denies()]),
            ],
        ),
        (
            "a Deny beside an Allow that does not apply",
            vec![("teams/photos.json", vec![if_old(denies()), if_dev(aborts())])],
        ),
        (
            "an Allow that no guardrail has",
            vec![
                ("teams/photos.json", vec![if_old(aborts())]),
                ("guardrails/a.json", vec![if_dev(aborts())]),
            ],
        ),
        ("another condition that fails", vec![("teams/photos.json", vec![dev_if_old()])]),
        ("another resource", vec![("teams/photos.json", vec![on(if_old(aborts()), "pho*x")])]),
        ("another principal", vec![("vaults/a.json", vec![of(if_old(aborts()), "audio")])]),
        ("another action", vec![("teams/photos.json", vec![if_old(allow("glacier:L*", "*"))])]),
    ] {
        assert_eq!(looked_up(&set(&files)), None, "{name}");
    }
}

#[test]
fn an_upload_is_not_looked_up_for_a_deny_that_cannot_apply() {
    let denies = || if_old(deny("glacier:Abort*", "photos"));
    for (name, file, other) in [
        ("another resource", "teams/video.json", on(denies(), "pho*x")),
        ("another principal", "vaults/a.json", of(denies(), "audio")),
        ("another action", "teams/video.json", if_old(deny("glacier:L*", "*"))),
    ] {
        let aborts = vec![allow("glacier:Abort*", "photos")];
        let set = set(&[("teams/photos.json", aborts), (file, vec![other])]);
        assert_eq!(looked_up(&set), None, "{name}");
    }
}

#[test]
fn an_old_upload_is_denied_by_a_deny_of_old_ones() {
    let statements =
        vec![allow("glacier:Abort*", "photos"), if_old(deny("glacier:Abort*", "photos"))];
    let set = set(&[("teams/photos.json", statements)]);
    let abort = |days| {
        let context = context().upload(Duration::days(days), None);
        let ann = member(&["photos"]);
        set.decide(&ann, Operation::AbortMultipartUpload, vault("photos"), &context)
    };
    assert!(abort(6).is_ok());
    assert_eq!(abort(7).unwrap_err().reason(), "explicitDeny");
}
