//! Processes that are killed, stopped, and told to end; callers that leave; a log that
//! nobody reads.

use std::{
    fs::{self, File},
    net::TcpStream,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::json;

use crate::{evidence::Place, random_moment, run::Run, support::BINARY, times, until};

const MOMENT: Duration = Duration::from_millis(150);

/// Replies of Glacier's that take a while and sometimes break off, so that a fault finds
/// requests in every state.
async fn trouble_glacier(run: &Run) {
    let simulator = &run.gateway.simulator;
    let abort = "AbortMultipartUpload";
    simulator.fault(json!({"latencyMillis": 4, "operation": abort, "rate": 0.5})).await;
    simulator
        .fault(json!({"effect": "reset", "operation": abort, "rate": 0.03, "carriedOut": true}))
        .await;
    simulator.fault(json!({"effect": "unavailable", "operation": abort, "rate": 0.02})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::File(folder.path().join("store.db"));
    let mut run = Run::start("kills", place, "", 0.1).await;
    trouble_glacier(&run).await;
    for n in 0..times(25, 1000) {
        if n % 20 == 19 {
            run.outcomes().await;
        }
        run.aborts(1).await;
        random_moment(MOMENT).await;
        run.kill().await;
        if n % 5 == 0 {
            // While it starts, too.
            let starting = run.serve_with(Command::new(BINARY), Stdio::null);
            random_moment(2 * MOMENT).await;
            drop(starting);
        }
        run.restart().await;
    }
    run.aborts(100).await;
    let figures = run.finish().await;
    assert!(figures.aborted > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_stopped_and_continued_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::in_folder("stop and continue", folder.path()).await;
    trouble_glacier(&run).await;
    for n in 0..times(3, 60) {
        run.aborts(20).await;
        random_moment(MOMENT).await;
        run.gateway.process.signal("STOP");
        // Sometimes for longer than a record may take.
        random_moment(if n % 3 == 2 { Duration::from_secs(3) } else { MOMENT }).await;
        run.gateway.process.signal("CONT");
    }
    run.aborts(100).await;
    run.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_told_to_end_leaves_no_intent_open() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::in_folder("orderly ends", folder.path()).await;
    trouble_glacier(&run).await;
    for _ in 0..times(3, 60) {
        run.aborts(20).await;
        random_moment(MOMENT).await;
        run.end().await;
        // So a copy of the database file is whole.
        let log = fs::metadata(folder.path().join("store.db-wal"));
        assert_eq!(log.map_or(0, |log| log.len()), 0, "the database's log holds something");
        assert_eq!(run.place.open_intents().await, 0);
        run.restart().await;
    }
    run.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_leave_leave_no_intent_open() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::File(folder.path().join("store.db"));
    let mut run = Run::start("callers leave", place, "", 0.9).await;
    trouble_glacier(&run).await;
    for _ in 0..times(1, 60) {
        run.supply(1).await;
        until("all are taken", async || run.load.left() == 0).await;
    }
    let figures = run.finish().await;
    assert!(figures.left > 500, "{figures:?}");
}

/// The log line is not the record: changes go on, and are in the trail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_nobody_takes_is_no_matter() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::in_folder("no log", folder.path()).await;
    run.end().await;
    let address = run.fix_ports();
    let closed = || {
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec \"$0\" \"$@\" >&- 2>&-", BINARY]);
        shell
    };
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    for outputs in ["closed", "full", "left", "unread"] {
        let mut serving = match outputs {
            "closed" => run.serve_with(closed(), Stdio::null),
            "full" => run.serve_with(Command::new(BINARY), full),
            _ => run.serve_with(Command::new(BINARY), Stdio::piped),
        };
        if outputs == "left" {
            // Whoever read the log is gone.
            drop((serving.0.stdout.take(), serving.0.stderr.take()));
        }
        until("it listens", async || TcpStream::connect(address).is_ok()).await;
        run.load.aim(Some(&format!("http://{address}")));
        run.aborts(150).await;
        run.load.aim(None);
        serving.end().await;
        assert_eq!(run.place.open_intents().await, 0, "with outputs {outputs}");
    }
    run.restart().await;
    run.finish().await;
}
