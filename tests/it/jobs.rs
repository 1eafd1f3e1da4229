//! Jobs: uploads aborted in bulk.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    support::{Gateway, client, problem},
};

/// Lets team `owner` do everything with its jobs.
const JOBS_POLICY: &str = r#"{"Version": "2012-10-17", "Statement":
    {"Effect": "Allow", "Action": ["gateway:*AbortJob", "gateway:ListAbortJobs"],
     "Resource": "arn:aws:glacier-gateway:::job/owner/*"}}"#;

/// Which store a gateway has.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Sqlite,
    Postgres,
}

const BOTH: [Kind; 2] = [Kind::Sqlite, Kind::Postgres];

/// The settings of a store of this kind that nobody else has.
async fn store(kind: Kind) -> String {
    match kind {
        Kind::Sqlite => "[store]\nurl = \"sqlite:DIRECTORY/store.db\"\n".to_owned(),
        Kind::Postgres => {
            let cluster = Cluster::shared();
            let database = cluster.database().await;
            let (url, password) = (cluster.url("postgres", &database), cluster.password_file());
            format!("[store]\nurl = {url:?}\npassword_file = {password:?}\n")
        }
    }
}

async fn gateway(kind: Kind, settings: &str) -> Gateway {
    let gateway = Gateway::with(&format!("{}{settings}", store(kind).await), &[]);
    let folder = gateway.directory.path().join("policies/teams/owner");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("jobs.json"), JOBS_POLICY).unwrap();
    while gateway.call("owner", Method::GET, "/v1/abort-jobs").await.status() != 200 {}
    gateway
}

async fn post(gateway: &Gateway, path: &str, body: &Value) -> Response {
    post_with(gateway, path, body, &[]).await
}

async fn post_with(
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

async fn get(gateway: &Gateway, path: &str) -> Value {
    let reply = gateway.call("owner", Method::GET, path).await;
    assert_eq!(reply.status(), 200, "{path}: {:?}", reply.text().await);
    reply.json().await.unwrap()
}

/// Asks for a job that is accepted; gives it.
async fn created(gateway: &Gateway, body: &Value) -> Value {
    let reply = post(gateway, "/v1/abort-jobs", body).await;
    assert_eq!(reply.status(), 202, "{:?}", reply.text().await);
    let location = reply.headers()["location"].to_str().unwrap().to_owned();
    let job: Value = reply.json().await.unwrap();
    assert_eq!(location, path(&job));
    job
}

fn path(job: &Value) -> String {
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
        (json!({"target": target, "select": {"uploadIds": ["x/y"]}}), "malformed-request", ""),
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
