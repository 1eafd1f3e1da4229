//! Many accounts, each through a role of its own: with sessions that are handed out for
//! nobody else, and whose troubles are nobody else's.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use aws_credential_types::Credentials;
use aws_sdk_glacier::{
    Client,
    config::{BehaviorVersion, Region, retry::RetryConfig},
    error::ProvideErrorMetadata,
};
use futures_util::future::join_all;
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    support::{ACCOUNT, BINARY, Gateway, REGION, claims, client, problem},
    trail::{all_entries, entries_in_time},
};

/// Only the SDK's own requests carry this header.
const FROM_SDK: &str = "amz-sdk-invocation-id";
const MEDIA: &str = "444455556666";
const VIDEO: &str = "555566667777";
const EXTERNAL_ID: &str = "an-external-id";

fn role(account: &str) -> String {
    format!("arn:aws:iam::{account}:role/gateways/glacier")
}

fn table(name: &str, account: &str, more: &str) -> String {
    let role = role(account);
    format!(
        "[accounts.{name}]\nid = \"{account}\"\nregions = [\"{REGION}\", \"us-east-1\"]\n\
         role_arn = \"{role}\"\nexternal_id = \"{EXTERNAL_ID}\"\n{more}\n"
    )
}

/// A gateway of the default account and two others, in which each team may do everything.
fn gateway(teams: &[&str], settings: &str) -> Gateway {
    let tables = [table("media", MEDIA, ""), table("video", VIDEO, "session = \"subject\"")];
    of_accounts(teams, &[MEDIA, VIDEO], &format!("{}{settings}", tables.concat()))
}

