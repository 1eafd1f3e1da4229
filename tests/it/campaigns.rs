//! `jobs`: aborts in bulk from a terminal.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Output, Stdio},
};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{ACCOUNT, BINARY, Gateway, REGION, uploads};

const POLICY: &str = r#"{"Version": "2012-10-17", "Statement":
    {"Effect": "Allow", "Action": "gateway:*AbortJob*",
     "Resource": "arn:aws:glacier-gateway:::job/owner/*"}}"#;

/// A gateway with old uploads in a vault; gives their IDs as well.
async fn gateway(uploads: usize) -> (Gateway, Vec<String>) {
    let gateway = Gateway::with("[store]\nurl = \"sqlite:DIRECTORY/store.db\"\n", &[]);
    let folder = gateway.directory.path().join("policies/teams/owner");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("jobs.json"), POLICY).unwrap();
    while gateway.call("owner", Method::GET, "/v1/abort-jobs").await.status() != 200 {}
    let upload = json!({"parts": 1, "ageSeconds": 864_000});
    let seed = json!({
        "accountId": ACCOUNT, "region": REGION, "vaultName": "own-a",
        "uploads": vec![upload; uploads],
    });
    let reply = gateway.simulator.order(Method::POST, "/vaults", &seed).await;
    let reply: Value = reply.json().await.unwrap();
    let ids = serde_json::from_value(reply["uploadIds"].clone()).unwrap();
    (gateway, ids)
}

/// The command `jobs` as team `owner`.
fn jobs(gateway: &Gateway, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command
        .arg("jobs")
        .args(arguments)
        .env("GATEWAY_URL", &gateway.rest)
        .env("GATEWAY_TOKEN", gateway.key.token("owner"));
    command
}

/// Runs the command; gives its exit code and what it printed.
fn run(gateway: &Gateway, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = jobs(gateway, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// Creates a job; gives its ID.
fn create(gateway: &Gateway, more: &[&str]) -> String {
    let usual = ["create", "--vault", "own-*", "--older-than", "P7D", "--quiet-for", "PT0S"];
    let (code, job, told) = run(gateway, &[&usual[..], more].concat());
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("found 3 uploads in 1 vault, with"), "{told}");
    job.trim().to_owned()
}

#[actix_web::test]
async fn a_job_is_created_looked_at_confirmed_and_watched() {
    let (gateway, ids) = gateway(3).await;
    let job = create(&gateway, &[]);
    let (code, report, _) = run(&gateway, &["report", &job]);
    let items: Vec<Value> =
        report.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, items.len()), (0, 3), "{report}");
    let (code, _, told) = run(&gateway, &["confirm", &job, "--selection-token", "other"]);
    assert_eq!(code, 1);
    assert!(told.starts_with("selection-changed: "), "{told}");
    let (code, told, _) = run(&gateway, &["confirm", &job]);
    assert_eq!(code, 0);
    assert!(!told.starts_with("awaiting"), "{told}");
    let (code, told, _) = run(&gateway, &["watch", &job]);
    assert_eq!((code, told.as_str()), (0, "completed: 3 aborted\n"));
    for id in &ids {
        assert_eq!(gateway.simulator.status("own-a", id).await.as_deref(), Some("aborted"));
    }
    let (_, report, _) = run(&gateway, &["report", &job, "--csv"]);
    assert_eq!((report.lines().count(), report.matches(",aborted,").count()), (4, 3), "{report}");
    let (code, told, _) = run(&gateway, &["watch", &job, "--json"]);
    let last: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!((code, &last["counts"]["aborted"]), (0, &json!(3)));
}

#[actix_web::test]
async fn watch_fails_if_items_failed_or_the_job_was_cancelled() {
    let (gateway, _) = gateway(3).await;
    let job = create(&gateway, &[]);
    let error = json!({"status": 400, "code": "InvalidParameterValueException", "message": "no"});
    let refuse = json!({"operation": "AbortMultipartUpload", "effect": {"error": error}});
    gateway.simulator.fault(refuse).await;
    run(&gateway, &["confirm", &job]);
    let (code, told, aside) = run(&gateway, &["watch", &job]);
    assert_eq!(code, 1, "{told} {aside}");
    assert!(
        aside.contains(&format!("3 items did not end well: see \"jobs report {job} --failed\""))
    );
    let (_, failed, _) = run(&gateway, &["report", &job, "--failed"]);
    assert_eq!(failed.lines().count(), 3, "{failed}");

    let job = create(&gateway, &[]);
    let (code, told, _) = run(&gateway, &["cancel", &job, "--json"]);
    let cancelled: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &cancelled["state"]), (0, &json!("cancelled")));
    let (code, _, aside) = run(&gateway, &["watch", &job]);
    assert_eq!(code, 1);
    assert!(aside.contains("the job is cancelled"), "{aside}");
}

#[actix_web::test]
async fn watch_fails_if_nothing_was_aborted_for_want_of_permission() {
    let (gateway, ids) = gateway(3).await;
    let deny = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "glacier:Abort*", "Resource": "*"}}"#;
    std::fs::write(gateway.directory.path().join("policies/teams/owner/deny.json"), deny).unwrap();
    let path = format!("{}/{}x", uploads("own-a"), ids[0]);
    while gateway.call("owner", Method::DELETE, &path).await.status() != 403 {}
    let job = create(&gateway, &[]);
    run(&gateway, &["confirm", &job]);
    let (code, told, aside) = run(&gateway, &["watch", &job]);
    assert_eq!(code, 1, "{told} {aside}");
    assert!(aside.contains("all 3 items were skipped"), "{told} {aside}");
}

#[actix_web::test]
async fn watch_goes_on_when_the_gateway_was_killed() {
    let (mut gateway, _) = gateway(3).await;
    let job = create(&gateway, &[]);
    let mut watching = jobs(&gateway, &["watch", &job])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It has seen how the job is.
    let mut told = BufReader::new(watching.stderr.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert!(line.starts_with("awaiting-confirmation: "), "{line}");
    gateway.process.signal("KILL");
    gateway.process.child.wait().unwrap();
    let address = gateway.rest.strip_prefix("http://").unwrap().to_owned();
    gateway.restart(&[("GATEWAY__SERVER__LISTEN", &address)]);
    assert_eq!(run(&gateway, &["confirm", &job]).0, 0);
    let output = watching.wait_with_output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), told.as_str()), (Some(0), "completed: 3 aborted\n"));
}

#[test]
fn without_a_token_or_a_gateway_it_is_said_what_to_do() {
    let command = |token: Option<&str>, arguments: &[&str]| {
        let mut command = Command::new(BINARY);
        command.arg("jobs").args(arguments).env_remove("GATEWAY_TOKEN");
        if let Some(token) = token {
            command.env("GATEWAY_TOKEN", token);
        }
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let nowhere = ["cancel", "x", "--gateway", "http://127.0.0.1:1"];
    let (code, told) = command(None, &nowhere);
    assert_eq!(code, 64);
    assert!(told.contains("set GATEWAY_TOKEN to your token, or give --token-file"), "{told}");
    let (code, told) = command(Some("x"), &nowhere);
    assert_eq!(code, 1);
    assert!(told.contains("Connection refused"), "{told}");
    let (code, told) = command(Some("x"), &["create", "--vault", "own-a"]);
    assert_eq!(code, 2);
    assert!(told.contains("--older-than"), "{told}");
}
