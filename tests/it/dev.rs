//! `dev`: what a newcomer gets.

use std::os::unix::fs::PermissionsExt as _;

use reqwest::Method;
use serde_json::Value;

use crate::support::{Dev, client, problem};

#[tokio::test]
async fn dev_prints_everything_that_a_script_needs_on_one_line() {
    let dev = Dev::start(&["--json"]);
    let facts = dev.process.event(|facts| facts["rest"].is_string());
    for key in ["rest", "management", "docs", "openapi"] {
        assert!(facts[key].as_str().unwrap().starts_with("http://127.0.0.1:"), "{key}");
    }
    for key in ["endpoint", "region", "accountId", "accessKeyId", "secretAccessKey"] {
        assert!(facts["simulator"][key].is_string(), "{key}");
    }
    assert_eq!(facts["door"], format!("{}/glacier", facts["rest"].as_str().unwrap()));
    for team in ["media", "finance", "auditors"] {
        for half in ["accessKeyId", "secretAccessKey"] {
            assert!(facts["keys"][team][half].is_string(), "{team} {half}");
        }
    }
    assert_eq!(dev.process.all_lines().len(), 1);

    let vault = &facts["vaults"][0];
    let upload = &vault["uploads"][0];
    assert!(upload["archiveDescription"].is_string() && upload["creationDate"].is_string());
    let uploads = format!(
        "{}/v1/accounts/-/vaults/{}/multipart-uploads",
        facts["rest"].as_str().unwrap(),
        vault["name"].as_str().unwrap()
    );
    let one = format!("{uploads}/{}", upload["uploadId"].as_str().unwrap());
    let call = async |team: &str, method: Method, url: &str| {
        let token = facts["tokens"][team].as_str().unwrap();
        client().request(method, url).bearer_auth(token).send().await.unwrap()
    };

    let (status, body) = problem(call("finance", Method::DELETE, &one).await).await;
    assert_eq!((status, &body["reason"]), (403, &"implicitDeny".into()));
    let (status, body) = problem(call("auditors", Method::DELETE, &one).await).await;
    assert_eq!((status, &body["reason"]), (403, &"explicitDeny".into()));
    assert_eq!(call("media", Method::DELETE, &one).await.status(), 204);
    let left: Value = call("media", Method::GET, &uploads).await.json().await.unwrap();
    assert!(!left.to_string().contains(upload["uploadId"].as_str().unwrap()));
    assert_eq!(
        left["uploads"].as_array().unwrap().len(),
        vault["uploads"].as_array().unwrap().len() - 1
    );
}

#[test]
fn the_lines_that_dev_prints_do_what_it_says_and_show_no_secret() {
    let dev = Dev::start(&[]);
    dev.process.line(|line| line.contains("Press Ctrl-C").then_some(()));
    let lines = dev.process.all_lines();
    let starting = |start: &str| -> Vec<&String> {
        lines.iter().filter(|line| line.starts_with(start)).collect()
    };
    let [load] = starting(". ")[..] else { panic!("{lines:?}") };
    let file = std::path::Path::new(load.trim_start_matches(". "));
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(file), mode(file.parent().unwrap())), (0o600, 0o700));
    let variables = std::fs::read_to_string(file).unwrap();
    assert!(variables.lines().any(|line| line.starts_with("export MEDIA='eyJ")));
    for line in variables.lines().filter(|line| !line.starts_with("export GATEWAY_URL=")) {
        let secret = line.split('\'').nth(1).unwrap();
        assert!(!lines.iter().any(|printed| printed.contains(secret)), "{line}");
    }

    let run = |line: &str| {
        let script = format!("{load}\n{line}");
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let [abort, denied, list, accounts, other, recorded] = starting("curl ")[..] else {
        panic!("{lines:?}")
    };
    assert!(run(abort).starts_with("HTTP/1.1 204"));
    let denied = run(denied);
    assert!(denied.starts_with("HTTP/1.1 403") && denied.contains("not-authorized"), "{denied}");
    let list = run(list);
    assert!(list.starts_with("HTTP/1.1 200") && list.contains("archiveDescription"), "{list}");
    let accounts = run(accounts);
    for account in ["111122223333", "444455556666"] {
        assert!(accounts.starts_with("HTTP/1.1 200") && accounts.contains(account), "{accounts}");
    }
    let other = run(other);
    assert!(other.starts_with("HTTP/1.1 200") && other.contains("444455556666"), "{other}");
    let recorded = run(recorded);
    assert!(recorded.starts_with("HTTP/1.1 200") && recorded.contains("aborted"), "{recorded}");
    let [aws] = starting("AWS_ACCESS_KEY_ID=$MEDIA_ACCESS_KEY_ID ")[..] else {
        panic!("{lines:?}")
    };
    let [probe] = starting("AWS_ACCESS_KEY_ID=$SIMULATOR_ACCESS_KEY_ID ")[..] else {
        panic!("{lines:?}")
    };
    let said = run(probe);
    assert!(said.contains("archive (444455556666): the role can be assumed"), "{said}");
    assert!(aws.contains("--endpoint-url http://127.0.0.1:"), "{aws}");
}

