//! Lifecycle rules: jobs that come again and again.

use std::{collections::BTreeSet, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::{
    cluster::Cluster,
    jobs::stored_in,
    support::{ACCOUNT, Gateway, REGION, problem},
};

/// Team `owner` may see and run some rules, and the rules may abort in its name.
const POLICY: &str = r#"{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "gateway:*AbortJob", "Resource": "arn:aws:glacier-gateway:::job/owner/*"},
    {"Effect": "Allow", "Action": ["gateway:GetLifecycleRule", "gateway:RunLifecycleRule"],
     "Resource": "arn:aws:glacier-gateway:::lifecycle-rule/own-*"}
]}"#;

/// A rule that aborts what is a week old.
fn rule(id: &str, more: &str) -> String {
    format!(
        "[lifecycle.rules.{id}]\nteam = \"owner\"\nvaults = [\"own-*\"]\nquiet_for = \"0s\"\n\
         days_after_initiation = 7\nmode = \"abort\"\n{more}\n"
    )
}

/// What the rules begin with, in settings.
const RULES: &str = "[lifecycle";
const SQLITE: &str = "[store]\nurl = \"sqlite:DIRECTORY/store.db\"\n";

/// The settings of a PostgreSQL store that nobody else has, and its database.
async fn postgres() -> (String, String) {
    let cluster = Cluster::shared();
    let database = cluster.database().await;
    (stored_in(cluster, &database), database)
}

/// Each kind of store, as settings.
async fn stores() -> [String; 2] {
    [SQLITE.to_owned(), postgres().await.0]
}

/// Waits until the gateway has the policy.
async fn allow(gateway: &Gateway) {
    let folder = gateway.directory.path().join("policies/teams/owner");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("rules.json"), POLICY).unwrap();
    while gateway.call("owner", Method::GET, "/v1/lifecycle-rules/own-x").await.status() == 403 {}
}

/// A gateway with these rules, whose service has its permissions before the first tick.
async fn start(settings: &str) -> Gateway {
    with_rules(without_rules(settings).await, settings)
}

/// The same without the rules, so that nothing ticks yet.
async fn without_rules(settings: &str) -> Gateway {
    let (others, _) = settings.split_once(RULES).unwrap();
    let gateway = Gateway::with(others, &[]);
    allow(&gateway).await;
    gateway
}

/// The same gateway, started anew with the rules.
fn with_rules(mut gateway: Gateway, settings: &str) -> Gateway {
    gateway.process.child.kill().unwrap();
    gateway.process.child.wait().unwrap();
    let file = gateway.directory.path().join("gateway.toml");
    let (_, rules) = settings.split_once(RULES).unwrap();
    let rules = rules.replace("DIRECTORY", &gateway.directory.path().display().to_string());
    let others = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{others}\n{RULES}{rules}")).unwrap();
    gateway.restarted()
}

async fn get(gateway: &Gateway, id: &str) -> Value {
    let path = format!("/v1/lifecycle-rules/{id}");
    let reply = gateway.call("owner", Method::GET, &path).await;
    assert_eq!(reply.status(), 200, "{id}: {:?}", reply.text().await);
    reply.json().await.unwrap()
}

