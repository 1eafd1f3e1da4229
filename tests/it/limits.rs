//! How much is forwarded at once, and what is refused.

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::{
    jobs::{post, with_jobs},
    management::metrics,
    signed::Request,
    support::{ACCOUNT, Gateway, OWNER_POLICY, client, problem, uploads},
    trail::entries_in_time,
};

/// A gateway with these limits, a trail and a master key. Two teams may do everything in
/// vaults `own-*` of two regions, and what hangs hangs for long.
pub fn limited(limits: &str) -> Gateway {
    let gateway = Gateway::with(
        &format!(
            "[store]\nurl = \"sqlite:DIRECTORY/store.db\"\n[limits.upstream]\n{limits}\n\
             [accounts.main]\nid = \"{ACCOUNT}\"\nregions = [\"eu-central-1\", \"us-east-1\"]\n\
             [keys.master_key_files]\n1 = \"DIRECTORY/master-key-1\"\n"
        ),
        &[],
    );
    let policy = OWNER_POLICY.replace(":eu-central-1:", ":*:");
    for team in ["owner", "other"] {
        let file = format!("policies/teams/{team}.json");
        std::fs::write(gateway.directory.path().join(file), &policy).unwrap();
    }
    let mut gateway = gateway;
    gateway.process.child.kill().unwrap();
    gateway.process.child.wait().unwrap();
    gateway.with_environment(&[
        ("GATEWAY__AWS__READ_TIMEOUT", "60s"),
        ("GATEWAY__AWS__ATTEMPT_TIMEOUT", "60s"),
        ("GATEWAY__AWS__OPERATION_TIMEOUT", "60s"),
        ("GATEWAY__AWS__MAX_ATTEMPTS", "1"),
    ])
}

/// Begins to list the uploads of a vault.
pub fn list(gateway: &Gateway, team: &str, vault: &str) -> tokio::task::JoinHandle<Response> {
    let request = client()
        .get(format!("{}{}", gateway.rest, uploads(vault)))
        .bearer_auth(gateway.key.token(team));
    tokio::spawn(async move { request.send().await.unwrap() })
}

/// A number of the account's home region.
async fn number(gateway: &Gateway, name: &str) -> f64 {
    let of = |account| format!("{name}{{account=\"{account}\",region=\"eu-central-1\"}}");
    number_of(gateway, &of("main")).await + number_of(gateway, &of("default")).await
}

/// A number of the gateway's, or 0.
pub async fn number_of(gateway: &Gateway, sample: &str) -> f64 {
    metrics(gateway).await.get(&format!("glacier_gateway_{sample}")).copied().unwrap_or(0.)
}