fn of_accounts(teams: &[&str], accounts: &[&str], settings: &str) -> Gateway {
    let roles: Vec<String> =
        accounts.iter().map(|account| format!("{}#{EXTERNAL_ID}", role(account))).collect();
    let options: Vec<&str> = roles.iter().flat_map(|role| ["--role", role]).collect();
    let mut gateway = Gateway::with(settings, &options);
    // So that another one may have its store.
    gateway.process.child.kill().unwrap();
    gateway.process.child.wait().unwrap();
    let policy = json!({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Action": "glacier:*", "Resource": "*"}});
    for team in teams {
        let file = gateway.directory.path().join(format!("policies/teams/{team}.json"));
        fs::write(file, policy.to_string()).unwrap();
    }
    gateway.restarted()
}

fn vault(account: &str, vault: &str) -> String {
    format!("/v1/accounts/{account}/vaults/{vault}")
}

async fn seed(gateway: &Gateway, account: &str, vault: &str, uploads: usize) -> Vec<String> {
    let uploads = vec![json!({}); uploads];
    let seed = json!({
        "accountId": account, "region": REGION, "vaultName": vault, "uploads": uploads});
    let reply = gateway.simulator.order(Method::POST, "/vaults", &seed).await;
    let reply: Value = reply.json().await.unwrap();
    serde_json::from_value(reply["uploadIds"].clone()).unwrap()
}

/// The sessions that STS has given, by access key ID.
async fn sessions(gateway: &Gateway) -> HashMap<String, Value> {
    let reply = gateway.simulator.order(Method::GET, "/sessions", &Value::Null).await;
    let sessions: Vec<Value> = reply.json().await.unwrap();
    let by_key = sessions.into_iter().map(|s| (s["accessKeyId"].as_str().unwrap().to_owned(), s));
    by_key.collect()
}

fn access_key_id(request: &Value) -> String {
    let authorization = request["headers"]["authorization"].as_str().unwrap();
    let (_, credential) = authorization.split_once("Credential=").unwrap();
    credential.split('/').next().unwrap().to_owned()
}

fn is_sts(request: &Value) -> bool {
    request["operation"] == "AssumeRole"
}

/// The requests to STS about an account.
async fn asked_sts(gateway: &Gateway, account: &str) -> usize {
    let requests = gateway.simulator.requests().await;
    let about = |request: &&Value| {
        is_sts(request) && request["body"].as_str().unwrap().contains(&format!("%3A{account}%3A"))
    };
    requests.iter().filter(about).count()
}

async fn behave(gateway: &Gateway, behaviour: Value) {
    gateway.simulator.order(Method::PATCH, "/sts", &behaviour).await;
}

#[tokio::test]
async fn an_account_is_reached_through_its_role_in_the_name_of_the_team_that_may() {
    let gateway = gateway(&["films"], "[store]\nurl = \"sqlite:DIRECTORY/store.db\"\n");
    let ids = seed(&gateway, MEDIA, "reels", 2).await;
    let own = seed(&gateway, ACCOUNT, "reels", 1).await;
    for (account, id) in [(MEDIA, &ids[0]), (MEDIA, &ids[1]), (ACCOUNT, &own[0])] {
        let path = format!("{}/multipart-uploads/{id}", vault(account, "reels"));
        assert_eq!(gateway.call("films", Method::DELETE, &path).await.status(), 204);
    }

    let requests = gateway.simulator.requests().await;
    let [sts, by_sdk, direct, own] = &requests[..] else { panic!("{requests:#?}") };
    let asked: BTreeMap<String, String> =
        url::form_urlencoded::parse(sts["body"].as_str().unwrap().as_bytes())
            .into_owned()
            .collect();
    let expected = [
        ("Action", "AssumeRole"),
        ("DurationSeconds", "3600"),
        ("ExternalId", EXTERNAL_ID),
        ("RoleArn", &role(MEDIA)),
        ("RoleSessionName", "films"),
        ("SourceIdentity", "films"),
        ("Tags.member.1.Key", "team"),
        ("Tags.member.1.Value", "films"),
        ("Version", "2011-06-15"),
    ];
    assert!(asked.iter().map(|(k, v)| (k.as_str(), v.as_str())).eq(expected), "{asked:#?}");

    let given = sessions(&gateway).await;
    let (key, _) = given.iter().next().unwrap();
    assert_eq!(given.len(), 1, "one session for both aborts");
    assert_eq!((access_key_id(by_sdk), access_key_id(direct)), (key.clone(), key.clone()));
    assert!(by_sdk["headers"][FROM_SDK].is_string() && direct["headers"][FROM_SDK].is_null());
    assert_eq!(access_key_id(own), "AKIAIOSFODNN7EXAMPLE");

    let recorded = entries_in_time(&gateway, 6).await;
    let signed = json!({
        "roleSessionName": "films", "sourceIdentity": "films", "accessKeyId": key});
    assert_eq!(
        (&recorded[0]["eventType"], &recorded[0]["awsSession"]),
        (&json!("Intent"), &signed)
    );
    assert_eq!(recorded[0]["recipientAccountId"], MEDIA);
    assert!(recorded.iter().all(|e| e["eventType"] == "Intent" || e["awsSession"].is_null()));
    let line = gateway.process.event(|event| event["account"] == MEDIA);
    assert_eq!(line["role_session_name"], "films");
    assert_eq!(line["source_identity"], "films");
    assert_eq!(line["session_access_key_id"], json!(key));
    let line = gateway.process.event(|event| event["account"] == ACCOUNT);
    assert_eq!(line["session_access_key_id"], Value::Null);
}

#[tokio::test]
async fn a_read_without_a_vault_says_of_which_account_it_was() {
    let gateway = gateway(&["films"], "[store]\nurl = \"sqlite:DIRECTORY/store.db\"\n");
    seed(&gateway, MEDIA, "reels", 0).await;
    let reply = gateway.call("films", Method::GET, &format!("/v1/accounts/{MEDIA}/vaults")).await;
    let listed: Value = reply.json().await.unwrap();
    assert_eq!(listed["vaults"][0]["vaultName"], "reels");
    let recorded = entries_in_time(&gateway, 1).await;
    assert_eq!(recorded[0]["recipientAccountId"], MEDIA);
    assert_eq!(recorded[0]["awsRegion"], REGION);
    assert_eq!(recorded[0]["awsSession"]["sourceIdentity"], "films");
}

#[tokio::test]
async fn a_subject_has_a_session_of_its_own_where_the_account_or_the_team_asks_for_it() {
    let gateway = gateway(&["films", "audit"], "")
        .with_environment(&[("GATEWAY__AWS__SUBJECT_SESSIONS", r#"["audit"]"#)]);
    for account in [MEDIA, VIDEO] {
        seed(&gateway, account, "reels", 0).await;
    }
    for (team, subject, account) in [
        ("films", "ann|1", VIDEO),
        ("films", "bob", VIDEO),
        ("films", "ann|1", MEDIA),
        ("films", "bob", MEDIA),
        ("audit", "ann|1", MEDIA),
    ] {
        let mut claims = claims(team);
        claims["sub"] = json!(subject);
        let token = gateway.key.sign(&claims);
        let reply = gateway.call_with(&token, Method::GET, &vault(account, "reels")).await;
        assert_eq!(reply.status(), 200, "{team} {subject} {account}");
    }
    let given = sessions(&gateway).await;
    let given: BTreeSet<(&str, &str, String)> = given
        .values()
        .map(|s| {
            let text = |name: &str| s[name].as_str().unwrap();
            assert_eq!(text("roleSessionName"), text("sourceIdentity"));
            (
                text("roleArn").split(':').nth(4).unwrap(),
                text("sourceIdentity"),
                s["tags"].to_string(),
            )
        })
        .collect();
    let subject = |team: &str, subject: &str| {
        json!({"team": team, "issuer": "test", "subject": subject}).to_string()
    };
    let expected = [
        (MEDIA, "audit,test,ann=7C1", subject("audit", "ann=7C1")),
        (MEDIA, "films", json!({"team": "films"}).to_string()),
        (VIDEO, "films,test,ann=7C1", subject("films", "ann=7C1")),
        (VIDEO, "films,test,bob", subject("films", "bob")),
    ];
    assert_eq!(given, BTreeSet::from(expected));
}

#[tokio::test]
async fn the_team_whose_permission_decided_is_named_not_the_callers_first() {
    let gateway = gateway(&["films"], "");
    seed(&gateway, MEDIA, "reels", 0).await;
    let mut claims = claims("nobodies");
    claims["team"] = json!(["nobodies", "films"]);
    let token = gateway.key.sign(&claims);
    let reply = gateway.call_with(&token, Method::GET, &vault(MEDIA, "reels")).await;
    assert_eq!(reply.status(), 200);
    let given = sessions(&gateway).await;
    assert!(given.values().all(|session| session["sourceIdentity"] == "films"), "{given:?}");
}

#[tokio::test]
async fn an_account_or_region_that_is_not_served_is_refused_before_anything_is_sent() {
    let gateway = gateway(&["films"], "");
    let call = async |path: &str| problem(gateway.call("films", Method::GET, path).await).await;
    let (status, body) = call("/v1/accounts/999988887777/vaults").await;
    assert_eq!((status, &body["code"]), (404, &json!("account-not-served")));
    let (status, body) = call(&format!("/v1/accounts/{MEDIA}/vaults?region=eu-west-1")).await;
    assert_eq!((status, &body["code"]), (404, &json!("region-not-served")));
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.contains("eu-central-1, us-east-1"), "{detail}");
    // Another account's region is none of the default account's.
    let (status, body) = call("/v1/accounts/-/vaults?region=us-east-1").await;
    assert_eq!((status, &body["code"]), (404, &json!("region-not-served")));
    assert_eq!(gateway.simulator.requests().await, [] as [Value; 0]);
}

#[tokio::test]
async fn the_glacier_door_takes_the_account_from_the_path_and_the_region_from_the_signature() {
    let gateway = gateway(&["films"], "[keys.master_key_files]\n1 = \"DIRECTORY/master-key-1\"\n");
    let key = gateway.create_key(&["--team", "films", "--subject", "ci"]);
    let list = async |account: &str, region: &str| {
        let config = aws_sdk_glacier::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(format!("{}/glacier", gateway.rest))
            .region(Region::new(region.to_owned()))
            .credentials_provider(Credentials::new(&key.id, &key.secret, None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .build();
        let listed = Client::from_conf(config).list_vaults().account_id(account).send().await;
        listed.map(drop).map_err(|error| error.code().unwrap().to_owned())
    };
    assert_eq!(list("999988887777", REGION).await, Err("AccessDeniedException".to_owned()));
    assert_eq!(list(MEDIA, "eu-west-1").await, Err("SignatureDoesNotMatch".to_owned()));
    assert_eq!(list("-", "us-east-1").await, Err("SignatureDoesNotMatch".to_owned()));
    assert_eq!(gateway.simulator.requests().await, [] as [Value; 0]);
    for (account, region) in [(MEDIA, "us-east-1"), (VIDEO, REGION), ("-", REGION)] {
        assert_eq!(list(account, region).await, Ok(()), "{account} {region}");
    }
    let given = sessions(&gateway).await;
    let requests = gateway.simulator.requests().await;
    let sent: Vec<(&str, String, bool)> = requests
        .iter()
        .filter(|request| !is_sts(request))
        .map(|request| {
            let account = request["target"].as_str().unwrap().split('/').nth(1).unwrap();
            let authorization = request["headers"]["authorization"].as_str().unwrap();
            let region = authorization.split('/').nth(2).unwrap().to_owned();
            let session = given.get(&access_key_id(request));
            assert!(session.is_none_or(|session| session["accountId"] == account));
            (account, region, session.is_some())
        })
        .collect();
    let expected = [(MEDIA, "us-east-1", true), (VIDEO, REGION, true), (ACCOUNT, REGION, false)];
    assert!(sent.iter().map(|(a, r, s)| (*a, r.as_str(), *s)).eq(expected), "{sent:?}");
    assert!(given.values().any(|s| s["sourceIdentity"] == "films,gateway-keys,ci"), "{given:?}");
}

#[tokio::test]
async fn the_default_account_may_have_a_role_and_a_name_as_well() {
    let gateway = of_accounts(&["films"], &[ACCOUNT], &table("main", ACCOUNT, ""));
    for path in ["/v1/accounts/-/vaults", "/v1/accounts/-/vaults?region=us-east-1"] {
        assert_eq!(gateway.call("films", Method::GET, path).await.status(), 200, "{path}");
    }
    let given = sessions(&gateway).await;
    assert!(given.values().all(|session| session["accountId"] == ACCOUNT) && given.len() == 1);
}

#[tokio::test]
async fn an_account_is_served_by_the_session_of_its_role_in_each_of_its_regions() {
    let gateway = gateway(&["films"], "");
    for region in [REGION, "us-east-1"] {
        let path = format!("/v1/accounts/{MEDIA}/vaults?region={region}");
        assert_eq!(gateway.call("films", Method::GET, &path).await.status(), 200);
    }
    let requests = gateway.simulator.requests().await;
    let scopes: Vec<String> = requests
        .iter()
        .map(|request| {
            let authorization = request["headers"]["authorization"].as_str().unwrap();
            let scope: Vec<&str> = authorization.split('/').skip(2).take(2).collect();
            scope.join("/")
        })
        .collect();
    assert_eq!(scopes, ["eu-central-1/sts", "eu-central-1/glacier", "us-east-1/glacier"]);
}

#[tokio::test]
async fn a_statement_speaks_of_accounts_by_their_names_and_tags() {
    let tables = [
        table("media-1", MEDIA, "tags = { Environment = \"production\" }"),
        table("media-2", VIDEO, "tags = { Environment = \"test\" }"),
    ];
    let gateway = of_accounts(&[], &[MEDIA, VIDEO], &tables.concat());
    for account in [MEDIA, VIDEO, ACCOUNT] {
        seed(&gateway, account, "reels", 0).await;
    }
    let policy = |condition: Value| {
        json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow",
            "Action": "glacier:DescribeVault", "Resource": "*", "Condition": condition}})
    };
    let folder = gateway.directory.path().join("policies/teams");
    for (team, condition, allowed) in [
        (
            "tagged",
            json!({"StringEquals": {"gateway:AccountTag/environment": "production"}}),
            [true, false, false],
        ),
        (
            "other",
            json!({"StringNotEquals": {"gateway:AccountTag/environment": "production"}}),
            [false, true, true],
        ),
        (
            "untagged",
            json!({"Null": {"gateway:AccountTag/environment": "true"}}),
            [false, false, true],
        ),
        ("named", json!({"StringLike": {"gateway:AccountName": "media-*"}}), [true, true, false]),
        (
            "default",
            json!({"StringEquals": {"gateway:AccountName": "default"}}),
            [false, false, true],
        ),
        ("numbered", json!({"StringEquals": {"aws:ResourceAccount": VIDEO}}), [false, true, false]),
    ] {
        fs::write(folder.join(format!("{team}.json")), policy(condition).to_string()).unwrap();
        gateway.process.signal("HUP");
        let call = async |account| gateway.call(team, Method::GET, &vault(account, "reels")).await;
        let begun = Instant::now();
        let expected = allowed.map(|allowed| if allowed { 200 } else { 403 });
        loop {
            let mut found = [0; 3];
            for (found, account) in found.iter_mut().zip([MEDIA, VIDEO, ACCOUNT]) {
                *found = call(account).await.status().as_u16();
            }
            if found == expected {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "{team}: {found:?}");
        }
    }
    // A simulation says the same, of an account that is not asked.
    let ask = json!({"actions": ["glacier:DescribeVault"], "resources": [
        format!("arn:aws:glacier:{REGION}:{MEDIA}:vaults/x"),
        format!("arn:aws:glacier:{REGION}:{VIDEO}:vaults/x")]});
    let url = format!("{}/v1/access/simulate", gateway.rest);
    let token = gateway.key.token("tagged");
    let reply = client().post(url).bearer_auth(token).json(&ask).send().await.unwrap();
    let answer: Value = reply.json().await.unwrap();
    let decisions: Vec<&Value> =
        answer["results"].as_array().unwrap().iter().map(|result| &result["decision"]).collect();
    assert_eq!(decisions, ["allowed", "implicitDeny"]);
}

#[tokio::test]
async fn callers_see_the_accounts_that_they_may_list() {
    let tables = [
        table("media", MEDIA, "tags = { environment = \"production\" }"),
        table("video", VIDEO, ""),
    ];
    let gateway = of_accounts(&[], &[MEDIA, VIDEO], &tables.concat());
    let folder = gateway.directory.path().join("policies/teams");
    let policy = |resource: &str, condition: Value| {
        json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow",
            "Action": "gateway:ListAccounts", "Resource": resource, "Condition": condition}})
    };
    let account = |id: &str| format!("arn:aws:glacier-gateway:::account/{id}");
    let tagged = json!({"StringEquals": {"gateway:AccountTag/environment": "production"}});
    for (team, policy, seen) in [
        ("all", policy("*", json!({})), vec![ACCOUNT, MEDIA, VIDEO]),
        ("one", policy(&account(VIDEO), json!({})), vec![VIDEO]),
        ("tagged", policy("*", tagged), vec![MEDIA]),
        ("absent", policy(&account("999988887777"), json!({})), vec![]),
    ] {
        fs::write(folder.join(format!("{team}.json")), policy.to_string()).unwrap();
        gateway.process.signal("HUP");
        let begun = Instant::now();
        let mut reply = gateway.call(team, Method::GET, "/v1/accounts").await;
        while reply.status() != 200 {
            assert!(begun.elapsed() < Duration::from_secs(10), "{team}: {reply:?}");
            reply = gateway.call(team, Method::GET, "/v1/accounts").await;
        }
        let listed: Value = reply.json().await.unwrap();
        let listed = listed["accounts"].as_array().unwrap();
        let ids: Vec<&str> = listed.iter().map(|a| a["accountId"].as_str().unwrap()).collect();
        assert_eq!(ids, seen, "{team}");
        if team == "all" {
            let media = json!({"accountId": MEDIA, "name": "media",
                "regions": [REGION, "us-east-1"], "tags": {"environment": "production"}});
            assert_eq!(listed[1], media);
            assert_eq!(listed[0]["name"], "default");
        }
    }
    let reply = gateway.call("nobodies", Method::GET, "/v1/accounts").await;
    assert_eq!(reply.status(), 403);
}

