//! Decision times beside two peers on equivalent sets, and allocations.
//!
//! Every statement allows one team to abort uploads in one vault; the request is
//! for the vault of the last one. The peers take one flat set, so they get only
//! the asking team's statements.

use std::hint::black_box;

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

fn document(statements: usize) -> String {
    let statements: Vec<_> = (0..statements)
        .map(|n| json!({ "Effect": "Allow", "Action": ACTION, "Resource": vault(n).to_string() }))
        .collect();
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}

/// A set of `teams` teams with `statements` statements each.
fn set(teams: usize, statements: usize) -> PolicySet {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("teams")).unwrap();
    for team in 0..teams {
        let file = folder.path().join(format!("teams/team-{team}.json"));
        std::fs::write(file, document(statements)).unwrap();
    }
    PolicySet::load(folder.path()).unwrap().0
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
    for (teams, statements) in [(1, 10), (1, 1_000), (1_000, 10), (1, 10_000)] {
        let set = set(teams, statements);
        let resource = Resource::vault(vault(statements - 1));
        let decide = |resource| set.decide(&ann, operation, resource, &context);
        let name = format!("gateway/{teams} teams of {statements}");
        criterion.bench_function(&name, |bencher| {
            bencher.iter_batched(
                || resource.clone(),
                |resource| black_box(decide(resource)).is_ok(),
                criterion::BatchSize::SmallInput,
            );
        });
        let asked = resource.clone();
        let mut decided = None;
        let allocated = allocation_counter::measure(|| decided = Some(decide(asked)));
        assert!(decided.unwrap().is_ok());
        println!("{name}: {} allocations", allocated.count_total);
    }
}

fn iam_rs(criterion: &mut Criterion) {
    use iam_rs::{Arn, IAMPolicy, IAMRequest, Principal, PrincipalId};
    for statements in [10, 1_000] {
        let policies: Vec<IAMPolicy> = vec![serde_json::from_str(&document(statements)).unwrap()];
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
