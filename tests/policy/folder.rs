//! Policy folders: loading them, and deciding by them.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use glacier_gateway::domain::{AccountFacts, GatewayAction, Operation, Principal, VaultArn};
use glacier_gateway::policy::{
    Context, Denial, Diagnostic, Grant, Missed, PolicySet, Reach, Resource, Severity,
};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::generate::Generator;
use crate::reference;
use crate::support::{folder, write};

const REGION: &str = "us-east-1";
const ACCOUNT: &str = "123456789012";

pub fn vault(name: &str) -> Resource {
    Resource::vault(VaultArn {
        region: REGION.parse().unwrap(),
        account: ACCOUNT.parse().unwrap(),
        vault: name.parse().unwrap(),
    })
}

fn account() -> Resource {
    Resource::account(REGION.parse().unwrap(), ACCOUNT.parse().unwrap())
}

pub fn member(teams: &[&str]) -> Principal {
    Principal {
        issuer: "corporate".to_owned(),
        subject: "ann".to_owned(),
        teams: teams.iter().map(ToString::to_string).collect(),
        tags: [("GRÖSSE", "l"), ("Stage", "prod")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        claims: json!({ "groups": ["a", "b"], "level": 7, "admin": false, "o": {}, "none": [],
            "mixed": ["a", null, {}], "nulls": [null] })
        .as_object()
        .unwrap()
        .clone(),
    }
}

fn noon() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_795_428_000).unwrap()
}

pub fn context() -> Context {
    Context::new(noon(), true)
        .source_ip("::ffff:203.0.113.7".parse::<IpAddr>().unwrap())
        .user_agent("tests/1")
}

pub fn policy(statements: &Value) -> String {
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}

pub fn allow(action: &str, name: &str) -> Value {
    let resource = match name {
        "*" => "*".to_owned(),
        name => format!("arn:aws:glacier:{REGION}:{ACCOUNT}:vaults/{name}"),
    };
    json!({ "Effect": "Allow", "Action": action, "Resource": resource })
}

pub fn deny(action: &str, name: &str) -> Value {
    let mut statement = allow(action, name);
    statement["Effect"] = json!("Deny");
    statement
}

pub fn with(mut statement: Value, key: &str, value: Value) -> Value {
    statement[key] = value;
    statement
}

pub fn load(folder: &Path) -> PolicySet {
    PolicySet::load(folder).unwrap().0
}

fn abort(set: &PolicySet, teams: &[&str], name: &str) -> Result<Grant, Denial> {
    set.decide(&member(teams), Operation::AbortMultipartUpload, vault(name), &context())
}

fn errors(files: &[(&str, &str)]) -> Vec<Diagnostic> {
    let folder = folder(files.iter().map(|(name, text)| (*name, (*text).to_owned())));
    let mut diagnostics = PolicySet::load(folder.path()).unwrap_err();
    diagnostics.retain(|diagnostic| diagnostic.severity == Severity::Error);
    diagnostics
}

#[test]
fn a_team_has_what_its_policies_allow_and_nothing_else() {
    let files = folder([
        ("teams/photos.json", policy(&allow("glacier:AbortMultipartUpload", "photos"))),
        ("teams/video/a.json", policy(&allow("glacier:ListParts", "video"))),
        ("teams/video/b.json", policy(&allow("glacier:Abort*", "video"))),
        ("README.md", "not a policy".to_owned()),
    ]);
    let set = load(files.path());
    let permit = abort(&set, &["photos"], "photos").unwrap();
    assert_eq!(permit.operation(), Operation::AbortMultipartUpload);
    assert_eq!(permit.resource(), &vault("photos"));
    assert_eq!(permit.statement().to_string(), "teams/photos.json (statement 0)");
    assert!(abort(&set, &["video"], "video").is_ok());
    for (teams, name) in [
        (&["photos"][..], "video"),
        (&["video"], "photos"),
        (&["other"], "photos"),
        (&[], "photos"),
    ] {
        let denial = abort(&set, teams, name).unwrap_err();
        assert_eq!(denial.reason(), "implicitDeny", "{teams:?} {name}");
    }
    let list = set.decide(&member(&["photos"]), Operation::ListParts, vault("photos"), &context());
    assert_eq!(list.unwrap_err().reason(), "implicitDeny");
}

