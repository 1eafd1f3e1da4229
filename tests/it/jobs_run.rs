//! What jobs leave alone, and what stops them.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    jobs::{
        BOTH, Kind, aborts, acted, confirmed, created, gateway, get, in_state, items, path, post,
        post_with, seed,
    },
    support::{Gateway, JOBS_POLICY, OWNER_POLICY, client, problem, uploads},
};

async fn act(gateway: &Gateway, upload: &str, activity: &str) {
    let order = json!({"uploadId": upload, "activity": activity});
    gateway.simulator.order(Method::POST, "/activity", &order).await;
}

fn now() -> Value {
    json!({"target": {"vaults": ["own-a"]}, "select": {"all": true, "quietFor": "PT0S"}})
}

/// The items of a job by their state and code.
async fn states(gateway: &Gateway, job: &Value) -> Vec<(String, Value)> {
    let state = |item: &Value| (item["state"].as_str().unwrap().to_owned(), item["code"].clone());
    items(gateway, job).await.iter().map(state).collect()
}

#[actix_web::test]
async fn an_upload_that_gets_a_part_or_is_completed_is_left_alone() {
    for kind in BOTH {
        let gateway = gateway(kind, "").await;
        let ids = seed(&gateway, "own-a", 4, 10).await;
        // The third is completed between the last look at it and its abort.
        let job = created(&gateway, &now()).await;
        in_state(&gateway, &job, &["awaiting-confirmation"]).await;
        act(&gateway, &ids[0], "part").await;
        act(&gateway, &ids[1], "completion").await;
        let race = json!({"operation": "ListParts", "uploadId": ids[2], "then": "completion"});
        gateway.simulator.fault(race).await;
        confirmed(&gateway, &job).await;
        let ended = in_state(&gateway, &job, &["completed"]).await;
        let counts = &ended["counts"];
        assert_eq!(
            (&counts["skipped"], &counts["gone"], &counts["aborted"]),
            (&json!(1), &json!(2), &json!(1)),
            "{ended:#}"
        );
        for item in items(&gateway, &job).await {
            let id = item["uploadId"].as_str().unwrap();
            let n = ids.iter().position(|known| known == id).unwrap();
            let wanted = [
                ("skipped", json!("changed")),
                ("gone", json!("upload-not-found")),
                ("gone", json!("upload-not-found")),
                ("aborted", Value::Null),
            ];
            assert_eq!(
                (item["state"].as_str().unwrap(), &item["code"]),
                (wanted[n].0, &wanted[n].1),
                "{item}"
            );
        }
        assert_eq!(
            gateway.simulator.status("own-a", &ids[0]).await.as_deref(),
            Some("in-progress")
        );
        assert!(!aborts(&gateway).await.contains(&ids[0]));
        assert!(!aborts(&gateway).await.contains(&ids[1]));
    }
}

#[actix_web::test]
async fn an_upload_waits_until_it_was_quiet_for_long_enough() {
    for kind in BOTH {
        let gateway = gateway(kind, "").await;
        let ids = seed(&gateway, "own-a", 2, 10).await;
        let body = json!({"target": {"vaults": ["own-a"]}, "select": {"quietFor": "PT3S"}});
        let job = created(&gateway, &body).await;
        let found = in_state(&gateway, &job, &["awaiting-confirmation"]).await;
        assert_eq!(found["preview"]["waiting"], 2, "{found:#}");
        let running = confirmed(&gateway, &job).await;
        assert_eq!(running["counts"]["waiting"], 2, "{running:#}");
        act(&gateway, &ids[1], "part").await;
        let ended = in_state(&gateway, &job, &["completed"]).await;
        let counts = &ended["counts"];
        assert_eq!((&counts["aborted"], &counts["skipped"]), (&json!(1), &json!(1)), "{ended:#}");
        let at = |job: &Value, name: &str| {
            time::OffsetDateTime::parse(
                job[name].as_str().unwrap(),
                &time::format_description::well_known::Rfc3339,
            )
            .unwrap()
        };
        assert!(at(&ended, "finishedAt") - at(&ended, "createdAt") >= Duration::from_secs(3));
        assert_eq!(aborts(&gateway).await, [ids[0].clone()]);
    }
}

