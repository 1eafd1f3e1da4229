//! Lists that are not as Glacier's should be, and requests and watchers that go too far.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    jobs::{
        BOTH, Kind, aborts, acted, confirmed, created, gateway, get, in_state, items, path, post,
        seed,
    },
    support::{client, problem},
};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

fn all() -> Value {
    json!({"target": {"vaults": ["own-a"]}, "select": {"all": true, "quietFor": "PT0S"}})
}

#[actix_web::test]
async fn an_upload_that_a_list_names_twice_is_one_item() {
    for kind in BOTH {
        let gateway = gateway(kind, "").await;
        let mut ids = seed(&gateway, "own-a", 3, 10).await;
        let doubled = json!({"operation": "ListMultipartUploads", "effect": "doubled"});
        gateway.simulator.fault(doubled).await;
        let job = created(&gateway, &all()).await;
        confirmed(&gateway, &job).await;
        let ended = in_state(&gateway, &job, &["completed", "failed"]).await;
        assert_eq!(ended["counts"]["aborted"], 3, "{ended:#}");
        assert_eq!(items(&gateway, &job).await.len(), 3);
        let mut sent = aborts(&gateway).await;
        ids.sort();
        sent.sort();
        assert_eq!(sent, ids);
    }
}

#[actix_web::test]
async fn a_list_that_does_not_end_is_told_and_its_job_can_be_cancelled() {
    for kind in BOTH {
        let gateway = gateway(kind, "").await;
        let ids = seed(&gateway, "own-a", 3, 10).await;
        let marker = json!({"marker": {"text": ids[0]}});
        let endless = json!({"operation": "ListMultipartUploads", "effect": marker});
        gateway.simulator.fault(endless).await;
        let job = created(&gateway, &all()).await;
        let told = async {
            loop {
                let job = get(&gateway, &path(&job)).await;
                if job["obstacle"] != Value::Null {
                    return job;
                }
            }
        };
        let told = timeout(LONG, told).await.unwrap();
        assert_eq!(told["state"], "preparing", "{told:#}");
        let detail = told["obstacle"]["detail"].as_str().unwrap();
        assert!(detail.contains("the answer is not one that Glacier gives"), "{told:#}");
        acted(&gateway, &job, "cancel", &json!({})).await;
        in_state(&gateway, &job, &["cancelled"]).await;
        assert!(aborts(&gateway).await.is_empty());
    }
}

#[actix_web::test]
async fn aborts_without_an_answer_count_as_failures() {
    let gateway = gateway(Kind::Sqlite, "[jobs]\nconcurrency = 8\n").await;
    seed(&gateway, "own-a", 60, 10).await;
    gateway.simulator.fault(json!({"operation": "AbortMultipartUpload", "effect": "reset"})).await;
    let mut body = all();
    body["maxFailureRate"] = json!(0.1);
    let job = created(&gateway, &body).await;
    confirmed(&gateway, &job).await;
    let ended = in_state(&gateway, &job, &["failed", "completed"]).await;
    assert_eq!(ended["problem"]["code"], "too-many-failures", "{ended:#}");
    assert!(ended["counts"]["unknown"].as_i64() >= Some(18), "{ended:#}");
}

#[actix_web::test]
async fn a_stream_ends_once_its_reader_may_not_see_the_job_any_more() {
    let gateway = gateway(Kind::Sqlite, "").await;
    let job = created(&gateway, &all()).await;
    in_state(&gateway, &job, &["awaiting-confirmation"]).await;
    let url = format!("{}{}/events", gateway.rest, path(&job));
    let request = client().get(&url).bearer_auth(gateway.key.token("owner"));
    let reply = request.send().await.unwrap();
    assert_eq!(reply.status(), 200);
    let denied = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Deny",
        "Action": "gateway:GetAbortJob", "Resource": "*"}}"#;
    std::fs::write(gateway.directory.path().join("policies/teams/owner/denied.json"), denied)
        .unwrap();
    let text = timeout(LONG, reply.text()).await.unwrap().unwrap();
    assert!(text.contains("\nevent: job\n"), "{text}");
}

