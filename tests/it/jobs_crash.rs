//! Jobs whose gateways are killed or stopped: every item has one outcome, none is lost.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    cluster::Cluster,
    jobs::{
        BOTH, Kind, aborts, confirmed, created, gateway, get, in_state, items, path, seed,
        stored_in, with_jobs,
    },
    support::Gateway,
};

fn all() -> Value {
    json!({"target": {"vaults": ["own-a"]}, "select": {"all": true, "quietFor": "PT0S"}})
}

/// All events of aborts, by their IDs.
async fn events(gateway: &Gateway) -> BTreeMap<String, Value> {
    let (mut all, mut marker) = (BTreeMap::new(), String::new());
    loop {
        let path = format!("/v1/audit-events?action=AbortMultipartUpload&limit=1000{marker}");
        let page = get(gateway, &path).await;
        for event in page["events"].as_array().unwrap() {
            all.insert(event["eventID"].as_str().unwrap().to_owned(), event.clone());
        }
        match page["marker"].as_str() {
            Some(next) => marker = format!("&marker={next}"),
            None => return all,
        }
    }
}

/// Holds a job that has ended against the trail and against what the simulator received.
async fn hold(gateway: &Gateway, job: &Value, ids: &[String]) -> Value {
    let job = get(gateway, &path(job)).await;
    let counts = &job["counts"];
    let count = |name: &str| counts[name].as_i64().unwrap();
    let items = items(gateway, &job).await;
    assert_eq!(items.len(), ids.len());
    assert_eq!((count("selected"), count("remaining")), (ids.len() as i64, 0), "{job:#}");
    let events = events(gateway).await;
    let mut by_state = BTreeMap::<String, i64>::new();
    for item in &items {
        let state = item["state"].as_str().unwrap();
        *by_state.entry(state.to_owned()).or_default() += 1;
        let event = &events[item["auditEventID"].as_str().unwrap()];
        assert_eq!(event["uploadId"], item["uploadId"]);
        assert_eq!(event["jobItem"], item["item"]);
        assert_eq!(event["outcome"], item["state"], "{item:#} {event:#}");
        let upload = item["uploadId"].as_str().unwrap();
        assert_ne!(gateway.simulator.status("own-a", upload).await.as_deref(), Some("in-progress"));
    }
    for (state, number) in by_state {
        assert_eq!(count(&state), number, "{state}: {job:#}");
    }
    // No call is without its intent, and those of an upload are as many as its events at most.
    let mut begun = BTreeMap::<&str, usize>::new();
    for event in events.values().filter(|event| event["eventType"] == "Intent") {
        assert!(event["outcome"].is_string(), "an intent without an outcome: {event:#}");
        *begun.entry(event["uploadId"].as_str().unwrap()).or_default() += 1;
    }
    let mut sent = BTreeMap::<String, usize>::new();
    for upload in aborts(gateway).await {
        *sent.entry(upload).or_default() += 1;
    }
    for (upload, times) in &sent {
        assert!(ids.contains(upload), "{upload} was not confirmed");
        assert!(*times <= begun[upload.as_str()], "{upload}: sent {times} times");
    }
    let again: usize = sent.values().map(|times| times - 1).sum();
    assert!(again as i64 <= count("repeats") + count("late"), "{again} again: {job:#}");
    job
}

