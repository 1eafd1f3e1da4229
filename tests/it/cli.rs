//! The command line.

use std::process::{Command, Output};

use crate::support::{BINARY, OWNER_POLICY};

fn check_config(config: &str, policy: &str) -> Output {
    let directory = tempfile::TempDir::new().unwrap();
    let policies = directory.path().join("policies/teams");
    std::fs::create_dir_all(&policies).unwrap();
    std::fs::write(policies.join("owner.json"), policy).unwrap();
    let file = directory.path().join("gateway.toml");
    let config =
        config.replace("POLICIES", &directory.path().join("policies").display().to_string());
    std::fs::write(&file, config).unwrap();
    Command::new(BINARY).arg("check-config").arg("--config").arg(file).output().unwrap()
}

const GOOD: &str = r#"
    [aws]
    region = "eu-central-1"
    account_id = "111122223333"
    [policy]
    directory = "POLICIES"
    [issuers.corporate]
    issuer = "https://login.example.com"
    audiences = ["glacier-gateway"]
    jwks_url = "https://login.example.com/jwks"
"#;

#[test]
fn a_good_configuration_is_called_good() {
    let output = check_config(GOOD, OWNER_POLICY);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn every_mistake_is_reported_at_once_with_exit_code_64() {
    let config = GOOD
        .replace("eu-central-1", "europe")
        .replace("account_id", "acount_id")
        .replace("https://login.example.com/jwks", "http://login.example.com/jwks");
    let output = check_config(&config, OWNER_POLICY);
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8(output.stderr).unwrap();
    for part in [
        "aws.region:",
        "aws.acount_id:",
        "did you mean \"account_id\"",
        "aws.account_id: is required",
        "issuers.corporate.jwks_url:",
    ] {
        assert!(said.contains(part), "{part} is missing from:\n{said}");
    }
}

#[test]
fn settings_policies_and_files_are_checked_in_one_run() {
    let files = r#"
        [tokens]
        revocation_file = "/nonexistent/revoked-tokens.json"
        [keys.master_key_files]
        1 = "/nonexistent/master-key"
        [server.tls]
        certificate_file = "/nonexistent/tls.crt"
        private_key_file = "/nonexistent/tls.key"
    "#;
    let config = format!("{}{files}", GOOD.replace("eu-central-1", "europe"));
    let output = check_config(&config, &OWNER_POLICY.replace("\"Allow\"", "\"Alow\""));
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8(output.stderr).unwrap();
    for part in ["aws.region:", "owner.json:4:", "revoked-tokens.json", "master-key", "tls.crt"] {
        assert!(said.contains(part), "{part} is missing from:\n{said}");
    }
    // Of a folder that is not known nothing is said.
    for mistake in ["directory = 5", "directroy = \"POLICIES\""] {
        let config = GOOD.replace("directory = \"POLICIES\"", mistake);
        let output = check_config(&config, "{");
        assert_eq!(output.status.code(), Some(64));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("policy.direct") && !said.contains(".json"), "{said}");
    }
}

#[test]
fn an_invalid_policy_is_refused_with_its_place() {
    let output = check_config(GOOD, &OWNER_POLICY.replace("\"Allow\"", "\"Alow\""));
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("owner.json:4:"), "{said}");
}

#[test]
fn serve_refuses_a_bad_configuration_with_exit_code_64() {
    let output =
        Command::new(BINARY).args(["serve", "--config", "/nonexistent.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8(output.stderr).unwrap().contains("/nonexistent.toml"));
}

#[test]
fn a_port_in_use_is_named_with_its_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = tempfile::TempDir::new().unwrap();
    std::fs::create_dir_all(directory.path().join("teams")).unwrap();
    let file = directory.path().join("gateway.toml");
    std::fs::write(&file, GOOD.replace("POLICIES", &directory.path().display().to_string()))
        .unwrap();
    let output = Command::new(BINARY)
        .args(["serve", "--config"])
        .arg(file)
        .env("GATEWAY__SERVER__LISTEN", &address)
        .env("GATEWAY__SERVER__MANAGEMENT_LISTEN", "127.0.0.1:0")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&address) && said.contains("server.listen"), "{said}");
}