/// One call of a schedule: who, where, after how long.
type Step = (usize, usize, usize, u64);

#[tokio::test]
async fn sessions_are_handed_out_only_to_their_identity_however_calls_interleave() {
    let teams = ["films", "songs", "texts"];
    let accounts = [MEDIA, VIDEO, ACCOUNT];
    let gateway = gateway(&teams, "");
    let mut uploads = HashMap::new();
    for account in accounts {
        for team in teams {
            uploads.insert((account, team), seed(&gateway, account, team, 3).await);
        }
    }
    behave(&gateway, json!({"lifetimeSeconds": 4})).await;
    gateway.simulator.fault(json!({"operation": "AssumeRole", "latencyMillis": 50})).await;
    gateway
        .simulator
        .fault(json!({"operation": "AssumeRole", "effect": "throttle", "rate": 0.2}))
        .await;

    let step = (0..3_usize, 0..3_usize, 0..2_usize, 0..400_u64);
    let schedules = prop::collection::vec(step, 40..60);
    let mut runner = TestRunner::new(Config::default());
    let http = client();
    for _ in 0..8 {
        let schedule: Vec<Step> = schedules.new_tree(&mut runner).unwrap().current();
        let calls = schedule.into_iter().enumerate().map(|(n, (account, team, subject, after))| {
            let (account, team) = (accounts[account], teams[team]);
            let (gateway, http, uploads) = (&gateway, &http, &uploads);
            async move {
                tokio::time::sleep(Duration::from_millis(after)).await;
                let mut claims = claims(team);
                claims["sub"] = json!(format!("person-{subject}"));
                let token = gateway.key.sign(&claims);
                let id = &uploads[&(account, team)][subject];
                let path = vault(account, team);
                let (method, path) = match n % 2 {
                    0 => (Method::DELETE, format!("{path}/multipart-uploads/{id}")),
                    _ => (Method::GET, path),
                };
                // That the subject made the call shows in the query of its own.
                let url = format!("{}{path}", gateway.rest);
                let reply = http.request(method, url).bearer_auth(token).send().await.unwrap();
                assert!(reply.status().is_success(), "{}", reply.text().await.unwrap());
            }
        });
        join_all(calls).await;
    }

    let given = sessions(&gateway).await;
    let mut names = BTreeSet::new();
    let mut direct = 0;
    for request in gateway.simulator.requests().await {
        if is_sts(&request) {
            continue;
        }
        let target = request["target"].as_str().unwrap();
        let path: Vec<&str> = target.split('/').collect();
        let (account, team) = (path[1], path[3]);
        let key = access_key_id(&request);
        let Some(session) = given.get(&key) else {
            assert_eq!((account, key.as_str()), (ACCOUNT, "AKIAIOSFODNN7EXAMPLE"));
            continue;
        };
        assert_eq!(session["accountId"], account);
        assert_eq!(session["tags"]["team"], team);
        let name = session["sourceIdentity"].as_str().unwrap();
        match account {
            MEDIA => assert_eq!(name, team),
            _ => {
                // The upload is the subject's.
                assert!(name.starts_with(&format!("{team},test,person-")), "{name}");
                if let Some(id) = path.get(5) {
                    let subject: usize = name.rsplit('-').next().unwrap().parse().unwrap();
                    assert_eq!(uploads[&(account, team)][subject], *id);
                }
            }
        }
        names.insert((account.to_owned(), name.to_owned()));
        direct +=
            usize::from(request["method"] == "DELETE" && request["headers"][FROM_SDK].is_null());
    }
    assert_eq!(names.len(), 3 + 3 * 2);
    assert!(direct > 0, "none of the aborts was direct");
}

