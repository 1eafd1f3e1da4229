//! Reading the audit trail.

use std::{
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use base64::{Engine, prelude::BASE64_STANDARD};

use glacier_gateway::{
    audit::{
        Event, RecordedDecision, Trail, UserIdentity,
        log::{Checkpoint, Hash, entries_of_bundle, leaf_hash},
        query::{self, Filter},
    },
    config,
    store::{Append, Kind},
};
use reqwest::{Method, Response};
use rusqlite::Connection;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt};
use uuid::{NoContext, Timestamp, Uuid};

use crate::{
    support::{BINARY, Gateway, MADE_UP, claims, problem},
    trail,
};

const VAULT: &str = "arn:aws:glacier:eu-central-1:111122223333:vaults/";

/// When the first event of [`seeded`] began.
fn begin() -> OffsetDateTime {
    static BEGIN: OnceLock<OffsetDateTime> = OnceLock::new();
    *BEGIN.get_or_init(|| {
        let now = OffsetDateTime::now_utc() - Duration::minutes(30);
        now.replace_nanosecond(0).unwrap()
    })
}

fn at(seconds: i64) -> String {
    (begin() + Duration::seconds(seconds)).format(&Rfc3339).unwrap()
}

/// An event that began so long after the first. Its texts stay until the test ends.
fn event(team: &str, name: &'static str, since: Duration) -> Event<'static> {
    let time = begin() + since;
    let seconds = u64::try_from(time.unix_timestamp()).unwrap();
    let id = Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, time.nanosecond()));
    Event {
        id,
        time: Some(time),
        source: "glacier.amazonaws.com",
        name,
        read_only: name != "AbortMultipartUpload",
        request_id: Some(format!("request-{}", since.whole_seconds()).leak()),
        identity: Some(UserIdentity {
            issuer: "test",
            subject: format!("{team}-service").leak(),
            teams: vec![team.to_owned()].leak(),
            ..UserIdentity::default()
        }),
        team: Some(team.to_owned().leak()),
        resource: Some(format!("{VAULT}own-{team}").leak()),
        decision: Some(RecordedDecision { outcome: "allowed", statement: None }),
        outcome: Some("ok"),
        ..Event::default()
    }
}

fn settings(file: &std::path::Path) -> config::Store {
    config::Store {
        url: config::StoreUrl::Sqlite(file.to_owned()),
        ca_file: None,
        password_file: None,
        connections: 4,
        accept: Vec::new(),
    }
}

fn audit_settings() -> config::Audit {
    config::Audit {
        deadline: std::time::Duration::from_secs(10),
        reads: config::Reads::Record,
        key_files: Default::default(),
        checkpoint_file: None,
        origin: None,
        keep: std::time::Duration::from_secs(400 * 24 * 3600),
    }
}

/// Writes events to a store before a gateway opens it, and sets its log's beginning back
/// to before them.
fn seed<F: Future<Output = ()>>(file: &std::path::Path, write: impl FnOnce(Trail) -> F + Send) {
    std::fs::write(file.with_file_name(MADE_UP), "").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let trail = Trail::open(&settings(file), &audit_settings()).await.unwrap();
                write(trail.clone()).await;
                assert!(trail.close(std::time::Duration::from_secs(30)));
            });
        });
    });
    let before = begin().unix_timestamp() * 1_000_000 - 1;
    let connection = Connection::open(file).unwrap();
    connection.execute("UPDATE audit_entry SET at = ?1 WHERE kind = 4", [before]).unwrap();
    // As if the log had begun then.
    let times = "WITH event AS (SELECT at, max(at) OVER (ORDER BY position) AS before \
                 FROM audit_entry WHERE kind NOT IN (2, 3)) \
                 UPDATE audit_head SET earliest = (SELECT min(at) FROM event), \
                 latest = (SELECT max(at) FROM event), \
                 disorder = (SELECT max(before - at) FROM event)";
    connection.execute(times, []).unwrap();
}

