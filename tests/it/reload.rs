//! Replacing the policies of a running gateway by SIGHUP.

use std::{
    os::unix::fs::symlink,
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use serde_json::{Value, json};

use crate::support::{ACCOUNT, Gateway, REGION, client};

const SIGHUP: &str = "reloading the policies on SIGHUP";
const REPLACED: &str = "policies replaced";

/// What the log says of reloads, in order.
fn reloads(lines: &[String]) -> Vec<&'static str> {
    let told = |line: &String| [SIGHUP, REPLACED].into_iter().find(|text| line.contains(text));
    lines.iter().filter_map(told).collect()
}

fn vault(name: &str) -> String {
    format!("arn:aws:glacier:{REGION}:{ACCOUNT}:vaults/{name}")
}

fn statement(effect: &str, action: &str, resource: &str) -> Value {
    json!({ "Effect": effect, "Action": action, "Resource": resource })
}

fn write(file: &Path, statements: &[Value]) {
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let policy = json!({ "Version": "2012-10-17", "Statement": statements });
    std::fs::write(file, policy.to_string()).unwrap();
}

/// The decisions of a simulation of DescribeVault and ListVaults.
async fn decisions(
    http: &reqwest::Client,
    rest: &str,
    token: &str,
    names: [&str; 2],
) -> Vec<Value> {
    let question = json!({
        "actions": ["glacier:DescribeVault", "glacier:ListVaults"],
        "resources": names.map(vault),
    });
    let request = http.post(format!("{rest}/v1/access/simulate")).bearer_auth(token);
    let answer: Value = request.json(&question).send().await.unwrap().json().await.unwrap();
    let results = answer["results"].as_array().unwrap();
    results.iter().map(|result| result["decision"].clone()).collect()
}

#[tokio::test]
async fn a_change_is_taken_up_on_sighup_before_the_folder_is_looked_at_again() {
    let gateway = Gateway::start();
    let (http, token) = (client(), gateway.key.token("owner"));
    let file = gateway.directory.path().join("policies/teams/owner.json");
    for round in 0.. {
        let name = format!("round-{round}");
        let before = reloads(&gateway.process.all_lines()).len();
        write(&file, &[statement("Allow", "glacier:DescribeVault", &vault(&name))]);
        gateway.process.signal("HUP");
        let on_signal = |told: &[&str]| told.windows(2).any(|pair| pair == [SIGHUP, REPLACED]);
        gateway.process.wait_until(|lines| on_signal(&reloads(lines)[before..]));

        let decided = decisions(&http, &gateway.rest, &token, [&name, "other"]).await;
        assert_eq!(decided[0], "allowed");
        assert_eq!(decided[2], "implicitDeny");
        // A look between the change and the signal comes first once in a while; then
        // this round shows nothing.
        if reloads(&gateway.process.all_lines())[before] == SIGHUP {
            return;
        }
    }
}

/// Two sets of two files each: one allows to list vaults and to see `a`, the other
/// denies to list them and allows to see `b`.
#[tokio::test]
async fn under_load_no_request_sees_a_mixture_of_two_policy_sets() {
    let gateway = Gateway::start();
    let policies = gateway.directory.path().join("policies");
    std::fs::remove_dir_all(policies.join("teams")).unwrap();
    for (set, list, seen, hidden) in [("..1", "Allow", "a", "b"), ("..2", "Deny", "b", "a")] {
        let file = |name: &str| policies.join(set).join("teams/owner").join(name);
        let see = statement("Allow", "glacier:DescribeVault", &vault(seen));
        write(&file("1.json"), &[see, statement(list, "glacier:ListVaults", "*")]);
        write(&file("2.json"), &[statement("Deny", "glacier:DescribeVault", &vault(hidden))]);
    }
    // As Kubernetes does it: a new link is renamed over the old one.
    let link = |set: &str| {
        symlink(set, policies.join("..data_tmp")).unwrap();
        std::fs::rename(policies.join("..data_tmp"), policies.join("..data")).unwrap();
    };
    link("..1");
    symlink("..data/teams", policies.join("teams")).unwrap();
    let gateway = gateway.with_environment(&[
        ("GATEWAY__SERVER__WORKERS", "2"),
        ("GATEWAY__LOG__FILTER", "warn,glacier_gateway::app=info,glacier_gateway::policy=info"),
    ]);
    for name in ["a", "b"] {
        gateway.simulator.seed(name, &[]).await;
    }

    let token = gateway.key.token("owner");
    let done = AtomicBool::new(false);
    let [simulated, listed] = [(); 2].map(|()| [AtomicUsize::new(0), AtomicUsize::new(0)]);
    let simulate = async || {
        let http = client();
        while !done.load(Ordering::Relaxed) {
            let decided = decisions(&http, &gateway.rest, &token, ["a", "b"]).await;
            let first = json!(["allowed", "allowed", "explicitDeny", "allowed"]);
            let second = json!(["explicitDeny", "explicitDeny", "allowed", "explicitDeny"]);
            let set = [first, second].iter().position(|set| *set == json!(decided));
            let set = set.unwrap_or_else(|| panic!("a mixture: {decided:?}"));
            simulated[set].fetch_add(1, Ordering::Relaxed);
        }
    };
    let list = async || {
        let http = client();
        while !done.load(Ordering::Relaxed) {
            let request = http.get(format!("{}/v1/accounts/-/vaults", gateway.rest));
            let reply = request.bearer_auth(&token).send().await.unwrap();
            if reply.status() == 403 {
                listed[1].fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let page: Value = reply.json().await.unwrap();
            let names: Vec<_> =
                page["vaults"].as_array().unwrap().iter().map(|v| &v["vaultName"]).collect();
            assert_eq!(names, ["a"], "a mixture: {page}");
            listed[0].fetch_add(1, Ordering::Relaxed);
        }
    };
    let replace = async || {
        let enough =
            |seen: &[AtomicUsize; 2]| seen.iter().all(|count| count.load(Ordering::Relaxed) > 50);
        for round in 0.. {
            let before = reloads(&gateway.process.all_lines()).len();
            link(if round % 2 == 0 { "..2" } else { "..1" });
            gateway.process.signal("HUP");
            while !reloads(&gateway.process.all_lines())[before..].contains(&REPLACED) {
                tokio::task::yield_now().await;
            }
            if round > 50 && enough(&simulated) && enough(&listed) {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(simulate(), simulate(), list(), list(), replace());
}