#[test]
fn several_teams_add_up_but_a_deny_for_one_is_a_deny() {
    let files = folder([
        ("teams/photos.json", policy(&allow("glacier:*", "photos"))),
        ("teams/video.json", policy(&allow("glacier:*", "video"))),
        (
            "teams/interns.json",
            policy(&with(deny("glacier:Abort*", "*"), "Sid", json!("NoAborts"))),
        ),
    ]);
    let set = load(files.path());
    assert_eq!(abort(&set, &["photos", "video"], "video").unwrap().team(), 1);
    assert_eq!(abort(&set, &["photos", "video"], "photos").unwrap().team(), 0);
    for teams in [["photos", "interns"], ["interns", "photos"]] {
        let denial = abort(&set, &teams, "photos").unwrap_err();
        let Denial::ExplicitDeny { team, statement } = &denial else { panic!("{denial:?}") };
        assert_eq!(team, "interns");
        assert_eq!(statement.to_string(), "teams/interns.json (NoAborts)");
    }
}

#[test]
fn guardrails_limit_every_team_and_vault_policies() {
    let member_arn = json!({ "AWS": "arn:aws:glacier-gateway:::team/photos" });
    let files = folder([
        ("teams/photos.json", policy(&allow("glacier:Abort*", "*"))),
        (
            "guardrails/vaults.json",
            policy(&json!([allow("*", "photos*"), deny("*", "photos-vip")])),
        ),
        (
            "vaults/shared.json",
            policy(&with(allow("glacier:Abort*", "video"), "Principal", member_arn.clone())),
        ),
        (
            "vaults/shared2.json",
            policy(&with(allow("glacier:ListParts", "photos-2"), "Principal", member_arn)),
        ),
    ]);
    let set = load(files.path());
    assert!(abort(&set, &["photos"], "photos").is_ok());
    assert_eq!(abort(&set, &["photos"], "photos-vip").unwrap_err().reason(), "explicitDeny");
    let denial = abort(&set, &["photos"], "video").unwrap_err();
    assert!(matches!(denial, Denial::ImplicitDeny { limited_by_guardrails: true, .. }));
    let parts = |teams: &[&str], name| {
        set.decide(&member(teams), Operation::ListParts, vault(name), &context())
    };
    assert!(parts(&["photos"], "photos-2").is_ok());
    assert!(parts(&["other"], "photos-2").is_err());
}

#[test]
fn list_vaults_needs_a_star() {
    let list = |resource: &str| {
        let statement =
            json!({ "Effect": "Allow", "Action": "glacier:ListVaults", "Resource": resource });
        let files = folder([("teams/photos.json", policy(&statement))]);
        load(files.path())
            .decide(&member(&["photos"]), Operation::ListVaults, account(), &context())
            .is_ok()
    };
    assert!(list("*"));
    assert!(!list("arn:aws:glacier:us-east-1:123456789012:vaults/*"));
    assert!(!list("arn:aws:glacier:*"));
}