#[actix_web::test]
async fn whoever_may_not_ask_for_jobs_is_refused_before_the_list_is_read() {
    let gateway = gateway(Kind::Sqlite, "").await;
    let host = gateway.rest.strip_prefix("http://").unwrap();
    let token = gateway.key.token("guest");
    let mut stream = TcpStream::connect(host).await.unwrap();
    let head = format!(
        "POST /v1/abort-jobs HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: 30000000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    timeout(LONG, stream.read_exact(&mut status)).await.unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&status), "HTTP/1.1 403");
}

#[actix_web::test]
async fn patterns_that_take_long_to_match_are_refused() {
    let gateway = gateway(Kind::Sqlite, "").await;
    for vaults in [vec!["a*a*a*a*a*a*a*a*a*b"], vec!["own-*"; 101]] {
        let body = json!({"target": {"vaults": vaults}, "select": {"all": true}});
        let (status, refused) = problem(post(&gateway, "/v1/abort-jobs", &body).await).await;
        assert_eq!(status, 400, "{refused:#}");
        assert!(refused["detail"].as_str().unwrap().contains("with wildcards"), "{refused:#}");
    }
    let body = json!({"target": {"vaults": vec!["own-*"; 100]}, "select": {"all": true}});
    let reply = post(&gateway, "/v1/abort-jobs", &body).await;
    assert_eq!(reply.status(), 202);
}

/// What AWS says of the gateway's role, and what a proxy in Glacier's place says, is nothing for
/// callers.
#[actix_web::test]
async fn what_glacier_answers_is_not_shown_to_whoever_sees_a_job() {
    let gateway = gateway(Kind::Sqlite, "").await;
    seed(&gateway, "own-a", 1, 10).await;
    let secret = "User: arn:aws:sts::111122223333:assumed-role/SecretRole/x is not authorized";
    let error = json!({"status": 403, "code": "AccessDeniedException", "message": secret});
    let fault = json!({"effect": {"error": error}, "operation": "ListMultipartUploads"});
    gateway.simulator.fault(fault).await;
    let job = created(&gateway, &all()).await;
    let told = async {
        loop {
            let job = get(&gateway, &path(&job)).await;
            if job["obstacle"] != Value::Null {
                return job;
            }
        }
    };
    let told = timeout(LONG, told).await.unwrap();
    assert_eq!(told["obstacle"]["code"], "gateway-not-authorized-upstream", "{told:#}");
    let detail = told["obstacle"]["detail"].as_str().unwrap();
    assert!(detail.contains("tell its operators"), "{detail}");
    assert!(!detail.contains("SecretRole") && !detail.contains("AccessDenied"), "{detail}");
    let told = "the uploads of a job cannot be listed";
    let line = gateway.process.event(|event| event["message"] == told);
    assert!(line["error"].as_str().unwrap().contains("SecretRole"), "{line}");
}

#[actix_web::test]
async fn a_report_cannot_be_confirmed() {
    let gateway = gateway(Kind::Sqlite, "").await;
    seed(&gateway, "own-a", 2, 10).await;
    let mut body = all();
    body["confirm"] = json!("never");
    let job = created(&gateway, &body).await;
    let job = in_state(&gateway, &job, &["completed"]).await;
    let token = json!({"selectionToken": job["selectionToken"]});
    let refused = post(&gateway, &format!("{}/confirm", path(&job)), &token).await;
    let (status, refused) = problem(refused).await;
    assert_eq!((status, &refused["code"]), (409, &json!("job-conflict")));
}

#[actix_web::test]
async fn failures_that_are_no_throttling_do_not_slow_a_job_down() {
    let gateway = gateway(Kind::Sqlite, "[jobs]\nconcurrency = 16\n").await;
    seed(&gateway, "own-a", 400, 10).await;
    let job = created(&gateway, &all()).await;
    in_state(&gateway, &job, &["awaiting-confirmation"]).await;
    let fault = json!({"effect": "reset", "operation": "AbortMultipartUpload", "rate": 0.05});
    gateway.simulator.fault(fault).await;
    confirmed(&gateway, &job).await;
    let ended = in_state(&gateway, &job, &["completed"]).await;
    assert!(ended["counts"]["aborted"].as_i64() > Some(300), "{ended:#}");
}