/// Records events, a thousand at once. Nobody counts those that somebody waits for.
async fn record_all(trail: &Trail, events: impl Iterator<Item = Event<'static>>) {
    let mut waiting = tokio::task::JoinSet::new();
    for event in events {
        if waiting.len() == 1000 {
            while let Some(done) = waiting.join_next().await {
                done.unwrap();
            }
        }
        let trail = trail.clone();
        waiting.spawn(async move { trail.record_durably(&event).await.unwrap() });
    }
    waiting.join_all().await;
}

/// A gateway with policies for readers of the trail, whose trail already has what `write`
/// writes. `more` is appended to its settings.
async fn gateway<F: Future<Output = ()>>(
    more: &str,
    write: impl FnOnce(Trail) -> F + Send,
) -> Gateway {
    let gateway = Gateway::with("[store]\nurl = \"none\"", &[]);
    let path = |name: &str| gateway.directory.path().join(name);
    let allow = |team: &str, audit: &str| {
        let policy = json!({ "Version": "2012-10-17", "Statement": {
            "Sid": "Read", "Effect": "Allow", "Action": "gateway:ReadAudit",
            "Resource": format!("arn:aws:glacier-gateway:::audit/{audit}"),
        }});
        std::fs::write(path(&format!("policies/teams/{team}.json")), policy.to_string()).unwrap();
    };
    allow("auditors", "*");
    allow("a", "${aws:PrincipalTag/team}");
    allow("b", "b");
    seed(&path("store.db"), write);
    let config = std::fs::read_to_string(path("gateway.toml")).unwrap();
    let url = format!("sqlite:{}", path("store.db").display());
    let config = config.replace("\"none\"", &format!("{url:?}")) + more;
    std::fs::write(path("gateway.toml"), config).unwrap();
    gateway.restarted()
}

/// A gateway whose trail has an event every second for
/// a minute: of the teams `a`, `b` and `a_b` by turns; every fifth is an abort, the third
/// of which timed out; and then a denial of a caller in `a` and `b`.
async fn seeded() -> Gateway {
    gateway("", |trail| async move {
        for second in 0..60 {
            let team = ["a", "b", "a_b"][usize::try_from(second).unwrap() % 3];
            let since = Duration::seconds(second);
            if second % 5 != 0 {
                let mut read = event(team, "ListParts", since);
                read.upload_id = Some(format!("upload-{second}").leak());
                trail.record_durably(&read).await.unwrap();
                continue;
            }
            let mut abort = event(team, "AbortMultipartUpload", since);
            abort.outcome = None;
            let intent = trail.intent(&abort).await.unwrap();
            match second {
                10 => intent.settle("unknown", Some("glacier-timeout"), None),
                _ => intent.settle("aborted", None, None),
            }
        }
        let mut denial = event("a", "DescribeVault", Duration::seconds(60));
        denial.team = None;
        denial.identity.as_mut().unwrap().teams = vec!["a".to_owned(), "b".to_owned()].leak();
        denial.decision = Some(RecordedDecision { outcome: "implicitDeny", statement: None });
        (denial.outcome, denial.error_code) = (None, Some("not-authorized"));
        trail.record_durably(&denial).await.unwrap();
    })
    .await
}

async fn get(gateway: &Gateway, team: &str, path: &str) -> Response {
    gateway.call(team, Method::GET, path).await
}

/// The events of a query among those that were seeded.
async fn listed(gateway: &Gateway, team: &str, query: &str) -> Vec<Value> {
    let end = if query.contains("to=") { String::new() } else { format!("&to={}", at(61)) };
    let path = format!("/v1/audit-events?limit=1000{end}&{query}");
    let reply = get(gateway, team, path.trim_end_matches('&')).await;
    assert_eq!(reply.status(), 200, "{path}");
    let page: Value = reply.json().await.unwrap();
    assert_eq!(page["marker"], Value::Null, "{path}");
    page["events"].as_array().unwrap().clone()
}

fn names<'e>(events: &'e [Value], name: &str) -> Vec<&'e str> {
    events.iter().map(|event| event[name].as_str().unwrap_or_default()).collect()
}