#[actix_web::test]
async fn uploads_that_are_named_are_aborted_as_one_by_one_and_a_key_of_auto_needs_nobody() {
    for kind in BOTH {
        let gateway = gateway(kind, "").await;
        let ids = seed(&gateway, "own-a", 3, 0).await;
        seed(&gateway, "own-a", 2, 10).await;
        let mut names = ids.clone();
        names.push("never-begun".to_owned());
        names.push(ids[0].clone());
        let body = json!({"target": {"vaults": ["own-a"]}, "select": {"uploadIds": names}, "confirm": "auto"});
        let job = created(&gateway, &body).await;
        let ended = in_state(&gateway, &job, &["completed", "failed"]).await;
        let counts = &ended["counts"];
        assert_eq!(
            (&counts["selected"], &counts["aborted"], &counts["gone"]),
            (&json!(4), &json!(3), &json!(1)),
            "{ended:#}"
        );
        let mut sent = aborts(&gateway).await;
        let mut wanted = ids.clone();
        sent.sort();
        wanted.sort();
        assert_eq!(sent, wanted);
    }
}

#[actix_web::test]
async fn more_uploads_than_may_be_fail_the_job_and_none_is_aborted() {
    let gateway = gateway(Kind::Sqlite, "").await;
    seed(&gateway, "own-a", 60, 10).await;
    let mut body = now();
    body["maxUploads"] = json!(59);
    body["confirm"] = json!("auto");
    let job = created(&gateway, &body).await;
    let ended = in_state(&gateway, &job, &["failed", "completed"]).await;
    assert_eq!(ended["problem"]["code"], "too-many-uploads", "{ended:#}");
    assert!(aborts(&gateway).await.is_empty());
}

#[actix_web::test]
async fn each_item_needs_permission_when_it_runs() {
    let gateway = gateway(Kind::Sqlite, "").await;
    seed(&gateway, "own-a", 3, 10).await;
    let job = created(&gateway, &now()).await;
    in_state(&gateway, &job, &["awaiting-confirmation"]).await;
    let denied = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Deny",
        "Action": "glacier:AbortMultipartUpload", "Resource": "*",
        "Condition": {"Bool": {"gateway:ViaJob": "true"}}}}"#;
    let file = gateway.directory.path().join("policies/teams/owner/denied.json");
    let replaced =
        |lines: &[String]| lines.iter().filter(|l| l.contains("policies replaced")).count();
    let before = replaced(&gateway.process.all_lines());
    std::fs::write(&file, denied).unwrap();
    let direct = format!("{}/none", uploads("own-a"));
    gateway.process.wait_until(|lines| replaced(lines) > before);
    confirmed(&gateway, &job).await;
    // What was allowed when it was found stops the job, and stays for later.
    let ended = in_state(&gateway, &job, &["completed", "failed"]).await;
    assert_eq!(ended["problem"]["code"], "permission-lost", "{ended:#}");
    assert_eq!(ended["counts"]["remaining"], 3, "{ended:#}");
    for (state, _) in states(&gateway, &job).await {
        assert_eq!(state, "waiting");
    }
    assert!(aborts(&gateway).await.is_empty());
    let first = job;
    assert_eq!(gateway.call("owner", Method::DELETE, &direct).await.status(), 404);
    // The next job's look says so before anything runs.
    let job = created(&gateway, &now()).await;
    let found = in_state(&gateway, &job, &["awaiting-confirmation"]).await;
    assert_eq!((&found["preview"]["denied"], &found["preview"]["allowed"]), (&json!(3), &json!(0)));
    acted(&gateway, &job, "cancel", &json!({})).await;
    // Once the policies allow it again, what they refused is tried again.
    let before = replaced(&gateway.process.all_lines());
    std::fs::remove_file(&file).unwrap();
    gateway.process.wait_until(|lines| replaced(lines) > before);
    acted(&gateway, &first, "retry-failed", &json!({})).await;
    let ended = in_state(&gateway, &first, &["completed"]).await;
    assert_eq!((&ended["counts"]["aborted"], &ended["counts"]["skipped"]), (&json!(3), &json!(0)));
}