#[test]
fn conditions_see_what_the_gateway_knows() {
    let tags = BTreeMap::from([("Stage".to_owned(), "prod".to_owned())]);
    let facts = AccountFacts { name: "photos-prod".to_owned(), tags };
    let accounts = Arc::new(HashMap::from([("123456789012".parse().unwrap(), facts)]));
    let holds = |operator: &str, key: &str, value: Value| {
        let condition = json!({ operator: { key: value } });
        let statement = with(allow("glacier:DescribeVault", "*"), "Condition", condition);
        let files = folder([("teams/photos.json", policy(&statement))]);
        let set = load(files.path());
        set.decide(
            &member(&["photos"]),
            Operation::DescribeVault,
            vault("photos"),
            &context().accounts(accounts.clone()),
        )
        .is_ok()
    };
    for (operator, key, value) in [
        ("StringEquals", "aws:PrincipalTag/team", "photos"),
        ("StringEquals", "aws:PrincipalTag/stage", "prod"),
        ("StringEquals", "aws:PrincipalTag/Grösse", "l"),
        ("ArnEquals", "aws:PrincipalArn", "arn:aws:glacier-gateway:::team/photos/ann"),
        ("StringEquals", "aws:PrincipalType", "FederatedUser"),
        ("StringEquals", "aws:userid", "corporate:ann"),
        ("StringEquals", "aws:username", "ann"),
        ("StringEquals", "aws:RequestedRegion", "us-east-1"),
        ("StringEquals", "aws:ResourceAccount", "123456789012"),
        ("StringEquals", "gateway:AccountName", "photos-prod"),
        ("StringEquals", "gateway:AccountTag/stage", "prod"),
        ("Null", "gateway:AccountTag/other", "true"),
        ("IpAddress", "aws:SourceIp", "203.0.113.0/24"),
        ("Bool", "aws:SecureTransport", "true"),
        ("DateEquals", "aws:CurrentTime", "2026-11-23T10:00:00Z"),
        ("NumericEquals", "aws:EpochTime", "1795428000"),
        ("StringLike", "aws:UserAgent", "tests/*"),
        ("ForAnyValue:StringEquals", "jwt:groups", "b"),
        ("NumericGreaterThan", "jwt:level", "6"),
        ("Bool", "jwt:admin", "false"),
        ("Null", "gateway:DryRun", "true"),
        ("ForAnyValue:StringEquals", "jwt:mixed", "a"),
        ("ForAllValues:StringEquals", "jwt:mixed", "a"),
        ("Null", "jwt:nulls", "true"),
        ("Null", "jwt:o", "true"),
        ("Null", "jwt:none", "true"),
        ("Null", "jwt:other", "true"),
        ("Null", "aws:PrincipalTag/other", "true"),
        ("Null", "aws:PrincipalTag/Größe", "true"),
        ("Null", "gateway:UploadDescription", "true"),
    ] {
        assert!(holds(operator, key, json!(value)), "{operator} {key} {value}");
    }
    assert!(!holds("StringEquals", "aws:username", json!("bob")));
}

#[test]
fn a_policy_about_uploads_denies_until_their_facts_are_known() {
    let old = json!({ "NumericGreaterThanEquals": { "gateway:UploadAgeInDays": "7" } });
    let files = folder([(
        "teams/photos.json",
        policy(&json!([
            with(allow("glacier:AbortMultipartUpload", "photos"), "Condition", old),
            allow("glacier:AbortMultipartUpload", "video"),
        ])),
    )]);
    let set = load(files.path());
    let ann = member(&["photos"]);
    let abort = Operation::AbortMultipartUpload;
    let described = json!({ "StringLike": { "aws:username": "${gateway:UploadDescription}" } });
    let by_name = folder([(
        "teams/photos.json",
        policy(&with(allow("glacier:Abort*", "photos"), "Condition", described)),
    )]);
    let by_name = load(by_name.path());
    assert!(by_name.upload_lookup(&ann, abort, &vault("photos"), &context()).is_some());
    let lookup = set.upload_lookup(&ann, abort, &vault("photos"), &context()).unwrap();
    assert_eq!((lookup.operation(), lookup.resource()), (Operation::ListParts, &vault("photos")));
    assert!(set.upload_lookup(&ann, abort, &vault("video"), &context()).is_none());
    assert!(set.upload_lookup(&member(&["x"]), abort, &vault("photos"), &context()).is_none());
    let describe = Operation::DescribeVault;
    assert!(set.upload_lookup(&ann, describe, &vault("photos"), &context()).is_none());

    let decide = |context: Context| set.decide(&ann, abort, vault("photos"), &context);
    assert_eq!(decide(context()).unwrap_err().reason(), "implicitDeny");
    assert!(decide(context().upload(Duration::days(7), Some("x"))).is_ok());
    let young = decide(context().upload(Duration::hours(7 * 24 - 1), None)).unwrap_err();
    assert_eq!(young.reason(), "implicitDeny");
}

