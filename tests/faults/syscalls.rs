//! The system calls of a gateway fail, or the gateway dies at one of them: at the write of
//! a record, at its sync, at the request to Glacier, at the reply. `strace` does that.

use std::process::{Command, Stdio};

use crate::{run::Run, support::BINARY, times, until};

/// Writes to the disk, syncs, and what goes over the network.
const POINTS: [&str; 3] = ["pwrite64", "fsync,fdatasync", "sendto,sendmsg,writev,write"];

/// The gateway under strace, which does `injection` to `calls`.
fn traced(calls: &str, injection: &str) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null"]);
    strace.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:{injection}")]);
    strace.arg(BINARY);
    strace
}

/// Why there can be no injection, if so.
fn hindrance() -> Option<String> {
    let tried = Command::new("strace")
        .args(["-f", "-e", "trace=fsync", "-e", "inject=fsync:error=EIO", "true"])
        .stdin(Stdio::null())
        .output();
    match tried {
        Ok(tried) if tried.status.success() => None,
        Ok(tried) => Some(String::from_utf8_lossy(&tried.stderr).into_owned()),
        Err(error) => Some(format!("strace: {error}")),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_dies_at_any_system_call_loses_nothing() {
    if let Some(reason) = hindrance() {
        println!("skipped: {reason}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::in_folder("deaths at system calls", folder.path()).await;
    run.end().await;
    let address = run.fix_ports();
    for n in 0..times(6, 600) {
        if n % 20 == 19 {
            run.restart().await;
            run.outcomes().await;
            run.end().await;
        }
        // Sometimes so late that the write-ahead log has begun anew meanwhile.
        let last = if n % 50 == 49 { 8000 } else { 100 };
        let at = rand::random_range(1..last);
        let gateway = traced(POINTS[n % POINTS.len()], &format!("signal=KILL:when={at}"));
        let mut gateway = run.serve_with(gateway, Stdio::null);
        let mut is_aimed = false;
        until("the death", async || {
            if !is_aimed && std::net::TcpStream::connect(address).is_ok() {
                run.load.aim(Some(&format!("http://{address}")));
                is_aimed = true;
            }
            run.supply(500).await;
            gateway.has_ended()
        })
        .await;
        run.note_death().await;
    }
    run.restart().await;
    run.aborts(50).await;
    run.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_and_syncs_that_fail_lose_nothing() {
    if let Some(reason) = hindrance() {
        println!("skipped: {reason}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::in_folder("failing writes and syncs", folder.path()).await;
    let address = run.fix_ports();
    for injection in 0..times(3, 40) {
        run.end().await;
        // The start succeeds; then one of so many calls fails.
        let (calls, failure) = [
            ("fsync,fdatasync", "error=EIO:when=40+25"),
            ("pwrite64", "error=ENOSPC:when=200+150"),
            ("pwrite64", "error=EIO:when=200+150"),
            ("fsync,fdatasync", "delay_enter=2000000:when=40+40"),
        ][injection % 4];
        let breaks = failure.contains("EIO");
        let mut gateway = run.serve_with(traced(calls, failure), Stdio::null);
        until("it listens", async || std::net::TcpStream::connect(address).is_ok()).await;
        run.load.aim(Some(&format!("http://{address}")));
        if breaks {
            // The calls that follow succeed, and what they say is not believed.
            run.refusals(100).await;
            let aborted = run.load.aborted();
            run.refusals(200).await;
            assert_eq!(run.load.aborted(), aborted, "something was recorded after a failure");
        } else {
            run.aborts(100).await;
            run.refusals(20).await;
            run.aborts(100).await;
        }
        run.load.aim(None);
        gateway.end().await;
        if breaks {
            // What it could not settle is left to the next one.
            run.note_death().await;
        }
        run.restart().await;
    }
    run.finish().await;
}
