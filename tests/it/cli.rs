//! The command line.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

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
fn a_name_that_no_team_can_have_is_refused_wherever_it_is_configured() {
    let tls = r#"
        [server.tls]
        certificate_file = "tls.crt"
        private_key_file = "tls.key"
        client_ca_file = "ca.crt"
    "#;
    for name in ["media/eu", "a b", "*", ".media", ""] {
        for (section, setting) in [
            (
                format!("[issuers.corporate.subject_teams]\n\"bob\" = [\"media\", {name:?}]"),
                "issuers.corporate.subject_teams: ",
            ),
            (
                format!("{tls}\n[server.tls.client_teams]\n\"a.example\" = [{name:?}]"),
                "server.tls.client_teams: ",
            ),
        ] {
            let output = check_config(&format!("{GOOD}\n{section}"), OWNER_POLICY);
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(64), "{section}: {said}");
            let told = format!("{setting}{name:?} is not a team: a team's name has 1 to 128");
            assert_eq!(said.matches(&told).count(), 1, "{said}");
        }
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
        [audit.key_files]
        1 = "/nonexistent/audit-key"
    "#;
    let config = format!("{}{files}", GOOD.replace("eu-central-1", "europe"));
    let output = check_config(&config, &OWNER_POLICY.replace("\"Allow\"", "\"Alow\""));
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8(output.stderr).unwrap();
    for part in [
        "aws.region:",
        "owner.json:4:",
        "revoked-tokens.json",
        "master-key",
        "tls.crt",
        "audit-key",
    ] {
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

/// `policy` with these arguments and this standard input.
fn policy(arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut child = Command::new(BINARY)
        .arg("policy")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn lint_exits_with_1_on_findings_and_with_64_on_what_cannot_be_read() {
    let directory = tempfile::TempDir::new().unwrap();
    let teams = directory.path().join("teams");
    std::fs::create_dir_all(&teams).unwrap();
    let folder = directory.path().to_str().unwrap();
    let file = teams.join("owner.json");
    let lint = |policy: &str, arguments: &[&str]| {
        std::fs::write(&file, policy).unwrap();
        self::policy(&[&["lint", folder], arguments].concat(), "")
    };

    let (code, said, _) = lint(OWNER_POLICY, &[]);
    assert_eq!((code, &*said), (0, "0 errors, 0 warnings\n"));
    let warned = OWNER_POLICY.replace("2012-10-17", "2008-10-17");
    let (code, said, _) = lint(&warned, &[]);
    assert_eq!(code, 0);
    assert!(said.ends_with("0 errors, 1 warning\n"), "{said}");
    assert_eq!(lint(&warned, &["--deny-warnings"]).0, 1);
    let wrong = OWNER_POLICY.replace("\"Allow\", \"Action\": \"glacier:*\"", "\"Alow\"");
    let (code, said, _) = lint(&wrong, &[]);
    assert_eq!(code, 1);
    assert!(said.ends_with("2 errors, 0 warnings\n"), "{said}");
    let (code, said, _) = self::policy(&["lint", file.to_str().unwrap()], "");
    assert_eq!(code, 1);
    assert!(said.ends_with("2 errors, 0 warnings\n"), "{said}");

    let absent = directory.path().join("absent");
    for format in ["human", "json", "sarif"] {
        let arguments = ["lint", absent.to_str().unwrap(), "--format", format];
        let (code, said, complaint) = self::policy(&arguments, "");
        assert_eq!((code, &*said), (64, ""), "{format}");
        assert!(complaint.contains("absent"), "{complaint}");
    }
    let (_, help, _) = self::policy(&["lint", "--help"], "");
    for status in ["   0  ", "   1  ", "  64  "] {
        assert!(help.contains(status), "{help}");
    }
}

#[test]
fn sarif_names_files_as_seen_from_the_working_directory() {
    let directory = tempfile::TempDir::new().unwrap();
    let here = directory.path().canonicalize().unwrap();
    let teams = here.join("our policies/teams");
    std::fs::create_dir_all(&teams).unwrap();
    let file = "our policies/teams/ö.json";
    std::fs::write(here.join(file), OWNER_POLICY.replace("2012-10-17", "2008-10-17")).unwrap();
    let encoded = "our%20policies/teams/%C3%B6.json";
    let uri = |from: &str, path: &str| {
        let output = Command::new(BINARY)
            .args(["policy", "lint", path, "--format", "sarif"])
            .current_dir(here.join(from))
            .output()
            .unwrap();
        let sarif: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let place = &sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
        place["artifactLocation"]["uri"].as_str().unwrap().to_owned()
    };
    let folder = here.join("our policies").to_str().unwrap().to_owned();
    for path in ["our policies", "./our policies/", &folder, file] {
        assert_eq!(uri("", path), encoded, "{path}");
    }
    assert_eq!(uri("our policies", "."), "teams/%C3%B6.json");
    assert_eq!(uri("our policies", "../our policies"), format!("../{encoded}"));
    let elsewhere = tempfile::TempDir::new().unwrap();
    let absolute = uri(elsewhere.path().to_str().unwrap(), &folder);
    assert!(absolute.starts_with("file:///") && absolute.ends_with(encoded), "{absolute}");
}

#[test]
fn a_simulation_refuses_actions_of_other_services() {
    let directory = tempfile::TempDir::new().unwrap();
    std::fs::create_dir_all(directory.path().join("teams")).unwrap();
    std::fs::write(directory.path().join("teams/owner.json"), OWNER_POLICY).unwrap();
    let folder = directory.path().to_str().unwrap();
    let vault = "arn:aws:glacier:eu-central-1:111122223333:vaults/own-a";
    let simulate = |action: &str| {
        let arguments = ["--team", "owner", "--resource", vault, "--action", action];
        policy(&[&["simulate", folder], &arguments[..]].concat(), "")
    };
    for action in ["ListParts", "glacier:ListParts", "Glacier:listparts"] {
        let (code, said, _) = simulate(action);
        assert_eq!(code, 0);
        assert!(said.contains("glacier:ListParts"), "{said}");
    }
    for action in ["s3:ListParts", "gateway:ListParts", "gateway:SimulateAccess", "ListPart"] {
        let (code, said, complaint) = simulate(action);
        assert_eq!((code, &*said), (2, ""), "{action}");
        assert!(complaint.contains("the gateway performs only glacier:"), "{complaint}");
    }
}

#[test]
fn a_batch_is_answered_line_by_line_and_a_misspelt_member_by_its_name() {
    let case = |member: &str| {
        format!(
            r#"{{"id":"{member}","policies":[{OWNER_POLICY}],"{member}":[],"request":{{"principal":"p","action":"glacier:ListVaults","resource":"*"}}}}"#
        )
        .replace('\n', " ")
            + "\n"
    };
    let input = case("vaultPolicies") + &case("guardrail") + &case("guardrails");
    let (code, said, _) = policy(&["simulate", "--jsonl"], &input);
    assert_eq!(code, 0);
    let [first, second, third] = &said.lines().collect::<Vec<_>>()[..] else { panic!("{said}") };
    assert!(first.starts_with(r#"{"id":"vaultPolicies","decision":"allowed""#), "{first}");
    assert!(second.starts_with(r#"{"id":"guardrail","error":""#), "{second}");
    assert!(second.contains("unknown field `guardrail`"), "{second}");
    assert!(third.starts_with(r#"{"id":"guardrails","decision":"allowed""#), "{third}");
}

#[test]
fn a_simulation_refuses_a_context_key_that_there_is_not() {
    let directory = tempfile::TempDir::new().unwrap();
    std::fs::create_dir_all(directory.path().join("teams")).unwrap();
    std::fs::write(directory.path().join("teams/owner.json"), OWNER_POLICY).unwrap();
    let folder = directory.path().to_str().unwrap();
    let arguments = ["simulate", folder, "--team", "owner", "--resource"];
    let vault = ["arn:aws:glacier:eu-central-1:111122223333:vaults/own-a", "--context"];
    for (context, complaint) in [
        ("gateway:DryRnu=true", "did you mean \"gateway:DryRun\"?"),
        ("jwt:Roles={\"a\":1}", "the value of \"jwt:Roles\" must be"),
    ] {
        let (code, said, told) = policy(&[&arguments[..], &vault, &[context]].concat(), "");
        assert_eq!((code, &*said), (64, ""));
        assert!(told.contains(complaint), "{told}");
    }
    let twice = ["aws:SourceIp=10.0.0.1", "--context", "aws:SourceIP=10.0.0.2"];
    let (code, _, told) = policy(&[&arguments[..], &vault, &twice].concat(), "");
    assert_eq!(code, 64);
    assert!(told.contains("\"aws:SourceIP\" is given twice"), "{told}");
}
