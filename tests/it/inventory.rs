//! The inventory: runs, what they find, who sees it, and what becomes of a run whose gateway
//! ends. On both kinds of store where the store matters.

use std::{collections::BTreeSet, fs, time::Duration};

use aws_credential_types::Credentials;
use aws_sdk_glacier::{
    Client,
    config::{BehaviorVersion, Region},
};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    jobs::stored_in,
    support::{ACCOUNT, BINARY, Gateway, REGION, client, problem, uploads},
    trail,
};

const MEDIA: &str = "444455556666";
const ACCOUNTS: &str = "[accounts.media]\nid = \"444455556666\"\nregions = [\"eu-central-1\"]\n\
    role_arn = \"arn:aws:iam::444455556666:role/glacier\"\nexternal_id = \"an-external-id\"\n";
const ROLE: &str = "arn:aws:iam::444455556666:role/glacier#an-external-id";
const INVENTORY: &str = "[inventory]\npace = 500\n";

/// What `owner` may do beside its own vaults, what `viewer` may see of them, and what the
/// schedule may do in the name of `robots`.
const POLICIES: [(&str, &str); 3] = [
    (
        "owner/inventory.json",
        r#"{"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": ["gateway:StartInventoryRun", "gateway:GetInventory"],
             "Resource": "*"},
            {"Effect": "Allow", "Action": "glacier:*",
             "Resource": "arn:aws:glacier:eu-central-1:444455556666:vaults/own-*"}]}"#,
    ),
    (
        "viewer.json",
        r#"{"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "gateway:GetInventory",
             "Resource": "arn:aws:glacier-gateway:::account/111122223333"},
            {"Effect": "Allow", "Action": "glacier:ListMultipartUploads",
             "Resource": "arn:aws:glacier:eu-central-1:111122223333:vaults/own-a"}]}"#,
    ),
    (
        "robots.json",
        r#"{"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": ["glacier:ListVaults", "glacier:ListMultipartUploads"],
             "Resource": "*"}]}"#,
    ),
];

/// Runs the test once for each kind of store.
macro_rules! on_both {
    ($(async fn $name:ident($store:ident: &str) $body:block)*) => {
        $(mod $name {
            use super::*;
            async fn case($store: &str) $body

            #[actix_web::test]
            async fn sqlite() {
                case("[store]\nurl = \"sqlite:DIRECTORY/store.db\"\n").await;
            }

            #[actix_web::test]
            async fn postgres() {
                case(&postgres_store().await).await;
            }
        })*
    };
}

/// A new database of the shared server.
async fn postgres_store() -> String {
    let cluster = Cluster::shared();
    stored_in(cluster, &cluster.database().await)
}

/// A gateway with these settings and the policies above.
fn gateway(settings: &str) -> Gateway {
    let mut gateway = Gateway::with(settings, &["--role", ROLE]);
    stop(&mut gateway);
    for (file, policy) in POLICIES {
        let file = gateway.directory.path().join("policies/teams").join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, policy).unwrap();
    }
    gateway.restarted()
}

/// Another replica, with the same Glacier behind it.
fn beside(first: &Gateway, settings: &str) -> Gateway {
    let mut second = gateway(settings);
    stop(&mut second);
    let endpoint = first.simulator.endpoint.as_str();
    second.with_environment(&[
        ("GATEWAY__AWS__ENDPOINT_URL", endpoint),
        ("GATEWAY__AWS__STS_ENDPOINT_URL", endpoint),
    ])
}

fn stop(gateway: &mut Gateway) {
    gateway.process.child.kill().unwrap();
    gateway.process.child.wait().unwrap();
}

/// Creates a vault with an upload for each description, two days old, with two parts.
async fn seed(gateway: &Gateway, account: &str, vault: &str, descriptions: &[&str]) -> Vec<String> {
    let uploads: Vec<Value> = descriptions
        .iter()
        .map(|text| json!({"archiveDescription": text, "parts": 2, "ageSeconds": 2 * 86_400}))
        .collect();
    let seed =
        json!({"accountId": account, "region": REGION, "vaultName": vault, "uploads": uploads});
    let reply = gateway.simulator.order(Method::POST, "/vaults", &seed).await;
    let reply: Value = reply.json().await.unwrap();
    serde_json::from_value(reply["uploadIds"].clone()).unwrap()
}

async fn post(gateway: &Gateway, team: &str, run: &Value) -> Response {
    let url = format!("{}/v1/inventory-runs", gateway.rest);
    client().post(url).bearer_auth(gateway.key.token(team)).json(run).send().await.unwrap()
}