#[actix_web::test]
async fn a_job_stops_when_its_creator_is_revoked() {
    let settings = "[tokens]\nrevocation_file = \"DIRECTORY/revoked.json\"\n";
    let gateway = gateway(Kind::Sqlite, settings).await;
    seed(&gateway, "own-a", 3, 10).await;
    let mut body = now();
    body["notBefore"] = json!(in_time(Duration::from_secs(86_400)));
    let job = created(&gateway, &body).await;
    confirmed(&gateway, &job).await;
    let body = json!({"target": {"vaults": ["own-a"]}, "select": {"quietFor": "PT1H"}});
    let waiting = created(&gateway, &body).await;
    confirmed(&gateway, &waiting).await;
    in_state(&gateway, &waiting, &["running"]).await;
    let list = json!({"subjects": [{"issuer": "test", "subject": "owner-service"}]});
    std::fs::write(gateway.directory.path().join("revoked.json"), list.to_string()).unwrap();
    gateway
        .process
        .event(|line| line["message"] == "a job stops" && line["code"] == "caller-revoked");
    std::fs::write(gateway.directory.path().join("revoked.json"), "{}").unwrap();
    while gateway.call("owner", Method::GET, &path(&waiting)).await.status() == 401 {}
    let ended = in_state(&gateway, &waiting, &["failed"]).await;
    assert_eq!(ended["problem"]["code"], "caller-revoked");
    assert_eq!(get(&gateway, &path(&job)).await["state"], "queued");
    assert!(aborts(&gateway).await.is_empty());
}

/// The time in a while, in RFC 3339.
fn in_time(duration: Duration) -> String {
    let then = time::OffsetDateTime::now_utc() + duration;
    then.format(&time::format_description::well_known::Rfc3339).unwrap()
}

#[actix_web::test]
async fn the_end_of_a_pause_does_not_begin_a_job_before_its_time() {
    for kind in BOTH {
        let gateway = gateway(kind, "").await;
        seed(&gateway, "own-a", 2, 10).await;
        let mut body = now();
        body["notBefore"] = json!(in_time(Duration::from_secs(86_400)));
        let job = created(&gateway, &body).await;
        confirmed(&gateway, &job).await;
        let soon = json!({"until": in_time(Duration::from_millis(100))});
        acted(&gateway, &job, "pause", &soon).await;
        // One that is asked for later has run by then.
        let later = created(&gateway, &now()).await;
        in_state(&gateway, &later, &["awaiting-confirmation"]).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let state = get(&gateway, &path(&job)).await["state"].clone();
        assert!([json!("paused"), json!("queued")].contains(&state), "{state}");
        assert!(aborts(&gateway).await.is_empty());
    }
}

#[actix_web::test]
async fn a_job_pauses_goes_on_and_ends_when_it_is_told_to() {
    for kind in BOTH {
        let gateway = gateway(kind, "[jobs]\nconcurrency = 2\n").await;
        seed(&gateway, "own-a", 60, 10).await;
        gateway.simulator.fault(json!({"latencyMillis": 30})).await;
        let job = created(&gateway, &now()).await;
        confirmed(&gateway, &job).await;
        in_state(&gateway, &job, &["running"]).await;
        let until = json!({"until": "2099-01-01T00:00:00Z"});
        let paused = acted(&gateway, &job, "pause", &until).await;
        assert!(["pausing", "paused"].contains(&paused["state"].as_str().unwrap()));
        let paused = in_state(&gateway, &job, &["paused"]).await;
        assert_eq!(paused["pausedUntil"], "2099-01-01T00:00:00Z");
        let done = aborts(&gateway).await.len();
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(aborts(&gateway).await.len(), done, "nothing runs in a paused job");
        let soon = in_time(Duration::from_secs(1));
        acted(&gateway, &job, "pause", &json!({"until": soon})).await;
        in_state(&gateway, &job, &["running"]).await;
        let cancelled = acted(&gateway, &job, "cancel", &json!({})).await;
        assert!(["cancelling", "cancelled"].contains(&cancelled["state"].as_str().unwrap()));
        let ended = in_state(&gateway, &job, &["cancelled"]).await;
        let counts = &ended["counts"];
        let sum: i64 = ["aborted", "gone", "failed", "skipped", "unknown", "remaining"]
            .iter()
            .map(|name| counts[name].as_i64().unwrap())
            .sum();
        assert_eq!(sum, 60, "{ended:#}");
        assert!(counts["remaining"].as_i64() > Some(0));
        assert_eq!(aborts(&gateway).await.len() as i64, counts["aborted"].as_i64().unwrap());
        let reply = post(&gateway, &format!("{}/resume", path(&job)), &json!({})).await;
        assert_eq!(problem(reply).await.0, 409);
    }
}

