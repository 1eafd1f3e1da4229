//! How much teams and subjects may ask, and what becomes of refused credentials.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::{
    jobs::{self, Kind},
    limits::{number_of, places, wait_for},
    signed::Request,
    support::{Gateway, OWNER_POLICY, claims, client, problem, uploads},
};

/// A gateway with these limits of callers and a master key. Team `other` may do what `owner`
/// may.
fn limited(limits: &str) -> Gateway {
    let gateway = Gateway::with(
        &format!(
            "[keys.master_key_files]\n1 = \"DIRECTORY/master-key-1\"\n[limits.callers]\n{limits}\n"
        ),
        &[],
    );
    let other = gateway.directory.path().join("policies/teams/other.json");
    std::fs::write(other, OWNER_POLICY).unwrap();
    gateway.patient()
}

/// Begins to list the uploads of a vault.
fn list(gateway: &Gateway, token: String, vault: &str) -> tokio::task::JoinHandle<Response> {
    let url = format!("{}{}", gateway.rest, uploads(vault));
    tokio::spawn(async move { client().get(url).bearer_auth(token).send().await.unwrap() })
}

/// A new token of a subject.
fn token(gateway: &Gateway, team: &str, subject: &str) -> String {
    let mut claims = claims(team);
    claims["sub"] = json!(subject);
    gateway.key.sign(&claims)
}

fn field<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

#[actix_web::test]
async fn replicas_share_a_limit() {
    let store = jobs::store(Kind::Postgres).await;
    let settings = format!("{store}[limits.callers]\nshared = true\nrate = 10\n");
    let first = Gateway::with(&settings, &[]);
    first.simulator.seed("own-a", &[]).await;
    let policy = async || {
        let reply = first.call("owner", Method::GET, &uploads("own-a")).await;
        field(&reply, "ratelimit-policy").unwrap().to_owned()
    };
    let becomes = async |wanted: &str| while policy().await != wanted {};
    becomes("\"team-rate\";q=10;w=1").await;
    let mut second = Gateway::with(&settings, &[]);
    becomes("\"team-rate\";q=5;w=1").await;
    second.process.child.kill().unwrap();
    second.process.child.wait().unwrap();
    becomes("\"team-rate\";q=10;w=1").await;
}

#[tokio::test]
async fn a_subject_that_asks_too_often_is_told_so_and_others_are_served() {
    let gateway = limited("subject_rate = 1\n[limits.callers.teams.other]\nsubject_rate = 0");
    gateway.simulator.seed("own-a", &[]).await;
    gateway.simulator.seed("own-b", &[]).await;
    let flood: Vec<_> =
        (0..40).map(|_| list(&gateway, token(&gateway, "owner", "ann"), "own-a")).collect();
    let (mut served, mut refused) = (0, 0);
    for reply in flood {
        let reply = reply.await.unwrap();
        assert_eq!(field(&reply, "ratelimit-policy"), Some("\"subject-rate\";q=1;w=1"));
        assert_eq!(field(&reply, "ratelimit"), Some("\"subject-rate\";r=0;t=1"));
        if reply.status() == 200 {
            served += 1;
        } else {
            refused += 1;
            assert_eq!(field(&reply, "retry-after"), Some("1"));
            let (status, body) = problem(reply).await;
            assert_eq!((status, &body["code"]), (429, &json!("rate-limited")));
            let detail = body["detail"].as_str().unwrap();
            assert!(detail.contains("team owner there may be 1 requests a second"), "{detail}");
        }
    }
    assert!(served > 0 && refused > 0, "{served} {refused}");
    assert_eq!(places(&gateway, "own-a").await.len(), served);
    let counted = "requests_limited_total{limit=\"subject-rate\"}";
    assert_eq!(number_of(&gateway, counted).await, f64::from(refused));
    let line = gateway.process.event(|line| line["outcome"] == "rate-limited");
    assert_eq!((&line["subject"], &line["status"]), (&json!("ann"), &json!(429)));

    let another = list(&gateway, token(&gateway, "owner", "bob"), "own-b").await.unwrap();
    assert_eq!(another.status(), 200);
    for _ in 0..5 {
        let unlimited = list(&gateway, token(&gateway, "other", "ann"), "own-b").await.unwrap();
        assert_eq!((unlimited.status().as_u16(), field(&unlimited, "ratelimit")), (200, None));
    }
}

