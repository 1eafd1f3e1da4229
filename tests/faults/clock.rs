//! Clocks that jump, by libfaketime.

use std::path::Path;

use reqwest::Method;
use serde_json::json;

use crate::{run::Run, times, until};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// Longer than the longest month, so that it is another month even an hour from now.
const MONTH: i64 = 32 * DAY;

/// Debian's library, by the machine's architecture.
fn library() -> Option<String> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    let library = |folder: &Path| folder.join("faketime/libfaketimeMT.so.1");
    let found = folders.map(|folder| library(&folder)).find(|library| library.exists())?;
    Some(found.display().to_string())
}

/// The gateway's clock, Glacier's and the callers' are so far ahead from now on.
async fn set_clocks(run: &mut Run, library: &str, ahead: i64) {
    run.set_environment(vec![
        ("LD_PRELOAD", library.to_owned()),
        ("FAKETIME", format!("{ahead:+}")),
        // Deadlines are measured by another clock, which no clock's change reaches.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]);
    let skew = json!({"skewSeconds": ahead});
    run.gateway.simulator.order(Method::PATCH, "/clock", &skew).await;
    run.shift_callers(ahead);
}

/// A process is killed, and the next one's clock says something else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_trail_goes_on_whatever_the_clock_says() {
    let Some(library) = library() else {
        println!("skipped: no libfaketime; `make setup` installs it");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::in_folder("clock", folder.path()).await;
    let checkpoints = run.outside.path().join("checkpoints");
    let kept = || std::fs::read(&checkpoints).unwrap_or_default();
    run.aborts(50).await;
    let mut furthest = run.place.month().await;
    for months_later in (MONTH..).step_by(MONTH as usize).take(times(1, 20)) {
        for ahead in [HOUR, -HOUR, 0, months_later, 0] {
            run.kill().await;
            set_clocks(&mut run, &library, ahead).await;
            run.restart().await;
            run.aborts(50).await;
            let before = kept();
            until("a checkpoint", async || kept() != before).await;
            if ahead == months_later {
                until("another month", async || run.place.month().await > furthest).await;
            }
            run.outcomes().await;
            let month = run.place.month().await;
            assert!(month.0 >= furthest.0 && month.1 >= furthest.1, "the month went back");
            furthest = month;
        }
    }
    run.finish().await;
}