#[tokio::test]
async fn events_are_found_by_time_team_and_what_they_say() {
    let gateway = seeded().await;
    // With the log's beginning.
    assert_eq!(listed(&gateway, "auditors", "").await.len(), 62);
    for (query, count) in [
        (format!("from={}", at(0)), 61),
        (format!("from={}", at(1)), 60),
        (format!("from={}&to={}", at(10), at(20)), 10),
        (format!("from={}", at(10).replace('Z', ".000001Z")), 50),
        ("team=a_b".to_owned(), 20),
        // The denial belongs to both teams of its caller.
        ("team=a".to_owned(), 21),
        ("team=b".to_owned(), 21),
        ("team=A".to_owned(), 0),
        ("team=axb".to_owned(), 0),
        ("subject=a-service".to_owned(), 21),
        ("vault=own-b".to_owned(), 20),
        ("upload=upload-7".to_owned(), 1),
        ("action=AbortMultipartUpload".to_owned(), 12),
        ("action=glacier:abortmultipartupload&team=a".to_owned(), 4),
        ("action=gateway:AbortMultipartUpload".to_owned(), 0),
        ("decision=implicitDeny".to_owned(), 1),
        ("decision=explicitDeny".to_owned(), 0),
        ("outcome=aborted".to_owned(), 11),
        ("outcome=unknown".to_owned(), 1),
        ("outcome=ok&team=b".to_owned(), 16),
        ("requestId=request-7".to_owned(), 1),
    ] {
        let events = listed(&gateway, "auditors", &query).await;
        assert_eq!(events.len(), count, "{query}");
        assert!(names(&events, "eventTime").is_sorted(), "{query}");
    }
}

#[tokio::test]
async fn a_change_is_one_event_with_its_outcome() {
    let gateway = seeded().await;
    let changes = listed(&gateway, "auditors", "action=AbortMultipartUpload").await;
    let mut outcomes = vec!["aborted"; 12];
    outcomes[2] = "unknown";
    assert_eq!(names(&changes, "outcome"), outcomes);
    assert_eq!(changes[2]["errorCode"], "glacier-timeout");
    assert_eq!(changes[2]["userIdentity"]["subject"], "b-service");
}

#[tokio::test]
async fn pages_lose_and_repeat_nothing() {
    let gateway = seeded().await;
    for query in ["", "&team=a", "&action=ListParts", "&outcome=aborted", "&subject=nobody"] {
        let wanted = listed(&gateway, "auditors", query.trim_start_matches('&')).await;
        for limit in [1, 7, 10, 62] {
            let (mut found, mut marker) = (Vec::new(), String::new());
            loop {
                let to = at(61);
                let path = format!("/v1/audit-events?to={to}&limit={limit}{query}{marker}");
                let page: Value = get(&gateway, "auditors", &path).await.json().await.unwrap();
                let events = page["events"].as_array().unwrap();
                assert!(events.len() <= limit, "{path}");
                found.extend(events.clone());
                match page["marker"].as_str() {
                    Some(next) => marker = format!("&marker={next}"),
                    None => break,
                }
            }
            assert_eq!(found, wanted, "{query} {limit}");
        }
    }
}