#[test]
fn a_denial_tells_what_came_near_and_how_it_reads() {
    let tagged = json!({ "StringEquals": { "aws:PrincipalTag/Stage": "dev" } });
    let files = folder([(
        "teams/photos.json",
        policy(&json!([
            with(allow("glacier:Abort*", "video"), "Sid", json!("Video")),
            with(allow("glacier:Abort*", "photos"), "Condition", tagged),
            allow("glacier:ListParts", "video"),
            deny("glacier:Abort*", "video"),
        ])),
    )]);
    let denial = abort(&load(files.path()), &["photos"], "photos").unwrap_err();
    let Denial::ImplicitDeny { limited_by_guardrails: false, near_misses } = &denial else {
        panic!("{denial:?}")
    };
    let near: Vec<_> = near_misses.iter().map(|n| (n.statement.statement, &n.missed)).collect();
    let key = "aws:PrincipalTag/Stage".to_owned();
    assert_eq!(near, [(1, &Missed::Condition { key }), (0, &Missed::Resource)]);
    assert_eq!(
        serde_json::to_value(&denial).unwrap(),
        json!({
            "reason": "implicitDeny",
            "limitedByGuardrails": false,
            "nearMisses": [
                {
                    "statement":
                        { "layer": "policies", "policy": "teams/photos.json", "statement": 1, "sid": null },
                    "missed": "condition",
                    "key": "aws:PrincipalTag/Stage",
                },
                {
                    "statement":
                        { "layer": "policies", "policy": "teams/photos.json", "statement": 0, "sid": "Video" },
                    "missed": "resource",
                },
            ],
        })
    );
}

#[test]
fn the_gateways_own_actions_are_allowed_and_denied_by_policies() {
    let simulate = |effect: &str, team: &str| {
        json!({
            "Effect": effect,
            "Action": "gateway:SimulateAccess",
            "Resource": format!("arn:aws:glacier-gateway:::team/{team}"),
        })
    };
    let files = folder([
        (
            "teams/auditors.json",
            policy(&json!([simulate("Allow", "*"), simulate("Deny", "secret")])),
        ),
        (
            "teams/photos.json",
            policy(&json!([allow("glacier:*", "*"), simulate("Allow", "video")])),
        ),
    ]);
    let set = load(files.path());
    let decide = |teams: &[&str], team: &str| {
        let (action, reach) = (GatewayAction::SimulateAccess, Reach::Team(team));
        set.decide_own(&member(teams), action, reach, &context())
    };
    let may = |teams: &[&str], team: &str| decide(teams, team).is_ok();
    let denial = decide(&["auditors"], "secret").unwrap_err();
    assert_eq!(denial.statement().unwrap().to_string(), "teams/auditors.json (statement 1)");
    assert_eq!(decide(&["photos"], "finance").unwrap_err().reason(), "implicitDeny");
    assert!(may(&["auditors"], "photos") && may(&["photos"], "video"));
    assert!(may(&["photos", "auditors"], "finance"));
    assert!(!may(&["auditors"], "secret") && !may(&["photos", "auditors"], "secret"));
    assert!(!may(&["photos"], "finance") && !may(&["other"], "video"));
}