#[actix_web::test]
async fn too_many_failures_stop_a_job_and_retry_failed_lets_it_go_on() {
    for kind in BOTH {
        let gateway = gateway(kind, "[jobs]\nconcurrency = 4\n").await;
        let ids = seed(&gateway, "own-a", 60, 10).await;
        let refused = json!({"status": 403, "code": "AccessDeniedException", "message": ""});
        let fault = json!({"effect": {"error": refused}, "operation": "AbortMultipartUpload"});
        gateway.simulator.fault(fault).await;
        let mut body = now();
        body["maxFailureRate"] = json!(0.1);
        let job = created(&gateway, &body).await;
        confirmed(&gateway, &job).await;
        let failed = in_state(&gateway, &job, &["failed", "completed"]).await;
        assert_eq!(failed["problem"]["code"], "too-many-failures", "{failed:#}");
        assert!(failed["counts"]["remaining"].as_i64() > Some(0), "{failed:#}");
        gateway.simulator.order(Method::DELETE, "/faults", &Value::Null).await;
        acted(&gateway, &job, "retry-failed", &json!({})).await;
        let ended = in_state(&gateway, &job, &["completed"]).await;
        assert_eq!((&ended["counts"]["aborted"], &ended["problem"]), (&json!(60), &Value::Null));
        for id in ids {
            assert_ne!(
                gateway.simulator.status("own-a", &id).await.as_deref(),
                Some("in-progress")
            );
        }
    }
}

#[actix_web::test]
async fn a_job_keeps_to_what_glacier_takes() {
    let gateway = gateway(Kind::Sqlite, "").await;
    seed(&gateway, "own-a", 300, 10).await;
    gateway.simulator.fault(json!({"latencyMillis": 20})).await;
    let limit = json!({"effect": {"rateLimit": {"perSecond": 60}}});
    gateway.simulator.fault(limit).await;
    let job = created(&gateway, &now()).await;
    confirmed(&gateway, &job).await;
    let ended = in_state(&gateway, &job, &["completed", "failed"]).await;
    assert_eq!(ended["counts"]["aborted"], 300, "{ended:#}");
}

#[actix_web::test]
async fn a_small_batch_may_be_waited_for_and_a_list_may_come_as_csv() {
    let gateway = gateway(Kind::Sqlite, "").await;
    let ids = seed(&gateway, "own-a", 3, 0).await;
    let body = json!({"target": {"vaults": ["own-a"]}, "select": {"uploadIds": ids[..1]}, "confirm": "auto"});
    let reply = post_with(&gateway, "/v1/abort-jobs", &body, &[("prefer", "wait=30")]).await;
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.headers()["preference-applied"], "wait=30");
    let job: Value = reply.json().await.unwrap();
    assert_eq!(
        (&job["state"], &job["items"][0]["state"]),
        (&json!("completed"), &json!("aborted"))
    );
    let csv = format!("vaultName,uploadId\nown-a,{}\n\"own-a\",\"{}\"\r\n", ids[1], ids[2]);
    let url = format!("{}/v1/abort-jobs?confirm=auto&reason=%3Dcmd", gateway.rest);
    let send = || {
        client()
            .post(&url)
            .bearer_auth(gateway.key.token("owner"))
            .header("content-type", "text/csv")
    };
    let reply = send().body(csv.clone()).send().await.unwrap();
    assert_eq!(reply.status(), 202, "{:?}", reply.text().await);
    let job: Value = reply.json().await.unwrap();
    let ended = in_state(&gateway, &job, &["completed", "failed"]).await;
    assert_eq!(
        (&ended["counts"]["aborted"], &ended["request"]["reason"]),
        (&json!(2), &json!("=cmd"))
    );
    for wrong in ["own-a\n", "vaultName,uploadId\nown-a\n", "uploadId\nx\n", ""] {
        let (status, _) = problem(send().body(wrong).send().await.unwrap()).await;
        assert_eq!(status, 400, "{wrong:?}");
    }
    for (wrong, says) in [
        ("vaultName,uploadId\nown-a,x\nown-a,a/b\n", "line 3 of the CSV"),
        ("vaultName,uploadId\nown-a,x\nown-a\n", "line 3 of the CSV: it has 1 columns"),
        ("vaultName,uploadId\r\nown-a,x\r\nown-a,a/b\r\n", "line 3 of the CSV"),
        ("vaultName,uploadId\n\n\n\nown-a,a/b\n", "line 5 of the CSV"),
        ("vaultName,uploadId\r\nown-a,x\r\nown-a\r\n", "line 3 of the CSV: it has 1 columns"),
    ] {
        let (_, refused) = problem(send().body(wrong).send().await.unwrap()).await;
        assert!(refused["detail"].as_str().unwrap().contains(says), "{refused}");
    }
    // The report, in both of its forms.
    let path = format!("{}/report", path(&job));
    let lines = gateway.call("owner", Method::GET, &path).await.text().await.unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["uploadId"]), (2, &json!(ids[1])));
    let csv = client().get(format!("{}{path}", gateway.rest)).header("accept", "text/csv");
    let csv = csv.bearer_auth(gateway.key.token("owner")).send().await.unwrap();
    assert!(csv.headers()["content-type"].to_str().unwrap().starts_with("text/csv"));
    let csv = csv.text().await.unwrap();
    assert_eq!(csv.lines().count(), 3);
    assert!(csv.starts_with("item,accountId,") && csv.contains(",'=cmd\r\n"), "{csv}");
    // A report is a list of uploads as well, and the case of its header does not matter.
    let again = send().body(csv.replacen("uploadId", "UploadID", 1)).send().await.unwrap();
    assert_eq!(again.status(), 202, "{:?}", again.text().await);
    let again: Value = again.json().await.unwrap();
    assert_eq!(again["counts"]["selected"], 2, "{again:#}");
    let none = gateway.call("owner", Method::GET, &format!("{path}?items=failed")).await;
    assert_eq!(none.text().await.unwrap(), "");
}