/// Waits until a rule is as wanted.
async fn get_when(gateway: &Gateway, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..600 {
        let rule = get(gateway, id).await;
        if wanted(&rule) {
            return rule;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never came true: {:#}", get(gateway, id).await);
}

/// The runs of a rule by the schedule, with a job.
fn with_job(rule: &Value) -> Vec<&Value> {
    rule["runs"].as_array().unwrap().iter().filter(|run| run["jobId"].is_string()).collect()
}

#[test]
fn check_config_refuses_rules_that_cannot_be_kept_and_tells_of_odd_ones() {
    let gateway = Gateway::with(SQLITE, &[]);
    let folder = gateway.directory.path().join("rules");
    std::fs::create_dir(&folder).unwrap();
    let file = gateway.directory.path().join("gateway.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    let check = |rules: &str, in_folder: &str| {
        std::fs::write(folder.join("other.toml"), in_folder).unwrap();
        std::fs::write(&file, format!("{config}\n{rules}")).unwrap();
        let output = gateway.command(&["check-config"], true);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let directory = format!("[lifecycle]\ndirectory = {folder:?}\n");
    let daily = rule("own-a", "schedule = \"@daily\"");
    let in_file = "team = \"owner\"\nvaults = [\"own-a\"]\ndays_after_initiation = 9\n\
                   schedule = \"@daily\"\nquiet_for = \"1h\"\n";
    let (code, told) = check(&format!("{directory}{daily}"), in_file);
    assert_eq!(code, Some(0), "{told}");
    let odd = "warning: lifecycle.rules.other: it finds nothing that the rule own-a does not find";
    assert!(told.contains(odd), "{told}");

    let (code, told) = check(&format!("{directory}{daily}"), &format!("{in_file}filter = 1\n"));
    assert_eq!(code, Some(64), "{told}");
    assert!(told.contains("lifecycle.rules.other.filter: is no setting"), "{told}");

    let without = config.replace("[store]", "[nothing]").replace("[nothing]\nurl", "[store]\n#");
    std::fs::write(&file, format!("{without}\n{daily}")).unwrap();
    let output = gateway.command(&["serve"], true);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{told}");
    assert!(told.contains("lifecycle: needs a store"), "{told}");
}

#[actix_web::test]
async fn rules_are_shown_to_those_who_may_see_them() {
    let rules = [
        rule("own-a", "schedule = \"30 2 * * *\"\ntime_zone = \"Europe/Berlin\""),
        rule("own-b", "schedule = \"@daily\"\naccounts = [\"films\"]"),
        rule("theirs", "schedule = \"@daily\""),
    ];
    let gateway = start(&format!("{SQLITE}{}", rules.concat())).await;
    let list = gateway.call("owner", Method::GET, "/v1/lifecycle-rules").await;
    let list: Value = list.json().await.unwrap();
    let shown = list["rules"].as_array().unwrap();
    let ids: Vec<_> = shown.iter().map(|rule| rule["ruleId"].as_str().unwrap()).collect();
    assert_eq!(ids, ["own-a", "own-b"]);
    let [a, b] = &shown[..] else { panic!("{list:#}") };
    assert_eq!(a["settings"]["job"]["select"], json!({"olderThan": "P7D", "quietFor": "PT0S"}));
    assert_eq!(a["settings"]["timeZone"], "Europe/Berlin");
    assert!(a["nextRun"].as_str().unwrap().contains(":30:00"), "{a:#}");
    // The first run reports, whatever the rule says.
    assert_eq!((&a["settings"]["mode"], &a["nextMode"]), (&json!("abort"), &json!("report")));
    assert!(a["warnings"].as_array().unwrap().is_empty());
    assert!(b["warnings"][0].as_str().unwrap().contains("matches nothing"), "{b:#}");
    gateway.process.line(|line| line.contains("look at this lifecycle rule").then_some(()));

    for (team, method, path, expected) in [
        ("owner", Method::GET, "/v1/lifecycle-rules/theirs", (403, "not-authorized")),
        ("owner", Method::POST, "/v1/lifecycle-rules/theirs/runs", (403, "not-authorized")),
        ("stranger", Method::GET, "/v1/lifecycle-rules", (403, "not-authorized")),
        ("owner", Method::GET, "/v1/lifecycle-rules/own-x", (404, "lifecycle-rule-not-found")),
        (
            "owner",
            Method::POST,
            "/v1/lifecycle-rules/own-x/runs",
            (404, "lifecycle-rule-not-found"),
        ),
    ] {
        let (status, body) = problem(gateway.call(team, method, path).await).await;
        assert_eq!((status, body["code"].as_str().unwrap()), expected, "{path}");
    }
    let without = Gateway::start();
    allow(&without).await;
    let reply = without.call("owner", Method::GET, "/v1/lifecycle-rules").await;
    assert_eq!(problem(reply).await.1["code"], "store-required");
}

#[actix_web::test]
async fn rules_of_a_folder_come_and_go_and_a_broken_one_changes_nothing() {
    let settings = format!("{SQLITE}[lifecycle]\ndirectory = \"DIRECTORY/rules\"\n");
    let file = "team = \"owner\"\nvaults = [\"own-a\"]\ndays_after_initiation = 9\n\
                schedule = \"@daily\"\n";
    // The folder must be there before the gateway is.
    let mut gateway = Gateway::with(SQLITE, &[]);
    let folder = gateway.directory.path().join("rules");
    std::fs::create_dir(&folder).unwrap();
    gateway.process.child.kill().unwrap();
    gateway.process.child.wait().unwrap();
    let config = gateway.directory.path().join("gateway.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let directory = gateway.directory.path().display().to_string();
    let (_, more) = settings.split_once("store.db\"\n").unwrap();
    std::fs::write(&config, text + &more.replace("DIRECTORY", &directory)).unwrap();
    let gateway = gateway.restarted();
    allow(&gateway).await;
    let is = async |path: &str, status: u16| {
        while gateway.call("owner", Method::GET, path).await.status() != status {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    std::fs::write(folder.join("own-a.toml"), file).unwrap();
    is("/v1/lifecycle-rules/own-a", 200).await;
    std::fs::write(folder.join("own-b.toml"), "team = 5").unwrap();
    gateway.process.line(|line| line.contains("lifecycle.rules.own-b.team").then_some(()));
    is("/v1/lifecycle-rules/own-a", 200).await;
    std::fs::write(folder.join("own-b.toml"), file).unwrap();
    std::fs::remove_file(folder.join("own-a.toml")).unwrap();
    is("/v1/lifecycle-rules/own-a", 404).await;
    is("/v1/lifecycle-rules/own-b", 200).await;
    let entries = crate::trail::all_entries(&gateway);
    assert!(entries.iter().any(|entry| entry["eventName"] == "LifecycleRulesReplaced"));
}

#[actix_web::test]
async fn a_run_that_is_asked_for_is_one_job_and_no_second_one_begins_before_it_has_ended() {
    for store in stores().await {
        let gateway = start(&format!("{store}{}", rule("own-a", "schedule = \"@yearly\""))).await;
        // The job waits for Glacier.
        gateway.simulator.fault(json!({"latencyMillis": 700})).await;
        let run =
            async || gateway.call("owner", Method::POST, "/v1/lifecycle-rules/own-a/runs").await;
        let reply = run().await;
        assert_eq!(reply.status(), 202);
        let location = reply.headers()["location"].to_str().unwrap().to_owned();
        let begun: Value = reply.json().await.unwrap();
        assert_eq!(location, format!("/v1/abort-jobs/{}", begun["jobId"].as_str().unwrap()));
        assert_eq!((&begun["mode"], &begun["outcome"]), (&json!("report"), &Value::Null));
        assert_eq!(begun["askedBy"]["subject"], "owner-service");
        let (status, body) = problem(run().await).await;
        assert_eq!((status, &body["code"]), (409, &json!("lifecycle-rule-running")));

        let job = gateway.call("owner", Method::GET, &location).await;
        let job: Value = job.json().await.unwrap();
        assert_eq!(job["createdBy"], json!({"issuer": "gateway-services", "subject": "lifecycle"}));
        assert_eq!((&job["team"], &job["request"]["confirm"]), (&json!("owner"), &json!("never")));
    }
}

/// Seeds uploads that are ten days old; gives their IDs.
async fn seed(gateway: &Gateway, vault: &str, count: usize) -> Vec<String> {
    let upload = json!({"parts": 1, "ageSeconds": 864_000});
    let seed = json!({
        "accountId": ACCOUNT, "region": REGION, "vaultName": vault,
        "uploads": vec![upload; count],
    });
    let reply = gateway.simulator.order(Method::POST, "/vaults", &seed).await;
    let reply: Value = reply.json().await.unwrap();
    serde_json::from_value(reply["uploadIds"].clone()).unwrap()
}

/// Has the rule run and waits until the run has ended; gives it.
async fn ran(gateway: &Gateway, id: &str) -> Value {
    let path = format!("/v1/lifecycle-rules/{id}/runs");
    let reply = gateway.call("owner", Method::POST, &path).await;
    assert_eq!(reply.status(), 202, "{:?}", reply.text().await);
    let begun: Value = reply.json().await.unwrap();
    // Others may begin meanwhile.
    let this = |rule: &Value| {
        let mut runs = rule["runs"].as_array().unwrap().iter();
        let ended =
            |run: &&Value| run["scheduledAt"] == begun["scheduledAt"] && run["outcome"].is_string();
        runs.find(ended).cloned()
    };
    this(&get_when(gateway, id, |rule| this(rule).is_some()).await).unwrap()
}

#[actix_web::test]
async fn a_rule_reports_what_it_would_abort_before_it_aborts_and_again_once_it_is_changed() {
    for store in stores().await {
        let settings = format!("{store}{}", rule("own-a", "schedule = \"@yearly\""));
        let mut gateway = start(&settings).await;
        let ids = seed(&gateway, "own-a", 3).await;
        let young = gateway.simulator.seed("own-a", &["young"]).await.remove(0);

        let reported = ran(&gateway, "own-a").await;
        assert_eq!(
            (&reported["mode"], &reported["outcome"]),
            (&json!("report"), &json!("reported"))
        );
        assert_eq!(reported["counts"]["selected"], 3, "{reported:#}");
        assert_eq!(
            (&reported["found"]["allowed"], &reported["counts"]["aborted"]),
            (&json!(3), &json!(0))
        );
        for id in &ids {
            let status = gateway.simulator.status("own-a", id).await;
            assert_eq!(status.as_deref(), Some("in-progress"));
        }

        let aborted = ran(&gateway, "own-a").await;
        assert_eq!((&aborted["mode"], &aborted["outcome"]), (&json!("abort"), &json!("completed")));
        assert_eq!(aborted["counts"]["aborted"], 3, "{aborted:#}");
        for id in &ids {
            assert_eq!(gateway.simulator.status("own-a", id).await.as_deref(), Some("aborted"));
        }
        let status = gateway.simulator.status("own-a", &young).await;
        assert_eq!(status.as_deref(), Some("in-progress"));

        let file = gateway.directory.path().join("gateway.toml");
        let config = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, config.replace("initiation = 7", "initiation = 8")).unwrap();
        stop(&mut gateway);
        gateway = gateway.restarted();
        let shown = get(&gateway, "own-a").await;
        assert_eq!(
            (&shown["nextMode"], &shown["settings"]["mode"]),
            (&json!("report"), &json!("abort"))
        );
        assert_eq!(ran(&gateway, "own-a").await["mode"], "report");
        assert_eq!(ran(&gateway, "own-a").await["mode"], "abort");
    }
}

#[actix_web::test]
async fn a_run_that_waits_for_room_makes_no_job_once_its_rule_is_gone() {
    let rule = rule("own-a", "schedule = \"@yearly\"");
    let mut gateway = start(&format!("{SQLITE}[jobs]\nactive_per_team = 1\n{rule}")).await;
    seed(&gateway, "own-a", 2).await;
    assert_eq!(ran(&gateway, "own-a").await["outcome"], "reported");
    // The team's only place is taken.
    let body = json!({"target": {"vaults": ["own-b"]}, "select": {"all": true}});
    let job: Value =
        crate::jobs::post(&gateway, "/v1/abort-jobs", &body).await.json().await.unwrap();
    let reply = gateway.call("owner", Method::POST, "/v1/lifecycle-rules/own-a/runs").await;
    let run: Value = reply.json().await.unwrap();
    assert_eq!((&run["mode"], &run["jobId"]), (&json!("abort"), &Value::Null));
    gateway.process.child.kill().unwrap();
    gateway.process.child.wait().unwrap();
    let config = gateway.directory.path().join("gateway.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains(&rule));
    std::fs::write(&config, text.replace(&rule, "")).unwrap();
    let gateway = gateway.restarted();
    let cancel = format!("/v1/abort-jobs/{}/cancel", job["jobId"].as_str().unwrap());
    crate::jobs::post(&gateway, &cancel, &json!({})).await;
    while number(&gateway, None, "SELECT count(*) FROM lifecycle_run WHERE ended IS NULL").await > 0
    {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(number(&gateway, None, "SELECT count(*) FROM job").await, 2);
    let skipped = "SELECT count(*) FROM lifecycle_run WHERE outcome = 'skipped'";
    assert_eq!(number(&gateway, None, skipped).await, 1);
}

#[actix_web::test]
async fn a_run_that_fails_pauses_its_rule_until_one_that_is_asked_for_succeeds() {
    let rules = [
        rule("own-a", "schedule = \"* * * * * *\"\nmax_uploads = 1"),
        // The policies let the service do nothing in the name of this team.
        rule("own-b", "schedule = \"@yearly\"").replace("\"owner\"", "\"stranger\""),
    ];
    for store in stores().await {
        let settings = format!("{store}{}", rules.concat());
        let gateway = without_rules(&settings).await;
        let ids = seed(&gateway, "own-a", 2).await;
        let gateway = with_rules(gateway, &settings);
        let paused = get_when(&gateway, "own-a", |rule| rule["paused"].is_object()).await;
        let reason = paused["paused"]["reason"].as_str().unwrap();
        assert!(reason.contains("too-many-uploads"), "{paused:#}");
        assert_eq!(paused["nextRun"], Value::Null);
        gateway
            .process
            .line(|line| line.contains("a run of a lifecycle rule has failed").then_some(()));
        let skipped = |rule: &Value| rule["runs"][0]["outcome"] == "skipped";
        get_when(&gateway, "own-a", skipped).await;
        assert_eq!(ran(&gateway, "own-a").await["outcome"], "failed");

        let path = format!("/v1/accounts/-/vaults/own-a/multipart-uploads/{}", ids[0]);
        assert_eq!(gateway.call("owner", Method::DELETE, &path).await.status(), 204);
        assert_eq!(ran(&gateway, "own-a").await["outcome"], "reported");
        let goes_on = |rule: &Value| rule["paused"].is_null() && rule["nextRun"].is_string();
        get_when(&gateway, "own-a", goes_on).await;
        // The next run by itself aborts.
        while gateway.simulator.status("own-a", &ids[1]).await.as_deref() != Some("aborted") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }

        let denied = ran(&gateway, "own-b").await;
        assert_eq!((&denied["outcome"], &denied["jobId"]), (&json!("failed"), &Value::Null));
        assert!(denied["detail"].as_str().unwrap().starts_with("not-authorized"), "{denied:#}");
    }
}

/// How many jobs there are, and the times for which there are runs with a job.
async fn counted(connection: &mut PgConnection) -> (i64, Vec<i64>) {
    let (jobs,): (i64,) =
        sqlx::query_as("SELECT count(*) FROM job").fetch_one(&mut *connection).await.unwrap();
    let sql = "SELECT scheduled FROM lifecycle_run WHERE job IS NOT NULL";
    let runs: Vec<(i64,)> = sqlx::query_as(sql).fetch_all(connection).await.unwrap();
    (jobs, runs.into_iter().map(|(scheduled,)| scheduled).collect())
}

#[actix_web::test]
async fn a_tick_is_one_job_on_however_many_replicas_also_if_one_is_killed() {
    let (store, database) = postgres().await;
    let settings = format!("{store}{}", rule("own-a", "schedule = \"* * * * * *\""));
    let mut replicas = vec![start(&settings).await];
    replicas.push(start(&settings).await);
    replicas.push(start(&settings).await);
    let mut admin = Cluster::shared().admin(&database).await;
    let dealt_with = async |admin: &mut PgConnection, wanted: i64| {
        for _ in 0..1_200 {
            let sql = "SELECT count(*) FROM lifecycle_run";
            let (runs,): (i64,) = sqlx::query_as(sql).fetch_one(&mut *admin).await.unwrap();
            if runs >= wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("too few runs");
    };
    dealt_with(&mut admin, 4).await;
    // Whoever looks after the rules is killed; another takes over.
    let sql = "SELECT owner FROM lease WHERE name = 'lifecycle'";
    let (owner,): (String,) = sqlx::query_as(sql).fetch_one(&mut admin).await.unwrap();
    let is_owner = |gateway: &Gateway| {
        gateway.process.all_lines().iter().any(|line| line.contains("a lifecycle rule is due"))
    };
    let leader = replicas.iter().position(is_owner).unwrap();
    replicas[leader].process.signal("KILL");
    let (before,): (i64,) =
        sqlx::query_as("SELECT count(*) FROM lifecycle_run").fetch_one(&mut admin).await.unwrap();
    dealt_with(&mut admin, before + 4).await;
    let (next,): (String,) = sqlx::query_as(sql).fetch_one(&mut admin).await.unwrap();
    assert_ne!(owner, next);
    drop(replicas);

    let (jobs, runs) = counted(&mut admin).await;
    // The last leader may have been killed after it made a job and before it noted that.
    let sql = "SELECT count(*) FROM lifecycle_run WHERE job IS NULL AND ended IS NULL";
    let (open,): (i64,) = sqlx::query_as(sql).fetch_one(&mut admin).await.unwrap();
    let with_job = i64::try_from(runs.len()).unwrap();
    assert!((with_job..=with_job + open).contains(&jobs), "{jobs} jobs, {with_job} + {open} runs");
    assert_eq!(runs.iter().collect::<BTreeSet<_>>().len(), runs.len());
    admin.close().await.unwrap();
}

/// Runs SQL in the store of a gateway that is stopped.
async fn in_store(gateway: &Gateway, database: Option<&str>, sql: &'static str) {
    match database {
        Some(database) => {
            let mut admin = Cluster::shared().admin(database).await;
            sqlx::query(sql).execute(&mut admin).await.unwrap();
        }
        None => {
            let file = gateway.directory.path().join("store.db");
            rusqlite::Connection::open(file).unwrap().execute(sql, []).unwrap();
        }
    }
}

#[actix_web::test]
async fn after_a_stop_the_last_missed_run_is_made_up_for_once() {
    let minute = (time::OffsetDateTime::now_utc().minute() + 30) % 60;
    let hourly = format!("schedule = \"{minute} * * * *\"\n");
    let rules = [
        rule("own-a", &format!("{hourly}catch_up = \"2h\"")),
        rule("own-b", &format!("{hourly}catch_up = \"1m\"")),
    ];
    let (store, database) = postgres().await;
    for (store, database) in [(SQLITE.to_owned(), None), (store, Some(database.as_str()))] {
        let mut gateway = start(&format!("{store}{}", rules.concat())).await;
        while number(&gateway, database, "SELECT count(*) FROM lifecycle_rule").await < 2 {}
        assert_eq!(get(&gateway, "own-a").await["runs"], json!([]));
        // As if it had last run three days ago.
        let long_ago = "UPDATE lifecycle_rule SET since = since - 259200000000";
        stop(&mut gateway);
        in_store(&gateway, database, long_ago).await;
        gateway = gateway.restarted();
        let a = get_when(&gateway, "own-a", |rule| !with_job(rule).is_empty()).await;
        let [run] = with_job(&a)[..] else { panic!("{a:#}") };
        assert!(run["scheduledAt"].as_str().unwrap().contains(&format!(":{minute:02}:00")));
        let b = get_when(&gateway, "own-b", |rule| rule["runs"] != json!([])).await;
        let [run] = &b["runs"].as_array().unwrap()[..] else { panic!("{b:#}") };
        assert_eq!((&run["outcome"], &run["jobId"]), (&json!("missed"), &Value::Null));
        // Started once more, there is nothing to make up for.
        stop(&mut gateway);
        gateway = gateway.restarted();
        assert_eq!(looked_after(&gateway, database).await, 2, "runs of both rules");
    }
}

fn stop(gateway: &mut Gateway) {
    gateway.process.signal("TERM");
    gateway.process.child.wait().unwrap();
}

/// A number from the store of a gateway.
async fn number(gateway: &Gateway, database: Option<&str>, sql: &'static str) -> i64 {
    tokio::time::sleep(Duration::from_millis(50)).await;
    match database {
        Some(database) => {
            let mut admin = Cluster::shared().admin(database).await;
            let (number,) = sqlx::query_as(sql).fetch_one(&mut admin).await.unwrap();
            number
        }
        None => {
            let file = gateway.directory.path().join("store.db");
            let store = rusqlite::Connection::open(file).unwrap();
            store.query_row(sql, [], |row| row.get(0)).unwrap()
        }
    }
}

/// Waits until the rules have been looked after for a while, and counts the runs.
async fn looked_after(gateway: &Gateway, database: Option<&str>) -> i64 {
    let mut renewed = BTreeSet::new();
    while renewed.len() < 3 {
        let lease = "SELECT until FROM lease WHERE name = 'lifecycle'";
        renewed.insert(number(gateway, database, lease).await);
    }
    number(gateway, database, "SELECT count(*) FROM lifecycle_run").await
}