#[test]
fn the_whole_trail_takes_an_allow_for_all_teams_and_no_deny_for_any() {
    let read = |effect: &str, team: &str| {
        json!({
            "Effect": effect,
            "Action": "gateway:ReadAudit",
            "Resource": format!("arn:aws:glacier-gateway:::audit/{team}"),
        })
    };
    let own = "${aws:PrincipalTag/team}";
    let mut all_but_own = read("Deny", own);
    let resource = all_but_own.as_object_mut().unwrap().remove("Resource").unwrap();
    all_but_own["NotResource"] = resource;
    let files = folder([
        ("teams/auditors.json", policy(&read("Allow", "*"))),
        ("teams/most.json", policy(&json!([read("Allow", "*"), read("Deny", "secret")]))),
        ("teams/photos.json", policy(&json!([allow("*", "photos"), read("Allow", own)]))),
        ("teams/video.json", policy(&json!([allow("*", "video")]))),
        ("teams/none.json", policy(&json!([read("Allow", "a"), read("Deny", "*")]))),
        ("teams/only.json", policy(&json!([read("Allow", "*"), all_but_own]))),
        ("teams/root.json", policy(&json!({"Effect": "Allow", "Action": "*", "Resource": "*"}))),
    ]);
    let set = load(files.path());
    for (team, may_own, may_secret, may_any, may_all) in [
        ("auditors", true, true, true, true),
        ("most", true, false, true, false),
        ("photos", true, false, true, false),
        // What is about vaults is not about the trail.
        ("video", false, false, false, false),
        ("none", false, false, false, false),
        ("only", true, false, true, false),
        ("root", true, true, true, true),
        ("stranger", false, false, false, false),
    ] {
        let may = |reach| {
            set.decide_own(&member(&[team]), GatewayAction::ReadAudit, reach, &context()).is_ok()
        };
        assert_eq!(may(Reach::Team(team)), may_own, "{team}");
        assert_eq!(may(Reach::Team("secret")), may_secret, "{team}");
        assert_eq!(may(Reach::Any), may_any, "{team}");
        assert_eq!(may(Reach::All), may_all, "{team}");
    }
}

#[test]
fn members_can_read_the_statements_that_concern_them() {
    let mut others = deny("glacier:ListParts", "photos");
    let photos = others.as_object_mut().unwrap().remove("Resource").unwrap();
    others["NotResource"] = json!([photos, "arn:aws:glacier:*:*:vaults/${aws:username}"]);
    let files = folder([
        ("teams/photos.json", policy(&json!([allow("glacier:List*", "*"), others]))),
        ("teams/video.json", policy(&allow("glacier:ListParts", "video"))),
    ]);
    let access = load(files.path()).access(&member(&["photos"]), &context());
    let read: Vec<_> = access
        .iter()
        .map(|a| (a.denies, a.resources.join(" "), a.all_but_these_resources))
        .collect();
    let listed = "arn:aws:glacier:us-east-1:123456789012:vaults/photos \
                  arn:aws:glacier:*:*:vaults/${aws:username}";
    assert_eq!(read, [(false, "*".to_owned(), false), (true, listed.to_owned(), true)]);
}