#[tokio::test]
async fn a_team_sees_only_what_it_may_read() {
    let gateway = seeded().await;
    for (team, seen) in [("a", 21), ("b", 21)] {
        let events = listed(&gateway, team, "").await;
        assert_eq!(events.len(), seen, "{team}");
        assert!(events.iter().all(|event| {
            event["team"] == team || event["decision"]["outcome"] == "implicitDeny"
        }));
    }
    let denied = get(&gateway, "a", "/v1/audit-events?team=b").await;
    let (status, body) = problem(denied).await;
    assert_eq!((status, &body["code"]), (403, &json!("not-authorized")));
    for path in ["/v1/audit-events", "/v1/audit-events?team=stranger"] {
        assert_eq!(get(&gateway, "stranger", path).await.status(), 403, "{path}");
    }

    let of_b = &listed(&gateway, "auditors", "team=b&action=ListParts").await[0];
    let path = format!("/v1/audit-events/{}", of_b["eventID"].as_str().unwrap());
    for (team, status) in [("b", 200), ("auditors", 200), ("a", 404), ("stranger", 403)] {
        assert_eq!(get(&gateway, team, &path).await.status(), status, "{team}");
    }
    // Whether there is an event is not for everybody to know.
    for team in ["a", "stranger"] {
        let there = problem(get(&gateway, team, &path).await).await;
        let none = format!("/v1/audit-events/{}", Uuid::now_v7());
        let none = problem(get(&gateway, team, &none).await).await;
        let told = |(status, body): &(u16, Value)| {
            (*status, body["code"].clone(), body["title"].clone(), body["detail"].clone())
        };
        assert_eq!(told(&there), told(&none), "{team}");
    }
    let beginning = listed(&gateway, "auditors", "action=StartLog").await;
    let [beginning] = &beginning[..] else { panic!("{beginning:#?}") };
    assert_eq!(beginning["eventType"], "LogStart");
    for (team, status) in [("auditors", 200), ("a", 403)] {
        let path = "/v1/audit/logs/2026-01/tile/0/000";
        let wanted = if status == 200 { 404 } else { status };
        assert_eq!(get(&gateway, team, path).await.status(), wanted, "{team}");
    }
}

#[tokio::test]
async fn each_look_at_the_trail_is_recorded() {
    let gateway = seeded().await;
    let before = trail::entries(&gateway).len();
    get(&gateway, "a", "/v1/audit-events").await;
    get(&gateway, "a", "/v1/audit-events?team=b").await;
    get(&gateway, "b", &format!("/v1/audit-events/{}", Uuid::now_v7())).await;
    let looks = trail::entries_in_time(&gateway, before + 3).await.split_off(before);
    assert_eq!(names(&looks, "eventName"), ["ReadAudit"; 3]);
    assert_eq!(names(&looks, "eventSource"), ["glacier-gateway"; 3]);
    let audit = |team| format!("arn:aws:glacier-gateway:::audit/{team}");
    assert_eq!(names(&looks, "resource"), [audit("*"), audit("b"), audit("*")]);
    assert_eq!(names(&looks, "team"), ["a", "", "b"]);
    assert_eq!(names(&looks, "outcome"), ["ok", "", "failed"]);
    assert_eq!(names(&looks, "errorCode"), ["", "not-authorized", "event-not-found"]);
}

#[tokio::test]
async fn a_denied_look_belongs_to_all_of_the_callers_teams() {
    let gateway = seeded().await;
    let before = trail::entries(&gateway).len();
    let foreign = &listed(&gateway, "auditors", "team=a_b").await[0];
    let path = format!("/v1/audit-events/{}", foreign["eventID"].as_str().unwrap());
    let mut claims = claims("a");
    claims["team"] = json!(["a", "b"]);
    let token = gateway.key.sign(&claims);
    assert_eq!(gateway.call_with(&token, Method::GET, &path).await.status(), 404);
    let looks = trail::entries_in_time(&gateway, before + 2).await.split_off(before);
    let [_, look] = &looks[..] else { panic!("{looks:#?}") };
    assert_eq!(look["decision"]["outcome"], "implicitDeny", "{look}");
    assert_eq!(look["errorCode"], "event-not-found", "{look}");
    assert_eq!(look.get("team"), None, "{look}");
    let path = format!("/v1/audit-events/{}", look["eventID"].as_str().unwrap());
    assert_eq!(get(&gateway, "b", &path).await.status(), 200);
}