#[test]
fn audit_verify_names_the_record_that_the_readme_changes() {
    let dev = Dev::start(&[]);
    dev.process.line(|line| line.contains("Press Ctrl-C").then_some(()));
    let lines = dev.process.all_lines();
    let find = |part: &str| lines.iter().find(|line| line.contains(part)).unwrap();
    let run = |line: &str| {
        let script = format!("{}\n{line}", find("/environment"));
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    };
    assert!(run(find(" -X DELETE ")).1.starts_with("HTTP/1.1 204"));
    let verify = find(" audit verify");
    let (code, told) = run(verify);
    assert!(code == Some(0) && told.contains("the trail holds"), "{told}");

    let readme = include_str!("../../README.md");
    let sql = readme.split_once("store.db \"").unwrap().1.split_once('"').unwrap().0;
    let (_, config) = run("printf %s $GATEWAY_CONFIG");
    let store = config.replace("gateway.toml", "store.db");
    let store = rusqlite::Connection::open(store).unwrap();
    assert_eq!(store.execute(sql, []), Ok(1));
    let intent = "SELECT position & ((1 << 40) - 1) FROM audit_entry WHERE kind = 1";
    let intent: i64 = store.query_row(intent, [], |row| row.get(0)).unwrap();
    let (code, told) = run(verify);
    assert!(
        code == Some(1) && told.contains(&format!("record {intent}: it was changed")),
        "{told}"
    );
}

#[test]
fn the_readme_cleans_ten_thousand_uploads_up_in_five_commands() {
    let dev = Dev::start(&[]);
    dev.process.line(|line| line.contains("Press Ctrl-C").then_some(()));
    let lines = dev.process.all_lines();
    let load = lines.iter().find(|line| line.starts_with(". ")).unwrap();
    let readme = include_str!("../../README.md");
    let section = readme.split_once("## Clean up\n").unwrap().1.split_once("\n## ").unwrap().0;
    let blocks = section.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    let commands: Vec<&str> =
        blocks.flat_map(str::lines).filter_map(|line| line.strip_prefix("$ ")).collect();
    // With the line that sets the variables there are five until nothing is left.
    assert_eq!(commands.len(), 5, "{commands:?}");
    let folder = tempfile::TempDir::new().unwrap();
    let script = format!("set -e\n{load}\n{}", commands.join("\n"));
    let script = script.replace("cargo run --quiet --", crate::support::BINARY);
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let aside = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{aside}");
    assert!(aside.contains("found 10,000 uploads in 1 vault, with"), "{aside}");
    assert!(told.contains("completed: 10,000 aborted\n"), "{told}");
    assert!(told.contains("\"mode\":\"report\""), "{told}");
    let report = std::fs::read_to_string(folder.path().join("uploads.csv")).unwrap();
    assert_eq!(report.lines().count(), 10_001);
    assert_eq!(report.matches(",waiting,").count(), 10_000);
    let list = "curl -s -H \"Authorization: Bearer $MEDIA\" \
                $GATEWAY_URL/v1/accounts/-/vaults/media-backlog/multipart-uploads";
    let script = format!("{load}\n{list}");
    let left = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    let left: Value = serde_json::from_slice(&left.stdout).unwrap();
    assert_eq!(left["uploads"], serde_json::json!([]));
}

#[test]
fn ctrl_c_stops_dev_cleanly() {
    let mut dev = Dev::start(&["--json"]);
    let facts = dev.process.event(|facts| facts["policies"].is_string());
    dev.process.signal("INT");
    let status = dev.process.child.wait().unwrap();
    assert!(status.success(), "{status}");
    assert!(!std::path::Path::new(facts["policies"].as_str().unwrap()).exists());
}