#[test]
fn an_error_refuses_the_whole_folder_and_says_where() {
    let good = policy(&allow("glacier:Abort*", "photos"));
    let bad = "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": {\n    \"Effect\": \"Allow\",\n    \
               \"Action\": \"glacier:AbortMultipartUplaod\",\n    \"Resource\": \"*\"\n  }\n}\n";
    let errors = errors(&[("teams/a.json", &good), ("teams/b/uploads.json", bad)]);
    let [error] = &errors[..] else { panic!("{errors:?}") };
    assert_eq!(error.code, "unknown-action");
    assert_eq!((error.line, error.column), (5, 15));
    assert_eq!(
        error.to_string(),
        "teams/b/uploads.json:5:15: glacier has no action \"AbortMultipartUplaod\"; did you mean \
         \"glacier:AbortMultipartUpload\"?"
    );
}

#[test]
fn policies_where_none_are_read_are_errors() {
    let good = policy(&allow("glacier:Abort*", "photos"));
    for misplaced in [
        "a.json",
        "team/a.json",
        "teams/a/b/c.json",
        "guardrails/a/b.json",
        "vault/a.json",
        "teams/a b.json",
        "teams/a*/b.json",
    ] {
        let errors = errors(&[("teams/a.json", &good), (misplaced, &good)]);
        assert!(errors.iter().any(|error| error.code == "misplaced"), "{misplaced} {errors:?}");
    }
    assert!(PolicySet::load(Path::new("/nonexistent")).is_err());
}

#[test]
fn principals_belong_in_vault_policies_only() {
    let named = policy(&with(allow("glacier:Abort*", "photos"), "Principal", json!("*")));
    let unnamed = policy(&allow("glacier:Abort*", "photos"));
    for (file, text) in
        [("teams/a.json", &named), ("guardrails/a.json", &named), ("vaults/a.json", &unnamed)]
    {
        assert_eq!(errors(&[(file, text)]).len(), 1, "{file}");
    }
}

#[test]
fn hidden_files_and_configmap_versions_are_passed_over() {
    let files = folder([
        ("..2026_11_23/teams/photos.json", policy(&allow("glacier:Abort*", "photos"))),
        (".hidden.json", "nonsense".to_owned()),
    ]);
    let link = |from: &str, to: &str| {
        std::os::unix::fs::symlink(from, files.path().join(to)).unwrap();
    };
    link("..2026_11_23", "..data");
    link("..data/teams", "teams");
    assert!(abort(&load(files.path()), &["photos"], "photos").is_ok());
}

/// The index and the batch form's plain scan decide alike: both are held against
/// the naive evaluator.
#[test]
fn folders_decide_as_the_naive_evaluator_does() {
    let folders = if cfg!(debug_assertions) { 20 } else { 500 };
    let mut outcomes = [0_u32; 3];
    for seed in 0..folders {
        let mut generator = Generator::new(1_000_000 + seed);
        let mut layer = |path: &str, principals: bool| -> Vec<Value> {
            let documents = generator.documents(6, principals);
            let loads = |document: &&Value| {
                let alone = folder([(path, document.to_string())]);
                PolicySet::load(alone.path()).is_ok()
            };
            documents.as_array().unwrap().iter().filter(loads).cloned().collect()
        };
        let policies = layer("teams/photos.json", false);
        let guardrails = if seed % 3 == 0 { layer("guardrails/a.json", false) } else { vec![] };
        let vaults = layer("vaults/a.json", true);
        let files = folder([]);
        for (kind, documents) in
            [("teams/photos", &policies), ("guardrails", &guardrails), ("vaults", &vaults)]
        {
            for (number, document) in documents.iter().enumerate() {
                let name = format!("{kind}/{number}.json");
                write(files.path(), &name, &document.to_string());
            }
        }
        let set = load(files.path());
        for (operation, name) in Operation::ALL
            .into_iter()
            .flat_map(|o| ["photos", "photos-2", "video", "aXb"].map(|name| (o, name)))
        {
            let resource = match operation {
                Operation::ListVaults => account(),
                _ => vault(name),
            };
            let case = json!({
                "policies": policies,
                "guardrails": guardrails,
                "vaultPolicies": vaults,
                "request": {
                    "principal": "arn:aws:glacier-gateway:::team/photos/ann",
                    "action": operation.action(),
                    "resource": resource.as_str(),
                    "context": {
                        "aws:PrincipalTag/team": "photos",
                        "aws:PrincipalTag/Stage": "prod",
                        "aws:username": "ann",
                        "jwt:groups": ["a", "b"],
                        "jwt:level": 7,
                        "jwt:admin": false,
                        "aws:SourceIp": "203.0.113.7",
                        "aws:UserAgent": "tests/1",
                        "aws:SecureTransport": true,
                        "aws:CurrentTime": "2026-11-23T10:00:00Z",
                        "aws:EpochTime": "1795428000",
                        "gateway:UploadAgeInDays": "7",
                    },
                },
            });
            let context = context().upload(Duration::days(7), None);
            let decided =
                match set.decide(&member(&["photos"]), operation, resource.clone(), &context) {
                    Ok(_) => "allowed",
                    Err(denial) => denial.reason(),
                };
            assert_eq!(decided, reference::decide(&case), "seed {seed}: {case:#}");
            outcomes[["allowed", "explicitDeny", "implicitDeny"]
                .iter()
                .position(|outcome| *outcome == decided)
                .unwrap()] += 1;
        }
    }
    println!("{outcomes:?}");
    assert!(outcomes.iter().all(|count| *count > 10), "{outcomes:?}");
}
