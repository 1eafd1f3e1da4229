//! Decision times beside two peers on equivalent sets, allocations, and how long it
//! takes to load a folder.
//!
//! Every statement allows one team to abort uploads in one vault, in the shape of
//! `examples/policies`: in any region. The request is for the vault of the last
//! statement, or for a vault of none. The peers take one flat set, so they get only the
//! asking team's statements, with the region spelt out: one of them compares entities as
//! wholes.

use std::hint::black_box;
use std::ops::Range;
use std::time::Instant;

use cedar_policy::{Authorizer, Entities, EntityUid};
use criterion::{Criterion, criterion_group, criterion_main};
use glacier_gateway::domain::Principal;
use glacier_gateway::domain::{Operation, VaultArn};
use glacier_gateway::policy::{Context, PolicySet, Resource};
use serde_json::json;
use time::OffsetDateTime;

const ACTION: &str = "glacier:AbortMultipartUpload";

fn vault(number: usize) -> VaultArn {
    VaultArn {
        region: "eu-central-1".parse().unwrap(),
        account: "123456789012".parse().unwrap(),
        vault: format!("vault-{number}").parse().unwrap(),
    }
}

fn document(vaults: Range<usize>, resource: impl Fn(usize) -> String) -> String {
    let statements: Vec<_> = vaults
        .map(|n| json!({ "Effect": "Allow", "Action": ACTION, "Resource": resource(n) }))
        .collect();
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}

/// A vault in any region, as `examples/policies` write it.
fn in_any_region(number: usize) -> String {
    format!("arn:aws:glacier:*:123456789012:vaults/vault-{number}")
}

/// A set of `teams` teams with `statements` statements each, in documents of at most
/// a thousand.
fn set(teams: usize, statements: usize) -> PolicySet {
    let folder = tempfile::tempdir().unwrap();
    for team in 0..teams {
        let own = folder.path().join(format!("teams/team-{team}"));
        std::fs::create_dir_all(&own).unwrap();
        for first in (0..statements).step_by(1_000) {
            let vaults = first..statements.min(first + 1_000);
            let file = own.join(format!("{first}.json"));
            std::fs::write(file, document(vaults, in_any_region)).unwrap();
        }
    }
    let started = Instant::now();
    let (set, _) = PolicySet::load(folder.path()).unwrap();
    println!("gateway/{teams} teams of {statements}: loaded in {:?}", started.elapsed());
    set
}

fn member() -> Principal {
    Principal {
        issuer: "corporate".to_owned(),
        subject: "ann".to_owned(),
        teams: vec!["team-0".to_owned()],
        tags: Default::default(),
        claims: Default::default(),
    }
}

fn gateway(criterion: &mut Criterion) {
    let ann = member();
    let context = Context::new(OffsetDateTime::UNIX_EPOCH, true);
    let operation = Operation::AbortMultipartUpload;
    for (teams, statements) in [(1, 10), (1, 1_000), (1_000, 10), (1, 50_000), (10_000, 10)] {
        let set = set(teams, statements);
        let decide = |resource| set.decide(&ann, operation, resource, &context);
        for (answer, asked) in [("allowed", statements - 1), ("denied", statements)] {
            let resource = Resource::vault(vault(asked));
            let name = format!("gateway/{teams} teams of {statements}, {answer}");
            criterion.bench_function(&name, |bencher| {
                bencher.iter_batched(
                    || resource.clone(),
                    |resource| black_box(decide(resource)).is_ok(),
                    criterion::BatchSize::SmallInput,
                );
            });
            let mut decided = None;
            let allocated = allocation_counter::measure(|| decided = Some(decide(resource)));
            assert_eq!(decided.unwrap().is_ok(), answer == "allowed");
            println!("{name}: {} allocations", allocated.count_total);
        }
    }
}

fn iam_rs(criterion: &mut Criterion) {
    use iam_rs::{Arn, IAMPolicy, IAMRequest, Principal, PrincipalId};
    for statements in [10, 1_000] {
        let flat = document(0..statements, |n| vault(n).to_string());
        let policies: Vec<IAMPolicy> = vec![serde_json::from_str(&flat).unwrap()];
        let request = IAMRequest::new(
            Principal::Aws(PrincipalId::String("arn:aws:iam::123456789012:user/ann".to_owned())),
            ACTION,
            Arn::parse(&vault(statements - 1).to_string()).unwrap(),
        );
        let decide = || iam_rs::evaluate_policies(&policies, &request).unwrap();
        assert_eq!(decide(), iam_rs::Decision::Allow);
        criterion.bench_function(&format!("iam-rs/{statements}"), |bencher| bencher.iter(decide));
    }
}

fn cedar(criterion: &mut Criterion) {
    for statements in [10, 1_000] {
        let rule = |n| {
            format!(
                r#"permit(principal in Team::"team-0", action == Action::"{ACTION}", resource == Vault::"{}");"#,
                vault(n)
            )
        };
        let text: String = (0..statements).map(rule).collect();
        let policies: cedar_policy::PolicySet = text.parse().unwrap();
        let entities = Entities::from_json_value(
            json!([{
                "uid": { "type": "User", "id": "ann" },
                "attrs": {},
                "parents": [{ "type": "Team", "id": "team-0" }],
            }]),
            None,
        )
        .unwrap();
        let uid = |text: String| text.parse::<EntityUid>().unwrap();
        let request = cedar_policy::Request::new(
            uid(r#"User::"ann""#.to_owned()),
            uid(format!(r#"Action::"{ACTION}""#)),
            uid(format!(r#"Vault::"{}""#, vault(statements - 1))),
            cedar_policy::Context::empty(),
            None,
        )
        .unwrap();
        let authorizer = Authorizer::new();
        let decide = || authorizer.is_authorized(&request, &policies, &entities).decision();
        assert_eq!(decide(), cedar_policy::Decision::Allow);
        criterion.bench_function(&format!("cedar/{statements}"), |bencher| bencher.iter(decide));
    }
}

criterion_group!(decisions, gateway, iam_rs, cedar);
criterion_main!(decisions);
