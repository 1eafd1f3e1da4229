//! What happens to the database's files while the gateway has them open, and between.

use std::{fs, process::Command};

use crate::{run::Run, support::BINARY, times, until};

/// Also the write-ahead log: what is committed is in it at first, and nobody would find it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_moved_away_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::in_folder("files moved", folder.path()).await;
    let away = folder.path().join("away");
    for n in 0..times(2, 100) {
        let file = folder.path().join(["store.db", "store.db-wal"][n % 2]);
        run.aborts(50).await;
        fs::rename(&file, &away).unwrap();
        run.refuses_everything().await;
        assert!(run.readiness().await.contains("audit: unavailable"));
        fs::rename(&away, &file).unwrap();
    }
    run.aborts(50).await;
    run.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_gets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::in_folder("two processes", folder.path()).await;
    for _ in 0..times(3, 100) {
        run.aborts(20).await;
        let second = Command::new(BINARY)
            .args(["serve", "--config"])
            .arg(run.gateway.directory.path().join("gateway.toml"))
            .output()
            .unwrap();
        assert_eq!(second.status.code(), Some(64), "{second:?}");
        let told = String::from_utf8_lossy(&second.stderr);
        assert!(told.contains("another process has it open"), "{told}");
    }
    run.finish().await;
}

/// The checkpoints that are kept outside tell that the store is an old copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_copy_of_the_database_is_refused_until_the_loss_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::in_folder("old copy", folder.path()).await;
    let (file, copy) = (folder.path().join("store.db"), folder.path().join("copy.db"));
    run.aborts(100).await;
    run.end().await;
    fs::copy(&file, &copy).unwrap();
    run.restart().await;
    run.aborts(200).await;
    let checkpoints = run.outside.path().join("checkpoints");
    let before = fs::read(&checkpoints).unwrap_or_default();
    until("a checkpoint", async || fs::read(&checkpoints).unwrap_or_default() != before).await;
    run.kill().await;
    // What the new file held is lost for good, and its changes with it.
    assert!(run.forget().await >= 300);
    for ending in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(folder.path().join(format!("store.db{ending}")));
    }
    fs::rename(&copy, &file).unwrap();

    run.restart().await;
    run.refuses_everything().await;
    let accepted = run.gateway.command(&["audit", "accept-loss"], true);
    assert!(accepted.status.success(), "{accepted:?}");
    run.aborts(100).await;
    assert_eq!(run.place.month().await.0, 2, "a new log has begun");
    run.finish().await;
}