/// Asks for a run in the name of `owner`, and gives its path.
async fn start(gateway: &Gateway, run: Value) -> String {
    let reply = post(gateway, "owner", &run).await;
    assert_eq!(reply.status(), 202);
    let path = reply.headers()["location"].to_str().unwrap().to_owned();
    let run: Value = reply.json().await.unwrap();
    assert_eq!(path, format!("/v1/inventory-runs/{}", run["runId"].as_str().unwrap()));
    path
}

async fn get(gateway: &Gateway, team: &str, path: &str) -> Value {
    let reply = gateway.call(team, Method::GET, path).await;
    assert_eq!(reply.status(), 200, "{path}");
    reply.json().await.unwrap()
}

/// Waits until `found` gives something.
async fn until<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..1_200 {
        if let Some(found) = found().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{what}: never came true");
}

/// The run once it is done.
async fn done(gateway: &Gateway, path: &str) -> Value {
    until("the run is done", async || {
        let run = get(gateway, "owner", path).await;
        (!run["finished"].is_null()).then_some(run)
    })
    .await
}

/// Has everything looked through.
async fn look(gateway: &Gateway, run: Value) -> Value {
    done(gateway, &start(gateway, run).await).await
}

/// The IDs of the uploads in a state, as `owner` sees them.
async fn in_state(gateway: &Gateway, state: &str) -> BTreeSet<String> {
    let page = get(gateway, "owner", &format!("/v1/inventory/uploads?state={state}")).await;
    let uploads = page["uploads"].as_array().unwrap();
    uploads.iter().map(|upload| upload["uploadId"].as_str().unwrap().to_owned()).collect()
}

/// How often the simulator was asked for the uploads of a vault.
async fn listed(gateway: &Gateway, vault: &str) -> usize {
    let requests = gateway.simulator.requests().await;
    let list = |request: &&Value| {
        let path = request["target"].as_str().unwrap().split('?').next().unwrap();
        path.ends_with(&format!("/vaults/{vault}/multipart-uploads"))
    };
    requests.iter().filter(list).count()
}

