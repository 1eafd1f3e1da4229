//! Jobs: uploads aborted in bulk.

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    support::{ACCOUNT, Gateway, JOBS_POLICY, REGION, claims, client, problem},
};

/// Which store a gateway has.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Sqlite,
    Postgres,
}

pub const BOTH: [Kind; 2] = [Kind::Sqlite, Kind::Postgres];

/// The settings of a store of this kind that nobody else has.
pub async fn store(kind: Kind) -> String {
    match kind {
        Kind::Sqlite => "[store]\nurl = \"sqlite:DIRECTORY/store.db\"\n".to_owned(),
        Kind::Postgres => {
            let cluster = Cluster::shared();
            let database = cluster.database().await;
            stored_in(cluster, &database)
        }
    }
}

/// The settings of a store in `database`.
pub fn stored_in(cluster: &Cluster, database: &str) -> String {
    let (url, password) = (cluster.url("postgres", database), cluster.password_file());
    format!("[store]\nurl = {url:?}\npassword_file = {password:?}\n")
}

pub async fn gateway(kind: Kind, settings: &str) -> Gateway {
    with_jobs(Gateway::with(&format!("{}{settings}", store(kind).await), &[])).await
}

/// Lets team `owner` have jobs.
pub async fn with_jobs(gateway: Gateway) -> Gateway {
    let folder = gateway.directory.path().join("policies/teams/owner");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("jobs.json"), JOBS_POLICY).unwrap();
    while gateway.call("owner", Method::GET, "/v1/abort-jobs").await.status() != 200 {}
    gateway
}

pub async fn post(gateway: &Gateway, path: &str, body: &Value) -> Response {
    post_with(gateway, path, body, &[]).await
}