/// Waits until a number of the account's home region is so large.
pub async fn wait_for(gateway: &Gateway, name: &str, wanted: f64) {
    for _ in 0..3_000 {
        if number(gateway, name).await == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{name} is {}, not {wanted}", number(gateway, name).await);
}

pub async fn heal(gateway: &Gateway) {
    gateway.simulator.order(Method::DELETE, "/faults", &Value::Null).await;
}

/// Which requests for a vault reached Glacier, by their places among all.
pub async fn places(gateway: &Gateway, vault: &str) -> Vec<usize> {
    let requests = gateway.simulator.requests().await;
    let about = |request: &Value| request.to_string().contains(&format!("/vaults/{vault}/"));
    requests.iter().enumerate().filter(|(_, r)| about(r)).map(|(n, _)| n).collect()
}

#[tokio::test]
async fn a_flood_of_one_team_does_not_delay_another() {
    let gateway = limited("concurrency = 1\nqueue_timeout = \"60s\"");
    gateway.simulator.seed("own-a", &[]).await;
    gateway.simulator.seed("own-b", &[]).await;
    gateway.simulator.fault(json!({"latencyMillis": 200})).await;
    let flood: Vec<_> = (0..41).map(|_| list(&gateway, "owner", "own-a")).collect();
    while number(&gateway, "upstream_calls_waiting").await < 30.0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(list(&gateway, "other", "own-b").await.unwrap().status(), 200);
    heal(&gateway).await;
    for one in flood {
        assert_eq!(one.await.unwrap().status(), 200);
    }
    let (flood, other) = (places(&gateway, "own-a").await, places(&gateway, "own-b").await);
    assert_eq!((flood.len(), other.len()), (41, 1));
    let before = flood.iter().filter(|place| **place < other[0]).count();
    assert!(before < 30, "{before} were served before");
}

#[tokio::test]
async fn jobs_leave_room_for_callers() {
    let gateway = limited("concurrency = 2\nbackground_share = 0.5\nqueue_timeout = \"60s\"");
    let gateway = with_jobs(gateway).await;
    let ids = gateway.simulator.seed("own-a", &["1", "2", "3", "4"]).await;
    gateway.simulator.seed("own-b", &[]).await;
    gateway.simulator.fault(json!({"effect": "hang", "vaultName": "own-a"})).await;
    let target = json!({"vaults": ["own-a"]});
    let job = json!({"target": target, "select": {"uploadIds": ids}, "confirm": "auto"});
    assert_eq!(post(&gateway, "/v1/abort-jobs", &job).await.status(), 202);
    wait_for(&gateway, "upstream_calls_under_way", 1.0).await;
    // A second call of the job's would take the only room that is left, and keep it.
    for _ in 0..20 {
        let url = format!("{}{}", gateway.rest, uploads("own-b"));
        let request = client().get(url).bearer_auth(gateway.key.token("owner"));
        let reply = request.timeout(Duration::from_secs(30)).send().await;
        assert_eq!(reply.unwrap().status(), 200, "a job has taken the callers' room");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn beyond_the_queue_nothing_is_sent_and_both_doors_say_so() {
    let gateway = limited("concurrency = 2\nqueue = 1\nqueue_timeout = \"60s\"");
    gateway.simulator.seed("own-a", &[]).await;
    let id = gateway.simulator.seed("own-b", &["x"]).await.remove(0);
    let key = gateway.create_key(&["--team", "owner", "--subject", "ci"]);
    gateway.simulator.fault(json!({"effect": "hang", "vaultName": "own-a"})).await;
    let mut waiting = vec![list(&gateway, "owner", "own-a"), list(&gateway, "owner", "own-a")];
    wait_for(&gateway, "upstream_calls_under_way", 2.0).await;
    waiting.push(list(&gateway, "owner", "own-b"));
    wait_for(&gateway, "upstream_calls_waiting", 1.0).await;

    let path = format!("{}/{id}", uploads("own-b"));
    let refused = gateway.call("owner", Method::DELETE, &path).await;
    assert_eq!(refused.headers()["retry-after"], "1");
    let (status, body) = problem(refused).await;
    assert_eq!((status, &body["code"]), (503, &json!("overloaded")));
    let target = format!("/glacier/-/vaults/own-b/multipart-uploads/{id}");
    let (status, body) =
        Request::new(&gateway, "DELETE", &target).signed(&key).send(&gateway).await;
    assert_eq!((status, &body["code"]), (500, &json!("ServiceUnavailableException")));
    assert_eq!(body["type"], "Server");

    assert_eq!(places(&gateway, "own-b").await, [0; 0]);
    assert_eq!(gateway.simulator.status("own-b", &id).await.unwrap(), "in-progress");
    for entry in entries_in_time(&gateway, 2).await {
        assert_ne!(entry["eventType"], "Intent", "{entry}");
        assert_eq!(entry["errorCode"], "overloaded", "{entry}");
    }
    for one in waiting {
        one.abort();
    }
}

#[tokio::test]
async fn a_region_that_hangs_leaves_the_others_alone() {
    let gateway = limited("concurrency = 2\nqueue = 0\nqueue_timeout = \"60s\"");
    gateway.simulator.seed("own-a", &[]).await;
    gateway.simulator.fault(json!({"effect": "hang", "vaultName": "own-a"})).await;
    let hanging: Vec<_> = (0..2).map(|_| list(&gateway, "owner", "own-a")).collect();
    wait_for(&gateway, "upstream_calls_under_way", 2.0).await;
    for _ in 0..20 {
        let refused = list(&gateway, "owner", "own-a").await.unwrap();
        assert_eq!(problem(refused).await.1["code"], "overloaded");
    }
    assert_eq!(places(&gateway, "own-a").await.len(), 2);
    for _ in 0..5 {
        let elsewhere = "/v1/accounts/-/vaults?region=us-east-1";
        assert_eq!(gateway.call("owner", Method::GET, elsewhere).await.status(), 200);
    }
    for one in hanging {
        one.abort();
    }
}

#[tokio::test]
async fn calls_that_hang_give_way_once_glacier_answers_others() {
    let gateway = limited(
        "concurrency = 3\nqueue = 0\nqueue_timeout = \"100ms\"\nbreaker_interval = \"100ms\"",
    );
    gateway.simulator.seed("own-a", &[]).await;
    gateway.simulator.seed("own-b", &[]).await;
    gateway.simulator.fault(json!({"effect": "hang", "vaultName": "own-a"})).await;
    let hanging: Vec<_> = (0..3).map(|_| list(&gateway, "owner", "own-a")).collect();
    wait_for(&gateway, "upstream_calls_under_way", 3.0).await;
    let mut answered = 0;
    while answered < 3 {
        match list(&gateway, "owner", "own-b").await.unwrap().status().as_u16() {
            200 => answered += 1,
            503 => answered = 0,
            status => panic!("{status}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(number(&gateway, "upstream_calls_under_way").await, 3.0, "they still hang");
    for one in hanging {
        one.abort();
    }
}

#[tokio::test]
async fn the_breaker_opens_and_closes_without_a_restart() {
    let gateway = limited("breaker_failures = 3\nbreaker_interval = \"1s\"");
    let id = gateway.simulator.seed("own-a", &["x"]).await.remove(0);
    gateway.simulator.fault(json!({"effect": "unavailable"})).await;
    let path = uploads("own-a");
    for _ in 0..3 {
        let (_, body) = problem(gateway.call("owner", Method::GET, &path).await).await;
        assert_eq!(body["code"], "glacier-unavailable");
    }
    // The first that comes later than the interval is forwarded.
    let abort = format!("{path}/{id}");
    let open = loop {
        let reply = gateway.call("owner", Method::DELETE, &abort).await;
        let seconds = reply.headers().get("retry-after").cloned();
        let (status, body) = problem(reply).await;
        assert_eq!(status, 503);
        if body["code"] == "circuit-open" {
            assert_eq!(seconds.unwrap(), "1", "as long as the interval");
            break body;
        }
        assert_eq!(body["code"], "glacier-unavailable");
    };
    assert!(open["detail"].as_str().unwrap().contains("have failed since 20"), "{open}");
    let says = |message: &str| gateway.process.event(|event| event["message"] == message);
    says("calls of Glacier fail: they are refused until one succeeds");
    assert_eq!(number(&gateway, "upstream_circuit_open").await, 1.0);
    let ready = client().get(format!("{}/readyz", gateway.management)).send().await.unwrap();
    assert_eq!(ready.status(), 200);
    let detail = ready.text().await.unwrap();
    assert!(detail.contains("eu-central-1: calls only fail since 20"), "{detail}");

    heal(&gateway).await;
    while gateway.call("owner", Method::GET, &path).await.status() != 200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    says("Glacier answers again: calls are made");
    assert_eq!(number(&gateway, "upstream_circuit_open").await, 0.0);
    assert_eq!(gateway.call("owner", Method::DELETE, &abort).await.status(), 204);
}

#[tokio::test]
async fn a_throttled_attempt_halves_the_ceiling_though_the_next_one_is_answered() {
    let gateway = Gateway::start();
    let ids = gateway.simulator.seed("own-a", &["x", "y"]).await;
    let path = uploads("own-a");
    let aborts = ids.iter().map(|id| (Method::DELETE, format!("{path}/{id}"), 204));
    let missing = format!("{path}/none");
    let calls = [(Method::GET, path.clone(), 200)].into_iter().chain(aborts);
    let calls = calls.chain([(Method::GET, missing.clone(), 404)]);
    assert_eq!(gateway.call("owner", Method::GET, &missing).await.status(), 404);
    for ((method, path, status), wanted) in calls.zip([128.0, 64.0, 32.0, 16.0]) {
        gateway.simulator.fault(json!({"effect": "throttle", "times": 1})).await;
        assert_eq!(gateway.call("owner", method, &path).await.status(), status);
        let metrics = metrics(&gateway).await;
        let limit = metrics.iter().find(|(name, _)| name.contains("_upstream_calls_limit{"));
        assert_eq!(limit.map(|(_, limit)| *limit), Some(wanted), "{path}");
    }
}

#[tokio::test]
async fn throttling_does_not_open_the_breaker() {
    let gateway = limited("concurrency = 1\nbreaker_failures = 3\nbreaker_interval = \"60s\"");
    gateway.simulator.seed("own-a", &[]).await;
    gateway.simulator.fault(json!({"effect": "throttle"})).await;
    for _ in 0..8 {
        let reply = list(&gateway, "owner", "own-a").await.unwrap();
        assert_eq!(problem(reply).await.1["code"], "upstream-throttled");
    }
    heal(&gateway).await;
    assert_eq!(list(&gateway, "owner", "own-a").await.unwrap().status(), 200);
}
