//! However many paths, uploads, subjects and errors there are, the metrics stay as many.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use reqwest::Method;
use serde_json::json;

use crate::{
    management::metrics,
    support::{Gateway, claims, uploads},
};

/// How many different requests of each kind are sent: 10,000 of all.
const EACH: usize = 1_000;

/// The request number `number` of each kind, as method, path and token.
fn requests(gateway: &Gateway, number: usize) -> Vec<(Method, String, String)> {
    let team = |team: &str| gateway.key.token(team);
    let vault = format!("own-{number}");
    let upload = format!("{}/upload-{number}", uploads(&vault));
    let mut subject = claims("owner");
    subject["sub"] = json!(format!("subject-{number}"));
    vec![
        (Method::GET, format!("/nowhere/{number}"), team("owner")),
        (Method::GET, format!("/v1/{number}/vaults"), team("owner")),
        (
            Method::from_bytes(format!("M{number}").as_bytes()).unwrap(),
            upload.clone(),
            team("owner"),
        ),
        (Method::DELETE, upload.clone(), team("owner")),
        (Method::DELETE, upload.clone(), team(&format!("team-{number}"))),
        (Method::DELETE, upload, format!("token-{number}")),
        (Method::GET, uploads(&vault), gateway.key.sign(&subject)),
        (Method::GET, format!("{}?limit={number}x", uploads(&vault)), team("owner")),
        (Method::GET, format!("/v1/accounts/{number:012}/vaults"), team("owner")),
        (Method::GET, format!("/glacier/-/vaults/{vault}/{number}"), team("owner")),
    ]
}

#[tokio::test]
async fn ten_thousand_different_requests_add_no_series() {
    let store = "[store]\nurl = \"sqlite:DIRECTORY/store.db\"\n";
    let gateway = Gateway::with(store, &[]).patient();
    // Of the errors of Glacier, every tenth is one that nobody has heard of.
    let client = reqwest::Client::new();
    let send = async |number: usize| {
        if number.is_multiple_of(10) {
            let error = json!({"status": 400 + number % 100, "code": format!("E{number}"),
                "message": format!("message {number}")});
            let vault = format!("own-{number}");
            let fault = json!({"effect": {"error": error}, "vaultName": vault, "times": 1});
            gateway.simulator.fault(fault).await;
        }
        for (method, path, token) in requests(&gateway, number) {
            let url = format!("{}{path}", gateway.rest);
            let request = client.request(method, url).bearer_auth(token);
            request.header("user-agent", format!("agent-{number}")).send().await.unwrap();
        }
    };
    let series = async || metrics(&gateway).await.into_keys().collect::<BTreeSet<_>>();
    // Statuses and results are few, so a hundred requests of each kind have met them all.
    for number in 0..100 {
        send(number).await;
    }
    let before = series().await;
    stream::iter(100..100 + EACH).for_each_concurrent(8, send).await;
    let after = series().await;
    let new: Vec<_> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:?}");
    assert!(after.len() < 500, "{} series", after.len());
    println!("{} series", after.len());
}