#[tokio::test]
async fn an_event_comes_with_all_its_entries() {
    let gateway = seeded().await;
    let changes = listed(&gateway, "auditors", "action=AbortMultipartUpload").await;
    for (change, entries) in changes.iter().zip([2; 12]) {
        let path = format!("/v1/audit-events/{}", change["eventID"].as_str().unwrap());
        let details: Value = get(&gateway, "auditors", &path).await.json().await.unwrap();
        assert_eq!(details["event"], *change);
        let found = details["entries"].as_array().unwrap();
        assert_eq!(found.len(), entries, "{found:#?}");
        for (entry, kind) in found.iter().zip(["Intent", "Outcome"]) {
            let record: Value = serde_json::from_str(entry["entry"].as_str().unwrap()).unwrap();
            assert_eq!(record["eventType"], kind);
            assert_eq!(record["eventID"], change["eventID"]);
        }
    }
}

#[tokio::test]
async fn a_log_is_published_up_to_its_checkpoint_and_proves_each_of_its_entries() {
    let key = Command::new(BINARY).args(["audit", "key", "create"]).output().unwrap().stdout;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), key).unwrap();
    let more = format!("\n[audit.key_files]\n1 = {:?}\n", file.path());
    let gateway = gateway(&more, |trail| async move {
        let event = |second| event("b", "ListParts", Duration::seconds(second));
        record_all(&trail, (0..300).map(event)).await;
    })
    .await;
    let beginning = listed(&gateway, "auditors", "action=StartLog").await;
    let id = beginning[0]["eventID"].as_str().unwrap();
    let details = async |id: &str| -> Value {
        let path = format!("/v1/audit-events/{id}");
        get(&gateway, "auditors", &path).await.json().await.unwrap()
    };
    let log = details(id).await["entries"][0]["log"].as_str().unwrap().to_owned();
    let path = |path: &str| format!("/v1/audit/logs/{log}/{path}");
    let checkpoint = loop {
        // Whoever may read some records may read the checkpoint.
        let reply = get(&gateway, "a", &path("checkpoint")).await;
        if reply.status() == 200 {
            assert_eq!(reply.headers()["content-type"], "text/plain; charset=utf-8");
            assert_eq!(reply.headers()["cache-control"], "no-store");
            let checkpoint = Checkpoint::parse(&reply.text().await.unwrap()).unwrap();
            if checkpoint.size > 300 {
                break checkpoint;
            }
        }
    };
    let bytes = async |place: &str, cache: &str| {
        let reply = get(&gateway, "auditors", &path(place)).await;
        assert_eq!(reply.status(), 200, "{place}");
        assert_eq!(reply.headers()["content-type"], "application/octet-stream", "{place}");
        assert_eq!(reply.headers()["cache-control"], cache, "{place}");
        reply.bytes().await.unwrap()
    };
    let immutable = "private, max-age=31536000, immutable";
    let hashes = bytes("tile/0/000", immutable).await;
    let bundle = bytes("tile/entries/000", immutable).await;
    let entries: Vec<&[u8]> = entries_of_bundle(&bundle).map(Option::unwrap).collect();
    let leaves: Vec<u8> = entries.iter().flat_map(|entry| leaf_hash(entry).0).collect();
    assert_eq!((entries.len(), leaves.as_slice()), (256, &hashes[..]));
    assert_eq!(bytes("tile/0/001.p/45", "no-store").await.len(), 45 * 32);
    assert_eq!(bytes("tile/0%2F001.p%2F45", "no-store").await.len(), 45 * 32);
    assert_eq!(bytes("tile/1/000.p/1", "no-store").await.len(), 32);
    for place in ["tile/0/001", "tile/0/002", "tile/1/000", "tile/entries/001", "tile/2/000.p/1"] {
        let (status, body) = problem(get(&gateway, "auditors", &path(place)).await).await;
        assert_eq!((status, &body["code"]), (404, &json!("log-not-found")), "{place}");
    }
    for place in ["tile/0/000", "tile/entries/000"] {
        assert_eq!(get(&gateway, "b", &path(place)).await.status(), 403, "{place}");
    }

    let read = listed(&gateway, "auditors", "team=b").await;
    let base64 = |value: &Value| BASE64_STANDARD.decode(value.as_str().unwrap()).unwrap();
    for event in read.iter().step_by(50).chain(&beginning) {
        let found = details(event["eventID"].as_str().unwrap()).await;
        let entry = &found["entries"][0];
        let proof = &entry["inclusionProof"];
        let vouching = Checkpoint::parse(proof["checkpoint"].as_str().unwrap()).unwrap();
        assert!(vouching.size >= checkpoint.size && proof["treeSize"] == vouching.size);
        let hashes: Vec<Hash> = proof["hashes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hash| Hash(base64(hash).try_into().unwrap()))
            .collect();
        let leaf = leaf_hash(entry["entry"].as_str().unwrap().as_bytes());
        assert_eq!(base64(&entry["leafHash"]), leaf.0);
        let index = entry["index"].as_u64().unwrap();
        tlog_tiles::check_record(&hashes, vouching.size, vouching.root, index, leaf).unwrap();
    }
}