on_both! {
    async fn a_run_finds_all_uploads_and_each_caller_sees_what_it_may(store: &str) {
        let gateway = gateway(&format!("{ACCOUNTS}{store}{INVENTORY}"));
        let names: Vec<String> = (0..120).map(|n| format!("upload {n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        seed(&gateway, ACCOUNT, "own-a", &names).await;
        seed(&gateway, ACCOUNT, "own-b", &["=1+1"]).await;
        seed(&gateway, MEDIA, "own-c", &[]).await;
        seed(&gateway, MEDIA, "others", &["x"]).await;

        let run = look(&gateway, json!({})).await;
        assert_eq!(run["state"], "incomplete", "{run}");
        let counts = json!({"crawled": 3, "denied": 1, "failed": 0, "uploads": 121});
        assert_eq!(run["counts"], counts);
        assert_eq!(run["lanes"].as_array().unwrap().len(), 2);
        assert_eq!((&run["subject"], &run["detail"]), (&json!("owner-service"), &json!("uploads")));

        let page = get(&gateway, "owner", "/v1/inventory").await;
        let rows = page["rows"].as_array().unwrap();
        let vaults: Vec<_> = rows.iter().map(|row| row["vaultName"].as_str().unwrap()).collect();
        assert_eq!(vaults, ["own-a", "own-b", "own-c"]);
        assert_eq!(rows[0]["accountName"], "default");
        assert_eq!(rows[2]["accountName"], "media");
        assert_eq!((&rows[0]["uploads"], &rows[2]["uploads"]), (&json!(120), &json!(0)));
        let ages = json!({"days1": 120, "days7": 0, "days30": 0, "days90": 0, "days365": 0});
        assert_eq!(rows[0]["atLeast"], ages);
        assert!(rows.iter().all(|row| row["asOf"].is_string()));
        assert_eq!(page["totals"]["uploads"], 121);
        assert_eq!((&page["totals"]["bytes"], &page["marker"]), (&Value::Null, &Value::Null));

        // Page by page, and summed up.
        let first = get(&gateway, "owner", "/v1/inventory?limit=2").await;
        assert_eq!(first["totals"]["uploads"], 121, "of the rows that are shown");
        let marker = first["marker"].as_str().unwrap();
        let second = get(&gateway, "owner", &format!("/v1/inventory?limit=2&marker={marker}")).await;
        assert_eq!(second["rows"].as_array().unwrap().len(), 1);
        assert_eq!((&second["totals"]["uploads"], &second["marker"]), (&json!(0), &Value::Null));
        for group in ["account", "region"] {
            let mut path = format!("/v1/inventory?groupBy={group}&limit=1");
            let page = get(&gateway, "owner", &path).await;
            assert_eq!((&page["rows"][0]["uploads"], page["rows"].as_array().unwrap().len()), (&json!(121), 1));
            path += &format!("&marker={}", page["marker"].as_str().unwrap());
            let page = get(&gateway, "owner", &path).await;
            assert_eq!((&page["rows"][0]["accountId"], &page["marker"]), (&json!(MEDIA), &Value::Null));
        }
        let page = get(&gateway, "owner", "/v1/inventory?account=med*&vault=own-?").await;
        assert_eq!(page["rows"].as_array().unwrap().len(), 1);

        // Another caller sees one vault of one account, and no account that it may not see.
        let page = get(&gateway, "viewer", "/v1/inventory").await;
        assert_eq!((&page["rows"][0]["vaultName"], page["rows"].as_array().unwrap().len()), (&json!("own-a"), 1));
        assert_eq!(page["totals"]["uploads"], 120);
        let path = format!("/v1/inventory-runs/{}", run["runId"].as_str().unwrap());
        let seen = get(&gateway, "viewer", &path).await;
        assert_eq!(seen["lanes"].as_array().unwrap().len(), 1);
        assert_eq!(seen["counts"]["denied"], 0, "that was in another account");
        let (status, body) =
            problem(gateway.call("viewer", Method::GET, "/v1/inventory?account=media").await).await;
        assert_eq!((status, &body["code"]), (403, &json!("not-authorized")));
        let (status, _) = problem(post(&gateway, "viewer", &json!({})).await).await;
        assert_eq!(status, 403);

        // All uploads, page by page.
        let (mut path, mut seen) = ("/v1/inventory/uploads?limit=50".to_owned(), BTreeSet::new());
        loop {
            let page = get(&gateway, "owner", &path).await;
            for upload in page["uploads"].as_array().unwrap() {
                assert!(upload["asOf"].is_string() && upload["parts"].is_null());
                assert!(seen.insert(upload["uploadId"].as_str().unwrap().to_owned()));
            }
            let Some(marker) = page["marker"].as_str() else { break };
            path = format!("/v1/inventory/uploads?limit=50&marker={marker}");
        }
        assert_eq!(seen.len(), 121);
        for (filter, expected) in [
            ("descriptionMatches=upload%201?", 10),
            ("initiatedBefore=2020-01-01T00:00:00Z", 0),
            ("minBytes=1", 0),
            ("vault=own-b", 1),
        ] {
            let page = get(&gateway, "owner", &format!("/v1/inventory/uploads?{filter}")).await;
            assert_eq!(page["uploads"].as_array().unwrap().len(), expected, "{filter}");
        }

        // The metrics of each place.
        let page = until("the metrics know", async || {
            let url = format!("{}/metrics", gateway.management);
            let page = client().get(url).send().await.unwrap().text().await.unwrap();
            page.contains("inventory_uploads{").then_some(page)
        })
        .await;
        let place = r#"{account="default",region="eu-central-1""#;
        for line in [
            format!("glacier_gateway_inventory_uploads{place}}} 121"),
            format!("glacier_gateway_inventory_stale_uploads{place},days=\"1\"}} 121"),
            format!("glacier_gateway_inventory_stale_uploads{place},days=\"7\"}} 0"),
            format!("glacier_gateway_inventory_upload_bytes{place}}} 0"),
        ] {
            assert!(page.contains(&line), "{line}: {page}");
        }
        assert!(page.contains("inventory_as_of_timestamp_seconds{"));
        assert!(page.contains("inventory_oldest_upload_timestamp_seconds{"));
    }

    async fn an_upload_is_gone_after_two_complete_looks_or_when_glacier_says_so(store: &str) {
        let gateway = gateway(&format!("{ACCOUNTS}{store}{INVENTORY}"));
        let ids = seed(&gateway, ACCOUNT, "own-a", &["stays", "vanishes", "ours", "sized"]).await;
        look(&gateway, json!({"vaults": ["own-a"]})).await;
        abort_elsewhere(&gateway, &ids[1]).await;
        let path = format!("{}/{}", uploads("own-a"), ids[2]);
        assert_eq!(gateway.call("owner", Method::DELETE, &path).await.status(), 204);

        // A look that is denied, or breaks off, says nothing of what it did not see.
        let broken = json!({"operation": "ListMultipartUploads", "effect": "bare"});
        gateway.simulator.fault(broken).await;
        let run = look(&gateway, json!({"vaults": ["own-*"]})).await;
        assert_eq!(run["failedVaults"][0]["error"], "glacier-invalid-response");
        gateway.simulator.order(Method::DELETE, "/faults", &Value::Null).await;
        // What the gateway itself has aborted is gone: Glacier has said so.
        assert_eq!(in_state(&gateway, "gone").await, BTreeSet::from([ids[2].clone()]));
        assert_eq!(in_state(&gateway, "missing").await, BTreeSet::new());

        look(&gateway, json!({"vaults": ["own-a"]})).await;
        assert_eq!(in_state(&gateway, "missing").await, BTreeSet::from([ids[1].clone()]));
        look(&gateway, json!({"vaults": ["own-a"]})).await;
        assert_eq!(in_state(&gateway, "gone").await, [ids[1].clone(), ids[2].clone()].into());
        assert_eq!(in_state(&gateway, "present").await, [ids[0].clone(), ids[3].clone()].into());
        let page = get(&gateway, "owner", "/v1/inventory/uploads?state=gone").await;
        for upload in page["uploads"].as_array().unwrap() {
            let ours = upload["uploadId"] == *ids[2];
            assert_eq!(upload["abortAsked"].is_string(), ours);
        }
        // Only the other one tells how long uploads live here.
        let page = get(&gateway, "owner", "/v1/inventory").await;
        let gone = &page["totals"]["gone"];
        assert_eq!((&gone["uploads"], &gone["atLeast"]["days1"]), (&json!(1), &json!(1)));
        assert_eq!((&gone["atLeast"]["days7"], &page["totals"]["uploads"]), (&json!(0), &json!(2)));

        // Glacier answers 404 for one of those that it has just listed.
        let gone = json!({"error": {"status": 404, "code": "ResourceNotFoundException",
            "message": "The upload ID was not found: x"}});
        let fault = json!({"operation": "ListParts", "uploadId": ids[3], "effect": gone});
        gateway.simulator.fault(fault).await;
        look(&gateway, json!({"vaults": ["own-a"], "detail": "sizes"})).await;
        assert_eq!(in_state(&gateway, "present").await, BTreeSet::from([ids[0].clone()]));

        // The vault itself is gone.
        let gone = json!({"error": {"status": 404, "code": "ResourceNotFoundException",
            "message": "Vault not found for ARN: x"}});
        gateway.simulator.fault(json!({"operation": "ListMultipartUploads", "effect": gone})).await;
        look(&gateway, json!({"vaults": ["own-a"]})).await;
        assert_eq!(in_state(&gateway, "present").await, BTreeSet::new());
        assert_eq!(in_state(&gateway, "gone").await.len(), 4);
    }

    async fn sizes_are_those_of_the_parts_and_shown_to_who_may_list_them(store: &str) {
        let gateway = gateway(&format!("{ACCOUNTS}{store}{INVENTORY}"));
        seed(&gateway, ACCOUNT, "own-a", &["-1", "@x", "plain, \"quoted\""]).await;
        let run = look(&gateway, json!({"accounts": ["-"], "detail": "sizes"})).await;
        assert_eq!((&run["state"], &run["detail"]), (&json!("completed"), &json!("sizes")));
        let page = get(&gateway, "owner", "/v1/inventory").await;
        let totals = &page["totals"];
        assert_eq!((&totals["sizedUploads"], &totals["bytes"]), (&json!(3), &json!(6 << 20)));
        let page = get(&gateway, "viewer", "/v1/inventory").await;
        let totals = &page["totals"];
        assert_eq!((&totals["sizedUploads"], &totals["bytes"]), (&json!(0), &Value::Null));
        let page = get(&gateway, "owner", "/v1/inventory/uploads?minBytes=2097152").await;
        let upload = &page["uploads"][0];
        assert_eq!((&upload["parts"], &upload["bytes"]), (&json!(2), &json!(2 << 20)));
        let changed = upload["changed"].clone();
        assert!(changed.is_string() && upload["observed"].is_string());
        let page = get(&gateway, "viewer", "/v1/inventory/uploads").await;
        let upload = &page["uploads"][0];
        assert_eq!((&upload["parts"], &upload["changed"]), (&Value::Null, &Value::Null));

        // Another look that finds the same parts changes nothing of that.
        look(&gateway, json!({"detail": "sizes"})).await;
        let page = get(&gateway, "owner", "/v1/inventory/uploads").await;
        assert_eq!(page["uploads"][0]["changed"], changed);

        let csv = async |path: &str| {
            let url = format!("{}{path}", gateway.rest);
            let request = client().get(url).bearer_auth(gateway.key.token("owner"));
            let reply = request.header("accept", "text/csv").send().await.unwrap();
            let kind = reply.headers()["content-type"].to_str().unwrap();
            assert!(kind.starts_with("text/csv"), "{kind}");
            let link = reply.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
            (reply.text().await.unwrap(), link)
        };
        let (text, link) = csv("/v1/inventory/uploads").await;
        assert!(text.contains(",'-1,") && text.contains(",'@x,"), "{text}");
        assert!(text.contains(",\"plain, \"\"quoted\"\"\",1048576,2,2097152,"), "{text}");
        assert_eq!((text.lines().count(), link), (4, None));
        let (text, link) = csv("/v1/inventory/uploads?limit=2").await;
        assert_eq!(text.lines().count(), 3);
        let link = link.unwrap();
        let next = link.strip_prefix('<').unwrap().split_once('>').unwrap().0;
        assert_eq!(csv(next).await.0.lines().count(), 2);
        let (text, _) = csv("/v1/inventory").await;
        let row = text.lines().nth(1).unwrap();
        assert!(row.starts_with("111122223333,default,eu-central-1,own-a,20"), "{row}");
        assert!(row.contains(",3,3,0,0,0,0,20") && row.contains(",3,6291456,0,0,0,0,0,0"), "{row}");
    }

    async fn a_run_goes_on_where_a_killed_gateway_left_off(store: &str) {
        let mut gateway = gateway(&format!("{ACCOUNTS}{store}[inventory]\npace = 20\n"));
        let names: Vec<&str> = (0..1000).map(|_| "x").collect();
        seed(&gateway, ACCOUNT, "own-a", &names).await;
        for n in 0..9 {
            seed(&gateway, ACCOUNT, &format!("own-{n}"), &["x"]).await;
        }
        let path = start(&gateway, json!({"accounts": ["-"]})).await;
        until("some pages are listed", async || {
            (listed(&gateway, "own-a").await >= 8).then_some(())
        })
        .await;
        stop(&mut gateway);
        let before = listed(&gateway, "own-a").await;
        let gateway = gateway.restarted();
        let run = done(&gateway, &path).await;
        assert_eq!((&run["state"], &run["counts"]["uploads"]), (&json!("completed"), &json!(1009)));
        let again = listed(&gateway, "own-a").await - before;
        // Of the pages of 50 those are listed again whose record was under way.
        assert!(again <= 20 - before + 2, "{again} pages after {before}");
        assert_eq!(in_state(&gateway, "missing").await, BTreeSet::new());
    }
}

/// Aborts an upload past the gateway.
async fn abort_elsewhere(gateway: &Gateway, id: &str) {
    let keys = Credentials::new(
        "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        None,
        None,
        "test",
    );
    let config = aws_sdk_glacier::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .endpoint_url(&gateway.simulator.endpoint)
        .credentials_provider(keys)
        .build();
    let call = Client::from_conf(config).abort_multipart_upload();
    call.account_id(ACCOUNT).vault_name("own-a").upload_id(id).send().await.unwrap();
}

#[actix_web::test]
async fn vaults_that_answer_nonsense_and_broken_accounts_hurt_only_themselves() {
    let settings = format!("{ACCOUNTS}[store]\nurl = \"sqlite:DIRECTORY/store.db\"\n{INVENTORY}");
    let gateway = gateway(&settings);
    for vault in ["own-a", "own-bare", "own-cut", "own-html", "own-round", "own-silent"] {
        seed(&gateway, ACCOUNT, vault, &["x"; 60]).await;
    }
    seed(&gateway, MEDIA, "own-c", &["x"]).await;
    look(&gateway, json!({})).await;
    let effects = [
        ("own-bare", json!("bare")),
        ("own-cut", json!("truncate")),
        ("own-html", json!({"notJson": {"status": 502}})),
        ("own-silent", json!("hang")),
    ];
    for (vault, effect) in effects {
        let fault =
            json!({"operation": "ListMultipartUploads", "vaultName": vault, "effect": effect});
        gateway.simulator.fault(fault).await;
    }
    let refused =
        json!({"error": {"status": 403, "code": "AccessDeniedException", "message": "no"}});
    let fault = json!({"operation": "ListVaults", "accountId": MEDIA, "effect": refused});
    gateway.simulator.fault(fault).await;
    let run = look(&gateway, json!({})).await;
    assert_eq!(run["state"], "incomplete");
    let counts = json!({"crawled": 2, "denied": 0, "failed": 4, "uploads": 120});
    assert_eq!(run["counts"], counts, "{run}");
    let failed: Vec<_> = run["failedVaults"].as_array().unwrap().iter().collect();
    let failed: Vec<_> = failed.iter().map(|v| v["vaultName"].as_str().unwrap()).collect();
    assert_eq!(failed, ["own-bare", "own-cut", "own-html", "own-silent"]);
    let lanes = run["lanes"].as_array().unwrap();
    assert_eq!(lanes[0]["state"], "completed");
    assert_eq!(lanes[1]["state"], "failed");
    assert_eq!(lanes[1]["error"], "gateway-not-authorized-upstream");
    // What was known stays, and is as old as it is.
    let page = get(&gateway, "owner", "/v1/inventory").await;
    let rows = page["rows"].as_array().unwrap();
    assert_eq!((rows.len(), &page["totals"]["uploads"]), (7, &json!(361)));
    assert!(rows[1]["asOf"].as_str() < rows[0]["asOf"].as_str(), "{page}");
    assert_eq!(in_state(&gateway, "missing").await, BTreeSet::new());
}

#[actix_web::test]
async fn an_account_that_is_throttled_is_asked_more_slowly_until_all_is_seen() {
    let settings = format!("[store]\nurl = \"sqlite:DIRECTORY/store.db\"\n{INVENTORY}");
    let gateway = gateway(&settings);
    for n in 0..20 {
        seed(&gateway, ACCOUNT, &format!("own-{n}"), &["x"]).await;
    }
    gateway.simulator.fault(json!({"effect": {"rateLimit": {"perSecond": 20}}})).await;
    let run = look(&gateway, json!({})).await;
    let counts = json!({"crawled": 20, "denied": 0, "failed": 0, "uploads": 20});
    assert_eq!((&run["state"], &run["counts"]), (&json!("completed"), &counts), "{run}");
}

#[actix_web::test]
async fn two_replicas_share_runs_and_one_finishes_what_the_other_began() {
    let store = postgres_store().await;
    let settings = format!("{ACCOUNTS}{store}[inventory]\npace = 10\n");
    let mut first = gateway(&settings);
    let second = beside(&first, &settings);
    let vaults: Vec<String> = (0..6).map(|n| format!("own-{n}")).collect();
    for account in [ACCOUNT, MEDIA] {
        for vault in &vaults {
            seed(&first, account, vault, &["x"; 60]).await;
        }
    }
    // However many replicas there are, each page is listed once: two of each vault.
    let run = look(&first, json!({})).await;
    assert_eq!((&run["state"], &run["counts"]["uploads"]), (&json!("completed"), &json!(720)));
    for vault in &vaults {
        assert_eq!(listed(&first, vault).await, 2 * 2, "{vault}");
    }
    first.simulator.order(Method::DELETE, "/requests", &Value::Null).await;
    let path = start(&first, json!({})).await;
    until("it is under way", async || (listed(&first, "own-0").await > 0).then_some(())).await;
    first.process.child.kill().unwrap();
    first.process.child.wait().unwrap();
    let run = done(&second, &path).await;
    assert_eq!((&run["state"], &run["counts"]["uploads"]), (&json!("completed"), &json!(720)));
    let page = second.call_with(&second.key.token("owner"), Method::GET, "/v1/inventory").await;
    let page: Value = page.json().await.unwrap();
    assert_eq!(page["totals"]["uploads"], 720);
}

#[actix_web::test]
async fn a_replica_that_stood_still_beyond_its_lease_changes_nothing_any_more() {
    let settings = format!("{}[inventory]\npace = 10\n", postgres_store().await);
    let first = gateway(&settings);
    for n in 0..6 {
        seed(&first, ACCOUNT, &format!("own-{n}"), &["x"; 120]).await;
    }
    let path = start(&first, json!({})).await;
    until("it is under way", async || (listed(&first, "own-0").await > 0).then_some(())).await;
    first.process.signal("STOP");
    let second = beside(&first, &settings);
    // The lease of the one that stands still has to end first.
    let run = done(&second, &path).await;
    assert_eq!((&run["state"], &run["counts"]["uploads"]), (&json!("completed"), &json!(720)));
    first.process.signal("CONT");
    let told = "an inventory run goes on later, or elsewhere";
    first.process.event(|line| line["message"] == told);
    assert_eq!(get(&second, "owner", &path).await, run);
    let run = done(&first, &start(&first, json!({})).await).await;
    assert_eq!(run["state"], "completed");
    assert_eq!(in_state(&second, "missing").await, BTreeSet::new());
}

#[actix_web::test]
async fn a_time_of_the_schedule_is_one_run_on_however_many_replicas() {
    let store = postgres_store().await;
    let schedule = "[inventory]\npace = 500\nschedule = \"* * * * * *\"\nteam = \"robots\"\n";
    let settings = format!("{store}{schedule}");
    let first = gateway(&settings);
    let second = beside(&first, &settings);
    seed(&first, ACCOUNT, "own-a", &["x"]).await;
    let runs = until("there are some", async || {
        let page = get(&second, "owner", "/v1/inventory-runs?limit=100").await;
        let runs = page["runs"].as_array().unwrap().clone();
        (runs.iter().filter(|run| run["counts"]["uploads"] == 1).count() >= 4).then_some(runs)
    })
    .await;
    let ticks: Vec<_> = runs.iter().map(|run| run["scheduled"].as_str().unwrap()).collect();
    assert_eq!(ticks.iter().collect::<BTreeSet<_>>().len(), ticks.len(), "{ticks:?}");
    let run = runs.iter().find(|run| run["counts"]["uploads"] == 1).unwrap();
    assert_eq!(
        (&run["issuer"], &run["subject"]),
        (&json!("gateway-services"), &json!("inventory"))
    );
}

#[actix_web::test]
async fn what_a_run_reads_is_counted_in_the_trail_under_its_creators_name() {
    let gateway = gateway(&format!("[store]\nurl = \"sqlite:DIRECTORY/store.db\"\n{INVENTORY}"));
    seed(&gateway, ACCOUNT, "own-a", &["x"; 120]).await;
    seed(&gateway, ACCOUNT, "others", &[]).await;
    let path = start(&gateway, json!({"vaults": ["*"]})).await;
    done(&gateway, &path).await;
    gateway.process.signal("TERM");
    let mut gateway = gateway;
    gateway.process.child.wait().unwrap();
    let entries = trail::entries(&gateway);
    let of = |name: &str| -> Vec<&Value> {
        entries.iter().filter(|entry| entry["eventName"] == name).collect()
    };
    let asked = of("StartInventoryRun")[0];
    assert_eq!((&asked["readOnly"], &asked["outcome"]), (&json!(false), &json!("ok")));
    let lists = of("ListMultipartUploads");
    assert_eq!(lists.len(), 2, "{lists:#?}");
    let counted = lists.iter().find(|entry| entry["eventType"] == "Counted").unwrap();
    assert_eq!((&counted["count"], &counted["door"]), (&json!(3), &json!("inventory")));
    assert_eq!(counted["userIdentity"]["subject"], "owner-service");
    let denied = lists.iter().find(|entry| entry["outcome"].is_null()).unwrap();
    assert_eq!(denied["decision"]["outcome"], "implicitDeny");
    assert!(path.ends_with(denied["requestID"].as_str().unwrap()));
    assert_eq!(of("ListVaults").len(), 1);
}

#[actix_web::test]
async fn what_is_gone_for_long_is_dropped() {
    let mut gateway =
        gateway(&format!("[store]\nurl = \"sqlite:DIRECTORY/store.db\"\n{INVENTORY}"));
    let ids = seed(&gateway, ACCOUNT, "own-a", &["a", "b", "c"]).await;
    look(&gateway, json!({})).await;
    for id in &ids[..2] {
        let path = format!("{}/{id}", uploads("own-a"));
        assert_eq!(gateway.call("owner", Method::DELETE, &path).await.status(), 204);
    }
    look(&gateway, json!({})).await;
    assert_eq!(in_state(&gateway, "gone").await.len(), 2);
    stop(&mut gateway);
    let store = rusqlite::Connection::open(gateway.directory.path().join("store.db")).unwrap();
    let older = |days: i64, upload: &str| {
        let sql = "UPDATE upload_seen SET gone = gone - ?1 * 86400000000 WHERE upload = ?2";
        store.execute(sql, rusqlite::params![days, upload]).unwrap();
    };
    older(179, &ids[0]);
    older(181, &ids[1]);
    drop(store);
    let gateway = gateway.restarted();
    let left = BTreeSet::from([ids[0].clone()]);
    until("it is dropped", async || (in_state(&gateway, "gone").await == left).then_some(())).await;
    assert_eq!(in_state(&gateway, "present").await, BTreeSet::from([ids[2].clone()]));
}

#[actix_web::test]
async fn without_a_store_there_is_no_inventory() {
    let gateway = gateway("");
    for path in ["/v1/inventory", "/v1/inventory/uploads", "/v1/inventory-runs"] {
        let (status, body) = problem(gateway.call("owner", Method::GET, path).await).await;
        assert_eq!((status, &body["code"]), (501, &json!("store-required")), "{path}");
    }
    let (status, body) = problem(post(&gateway, "owner", &json!({})).await).await;
    assert_eq!((status, &body["code"]), (501, &json!("store-required")));
}

#[actix_web::test]
async fn what_cannot_be_meant_is_refused_with_what_to_write() {
    let gateway = gateway(&format!("{ACCOUNTS}[store]\nurl = \"sqlite:DIRECTORY/store.db\"\n"));
    for (path, told) in [
        ("/v1/inventory?groupBy=team", "groupBy"),
        ("/v1/inventory?limit=1001", "limit"),
        ("/v1/inventory?marker=x", "marker"),
        ("/v1/inventory?account=", "account"),
        ("/v1/inventory/uploads?state=new", "state"),
        ("/v1/inventory/uploads?initiatedBefore=yesterday", "initiatedBefore"),
        ("/v1/inventory/uploads?minBytes=-1", "minBytes"),
        ("/v1/inventory-runs?marker=x", "marker"),
    ] {
        let (status, body) = problem(gateway.call("owner", Method::GET, path).await).await;
        assert_eq!((status, &body["code"]), (400, &json!("invalid-parameter")), "{path}");
        assert!(body["detail"].as_str().unwrap().contains(told), "{body}");
    }
    for (run, status, code) in [
        (json!({"vaults": [""]}), 400, "invalid-parameter"),
        (json!({"vault": ["a"]}), 400, "malformed-request"),
        (json!({"accounts": ["999999999999"]}), 404, "account-not-served"),
        (json!({"regions": ["us-east-1"]}), 404, "region-not-served"),
    ] {
        let (found, body) = problem(post(&gateway, "owner", &run).await).await;
        assert_eq!((found, &body["code"]), (status, &json!(code)), "{run}");
    }
    for id in ["019aae2e-1f5d-7c3e-9d56-0f8d1f6f2b1a", "x"] {
        let path = format!("/v1/inventory-runs/{id}");
        let (status, body) = problem(gateway.call("owner", Method::GET, &path).await).await;
        assert_eq!((status, &body["code"]), (404, &json!("inventory-run-not-found")));
    }
}

/// What `glacier-gateway inventory` does with a gateway, by a token in a file.
fn command(gateway: &Gateway, arguments: &[&str]) -> (bool, String) {
    let token = gateway.directory.path().join("token");
    fs::write(&token, gateway.key.token("owner") + "\n").unwrap();
    let mut command = std::process::Command::new(BINARY);
    command.arg("inventory").args(arguments).args(["--gateway", &gateway.rest, "--token-file"]);
    let output = command.arg(token).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.success(), said)
}

#[actix_web::test]
async fn the_command_line_looks_through_vaults_and_shows_what_is_there() {
    let gateway = gateway(&format!("[store]\nurl = \"sqlite:DIRECTORY/store.db\"\n{INVENTORY}"));
    seed(&gateway, ACCOUNT, "own-a", &["one", "two"]).await;
    let (good, said) = command(&gateway, &["run", "--sizes"]);
    assert!(good && said.contains("completed: 1 of 1 accounts and regions, 1 vaults"), "{said}");
    let (good, said) = command(&gateway, &["show"]);
    let row = said.lines().nth(1).unwrap();
    assert!(
        good && row.ends_with("default eu-central-1 own-a") && row.contains("4194304"),
        "{said}"
    );
    let (_, said) = command(&gateway, &["show", "--by", "account", "--json"]);
    let row: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&row["uploads"], &row["region"]), (&json!(2), &Value::Null));
    let (_, said) = command(&gateway, &["uploads", "--older-than", "1day", "--description", "t*"]);
    assert!(said.lines().count() == 1 && said.trim_end().ends_with("two"), "{said}");
    let (_, said) = command(&gateway, &["uploads", "--older-than", "7days"]);
    assert_eq!(said, "");

    // What is denied is no success, and neither is a gateway that refuses.
    seed(&gateway, ACCOUNT, "others", &[]).await;
    let (good, said) = command(&gateway, &["run", "--json"]);
    assert!(!good && said.contains("\"denied\":1"), "{said}");
    let (good, said) = command(&gateway, &["show", "--account", "nobody"]);
    assert!(good && said.lines().count() == 1, "{said}");
    let (good, said) = command(&gateway, &["run", "--region", "us-east-1"]);
    assert!(!good && said.contains("region-not-served"), "{said}");
    let output = std::process::Command::new(BINARY).args(["inventory", "show"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8(output.stderr).unwrap().contains("GATEWAY_TOKEN"));
}

#[actix_web::test]
async fn a_run_that_is_asked_for_twice_with_one_key_is_one() {
    for store in
        ["[store]\nurl = \"sqlite:DIRECTORY/store.db\"\n".to_owned(), postgres_store().await]
    {
        let gateway = gateway(&format!("{store}{INVENTORY}"));
        let send = async |run: Value| {
            let url = format!("{}/v1/inventory-runs", gateway.rest);
            let request = client().post(url).bearer_auth(gateway.key.token("owner"));
            request.header("idempotency-key", "monday").json(&run).send().await.unwrap()
        };
        let first: Value = send(json!({})).await.json().await.unwrap();
        let second: Value = send(json!({})).await.json().await.unwrap();
        assert_eq!(first["runId"], second["runId"]);
        let (status, refused) = problem(send(json!({"vaults": ["own-a"]})).await).await;
        assert_eq!((status, &refused["code"]), (422, &json!("idempotency-key-reused")));
    }
}
