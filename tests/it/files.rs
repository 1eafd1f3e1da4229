//! Files that settings name, when they cannot be read: what was read before stays in
//! force, and the gateway says so.

use std::{path::Path, process::Command};

use reqwest::Method;

use crate::support::{BINARY, Gateway, OWNER_POLICY, client, now};

const VAULTS: &str = "/v1/accounts/-/vaults";

fn make_fifo(path: &Path) {
    let _ = std::fs::remove_file(path);
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Waits until a page of the management port says `wanted`, or no longer says it.
pub async fn told(gateway: &Gateway, page: &str, wanted: &str, says: bool) {
    let deadline = now() + 30;
    loop {
        let url = format!("{}/{page}", gateway.management);
        let reply = client().get(url).send().await.unwrap();
        assert_eq!(reply.status(), 200);
        let text = reply.text().await.unwrap();
        if text.contains(wanted) == says {
            return;
        }
        assert!(now() < deadline, "{wanted}: {text}");
    }
}

#[tokio::test]
async fn a_fifo_in_the_policy_folder_does_not_end_the_following_of_policies() {
    let mut gateway = Gateway::start();
    let policies = gateway.directory.path().join("policies/teams");
    make_fifo(&policies.join("hanging.json"));
    told(&gateway, "readyz", "teams/hanging.json", true).await;
    told(&gateway, "metrics", "glacier_gateway_policies_valid 0", true).await;
    assert_eq!(gateway.call("owner", Method::GET, VAULTS).await.status(), 200);
    assert_eq!(gateway.call("stranger", Method::GET, VAULTS).await.status(), 403);

    std::fs::remove_file(policies.join("hanging.json")).unwrap();
    std::fs::write(policies.join("stranger.json"), OWNER_POLICY).unwrap();
    gateway.process.event(|event| event["message"] == "policies replaced");
    assert_eq!(gateway.call("stranger", Method::GET, VAULTS).await.status(), 200);

    make_fifo(&policies.join("hanging.json"));
    told(&gateway, "readyz", "teams/hanging.json", true).await;
    gateway.process.signal("TERM");
    assert!(gateway.process.child.wait().unwrap().success());
}

#[tokio::test]
async fn a_fifo_in_place_of_a_revocation_file_does_not_end_the_following_of_it() {
    let settings = "[tokens]\nrevocation_file = \"DIRECTORY/revoked.json\"";
    let gateway = Gateway::with(settings, &[]);
    let file = gateway.directory.path().join("revoked.json");
    let metric = "glacier_gateway_files_valid{setting=\"tokens.revocation_file\"}";
    told(&gateway, "metrics", &format!("{metric} 1"), true).await;
    make_fifo(&file);
    told(&gateway, "readyz", "tokens.revocation_file: cannot read", true).await;
    told(&gateway, "metrics", &format!("{metric} 0"), true).await;
    assert_eq!(gateway.call("owner", Method::GET, VAULTS).await.status(), 200);

    std::fs::remove_file(&file).unwrap();
    let revoked = r#"{"subjects": [{"issuer": "https://login.example.com", "subject": "x"}]}"#;
    let list = revoked.replace("https://login.example.com", "test").replace('x', "owner-service");
    std::fs::write(&file, list).unwrap();
    told(&gateway, "readyz", "tokens.revocation_file", false).await;
    assert_eq!(gateway.call("owner", Method::GET, VAULTS).await.status(), 401);
}

#[test]
fn a_fifo_at_start_is_named_instead_of_waited_for() {
    let gateway = Gateway::start();
    make_fifo(&gateway.directory.path().join("policies/teams/owner.json"));
    let config = gateway.directory.path().join("gateway.toml");
    for command in ["serve", "check-config"] {
        let output = Command::new(BINARY).args([command, "--config"]).arg(&config).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(64), "{command}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("teams/owner.json") && said.contains("not a regular file"), "{said}");
    }
}

#[tokio::test]
async fn policies_that_cannot_be_looked_at_for_want_of_descriptors_have_not_changed() {
    let gateway = Gateway::start();
    told(&gateway, "readyz", "ok", true).await;
    let limit = |value: &str| {
        let pid = gateway.process.child.id().to_string();
        let limit = format!("--nofile={value}");
        assert!(Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap().success());
    };
    limit("4:1024");
    let unread = gateway.process.event(|event| event["message"] == UNREAD);
    assert!(unread["error"].as_str().unwrap().contains("Too many open files"), "{unread}");
    limit("1024:1024");
    gateway.process.event(|event| event["message"] == "the policy folder can be read again");
    let lines = gateway.process.all_lines();
    assert!(!lines.iter().any(|line| line.contains("new policies refused")), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.contains(UNREAD)).count(), 1);
    told(&gateway, "readyz", "policies:", false).await;
}

const UNREAD: &str = "policies unread; the old ones stay in use";

#[tokio::test]
async fn policies_that_allow_nothing_are_told() {
    let gateway = Gateway::start();
    told(&gateway, "readyz", "allow nothing", false).await;
    std::fs::remove_file(gateway.directory.path().join("policies/teams/owner.json")).unwrap();
    told(&gateway, "readyz", "policies: they allow nothing", true).await;
    told(&gateway, "metrics", "glacier_gateway_policies_empty 1", true).await;
    gateway.process.event(|event| {
        event["level"] == "WARN"
            && event["message"].as_str().unwrap().contains("no policy here allows anything")
    });
}