#[tokio::test]
async fn sessions_that_expire_in_seconds_fail_no_request_and_are_refreshed_by_one_flight() {
    let gateway = gateway(&["films"], "");
    let ids = seed(&gateway, MEDIA, "reels", 1).await;
    behave(&gateway, json!({"lifetimeSeconds": 4})).await;
    gateway.simulator.fault(json!({"operation": "AssumeRole", "latencyMillis": 150})).await;
    let path = format!("{}/multipart-uploads/{}", vault(MEDIA, "reels"), ids[0]);
    let http = client();
    let begun = Instant::now();
    let callers = (0..8).map(async |_| {
        let token = gateway.key.token("films");
        let mut calls = 0;
        while begun.elapsed() < Duration::from_secs(8) {
            let url = format!("{}{path}", gateway.rest);
            let reply = http.delete(url).bearer_auth(&token).send().await.unwrap();
            assert_eq!(reply.status(), 204);
            calls += 1;
        }
        calls
    });
    let calls: usize = join_all(callers).await.into_iter().sum();
    let given = sessions(&gateway).await.len();
    // A session is refreshed after at least 0.7 of the two seconds that it is used for.
    assert!((4..=7).contains(&given), "{given} sessions for {calls} calls");
}

#[tokio::test]
async fn a_broken_a_slow_and_a_throttled_role_hurt_nobody_else() {
    let accounts = [MEDIA, VIDEO, "666677778888", "777788889999"];
    let names = ["media", "video", "slow", "throttled"];
    let tables = names.iter().zip(accounts).map(|(name, account)| table(name, account, ""));
    let gateway =
        of_accounts(&["films", "songs"], &accounts, &tables.collect::<String>()).patient();
    for account in accounts.into_iter().chain([ACCOUNT]) {
        seed(&gateway, account, "reels", 0).await;
    }
    let [served, broken, slow, throttled] = accounts;
    let denied = json!({"error": {"status": 403, "code": "AccessDenied", "message": "secretive"}});
    for (account, effect) in
        [(broken, denied), (slow, json!("hang")), (throttled, json!("throttle"))]
    {
        let fault = json!({"operation": "AssumeRole", "accountId": account, "effect": effect});
        gateway.simulator.fault(fault).await;
    }
    let call = async |team: &str, account: &str| {
        gateway.call(team, Method::GET, &vault(account, "reels")).await
    };
    let waiting = async {
        let (status, body) = problem(call("films", slow).await).await;
        assert_eq!((status, &body["code"]), (502, &json!("account-role-unusable")));
        assert!(body["detail"].as_str().unwrap().contains("nothing in time"), "{body}");
    };
    let others = async {
        for _ in 0..5 {
            for account in [served, ACCOUNT] {
                assert_eq!(call("films", account).await.status(), 200);
            }
            let (status, body) = problem(call("songs", broken).await).await;
            assert_eq!((status, &body["code"]), (502, &json!("account-role-unusable")));
            let detail = body["detail"].as_str().unwrap();
            for cause in ["sts:SetSourceIdentity", "sts:TagSession", "external ID", "AccessDenied"]
            {
                assert!(detail.contains(cause), "{cause}: {detail}");
            }
            assert!(!detail.contains("secretive"), "{detail}");
        }
        let (status, body) = problem(call("films", throttled).await).await;
        assert_eq!((status, &body["code"]), (502, &json!("account-role-unusable")));
        assert!(body["detail"].as_str().unwrap().contains("Throttling"), "{body}");
    };
    // Whoever waits for the slow one does not keep the others waiting: they end before.
    let begun = Instant::now();
    tokio::join!(waiting, async {
        others.await;
        assert!(!asked_in_vain(&gateway, slow).await, "after {:?}", begun.elapsed());
    });
    // Within the pause after a refusal nobody asks STS again.
    assert!(asked_sts(&gateway, broken).await < 5);
    let line = gateway.process.event(|event| event["session_error"].is_string());
    assert!(line["session_error"].as_str().unwrap().contains("secretive"), "{line}");
    assert_eq!(line["outcome"], "account-role-unusable");
}

/// Whether a call of the account has ended.
async fn asked_in_vain(gateway: &Gateway, account: &str) -> bool {
    gateway.process.all_lines().iter().any(|line| {
        let event: Value = serde_json::from_str(line).unwrap();
        event["account"] == account && event["status"] == 502
    })
}

#[tokio::test]
async fn an_abort_without_a_session_is_not_attempted_and_leaves_no_intent() {
    let gateway = gateway(&["films"], "[store]\nurl = \"sqlite:DIRECTORY/store.db\"\n");
    let ids = seed(&gateway, MEDIA, "reels", 1).await;
    let denied = json!({"error": {"status": 403, "code": "AccessDenied", "message": ""}});
    gateway.simulator.fault(json!({"operation": "AssumeRole", "effect": denied})).await;
    let path = format!("{}/multipart-uploads/{}", vault(MEDIA, "reels"), ids[0]);
    let reply = gateway.call("films", Method::DELETE, &path).await;
    assert_eq!(reply.status(), 502);
    let [recorded] = &entries_in_time(&gateway, 1).await[..] else { panic!("one record") };
    assert_eq!(recorded["eventType"], "Event");
    assert_eq!(recorded["outcome"], "not-attempted");
    assert_eq!(recorded["errorCode"], "account-role-unusable");
    assert!(gateway.simulator.requests().await.iter().all(is_sts));
}