#[tokio::test]
async fn what_cannot_be_found_or_read_is_refused() {
    let gateway = seeded().await;
    let id = |id: Uuid| format!("/v1/audit-events/{id}");
    for (path, status, code) in [
        (id(Uuid::now_v7()), 404, "event-not-found"),
        (id(Uuid::new_v4()), 404, "event-not-found"),
        (id(Uuid::max()), 404, "event-not-found"),
        ("/v1/audit-events/x".to_owned(), 400, "invalid-parameter"),
        ("/v1/audit-events?from=yesterday".to_owned(), 400, "invalid-parameter"),
        ("/v1/audit-events?marker=AAAA".to_owned(), 400, "invalid-parameter"),
        ("/v1/audit-events?limit=1001".to_owned(), 400, "invalid-parameter"),
        ("/v1/audit-events?team=a/b".to_owned(), 400, "invalid-parameter"),
        ("/v1/audit-events?vault=..".to_owned(), 400, "invalid-parameter"),
        ("/v1/audit-events?decision=maybe".to_owned(), 400, "invalid-parameter"),
        ("/v1/audit-events?subject=".to_owned(), 400, "invalid-parameter"),
        ("/v1/audit-events?outcome=Ok".to_owned(), 400, "invalid-parameter"),
        ("/v1/audit-events?action=a.b".to_owned(), 400, "invalid-parameter"),
        ("/v1/audit-events?requestId=a%20b".to_owned(), 400, "invalid-parameter"),
        ("/v1/audit-events?region=x".to_owned(), 400, "unknown-parameter"),
        ("/v1/audit/logs/2026-13/checkpoint".to_owned(), 404, "log-not-found"),
        ("/v1/audit/logs/1999-01/checkpoint".to_owned(), 404, "log-not-found"),
        ("/v1/audit/logs/1999-01/tile/x".to_owned(), 404, "log-not-found"),
    ] {
        let (found, body) = problem(get(&gateway, "auditors", &path).await).await;
        assert_eq!((found, &body["code"]), (status, &json!(code)), "{path}");
    }
}

#[tokio::test]
async fn a_gateway_without_a_store_says_so_to_whoever_may_ask() {
    let gateway = Gateway::start();
    let policy = json!({ "Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Action": "gateway:ReadAudit", "Resource": "*" }});
    let file = gateway.directory.path().join("policies/teams/auditors.json");
    std::fs::write(file, policy.to_string()).unwrap();
    let gateway = gateway.restarted();
    let event = format!("/v1/audit-events/{}", Uuid::now_v7());
    for path in [
        "/v1/audit-events",
        &event,
        "/v1/audit/logs/2026-11/checkpoint",
        "/v1/audit/logs/2026-11/tile/0/000",
    ] {
        assert_eq!(get(&gateway, "stranger", path).await.status(), 403, "{path}");
        let (status, body) = problem(get(&gateway, "auditors", path).await).await;
        assert_eq!((status, &body["code"]), (501, &json!("store-required")), "{path}");
    }
}