/// The events of a stream up to its end.
async fn followed(gateway: &Gateway, job: &Value, last: Option<i64>) -> (u16, Vec<Value>) {
    let url = format!("{}{}/events", gateway.rest, path(job));
    let mut request = client().get(url).bearer_auth(gateway.key.token("owner"));
    if let Some(last) = last {
        request = request.header("last-event-id", last.to_string());
    }
    let reply = request.send().await.unwrap();
    let status = reply.status().as_u16();
    let text = reply.text().await.unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    (status, data.map(|data| serde_json::from_str(data).unwrap()).collect())
}

#[actix_web::test]
async fn a_job_is_followed_to_its_end_and_again_from_where_a_client_was() {
    for kind in BOTH {
        let gateway = gateway(kind, "").await;
        seed(&gateway, "own-a", 30, 10).await;
        let job = created(&gateway, &now()).await;
        in_state(&gateway, &job, &["awaiting-confirmation"]).await;
        let (told, _) =
            tokio::join!(followed(&gateway, &job, None), async { confirmed(&gateway, &job).await });
        let (status, events) = told;
        assert_eq!(status, 200);
        let revisions: Vec<i64> =
            events.iter().map(|job| job["revision"].as_i64().unwrap()).collect();
        assert!(revisions.is_sorted_by(|a, b| a < b), "{revisions:?}");
        assert_eq!(events.last().unwrap()["state"], "completed");
        let (status, events) = followed(&gateway, &job, Some(revisions[0])).await;
        assert_eq!((status, events.len()), (200, 1));
        let (status, events) = followed(&gateway, &job, revisions.last().copied()).await;
        assert_eq!((status, events.len()), (204, 0));
    }
}

#[actix_web::test]
async fn a_stream_ends_with_the_token_of_whoever_follows_and_with_the_gateway() {
    let mut gateway = gateway(Kind::Sqlite, "").await;
    let mut body = now();
    body["notBefore"] = json!(in_time(Duration::from_secs(86_400)));
    let job = created(&gateway, &body).await;
    let mut short = crate::support::claims("owner");
    short["exp"] = json!(crate::support::now() + 3);
    let url = format!("{}{}/events", gateway.rest, path(&job));
    let request = client().get(&url).bearer_auth(gateway.key.sign(&short));
    let text = request.send().await.unwrap().text().await.unwrap();
    assert!(text.contains("\nevent: job\n"), "{text}");
    let request = client().get(&url).bearer_auth(gateway.key.token("owner"));
    let reply = request.send().await.unwrap();
    gateway.process.signal("TERM");
    assert!(reply.text().await.unwrap().contains("\nevent: job\n"));
    assert!(gateway.process.child.wait().unwrap().success());
}

