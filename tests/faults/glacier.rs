//! A Glacier that is slow, refuses, breaks off, lies, says nothing, or is out of reach.

use std::time::Instant;

use reqwest::{Method, Url};
use serde_json::{Value, json};

use crate::{
    proxy::{Proxy, Way},
    run::Run,
    times,
};

/// More than each fault needs, so that uploads need not be seeded while Glacier is in trouble.
pub const ENOUGH: usize = 1_500;
/// How much of a reply of Glacier's the gateway reads, and how many callers there are.
const BODIES: u64 = 24 * (8 << 20);

/// Lets Glacier fail until `repaired`, and then waits for aborts.
pub async fn trouble(run: &mut Run, name: &str, repaired: impl AsyncFnOnce(&mut Run)) {
    run.replies(60).await;
    run.probes_are_green().await;
    repaired(run).await;
    let since = Instant::now();
    run.aborts(24).await;
    println!("glacier, {name}: 24 aborts {:.1?} after its end", since.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_glacier_answers_nothing_is_lost_and_callers_are_served_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::in_folder("glacier's answers", folder.path()).await;
    run.aborts(100).await;
    let idle = run.memory();
    for _ in 0..times(1, 20) {
        for fault in [
            json!({"latencyMillis": 700}),
            json!({"effect": "throttle"}),
            json!({"effect": "unavailable"}),
            json!({"effect": "reset"}),
            json!({"effect": "reset", "carriedOut": true}),
            json!({"effect": "hang"}),
            json!({"effect": "hang", "carriedOut": true}),
            json!({"effect": "truncate"}),
            json!({"effect": "bare"}),
            json!({"effect": {"notJson": {"status": 200}}}),
            json!({"effect": {"notJson": {"status": 503}}}),
            json!({"effect": {"endless": {"status": 200}}}),
            json!({"effect": {"endless": {"status": 500}}}),
        ] {
            run.supply(ENOUGH).await;
            run.gateway.simulator.fault(fault.clone()).await;
            trouble(&mut run, &fault.to_string(), async |run: &mut Run| {
                run.gateway.simulator.order(Method::DELETE, "/faults", &Value::Null).await;
            })
            .await;
        }
    }
    let most = run.most_memory();
    assert!(most <= 3 * idle + BODIES, "{most} bytes, idle {idle}");
    let figures = run.finish().await;
    assert_eq!(figures.losses, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_is_cut_or_silent_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::in_folder("the way to glacier", folder.path()).await;
    let glacier: Url = run.gateway.simulator.endpoint.parse().unwrap();
    let proxy = Proxy::to(glacier.port().unwrap()).await;
    let endpoint = format!("http://127.0.0.1:{}", proxy.port);
    run.end().await;
    run.set_environment(vec![("GATEWAY__AWS__ENDPOINT_URL", endpoint)]);
    run.restart().await;
    run.aborts(50).await;
    for _ in 0..times(1, 20) {
        for (name, way) in [("no replies", Way::NoReplies), ("silent", Way::Silent)] {
            run.supply(ENOUGH).await;
            proxy.set(way);
            trouble(&mut run, name, async |_: &mut Run| proxy.set(Way::Open)).await;
        }
        for _ in 0..5 {
            proxy.cut();
            run.replies(24).await;
        }
        run.aborts(24).await;
        // The process stands still, and with it its connections.
        run.supply(ENOUGH).await;
        run.gateway.simulator.process.signal("STOP");
        trouble(&mut run, "SIGSTOP", async |run: &mut Run| {
            run.gateway.simulator.process.signal("CONT")
        })
        .await;
    }
    let figures = run.finish().await;
    assert_eq!(figures.losses, 0);
}