#[tokio::test]
async fn a_change_under_way_has_no_outcome_and_one_that_ended_twice_has_both() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("store.db");
    let trail = Trail::open(&settings(&file), &audit_settings()).await.unwrap();
    let store = trail.store().unwrap();
    let abort = Event {
        time: None,
        outcome: None,
        id: Uuid::now_v7(),
        ..event("a", "AbortMultipartUpload", Duration::ZERO)
    };
    let action = Some("AbortMultipartUpload".to_owned());
    let filter = Filter { action, ..Filter::default() };
    let list = async || query::list(store, &filter, None, 10, |_| true).await.unwrap().events;
    let intent = trail.intent(&abort).await.unwrap();
    assert!(!list().await[0].contains_key("outcome"));
    // As another replica settles what it takes for abandoned.
    for (kind, outcome) in [(Kind::Outcome, "unknown"), (Kind::LateOutcome, "aborted")] {
        let entry = json!({ "eventType": format!("{kind:?}"), "outcome": outcome });
        let entry = entry.to_string().into_bytes();
        let append = Append::new(abort.id, 0, kind, "/a/".to_owned(), entry);
        assert!(store.append_later(append));
    }
    trail.record_durably(&event("a", "ListParts", Duration::ZERO)).await.unwrap();
    let listed = list().await;
    let [change] = &listed[..] else { panic!("{listed:#?}") };
    assert_eq!(
        (&change["outcome"], &change["lateOutcome"]),
        (&json!("unknown"), &json!("aborted"))
    );
    let found = query::find(store, abort.id).await.unwrap().unwrap();
    assert_eq!((found.event, found.entries.len()), (change.clone(), 3));
    drop(intent);
}

/// How many statements the store was asked.
static STATEMENTS: AtomicUsize = AtomicUsize::new(0);

struct Count;

impl<S: tracing::Subscriber> Layer<S> for Count {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            STATEMENTS.fetch_add(1, Relaxed);
        }
    }
}

#[test]
fn a_long_trail_is_read_with_few_statements() {
    const EVENTS: i64 = 100_000;
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("store.db");
    let every = Duration::milliseconds(10);
    seed(&file, |trail| async move {
        let event = |index: i64| {
            let team = if index % 1000 == 0 { "rare" } else { "often" };
            event(team, "ListParts", every * i32::try_from(index).unwrap())
        };
        record_all(&trail, (0..EVENTS).map(event)).await;
    });
    let subscriber = tracing_subscriber::registry().with(Count);
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let trail = Trail::open(&settings(&file), &audit_settings()).await.unwrap();
        let store = trail.store().unwrap();
        let list = async |filter: &Filter, limit: usize| {
            let (mut events, mut pages, mut marker) = (0, 0, None);
            STATEMENTS.store(0, Relaxed);
            loop {
                let page = query::list(store, filter, marker, limit, |_| true).await.unwrap();
                (events, pages, marker) = (events + page.events.len(), pages + 1, page.marker);
                if marker.is_none() {
                    return (events, pages, STATEMENTS.load(Relaxed));
                }
            }
        };
        let micros = |second: i64| Some((begin().unix_timestamp() + second) * 1_000_000);
        let rare = Some("rare".to_owned());
        // A thousand a page; one statement finds the logs, and one reads.
        let all = list(&Filter { from: micros(0), ..Filter::default() }, 1000).await;
        assert_eq!(all.0, 100_000);
        assert!((100..=101).contains(&all.1) && all.2 >= 200, "{all:?}");
        assert!(all.2 < 6 * all.1 + 20, "{all:?}");
        // Those of a team without reading the others' out of the store.
        let team = list(&Filter { team: rare.clone(), ..Filter::default() }, 1000).await;
        assert_eq!((team.0, team.1), (100, 3));
        assert!(team.2 < 30, "{team:?}");
        // A second of the many, without a look at the rest.
        let (from, to) = (micros(500), micros(501));
        let second = list(&Filter { from, to, ..Filter::default() }, 1000).await;
        assert_eq!((second.0, second.1), (100, 1));
        assert!(second.2 < 40, "{second:?}");
        assert!(trail.close(std::time::Duration::from_secs(30)));
    });
}