#[tokio::test]
async fn a_refresh_that_fails_fails_no_request_while_the_session_lasts() {
    let gateway = gateway(&["films"], "");
    seed(&gateway, MEDIA, "reels", 0).await;
    behave(&gateway, json!({"lifetimeSeconds": 16})).await;
    let call = async || gateway.call("films", Method::GET, &vault(MEDIA, "reels")).await.status();
    assert_eq!(call().await, 200);
    let denied = json!({"error": {"status": 403, "code": "AccessDenied", "message": ""}});
    gateway.simulator.fault(json!({"operation": "AssumeRole", "effect": denied})).await;
    // Until the session is due, and a flight has failed.
    while asked_sts(&gateway, MEDIA).await < 2 {
        assert_eq!(call().await, 200);
    }
    assert_eq!(call().await, 200);
    gateway.simulator.order(Method::DELETE, "/faults", &Value::Null).await;
    // And once STS gives sessions again, there is a new one in time.
    let begun = Instant::now();
    while sessions(&gateway).await.len() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(30));
        call().await;
    }
    assert_eq!(call().await, 200);
}

#[tokio::test]
async fn a_session_that_glacier_no_longer_takes_is_replaced() {
    let gateway = gateway(&["films"], "");
    seed(&gateway, MEDIA, "reels", 0).await;
    behave(&gateway, json!({"lifetimeSeconds": 120})).await;
    let call = async || gateway.call("films", Method::GET, &vault(MEDIA, "reels")).await.status();
    assert_eq!(call().await, 200);
    gateway.simulator.order(Method::DELETE, "/sessions", &Value::Null).await;
    assert_eq!(call().await, 502);
    let begun = Instant::now();
    while call().await != 200 {
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
    assert_eq!(asked_sts(&gateway, MEDIA).await, 2);
}

#[tokio::test]
async fn a_vault_that_refuses_leaves_the_session_in_use_until_the_next_one_is_there() {
    let gateway = gateway(&["films"], "");
    for name in ["reels", "locked"] {
        seed(&gateway, MEDIA, name, 0).await;
    }
    behave(&gateway, json!({"lifetimeSeconds": 60})).await;
    let call = async |name: &str| gateway.call("films", Method::GET, &vault(MEDIA, name)).await;
    assert_eq!(call("reels").await.status(), 200);
    let denied = json!({"error": {"status": 403, "code": "AccessDeniedException", "message": ""}});
    gateway.simulator.fault(json!({"vaultName": "locked", "effect": denied})).await;
    gateway.simulator.fault(json!({"operation": "AssumeRole", "effect": denied})).await;
    // Until the session is old enough for a refusal to count, and a flight has failed.
    let begun = Instant::now();
    while asked_sts(&gateway, MEDIA).await < 2 {
        let (status, body) = problem(call("locked").await).await;
        assert_eq!((status, &body["code"]), (502, &json!("gateway-not-authorized-upstream")));
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
    assert_eq!(call("reels").await.status(), 200);
    let (_, body) = problem(call("locked").await).await;
    assert_eq!(body["code"], "gateway-not-authorized-upstream");
}

#[tokio::test]
async fn an_answer_of_sts_that_has_no_end_or_cannot_sign_is_refused() {
    let gateway = gateway(&["films"], "");
    seed(&gateway, MEDIA, "reels", 0).await;
    let refused = async || {
        let reply = gateway.call("films", Method::GET, &vault(MEDIA, "reels")).await;
        let (status, body) = problem(reply).await;
        assert_eq!((status, &body["code"]), (502, &json!("account-role-unusable")));
        body["detail"].as_str().unwrap().to_owned()
    };
    behave(&gateway, json!({"sessionToken": "a token"})).await;
    refused().await;
    let cannot_sign = |event: &Value| {
        let error = event["session_error"].as_str();
        error.is_some_and(|error| error.contains("no credentials that could sign"))
    };
    gateway.process.event(cannot_sign);
    let endless = json!({"operation": "AssumeRole", "effect": {"endless": {"status": 200}}});
    gateway.simulator.fault(endless).await;
    let begun = Instant::now();
    // The pause after a failure ends before it is asked again.
    while asked_sts(&gateway, MEDIA).await < 2 {
        refused().await;
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
    let detail = refused().await;
    assert!(!detail.contains("nothing in time"), "it was read on and on: {detail}");
    assert!(detail.contains("something that cannot be understood"), "{detail}");
}

#[tokio::test]
async fn sts_that_does_not_answer_in_time_is_not_said_to_be_out_of_reach() {
    let mut gateway = gateway(&["films"], "");
    seed(&gateway, MEDIA, "reels", 0).await;
    gateway.process.child.kill().unwrap();
    gateway.process.child.wait().unwrap();
    // The client of HTTP notices it before the SDK does.
    gateway.restart(&[("GATEWAY__AWS__READ_TIMEOUT", "100ms")]);
    gateway.simulator.fault(json!({"operation": "AssumeRole", "effect": "hang"})).await;
    let reply = gateway.call("films", Method::GET, &vault(MEDIA, "reels")).await;
    let (status, body) = problem(reply).await;
    assert_eq!((status, &body["code"]), (502, &json!("account-role-unusable")));
    assert!(body["detail"].as_str().unwrap().contains("nothing in time"), "{body}");
}

#[tokio::test]
async fn what_the_gateways_own_session_has_already_is_passed_on_or_said() {
    let gateway = gateway(&["films", "songs", "texts"], "");
    seed(&gateway, MEDIA, "reels", 0).await;
    let call = async |team: &str| gateway.call(team, Method::GET, &vault(MEDIA, "reels")).await;
    // Those of EKS Pod Identity.
    let eks = [
        ("eks-cluster-arn", "arn:aws:eks:eu-central-1:111122223333:cluster/x"),
        ("eks-cluster-name", "x"),
        ("kubernetes-namespace", "glacier"),
        ("kubernetes-service-account", "glacier-gateway"),
        ("kubernetes-pod-name", "glacier-gateway-0"),
        ("kubernetes-pod-uid", "be559b6c-0000-0000-0000-8d2c0a1b1f6e"),
    ];
    let eks: BTreeMap<_, _> = eks.into_iter().collect();
    behave(&gateway, json!({"transitiveTags": eks})).await;
    assert_eq!(call("films").await.status(), 200);
    let given = sessions(&gateway).await;
    let tags = &given.values().next().unwrap()["tags"];
    assert_eq!(
        (&tags["team"], &tags["kubernetes-namespace"]),
        (&json!("films"), &json!("glacier"))
    );

    for (team, behaviour) in [
        ("songs", json!({"transitiveTags": {"Team": "platform"}})),
        ("texts", json!({"sourceIdentity": "somebody"})),
    ] {
        behave(&gateway, behaviour).await;
        let (status, body) = problem(call(team).await).await;
        assert_eq!((status, &body["code"]), (502, &json!("account-role-unusable")));
        let detail = body["detail"].as_str().unwrap();
        assert!(detail.contains("source identity already, or a transitive tag"), "{detail}");
    }
}

#[tokio::test]
async fn sessions_last_as_long_as_sts_says_whatever_our_clock_says() {
    let gateway = gateway(&["films", "songs"], "");
    let ids = seed(&gateway, MEDIA, "reels", 1).await;
    let path = format!("{}/multipart-uploads/{}", vault(MEDIA, "reels"), ids[0]);
    for (skew, given) in [(7200, 1), (-7200, 1)] {
        let skew = json!({"skewSeconds": skew});
        gateway.simulator.order(Method::PATCH, "/clock", &skew).await;
        for _ in 0..4 {
            let reply = gateway.call("films", Method::DELETE, &path).await;
            assert_eq!(reply.status(), 204, "{skew}");
        }
        assert_eq!(sessions(&gateway).await.len(), given, "{skew}");
    }
    // By our clock this session has ended before it began.
    behave(&gateway, json!({"lifetimeSeconds": 900})).await;
    let path = vault(MEDIA, "reels");
    let token = gateway.key.sign(&claims("songs"));
    for _ in 0..4 {
        assert_eq!(gateway.call_with(&token, Method::GET, &path).await.status(), 200);
    }
    assert_eq!(sessions(&gateway).await.len(), 2);
}

/// A gateway that follows an empty folder of accounts.
fn following() -> (Gateway, PathBuf) {
    let store = "[store]\nurl = \"sqlite:DIRECTORY/store.db\"\n";
    let mut base = Gateway::with(store, &["--role", &format!("{}#{EXTERNAL_ID}", role(MEDIA))]);
    base.process.child.kill().unwrap();
    base.process.child.wait().unwrap();
    let folder = base.directory.path().join("accounts");
    fs::create_dir(&folder).unwrap();
    let policy = json!({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Action": "glacier:*", "Resource": "*"}});
    fs::write(base.directory.path().join("policies/teams/films.json"), policy.to_string()).unwrap();
    let gateway =
        base.with_environment(&[("GATEWAY__AWS__ACCOUNTS_DIRECTORY", folder.to_str().unwrap())]);
    (gateway, folder)
}

#[tokio::test]
async fn an_account_file_that_is_being_written_is_not_taken_without_its_last_lines() {
    let (gateway, folder) = following();
    seed(&gateway, MEDIA, "reels", 0).await;
    let call = async || gateway.call("films", Method::GET, &vault(MEDIA, "reels")).await.status();
    let account = table("media", MEDIA, "").replace("[accounts.media]\n", "");
    // For as long as three looks take, the file is valid and gets a line now and then.
    for line in 0..70 {
        let lines = "# And so on.\n".repeat(line);
        fs::write(folder.join("media.toml"), format!("{account}{lines}")).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(call().await, 404, "{lines}");
    }
    let begun = Instant::now();
    while call().await != 200 {
        assert!(begun.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_call_keeps_the_accounts_that_it_began_with() {
    let (mut gateway, folder) = following();
    gateway.process.child.kill().unwrap();
    gateway.process.child.wait().unwrap();
    let table = table("media", MEDIA, "").replace("[accounts.media]\n", "");
    fs::write(folder.join("media.toml"), table).unwrap();
    let policy = json!({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Action": "glacier:*", "Resource": "*",
        "Condition": {"NumericGreaterThanEquals": {"gateway:UploadAgeInDays": "0"}}}});
    let file = gateway.directory.path().join("policies/teams/films.json");
    fs::write(file, policy.to_string()).unwrap();
    gateway.restart(&[
        ("GATEWAY__AWS__ACCOUNTS_DIRECTORY", folder.to_str().unwrap()),
        ("GATEWAY__AWS__READ_TIMEOUT", "30s"),
        ("GATEWAY__AWS__ATTEMPT_TIMEOUT", "30s"),
        ("GATEWAY__AWS__OPERATION_TIMEOUT", "30s"),
        ("GATEWAY__AUDIT__DEADLINE", "30s"),
    ]);
    let id = seed(&gateway, MEDIA, "reels", 1).await.remove(0);
    let path = format!("{}/multipart-uploads/{id}", vault(MEDIA, "reels"));
    // The look-up for the policy takes longer than the account's end.
    let slow = json!({"operation": "ListParts", "latencyMillis": 8000});
    gateway.simulator.fault(slow).await;
    let abort = async { gateway.call("films", Method::DELETE, &path).await.status() };
    let end = async {
        let asks = |requests: &[Value]| requests.iter().any(|r| r["operation"] == "ListParts");
        while !asks(&gateway.simulator.requests().await) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        fs::remove_file(folder.join("media.toml")).unwrap();
        let gone = vault(MEDIA, "reels");
        while gateway.call("films", Method::GET, &gone).await.status() != 404 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let (status, ()) = tokio::join!(abort, end);
    assert_eq!(status, 204);
}

#[tokio::test]
async fn check_config_warns_of_accounts_that_policies_speak_of_and_nobody_has() {
    let tags = "tags = { environment = \"production\" }";
    let gateway = of_accounts(&[], &[MEDIA], &table("media", MEDIA, tags));
    let statement = |sid: &str, condition: Value| {
        json!({"Sid": sid, "Effect": "Deny", "Action": "glacier:*", "Resource": "*",
               "Condition": condition})
    };
    let policy = json!({"Version": "2012-10-17", "Statement": [
        statement("Right", json!({
            "StringEquals": {"gateway:AccountTag/Environment": "production",
                             "gateway:AccountName": ["media", "default", "${aws:username}"]},
            "StringEqualsIgnoreCase": {"GATEWAY:accountname": "Media"},
            "StringNotLike": {"gateway:AccountName": "med*"}})),
        statement("Wrong", json!({
            "StringEquals": {"gateway:AccountTag/enviroment": "production"},
            "StringLike": {"gateway:AccountName": ["media*", "archive-*"]},
            "StringNotEquals": {"gateway:AccountName": "Media"}})),
    ]});
    let guardrails = gateway.directory.path().join("policies/guardrails");
    fs::create_dir(&guardrails).unwrap();
    fs::write(guardrails.join("all.json"), policy.to_string()).unwrap();
    let output = gateway.command(&["check-config"], true);
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    let unknown: Vec<&str> = said.lines().filter(|line| line.contains("configured")).collect();
    let expected = [
        "has the gateway:AccountName Media",
        "has the gateway:AccountName archive-*",
        "has the tag of gateway:AccountTag/enviroment",
    ];
    let expected = expected
        .map(|told| format!("guardrails/all.json:1:1: statement 1: no configured account {told}"));
    assert_eq!(unknown, expected);
}

#[tokio::test]
async fn a_file_without_an_external_id_is_a_mistake_in_the_configuration() {
    let gateway = Gateway::start();
    let config = gateway.directory.path().join("gateway.toml");
    let id = gateway.directory.path().join("external-id");
    let file = format!("external_id_file = {id:?}");
    let account = table("media", MEDIA, &file).replace("external_id = \"an-external-id\"\n", "");
    fs::write(&config, fs::read_to_string(&config).unwrap() + &account).unwrap();
    for (content, told) in
        [(None, "No such file"), (Some("\n"), "an external ID has 2 to 1224 characters")]
    {
        if let Some(content) = content {
            fs::write(&id, content).unwrap();
        }
        for command in ["check-config", "serve"] {
            let output = gateway.command(&[command], true);
            let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert_eq!(output.status.code(), Some(64), "{said}");
            assert!(said.contains("accounts.media.external_id_file: "), "{said}");
            assert!(said.contains(told), "{said}");
        }
    }
    fs::write(&id, "ab\n").unwrap();
    assert!(gateway.command(&["check-config"], true).status.success());
}

#[tokio::test]
async fn a_folder_of_accounts_is_followed_and_a_mistake_in_it_changes_nothing() {
    let (gateway, folder) = following();
    seed(&gateway, MEDIA, "reels", 0).await;
    let call = async || gateway.call("films", Method::GET, &vault(MEDIA, "reels")).await.status();
    let becomes = async |status: u16| {
        let begun = Instant::now();
        while call().await != status {
            assert!(begun.elapsed() < Duration::from_secs(30), "never {status}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let told = async |part: &str| {
        let begun = Instant::now();
        loop {
            let reply = client().get(format!("{}/readyz", gateway.management)).send();
            let page = reply.await.unwrap().text().await.unwrap();
            if page.contains(part) {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{page}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert_eq!(call().await, 404);

    let id = folder.join("external-id");
    fs::write(&id, format!("{EXTERNAL_ID}\n")).unwrap();
    let hidden = folder.join(".external-id");
    fs::rename(&id, &hidden).unwrap();
    let good = format!(
        "id = \"{MEDIA}\"\nregions = [\"{REGION}\"]\nrole_arn = \"{}\"\nexternal_id_file = {hidden:?}\n",
        role(MEDIA)
    );
    fs::write(folder.join("media.toml"), &good).unwrap();
    becomes(200).await;
    let in_force = |entry: &Value| {
        entry["eventName"] == "AccountsReplaced"
            && entry["additionalEventData"]["setting"] == "aws.accounts_directory"
    };
    let begun = Instant::now();
    // The empty folder at the start, and this one.
    while all_entries(&gateway).iter().filter(|entry| in_force(entry)).count() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:#?}", all_entries(&gateway));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    fs::write(folder.join("video.toml"), "id = \"12\"").unwrap();
    told("accounts.video.id: an account ID is 12 digits").await;
    assert_eq!(call().await, 200);
    fs::remove_file(folder.join("video.toml")).unwrap();
    let measured = async || {
        let reply = client().get(format!("{}/metrics", gateway.management)).send().await.unwrap();
        reply.text().await.unwrap().contains("account=\"media\"")
    };
    assert!(measured().await);
    fs::remove_file(folder.join("media.toml")).unwrap();
    becomes(404).await;
    assert!(!measured().await, "of an account that is not served there is a metric");
    // Its session was kept: the account comes back without a question to STS.
    fs::write(folder.join("media.toml"), good).unwrap();
    becomes(200).await;
    assert_eq!(asked_sts(&gateway, MEDIA).await, 1);
}

/// Starts `check-config --probe` with this gateway's configuration and credentials.
fn probe(gateway: &Gateway) -> std::process::Output {
    let config = gateway.directory.path().join("gateway.toml");
    std::process::Command::new(BINARY)
        .args(["check-config", "--probe", "--config"])
        .arg(config)
        .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
        .output()
        .unwrap()
}

#[tokio::test]
async fn check_config_tells_which_roles_can_be_assumed_and_asks_for_each_once() {
    let gateway = gateway(&[], "");
    let output = probe(&gateway);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    for line in [
        format!("default ({ACCOUNT}): no role; the gateway's own credentials are used"),
        format!("media ({MEDIA}): the role can be assumed"),
        format!("video ({VIDEO}): the role can be assumed"),
        "Roles that can be assumed: 2 of 2.".to_owned(),
    ] {
        assert!(said.lines().any(|said| said == line), "{line}: {said}");
    }
    let requests = gateway.simulator.requests().await;
    assert!(requests.len() == 2 && requests.iter().all(is_sts), "{requests:#?}");
    let given = sessions(&gateway).await;
    let named: BTreeSet<&str> =
        given.values().map(|session| session["sourceIdentity"].as_str().unwrap()).collect();
    let subject = ".check-config,.check-config,.check-config";
    assert_eq!(named, BTreeSet::from([".check-config", subject]));

    let denied = json!({"error": {"status": 403, "code": "AccessDenied", "message": "not you"}});
    let fault = json!({"operation": "AssumeRole", "accountId": VIDEO, "effect": denied});
    gateway.simulator.fault(fault).await;
    let output = probe(&gateway);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(&format!("media ({MEDIA}): the role can be assumed")), "{said}");
    let video = said.lines().find(|line| line.starts_with("video")).unwrap();
    assert!(video.contains("cannot be assumed") && video.contains("not you"), "{video}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("Roles that cannot be assumed: 1 of 2. Possible causes:"), "{said}");
    assert!(said.contains("sts:SetSourceIdentity"), "{said}");
    assert_eq!(asked_sts(&gateway, VIDEO).await, 2);
}

#[tokio::test]
async fn five_hundred_accounts_of_five_regions_are_served_and_probed() {
    let accounts: Vec<String> = (0..500).map(|n| format!("444455556{n:03}")).collect();
    let regions = [REGION, "us-east-1", "eu-west-1", "us-west-2", "ap-southeast-2"];
    let tables = accounts.iter().enumerate().map(|(n, account)| {
        let listed = format!("{regions:?}");
        table(&format!("a{n}"), account, "")
            .replace(&format!("[\"{REGION}\", \"us-east-1\"]"), &listed)
    });
    let ids: Vec<&str> = accounts.iter().map(String::as_str).collect();
    let gateway = of_accounts(&["films"], &ids, &tables.collect::<String>());
    for (account, region) in ids.iter().step_by(111).zip(regions) {
        let path = format!("/v1/accounts/{account}/vaults?region={region}");
        assert_eq!(gateway.call("films", Method::GET, &path).await.status(), 200);
    }
    let output = probe(&gateway);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("can be assumed: 500 of 500."), "{said}");
}

#[tokio::test]
async fn metrics_and_readyz_name_broken_accounts_and_readyz_stays_green() {
    let gateway = gateway(&["films", "songs"], "");
    for account in [MEDIA, VIDEO, ACCOUNT] {
        seed(&gateway, account, "reels", 0).await;
    }
    let denied = json!({"error": {"status": 403, "code": "AccessDenied", "message": "secretive"}});
    let fault = json!({"operation": "AssumeRole", "accountId": VIDEO, "effect": denied});
    gateway.simulator.fault(fault).await;
    let page = async |path: &str| {
        let reply = client().get(format!("{}{path}", gateway.management)).send().await.unwrap();
        assert_eq!(reply.status(), 200);
        reply.text().await.unwrap()
    };
    let samples = async || -> BTreeMap<String, f64> {
        let page = page("/metrics").await;
        let samples = page.lines().filter_map(|line| {
            let (name, value) = line.strip_prefix("glacier_gateway_account_")?.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().unwrap()))
        });
        samples.collect()
    };
    // Of accounts that nobody has tried nothing is said.
    assert_eq!(samples().await, BTreeMap::new());
    for (team, account, status) in [
        ("films", MEDIA, 200),
        ("songs", MEDIA, 200),
        ("films", VIDEO, 502),
        ("films", ACCOUNT, 200),
    ] {
        let reply = gateway.call(team, Method::GET, &vault(account, "reels")).await;
        assert_eq!(reply.status(), status, "{team} {account}");
    }
    let expected = [
        (r#"sessions_total{account="media",result="failed"}"#, 0.0),
        (r#"sessions_total{account="media",result="new"}"#, 2.0),
        (r#"sessions_total{account="media",result="refreshed"}"#, 0.0),
        (r#"sessions_total{account="video",result="failed"}"#, 1.0),
        (r#"sessions_total{account="video",result="new"}"#, 0.0),
        (r#"sessions_total{account="video",result="refreshed"}"#, 0.0),
        (r#"usable{account="media"}"#, 1.0),
        (r#"usable{account="video"}"#, 0.0),
    ];
    assert_eq!(samples().await, expected.map(|(name, value)| (name.to_owned(), value)).into());
    let readyz = page("/readyz").await;
    assert!(readyz.starts_with("ok\n"), "{readyz}");
    let told = "account video: its role cannot be assumed (AWS STS answered: AccessDenied)";
    assert!(readyz.contains(told) && !readyz.contains("media"), "{readyz}");
    assert!(!readyz.contains("secretive"), "{readyz}");

    // Once the role is mended, so is what is said of it.
    gateway.simulator.order(Method::DELETE, "/faults", &Value::Null).await;
    let begun = Instant::now();
    while gateway.call("films", Method::GET, &vault(VIDEO, "reels")).await.status() != 200 {
        assert!(begun.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(samples().await[r#"usable{account="video"}"#], 1.0);
    assert!(!page("/readyz").await.contains("account video"));
}

#[tokio::test]
async fn readyz_names_ten_broken_accounts_and_counts_the_others() {
    let accounts: Vec<String> = (0..12).map(|n| format!("4444555566{n:02}")).collect();
    let tables =
        accounts.iter().enumerate().map(|(n, account)| table(&format!("a{n:02}"), account, ""));
    let ids: Vec<&str> = accounts.iter().map(String::as_str).collect();
    let gateway = of_accounts(&["films"], &ids, &tables.collect::<String>());
    let denied = json!({"error": {"status": 403, "code": "AccessDenied", "message": ""}});
    gateway.simulator.fault(json!({"operation": "AssumeRole", "effect": denied})).await;
    for account in ids {
        let reply = gateway.call("films", Method::GET, &vault(account, "reels")).await;
        assert_eq!(reply.status(), 502);
    }
    let reply = client().get(format!("{}/readyz", gateway.management)).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    let page = reply.text().await.unwrap();
    assert_eq!(page.matches("account a").count(), 10, "{page}");
    assert!(page.contains("account a09: ") && !page.contains("account a10: "), "{page}");
    assert!(page.contains("accounts: the roles of 2 more cannot be assumed\n"), "{page}");
}

#[tokio::test]
async fn a_session_that_was_not_fetched_ahead_of_time_counts_as_new() {
    let gateway = gateway(&["films"], "");
    seed(&gateway, MEDIA, "reels", 0).await;
    behave(&gateway, json!({"lifetimeSeconds": 1})).await;
    for expected in 1..=2 {
        let reply = gateway.call("films", Method::GET, &vault(MEDIA, "reels")).await;
        assert_eq!((reply.status().as_u16(), sessions(&gateway).await.len()), (200, expected));
        // Nothing but the time tells that a session has ended.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    assert_eq!(refreshed(&gateway).await, 0.0);
}

/// How many sessions are refreshed is seen in the metrics.
async fn refreshed(gateway: &Gateway) -> f64 {
    let reply = client().get(format!("{}/metrics", gateway.management)).send().await.unwrap();
    let page = reply.text().await.unwrap();
    let counts = page.lines().filter(|line| {
        line.starts_with("glacier_gateway_account_sessions_total")
            && line.contains("result=\"refreshed\"")
    });
    counts.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[tokio::test]
async fn a_hundred_accounts_and_twenty_teams_are_served_while_sessions_expire_in_seconds() {
    let accounts: Vec<String> = (0..100).map(|n| format!("4444555566{n:02}")).collect();
    let teams: Vec<String> = (0..20).map(|n| format!("team-{n}")).collect();
    let ids: Vec<&str> = accounts.iter().map(String::as_str).collect();
    let tables =
        accounts.iter().enumerate().map(|(n, account)| table(&format!("a{n}"), account, ""));
    let names: Vec<&str> = teams.iter().map(String::as_str).collect();
    let gateway = of_accounts(&names, &ids, &tables.collect::<String>());
    let mut uploads = HashMap::new();
    for account in &ids {
        uploads.insert(*account, seed(&gateway, account, "reels", teams.len()).await);
    }
    behave(&gateway, json!({"lifetimeSeconds": 6})).await;
    let http = client();
    let tokens: Vec<String> = names.iter().map(|team| gateway.key.token(team)).collect();
    let pairs: Vec<(usize, usize)> = (0..teams.len())
        .flat_map(|team| (0..ids.len()).map(move |account| (team, account)))
        .collect();
    let next = AtomicUsize::new(0);
    // Until each pair was served, and sessions were refreshed under load.
    let done = AtomicBool::new(false);
    let callers_at_once = 4;
    let callers = (0..callers_at_once).map(async |_| {
        while !done.load(Ordering::Relaxed) {
            let call = next.fetch_add(1, Ordering::Relaxed);
            // Half of the calls go to the same few pairs, so that their sessions come to age.
            let pair = if call.is_multiple_of(2) { call / 2 % pairs.len() } else { call % 40 };
            let (team, account) = pairs[pair];
            let path = format!(
                "{}/multipart-uploads/{}",
                vault(ids[account], "reels"),
                uploads[ids[account]][team]
            );
            let url = format!("{}{path}", gateway.rest);
            let reply = http.delete(url).bearer_auth(&tokens[team]).send().await.unwrap();
            assert_eq!(reply.status(), 204, "{} {path}", reply.text().await.unwrap());
        }
    });
    let watch = async {
        let begun = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let calls = next.load(Ordering::Relaxed);
            let refreshed = refreshed(&gateway).await;
            if calls >= 2 * pairs.len() + callers_at_once && refreshed >= 40.0 {
                println!("{calls} calls, {refreshed} sessions refreshed");
                break done.store(true, Ordering::Relaxed);
            }
            assert!(begun.elapsed() < Duration::from_secs(240), "{calls} {refreshed}");
        }
    };
    tokio::join!(join_all(callers), watch);

    let given = sessions(&gateway).await;
    let text = |session: &Value, name: &str| session[name].as_str().unwrap().to_owned();
    let served: BTreeSet<(String, String)> =
        given.values().map(|s| (text(s, "accountId"), text(s, "sourceIdentity"))).collect();
    assert_eq!(served.len(), pairs.len());
    // The simulator keeps the last requests.
    let mut direct = 0;
    let requests = gateway.simulator.requests().await;
    for request in requests.iter().filter(|request| !is_sts(request)) {
        let session = &given[&access_key_id(request)];
        let path: Vec<&str> = request["target"].as_str().unwrap().split('/').collect();
        let (account, upload) = (path[1], path[5]);
        // Each upload is a team's.
        let team = uploads[account].iter().position(|id| id == upload).unwrap();
        assert_eq!(session["accountId"], account);
        assert_eq!(session["sourceIdentity"], teams[team]);
        assert_eq!(session["tags"]["team"], teams[team]);
        direct += usize::from(request["headers"][FROM_SDK].is_null());
    }
    assert!(direct >= pairs.len(), "only {direct} aborts were direct");
}