/// Waits until this many aborts have reached Glacier.
async fn sent(gateway: &Gateway, wanted: usize) {
    for _ in 0..2_000 {
        if aborts(gateway).await.len() >= wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no {wanted} aborts");
}

#[actix_web::test]
async fn a_job_whose_gateway_is_killed_again_and_again_loses_nothing_and_does_nothing_twice() {
    for kind in BOTH {
        let mut gateway = gateway(kind, "[jobs]\nconcurrency = 8\n").await;
        let ids = seed(&gateway, "own-a", 240, 10).await;
        gateway.simulator.fault(json!({"latencyMillis": 20, "carriedOut": true})).await;
        let job = created(&gateway, &all()).await;
        // Also while it looks at what it would abort.
        tokio::time::sleep(Duration::from_millis(300)).await;
        kill(&mut gateway).await;
        confirmed(&gateway, &job).await;
        for wanted in [1, 60, 150] {
            sent(&gateway, wanted).await;
            kill(&mut gateway).await;
        }
        in_state_for(&gateway, &job, &["completed", "failed"]).await;
        let job = hold(&gateway, &job, &ids).await;
        assert_eq!(job["state"], "completed", "{job:#}");
        assert!(job["counts"]["aborted"].as_i64() > Some(150), "{job:#}");
    }
}

async fn kill(gateway: &mut Gateway) {
    gateway.process.child.kill().unwrap();
    gateway.process.child.wait().unwrap();
    gateway.restart(&[]);
}

/// As `in_state`, with time for the recovery of what a gateway has left.
async fn in_state_for(gateway: &Gateway, job: &Value, states: &[&str]) -> Value {
    for _ in 0..1_000 {
        let now = get(gateway, &path(job)).await;
        if states.iter().any(|state| now["state"] == *state) {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    in_state(gateway, job, states).await
}

#[actix_web::test]
async fn what_a_gateway_does_that_was_stopped_for_too_long_is_counted_as_late() {
    let cluster = Cluster::start(&[]);
    let database = cluster.database().await;
    let settings = format!("[jobs]\nconcurrency = 4\n{}", stored_in(&cluster, &database));
    let stopped = with_jobs(Gateway::with(&settings, &[])).await;
    let ids = seed(&stopped, "own-a", 60, 10).await;
    let job = created(&stopped, &all()).await;
    in_state(&stopped, &job, &["awaiting-confirmation"]).await;
    let slow =
        json!({"operation": "AbortMultipartUpload", "latencyMillis": 500, "carriedOut": true});
    stopped.simulator.fault(slow).await;
    confirmed(&stopped, &job).await;
    sent(&stopped, 6).await;
    stopped.process.signal("STOP");
    stopped.simulator.order(Method::DELETE, "/faults", &Value::Null).await;
    let endpoint = ("GATEWAY__AWS__ENDPOINT_URL", stopped.simulator.endpoint.as_str());
    let other = with_jobs(Gateway::with(&settings, &[]).with_environment(&[endpoint])).await;
    in_state_for(&other, &job, &["completed", "failed"]).await;
    stopped.process.signal("CONT");
    let mut late = Value::Null;
    for _ in 0..400 {
        late = get(&other, &path(&job)).await;
        if late["counts"]["late"].as_i64() > Some(0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(late["counts"]["late"].as_i64() > Some(0), "{late:#}");
    let job = hold(&stopped, &job, &ids).await;
    assert_eq!(job["state"], "completed");
}

#[actix_web::test]
async fn a_job_goes_on_when_its_database_was_restarted() {
    let mut cluster = Cluster::start(&[]);
    let database = cluster.database().await;
    let settings = format!("[jobs]\nconcurrency = 4\n{}", stored_in(&cluster, &database));
    let gateway = with_jobs(Gateway::with(&settings, &[])).await;
    let ids = seed(&gateway, "own-a", 120, 10).await;
    gateway.simulator.fault(json!({"latencyMillis": 20})).await;
    let job = created(&gateway, &all()).await;
    confirmed(&gateway, &job).await;
    sent(&gateway, 30).await;
    cluster.stop();
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster.resume();
    let ended = loop {
        let reply = gateway.call("owner", Method::GET, &path(&job)).await;
        if reply.status() == 200 {
            let job: Value = reply.json().await.unwrap();
            if job["finishedAt"].is_string() {
                break job;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(ended["state"], "completed", "{ended:#}");
    hold(&gateway, &job, &ids).await;
}

/// Passes on what a gateway and PostgreSQL say to each other, but keeps the answers to the
/// first `most` commits of claims, and hangs up instead. Gives its port, and counts them.
fn keeping_answers(server: u16, most: usize) -> (u16, Arc<AtomicUsize>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let (port, kept) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counted = kept.clone();
    // The test's own thread waits for the gateway to start.
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                let passing = pass_but_commits(client, server, counted.clone(), most);
                drop(actix_web::rt::spawn(passing));
            }
        });
    });
    (port, kept)
}

async fn pass_but_commits(
    mut client: TcpStream,
    mut server: TcpStream,
    kept: Arc<AtomicUsize>,
    most: usize,
) {
    let says = |bytes: &[u8], what: &str| {
        bytes.windows(what.len()).any(|window| window == what.as_bytes())
    };
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut claims = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(read @ 1..) = read else { return };
                let asked = &asked[..read];
                claims |= says(asked, "SET state = 'claimed'");
                if server.write_all(asked).await.is_err() {
                    return;
                }
                if claims && says(asked, "COMMIT") {
                    claims = false;
                    if kept.load(SeqCst) < most && server.read(&mut answered).await.is_ok() {
                        kept.fetch_add(1, SeqCst);
                        return;
                    }
                }
            }
            read = server.read(&mut answered) => {
                let Ok(read @ 1..) = read else { return };
                if client.write_all(&answered[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[actix_web::test]
async fn items_whose_claim_was_committed_without_an_answer_are_not_lost() {
    let cluster = Cluster::shared();
    let database = cluster.database().await;
    let (port, kept) = keeping_answers(cluster.port, 3);
    let settings =
        stored_in(cluster, &database).replace(&format!(":{}/", cluster.port), &format!(":{port}/"));
    let gateway =
        with_jobs(Gateway::with(&format!("[jobs]\nconcurrency = 4\n{settings}"), &[])).await;
    let ids = seed(&gateway, "own-a", 60, 10).await;
    let job = created(&gateway, &all()).await;
    confirmed(&gateway, &job).await;
    let ended = in_state_for(&gateway, &job, &["completed", "failed"]).await;
    assert_eq!(ended["state"], "completed", "{ended:#}");
    assert_eq!(kept.load(SeqCst), 3);
    let job = hold(&gateway, &job, &ids).await;
    assert_eq!(job["counts"]["aborted"], 60, "{job:#}");
}

/// Glacier keeps silent for longer than the gateway may take to stop: aborts that may have
/// happened are on record, and the next gateway finds out.
#[actix_web::test]
async fn a_gateway_that_is_told_to_stop_while_aborts_hang_ends_and_loses_none() {
    let mut gateway = gateway(Kind::Sqlite, "[jobs]\nconcurrency = 4\n").await;
    gateway.process.child.kill().unwrap();
    gateway.process.child.wait().unwrap();
    gateway.restart(&[
        ("GATEWAY__SERVER__SHUTDOWN_TIMEOUT", "1s"),
        ("GATEWAY__AWS__READ_TIMEOUT", "50s"),
        ("GATEWAY__AWS__ATTEMPT_TIMEOUT", "50s"),
        ("GATEWAY__AWS__OPERATION_TIMEOUT", "55s"),
    ]);
    let ids = seed(&gateway, "own-a", 40, 10).await;
    let job = created(&gateway, &all()).await;
    in_state(&gateway, &job, &["awaiting-confirmation"]).await;
    let silent =
        json!({"operation": "AbortMultipartUpload", "latencyMillis": 60_000, "carriedOut": true});
    gateway.simulator.fault(silent).await;
    confirmed(&gateway, &job).await;
    sent(&gateway, 4).await;
    gateway.process.signal("TERM");
    gateway.process.child.wait().unwrap();
    // It did not wait for the answers, and did not ask again.
    assert_eq!(aborts(&gateway).await.len(), 4);
    gateway.simulator.order(Method::DELETE, "/faults", &Value::Null).await;
    gateway.restart(&[]);
    let ended = in_state_for(&gateway, &job, &["completed", "failed"]).await;
    assert_eq!(ended["state"], "completed", "{ended:#}");
    hold(&gateway, &job, &ids).await;
}

#[actix_web::test]
async fn a_gateway_that_is_told_to_stop_leaves_nothing_in_hand() {
    let mut gateway = gateway(Kind::Sqlite, "[jobs]\nconcurrency = 8\n").await;
    let ids = seed(&gateway, "own-a", 120, 10).await;
    gateway.simulator.fault(json!({"latencyMillis": 20})).await;
    let job = created(&gateway, &all()).await;
    confirmed(&gateway, &job).await;
    sent(&gateway, 30).await;
    gateway.process.signal("TERM");
    assert!(gateway.process.child.wait().unwrap().success());
    let store = rusqlite::Connection::open(gateway.directory.path().join("store.db")).unwrap();
    let in_hand =
        "SELECT (SELECT count(*) FROM job_item WHERE state = 'claimed'), claimed FROM job";
    let in_hand: (i64, i64) =
        store.query_row(in_hand, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(in_hand, (0, 0));
    drop(store);
    gateway.restart(&[]);
    in_state(&gateway, &job, &["completed"]).await;
    let job = hold(&gateway, &job, &ids).await;
    assert_eq!((&job["counts"]["late"], &job["counts"]["repeats"]), (&json!(0), &json!(0)));
}