#[tokio::test]
async fn a_team_has_only_so_many_requests_at_once_at_both_doors() {
    let gateway = limited("in_flight = 2\nrate = 1000");
    gateway.simulator.seed("own-b", &[]).await;
    let key = gateway.create_key(&["--team", "owner", "--subject", "ci"]);
    gateway.simulator.fault(json!({"effect": "hang", "vaultName": "own-a"})).await;
    let hanging: Vec<_> =
        ["ann", "bob"].map(|who| list(&gateway, token(&gateway, "owner", who), "own-a")).into();
    wait_for(&gateway, "upstream_calls_under_way", 2.0).await;

    let refused = list(&gateway, token(&gateway, "owner", "eve"), "own-b").await.unwrap();
    let policy = "\"team-in-flight\";q=2;qu=\"concurrent-requests\"";
    assert_eq!(field(&refused, "ratelimit-policy"), Some(policy));
    assert_eq!(field(&refused, "ratelimit"), Some("\"team-in-flight\";r=0"));
    let (status, body) = problem(refused).await;
    assert_eq!((status, &body["code"]), (429, &json!("too-many-in-flight")));
    let target = "/glacier/-/vaults/own-b/multipart-uploads";
    let signed = || Request::new(&gateway, "GET", target).signed(&key);
    let (status, body) = signed().send(&gateway).await;
    assert_eq!((status, &body["code"]), (400, &json!("ThrottlingException")));
    let other = list(&gateway, token(&gateway, "other", "ann"), "own-b").await.unwrap();
    assert_eq!(other.status(), 200);
    let standing = "\"team-in-flight\";r=1, \"team-rate\";r=999;t=1";
    assert_eq!(field(&other, "ratelimit"), Some(standing));

    for one in hanging {
        one.abort();
    }
    wait_for(&gateway, "upstream_calls_under_way", 0.0).await;
    while signed().send(&gateway).await.0 != 200 {}
}

#[tokio::test]
async fn credentials_from_where_many_were_refused_are_not_looked_at_for_a_while() {
    let gateway = limited("refused_credentials = 2");
    let trusted = ("GATEWAY__SERVER__TRUSTED_PROXIES", "[\"127.0.0.0/8\"]");
    let gateway = gateway.with_environment(&[trusted]);
    let key = gateway.create_key(&["--team", "owner", "--subject", "ci"]);
    let vaults = "/v1/accounts/-/vaults";
    let call = async |from: &str, token: Option<&str>| {
        let request = client().get(format!("{}{vaults}", gateway.rest));
        let request = request.header("x-forwarded-for", from);
        let request = token.into_iter().fold(request, |request, token| request.bearer_auth(token));
        request.send().await.unwrap()
    };
    let (bad_guy, neighbour) = ("203.0.113.1", "203.0.113.2");
    let known = token(&gateway, "owner", "ann");
    assert_eq!(call(bad_guy, Some(&known)).await.status(), 200);
    // Whoever brings nothing has tried nothing.
    for _ in 0..10 {
        assert_eq!(call(bad_guy, None).await.status(), 401);
    }
    for _ in 0..3 {
        let (status, body) = problem(call(bad_guy, Some("a.b.c")).await).await;
        assert_eq!((status, &body["code"]), (401, &json!("token-invalid")));
    }
    for token in ["a.b.c", &token(&gateway, "owner", "ann")] {
        let (status, body) = problem(call(bad_guy, Some(token)).await).await;
        assert_eq!((status, &body["code"]), (429, &json!("too-many-refused-credentials")));
    }
    let signed = |from: &str| {
        let request = Request::new(&gateway, "GET", "/glacier/-/vaults");
        request.with("x-forwarded-for", from).signed(&key)
    };
    let (status, body) = signed(bad_guy).send(&gateway).await;
    assert_eq!((status, &body["code"]), (400, &json!("ThrottlingException")));
    let counted = "requests_limited_total{limit=\"refused-credentials\"}";
    assert_eq!(number_of(&gateway, counted).await, 3.0);

    assert_eq!(call(bad_guy, Some(&known)).await.status(), 200, "it was verified before");
    assert_eq!(call(neighbour, Some(&token(&gateway, "owner", "bob"))).await.status(), 200);
    assert_eq!(signed(neighbour).send(&gateway).await.0, 200);
    let ready = client().get(format!("{}/readyz", gateway.management)).send().await.unwrap();
    assert_eq!(ready.status(), 200);
}

#[tokio::test]
async fn credentials_are_looked_at_again_once_fewer_were_refused() {
    let gateway = limited("refused_credentials = 60");
    let call = async |token: &str| gateway.call_with(token, Method::GET, &uploads("own-a")).await;
    let code = async |reply: Response| reply.json::<Value>().await.unwrap()["code"].clone();
    while code(call("a.b.c").await).await != "too-many-refused-credentials" {}
    while call(&token(&gateway, "owner", "ann")).await.status() == 429 {}
}
