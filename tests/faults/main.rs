//! Faults of the store, of the trail, of Glacier and of callers: real processes are killed and
//! stopped, disks fill up, hang and fail, clocks jump, networks are cut. Afterwards the trail is
//! held against every reply that a caller got, against everything that Glacier was asked, and
//! against what jobs say of their items.
//!
//! `make test` runs a short form, `make soak` a long one (`SOAK=1`, or a share of it, such as
//! `SOAK=0.1`). Each run prints a line of figures. What a machine does not allow is skipped,
//! and the reason printed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod callers;
mod certificate;
mod clock;
#[path = "../store/cluster.rs"]
#[allow(dead_code)]
mod cluster;
mod disk;
mod evidence;
mod file;
mod glacier;
mod jobs;
mod load;
mod postgres;
mod processes;
mod proxy;
mod run;
#[path = "../it/support.rs"]
#[allow(dead_code)]
mod support;
mod syscalls;
mod volume;

use std::time::Duration;

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often something is done: rarely in `make test`, often in `make soak`.
fn times(short: usize, long: usize) -> usize {
    let share: f64 = std::env::var("SOAK").map_or(0.0, |share| share.parse().unwrap());
    short.max((long as f64 * share) as usize)
}

/// Waits until `condition` holds.
async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "never came true: {what}");
}

/// The moment of a fault is random: it must not matter.
async fn random_moment(within: Duration) {
    tokio::time::sleep(within.mul_f64(rand::random())).await;
}
