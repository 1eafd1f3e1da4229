//! Disks that are full, hang, fail, or lose what was not synced.

use std::time::Duration;

use crate::{random_moment, run::Run, times, until, volume::Volume};

/// The volume, or the reason why the test is skipped.
macro_rules! or_skip {
    ($made:expr) => {
        match $made {
            Ok(made) => made,
            Err(reason) => {
                println!("skipped: {reason}");
                return;
            }
        }
    };
}

/// Changes are refused, readiness says why, and reads are served. Now and then a commit
/// may still find room, and its change is forwarded.
async fn is_refusing(run: &mut Run) {
    run.refusals(100).await;
    until("it is said", async || run.readiness().await.contains("audit: unavailable")).await;
    assert_eq!(run.read().await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_changes_until_there_is_room() {
    let volume = or_skip!(Volume::in_memory(48));
    let mut run = Run::in_folder("full disk", &volume.path).await;
    for _ in 0..times(1, 30) {
        run.aborts(100).await;
        volume.fill();
        is_refusing(&mut run).await;
        volume.empty();
    }
    run.aborts(100).await;
    run.finish().await;
}

/// Nobody knows then what the disk holds, so that nothing is written before the gateway is
/// started anew: with the disk mounted anew, or as it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_refuses_changes_and_loses_nothing() {
    let volume = or_skip!(Volume::on_thin_disk(32));
    let mut run = Run::in_folder("failing disk", &volume.path).await;
    for n in 0..times(4, 60) {
        if n % 10 == 9 {
            run.outcomes().await;
        }
        run.aborts(100).await;
        volume.fill();
        is_refusing(&mut run).await;
        volume.empty();
        run.refuses_everything().await;
        assert!(run.readiness().await.contains("then restart the gateway"));
        if n % 2 == 0 {
            run.kill().await;
        } else {
            run.end().await;
        }
        if n % 4 < 2 {
            volume.unmount();
            volume.mount().unwrap();
        }
        run.restart().await;
    }
    run.aborts(100).await;
    run.kill().await;
    volume.unmount();
    volume.mount().unwrap();
    run.restart().await;
    run.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_hangs_refuses_changes_until_it_goes_on() {
    let volume = or_skip!(Volume::on_disk());
    let mut run = Run::in_folder("hanging disk", &volume.path).await;
    for _ in 0..times(1, 50) {
        run.aborts(100).await;
        let frozen = volume.freeze();
        run.refuses_everything().await;
        assert!(run.readiness().await.contains("audit: unavailable"));
        drop(frozen);
    }
    run.aborts(100).await;
    run.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_failure_loses_nothing_that_was_acknowledged() {
    let volume = or_skip!(Volume::on_disk());
    let mut run = Run::in_folder("power failure", &volume.path).await;
    for n in 0..times(3, 200) {
        if n % 20 == 19 {
            run.outcomes().await;
        }
        run.aborts(20).await;
        random_moment(Duration::from_millis(150)).await;
        // At once for the gateway and its disk: neither works on without the other.
        run.stop().await;
        or_skip!(volume.lose_power());
        run.kill().await;
        volume.unmount();
        volume.mount().unwrap();
        run.restart().await;
    }
    run.aborts(100).await;
    run.finish().await;
}