#[actix_web::test]
async fn teams_take_turns_in_an_account() {
    let gateway = gateway(Kind::Sqlite, "[jobs]\nconcurrency = 2\n").await;
    let policy = OWNER_POLICY.to_owned() + "\n";
    let folder = gateway.directory.path().join("policies/teams/guest");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("own.json"), policy.replace("own-*", "guest-*")).unwrap();
    std::fs::write(folder.join("jobs.json"), JOBS_POLICY.replace("/owner", "/guest")).unwrap();
    while gateway.call("guest", Method::GET, "/v1/abort-jobs").await.status() != 200 {}
    seed(&gateway, "own-a", 200, 10).await;
    seed(&gateway, "guest-a", 10, 10).await;
    gateway.simulator.fault(json!({"latencyMillis": 20})).await;
    let first = created(&gateway, &now()).await;
    confirmed(&gateway, &first).await;
    in_state(&gateway, &first, &["running"]).await;
    let body = json!({"target": {"vaults": ["guest-a"]}, "select": {"all": true, "quietFor": "PT0S"}, "confirm": "auto"});
    let reply = client()
        .post(format!("{}/v1/abort-jobs", gateway.rest))
        .bearer_auth(gateway.key.token("guest"))
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status(), 202, "{:?}", reply.text().await);
    let second: Value = reply.json().await.unwrap();
    loop {
        let reply = gateway.call("guest", Method::GET, &path(&second)).await;
        if reply.json::<Value>().await.unwrap()["state"] == "completed" {
            break;
        }
    }
    let state = get(&gateway, &path(&first)).await;
    assert_eq!(state["state"], "running", "the small job did not wait for the large one");
}

#[actix_web::test]
async fn jobs_of_a_team_take_turns_too() {
    let gateway = gateway(Kind::Sqlite, "[jobs]\nconcurrency = 2\n").await;
    seed(&gateway, "own-a", 200, 10).await;
    seed(&gateway, "own-b", 10, 10).await;
    gateway.simulator.fault(json!({"latencyMillis": 20})).await;
    let large = created(&gateway, &now()).await;
    confirmed(&gateway, &large).await;
    in_state(&gateway, &large, &["running"]).await;
    let mut body = now();
    body["target"] = json!({"vaults": ["own-b"]});
    let small = created(&gateway, &body).await;
    confirmed(&gateway, &small).await;
    in_state(&gateway, &small, &["completed"]).await;
    let state = get(&gateway, &path(&large)).await;
    assert_eq!(state["state"], "running", "the small job did not wait for the large one");
}

#[actix_web::test]
async fn a_job_that_is_tried_again_takes_a_place_of_its_team() {
    for kind in BOTH {
        let gateway = gateway(kind, "[jobs]\nactive_per_team = 1\n").await;
        let ids = seed(&gateway, "own-a", 1, 0).await;
        let error = json!({"status": 400, "code": "InvalidParameterValueException", "message": ""});
        let fault = json!({"effect": {"error": error}, "operation": "AbortMultipartUpload"});
        gateway.simulator.fault(fault).await;
        let body = json!({"target": {"vaults": ["own-a"]}, "select": {"uploadIds": ids}, "confirm": "auto"});
        let first = created(&gateway, &body).await;
        let ended = in_state(&gateway, &first, &["completed", "failed"]).await;
        assert_eq!(ended["counts"]["failed"], 1, "{ended:#}");
        gateway.simulator.order(Method::DELETE, "/faults", &Value::Null).await;
        let second = created(&gateway, &now()).await;
        let again = format!("{}/retry-failed", path(&first));
        let (status, refused) = problem(post(&gateway, &again, &json!({})).await).await;
        assert_eq!((status, &refused["code"]), (429, &json!("job-limit-reached")));
        acted(&gateway, &second, "cancel", &json!({})).await;
        acted(&gateway, &first, "retry-failed", &json!({})).await;
        let ended = in_state(&gateway, &first, &["completed"]).await;
        assert_eq!(ended["counts"]["aborted"], 1, "{ended:#}");
    }
}