pub async fn post_with(
    gateway: &Gateway,
    path: &str,
    body: &Value,
    headers: &[(&'static str, &str)],
) -> Response {
    let mut request = client()
        .post(format!("{}{path}", gateway.rest))
        .bearer_auth(gateway.key.token("owner"))
        .json(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

pub async fn get(gateway: &Gateway, path: &str) -> Value {
    let reply = gateway.call("owner", Method::GET, path).await;
    assert_eq!(reply.status(), 200, "{path}: {:?}", reply.text().await);
    reply.json().await.unwrap()
}

/// Asks for a job that is accepted; gives it.
pub async fn created(gateway: &Gateway, body: &Value) -> Value {
    let reply = post(gateway, "/v1/abort-jobs", body).await;
    assert_eq!(reply.status(), 202, "{:?}", reply.text().await);
    let location = reply.headers()["location"].to_str().unwrap().to_owned();
    let job: Value = reply.json().await.unwrap();
    assert_eq!(location, path(&job));
    job
}

pub fn path(job: &Value) -> String {
    format!("/v1/abort-jobs/{}", job["jobId"].as_str().unwrap())
}

#[actix_web::test]
async fn a_job_outlives_its_gateway_and_is_listed_until_it_is_cancelled() {
    for kind in BOTH {
        let gateway = gateway(kind, "").await;
        let job = created(
            &gateway,
            &json!({"target": {"vaults": ["own-*"]}, "select": {"olderThan": "P7D"}, "reason": "spring"}),
        )
        .await;
        assert_eq!(
            (&job["team"], &job["createdBy"]["subject"]),
            (&json!("owner"), &json!("owner-service"))
        );
        assert_eq!(job["request"]["select"], json!({"olderThan": "P7D", "quietFor": "P1D"}));
        let mut gateway = gateway;
        gateway.process.child.kill().unwrap();
        gateway.process.child.wait().unwrap();
        gateway.restart(&[]);
        let listed = get(&gateway, "/v1/abort-jobs").await;
        assert_eq!(listed["jobs"][0]["jobId"], job["jobId"]);
        assert_eq!(
            (listed["jobs"].as_array().unwrap().len(), &listed["marker"]),
            (1, &Value::Null)
        );
        let cancelled = post(&gateway, &format!("{}/cancel", path(&job)), &json!({})).await;
        assert_eq!(cancelled.status(), 202);
        let cancelled: Value = cancelled.json().await.unwrap();
        assert_eq!(cancelled["state"], "cancelled", "{cancelled}");
        assert!(cancelled["revision"].as_i64() > job["revision"].as_i64());
        let again = post(&gateway, &format!("{}/cancel", path(&job)), &json!({})).await;
        assert_eq!(again.status(), 202);
        for (action, code) in [("resume", "job-conflict"), ("retry-failed", "job-conflict")] {
            let refused = post(&gateway, &format!("{}/{action}", path(&job)), &json!({})).await;
            let (status, body) = problem(refused).await;
            assert_eq!((status, &body["code"]), (409, &json!(code)));
        }
        let none = get(&gateway, "/v1/abort-jobs?state=running&team=owner").await;
        assert_eq!(none["jobs"], json!([]));
    }
}

#[actix_web::test]
async fn two_requests_with_one_key_make_one_job() {
    for kind in BOTH {
        let gateway = gateway(kind, "").await;
        let body = json!({"target": {"vaults": ["own-a"]}, "select": {"all": true}});
        let key = [("idempotency-key", "monday")];
        let send = || post_with(&gateway, "/v1/abort-jobs", &body, &key);
        let (one, two) = tokio::join!(send(), send());
        let mut ids = Vec::new();
        for reply in [one, two] {
            // The second may find the first under way.
            if reply.status() == 202 {
                ids.push(reply.json::<Value>().await.unwrap()["jobId"].clone());
            } else {
                assert_eq!(problem(reply).await.1["code"], "idempotency-key-in-use");
            }
        }
        ids.push(send().await.json::<Value>().await.unwrap()["jobId"].clone());
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        let other = json!({"target": {"vaults": ["own-b"]}, "select": {"all": true}});
        let (status, refused) =
            problem(post_with(&gateway, "/v1/abort-jobs", &other, &key).await).await;
        assert_eq!((status, &refused["code"]), (422, &json!("idempotency-key-reused")));
        assert_eq!(get(&gateway, "/v1/abort-jobs").await["jobs"].as_array().unwrap().len(), 1);
    }
}

#[actix_web::test]
async fn a_key_that_came_with_one_team_is_none_of_another_team() {
    let gateway = gateway(Kind::Sqlite, "").await;
    let folder = gateway.directory.path().join("policies/teams/guest");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("jobs.json"), JOBS_POLICY.replace("/owner", "/guest")).unwrap();
    while gateway.call("guest", Method::GET, "/v1/abort-jobs").await.status() != 200 {}
    let body = json!({"target": {"vaults": ["own-a"]}, "select": {"all": true}});
    let send = |team| {
        let mut claims = claims(team);
        claims["sub"] = json!("ann");
        client()
            .post(format!("{}/v1/abort-jobs", gateway.rest))
            .bearer_auth(gateway.key.sign(&claims))
            .header("idempotency-key", "monday")
            .json(&body)
            .send()
    };
    let first: Value = send("owner").await.unwrap().json().await.unwrap();
    assert_eq!(first["team"], "owner");
    let (status, refused) = problem(send("guest").await.unwrap()).await;
    assert_eq!((status, &refused["code"]), (422, &json!("idempotency-key-reused")));
}

#[actix_web::test]
async fn a_request_that_breaks_a_rule_is_told_which() {
    let gateway = gateway(Kind::Sqlite, "[jobs]\nactive_per_team = 1\n").await;
    let target = json!({"vaults": ["own-a"]});
    for (body, code, says) in [
        (json!({"target": target}), "malformed-request", "missing field `select`"),
        (json!({"target": target, "select": {}}), "invalid-parameter", "select: say which"),
        (
            json!({"target": target, "select": {"all": true, "olderThan": "P1D"}}),
            "invalid-parameter",
            "select:",
        ),
        (json!({"target": target, "select": {"olderThan": "P1M"}}), "malformed-request", "P7D"),
        (
            json!({"target": {"vaults": []}, "select": {"all": true}}),
            "invalid-parameter",
            "target.vaults",
        ),
        (
            json!({"target": {"vaults": ["own-a"], "accounts": ["none"]}, "select": {"all": true}}),
            "invalid-parameter",
            "target: no account",
        ),
        (
            json!({"target": {"vaults": ["own-*"]}, "select": {"uploadIds": ["x"]}}),
            "invalid-parameter",
            "target: for uploadIds",
        ),
        (
            json!({"target": target, "select": {"uploadIds": ["x", "y"]}, "maxUploads": 1}),
            "invalid-parameter",
            "maxUploads",
        ),
        (
            json!({"target": target, "select": {"uploadIds": ["x/y"]}}),
            "malformed-request",
            "upload",
        ),
        (
            json!({"target": target, "select": {"uploadIds": [{"vaultName": "own-b", "uploadId": "x"}]}}),
            "invalid-parameter",
            "own-b is not in the target",
        ),
        (
            json!({"target": target, "select": {"all": true}, "notBefore": "2099-01-01T00:00:00Z"}),
            "invalid-parameter",
            "jobs.max_age",
        ),
        (json!({"target": target, "select": {"all": true}, "team": "media"}), "not-authorized", ""),
        (
            json!({"target": target, "select": {"all": true}, "maxFailureRate": 2}),
            "invalid-parameter",
            "maxFailureRate",
        ),
        (
            json!({"target": target, "select": {"all": true}, "priority": 2}),
            "malformed-request",
            "priority",
        ),
    ] {
        let (_, refused) = problem(post(&gateway, "/v1/abort-jobs", &body).await).await;
        assert_eq!(refused["code"], code, "{body}: {refused}");
        assert!(refused["detail"].as_str().unwrap().contains(says), "{body}: {refused}");
    }
    let body = json!({"target": target, "select": {"all": true}});
    created(&gateway, &body).await;
    let (status, refused) = problem(post(&gateway, "/v1/abort-jobs", &body).await).await;
    assert_eq!((status, &refused["code"]), (429, &json!("job-limit-reached")));
}

#[actix_web::test]
async fn whoever_may_not_see_a_job_does_not_learn_that_there_is_one() {
    let gateway = gateway(Kind::Sqlite, "").await;
    let policy = JOBS_POLICY.replace("job/owner/", "job/guest/");
    std::fs::write(gateway.directory.path().join("policies/teams/guest.json"), policy).unwrap();
    while gateway.call("guest", Method::GET, "/v1/abort-jobs").await.status() != 200 {}
    let body = json!({"target": {"vaults": ["own-a"]}, "select": {"all": true}});
    let job = created(&gateway, &body).await;
    let none = "/v1/abort-jobs/00000000-0000-7000-8000-000000000000";
    for path in [&path(&job), none] {
        for (method, below) in [
            (Method::GET, ""),
            (Method::GET, "/items"),
            (Method::POST, "/cancel"),
            (Method::POST, "/pause"),
        ] {
            let reply = gateway.call("guest", method, &format!("{path}{below}")).await;
            let (status, refused) = problem(reply).await;
            assert_eq!((status, &refused["code"]), (404, &json!("job-not-found")), "{path}{below}");
        }
    }
    let listed = gateway.call("guest", Method::GET, "/v1/abort-jobs").await;
    assert_eq!(listed.json::<Value>().await.unwrap()["jobs"], json!([]));
    assert_eq!(get(&gateway, &path(&job)).await["jobId"], job["jobId"]);
}

#[actix_web::test]
async fn jobs_need_a_store() {
    let gateway = Gateway::start();
    let folder = gateway.directory.path().join("policies/teams/owner");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("jobs.json"), JOBS_POLICY).unwrap();
    while gateway.call("owner", Method::GET, "/v1/abort-jobs").await.status() == 403 {}
    let body = json!({"target": {"vaults": ["own-a"]}, "select": {"all": true}});
    let (status, refused) = problem(post(&gateway, "/v1/abort-jobs", &body).await).await;
    assert_eq!((status, &refused["code"]), (501, &json!("store-required")));
    let reply = gateway.call("owner", Method::GET, "/v1/abort-jobs").await;
    assert_eq!(problem(reply).await.0, 501);
}

/// Waits until the job is in one of these states; gives it.
pub async fn in_state(gateway: &Gateway, job: &Value, states: &[&str]) -> Value {
    let mut last = Value::Null;
    for _ in 0..400 {
        last = get(gateway, &path(job)).await;
        if states.iter().any(|state| last["state"] == *state) {
            return last;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let log = gateway.process.all_lines();
    let log: Vec<_> = log.iter().filter(|line| line.contains("job")).rev().take(20).collect();
    panic!("never {states:?}: {last:#} {log:#?}");
}

pub async fn acted(gateway: &Gateway, job: &Value, action: &str, body: &Value) -> Value {
    let reply = post(gateway, &format!("{}/{action}", path(job)), body).await;
    assert_eq!(reply.status(), 202, "{action}: {:?}", reply.text().await);
    reply.json().await.unwrap()
}

pub async fn confirmed(gateway: &Gateway, job: &Value) -> Value {
    let waiting = in_state(gateway, job, &["awaiting-confirmation", "failed"]).await;
    let token = json!({"selectionToken": waiting["selectionToken"]});
    acted(gateway, job, "confirm", &token).await
}

/// All items of a job.
pub async fn items(gateway: &Gateway, job: &Value) -> Vec<Value> {
    let (mut all, mut marker) = (Vec::new(), String::new());
    loop {
        let page = get(gateway, &format!("{}/items?limit=1000{marker}", path(job))).await;
        all.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["marker"].as_str() {
            Some(next) => marker = format!("&marker={next}"),
            None => return all,
        }
    }
}

/// Seeds a vault with `count` uploads of this age in days; gives their IDs.
pub async fn seed(gateway: &Gateway, vault: &str, count: usize, days: u64) -> Vec<String> {
    let upload = json!({"archiveDescription": "tmp-x", "parts": 2, "ageSeconds": days * 86_400});
    let uploads = vec![upload; count];
    let seed =
        json!({"accountId": ACCOUNT, "region": REGION, "vaultName": vault, "uploads": uploads});
    let reply = gateway.simulator.order(Method::POST, "/vaults", &seed).await;
    let reply: Value = reply.json().await.unwrap();
    let ids = reply["uploadIds"].as_array().unwrap();
    ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

/// The requests for aborts that reached Glacier, by upload.
pub async fn aborts(gateway: &Gateway) -> Vec<String> {
    let requests = gateway.simulator.requests().await;
    let aborts = requests.iter().filter(|request| request["method"] == "DELETE");
    aborts
        .map(|abort| abort["target"].as_str().unwrap().rsplit('/').next().unwrap().to_owned())
        .collect()
}

#[actix_web::test]
async fn a_job_aborts_exactly_what_was_confirmed_and_says_so_in_the_trail() {
    for kind in BOTH {
        let gateway = gateway(kind, "").await;
        let old = seed(&gateway, "own-a", 60, 10).await;
        let young = seed(&gateway, "own-b", 3, 1).await;
        seed(&gateway, "other", 3, 10).await;
        let job = created(
            &gateway,
            &json!({"target": {"vaults": ["*"]}, "select": {"olderThan": "P7D", "quietFor": "PT0S"}}),
        )
        .await;
        let found = in_state(&gateway, &job, &["awaiting-confirmation"]).await;
        assert_eq!(found["counts"]["selected"], 60, "{found:#}");
        let preview = &found["preview"];
        for (name, value) in [
            ("vaults", 2),
            ("vaultsDenied", 0),
            ("uploads", 63),
            ("allowed", 60),
            ("denied", 0),
            ("gone", 0),
            ("waiting", 0),
            ("parts", 120),
            ("bytes", 120 << 20),
            ("calls", 120),
        ] {
            assert_eq!(preview[name], value, "{name}: {preview:#}");
        }
        assert!(aborts(&gateway).await.is_empty(), "nothing is aborted before it is confirmed");
        let wrong = json!({"selectionToken": "x"});
        let (status, refused) =
            problem(post(&gateway, &format!("{}/confirm", path(&job)), &wrong).await).await;
        assert_eq!((status, &refused["code"]), (409, &json!("selection-changed")));
        // What comes after the look is left alone.
        let new = seed(&gateway, "own-a", 1, 30).await;
        confirmed(&gateway, &job).await;
        let ended = in_state(&gateway, &job, &["completed", "failed"]).await;
        assert_eq!(ended["state"], "completed", "{ended:#}");
        assert_eq!(
            (&ended["counts"]["aborted"], &ended["counts"]["remaining"]),
            (&json!(60), &json!(0))
        );
        assert_eq!(ended["confirmedBy"]["subject"], "owner-service");
        let mut sent = aborts(&gateway).await;
        let mut wanted = old.clone();
        sent.sort();
        wanted.sort();
        assert_eq!(sent, wanted);
        for id in young.iter().chain(&new) {
            let vault = if young.contains(id) { "own-b" } else { "own-a" };
            assert_eq!(gateway.simulator.status(vault, id).await.as_deref(), Some("in-progress"));
        }
        let items = items(&gateway, &job).await;
        assert_eq!(items.len(), 60);
        for item in items {
            assert_eq!(
                (&item["state"], &item["attempts"]),
                (&json!("aborted"), &json!(1)),
                "{item}"
            );
            if item["item"].as_i64().unwrap() > 3 {
                continue;
            }
            let id = item["auditEventID"].as_str().unwrap();
            let event = read_event(&gateway, id).await;
            assert_eq!(event["event"]["jobId"], job["jobId"]);
            assert_eq!(event["event"]["jobItem"], item["item"]);
            assert_eq!(event["event"]["door"], "job");
            assert_eq!(event["event"]["confirmedBy"]["subject"], "owner-service");
            assert_eq!(event["event"]["outcome"], "aborted");
            assert_eq!(event["event"]["uploadId"], item["uploadId"]);
        }
    }
}

pub async fn read_event(gateway: &Gateway, id: &str) -> Value {
    for _ in 0..200 {
        let reply = gateway.call("owner", Method::GET, &format!("/v1/audit-events/{id}")).await;
        if reply.status() == 200 {
            return reply.json().await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("there is no event {id}");
}
