//! Asking about policies, and replacing them, while the gateway runs.

use reqwest::{
    Method, Response,
    header::{HeaderMap, HeaderValue, USER_AGENT},
};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::support::{Gateway, OWNER_POLICY, client, problem};

const OWN: &str = "arn:aws:glacier:eu-central-1:111122223333:vaults/own-a";
const OTHER: &str = "arn:aws:glacier:eu-central-1:111122223333:vaults/other";

async fn simulate(gateway: &Gateway, team: &str, question: &Value) -> Response {
    let url = format!("{}/v1/access/simulate", gateway.rest);
    let request = client().post(url).bearer_auth(gateway.key.token(team)).json(question);
    request.send().await.unwrap()
}

#[tokio::test]
async fn a_caller_sees_who_they_are_and_what_policies_say_to_them() {
    let gateway = Gateway::start();
    let reply = gateway.call("owner", Method::GET, "/v1/access").await;
    let access: Value = reply.json().await.unwrap();
    assert_eq!(access["teams"], json!(["owner"]));
    let arn = access["principalArns"][0].as_str().unwrap();
    assert!(arn.starts_with("arn:aws:glacier-gateway:::team/owner/"), "{arn}");
    let own = &access["statements"][0];
    assert_eq!(own["statement"]["policy"], "teams/owner.json");
    assert_eq!(own["statement"]["sid"], "Own");
    assert_eq!(own["denies"], false);
    assert_eq!(own["actions"].as_array().unwrap().len(), 5);
    assert_eq!(own["resources"][0], "arn:aws:glacier:eu-central-1:111122223333:vaults/own-*");
}

#[tokio::test]
async fn a_simulation_says_what_would_be_decided_and_asks_nothing_of_glacier() {
    let gateway = Gateway::start();
    let question =
        json!({ "actions": ["glacier:AbortMultipartUpload"], "resources": [OWN, OTHER] });
    let answer: Value = simulate(&gateway, "owner", &question).await.json().await.unwrap();
    let [own, other] = &answer["results"].as_array().unwrap()[..] else { panic!("{answer}") };
    assert_eq!((&own["resource"], &own["decision"]), (&json!(OWN), &json!("allowed")));
    assert_eq!(own["matched"]["sid"], "Own");
    assert_eq!(other["decision"], "implicitDeny");
    assert_eq!(other["nearMisses"][0]["missed"], "resource");

    let all: Value =
        simulate(&gateway, "owner", &json!({ "resources": [OWN] })).await.json().await.unwrap();
    assert_eq!(all["results"].as_array().unwrap().len(), 5);
    let most = json!({ "resources": vec![OWN; 40] });
    let most: Value = simulate(&gateway, "owner", &most).await.json().await.unwrap();
    assert_eq!(most["results"].as_array().unwrap().len(), 200);
    assert!(gateway.simulator.requests().await.is_empty());
}

#[tokio::test]
async fn another_teams_access_is_simulated_only_with_leave() {
    let gateway = Gateway::start();
    let question = json!({ "team": "owner", "subject": "eve", "resources": [OWN] });
    let (status, body) = problem(simulate(&gateway, "stranger", &question).await).await;
    assert_eq!((status, &body["code"]), (403, &json!("not-authorized")));
    assert_eq!(body["reason"], "implicitDeny");

    let leave = json!({ "Version": "2012-10-17", "Statement": {
        "Sid": "Leave",
        "Effect": "Allow",
        "Action": "gateway:SimulateAccess",
        "Resource": "arn:aws:glacier-gateway:::team/own*",
    }});
    let file = gateway.directory.path().join("policies/teams/stranger.json");
    std::fs::write(file, leave.to_string()).unwrap();
    let answer: Value = loop {
        let reply = simulate(&gateway, "stranger", &question).await;
        if reply.status() == 200 {
            break reply.json().await.unwrap();
        }
    };
    assert_eq!(answer["results"][0]["decision"], "allowed");
    let question = json!({ "team": "else", "resources": [OWN] });
    assert_eq!(simulate(&gateway, "stranger", &question).await.status(), 403);

    let access = gateway.call("stranger", Method::GET, "/v1/access").await;
    let access: Value = access.json().await.unwrap();
    let listed = access["statements"].as_array().unwrap();
    let leave = listed.iter().find(|listed| listed["statement"]["sid"] == "Leave").unwrap();
    assert_eq!(leave["actions"], json!(["gateway:SimulateAccess"]));
}

#[tokio::test]
async fn callers_are_simulated_with_what_their_tokens_say_and_others_without() {
    let gateway = Gateway::start();
    let claimed = json!({ "Version": "2012-10-17", "Statement": {
        "Effect": "Allow",
        "Action": "glacier:ListParts",
        "Resource": OTHER,
        "Condition": { "Null": { "jwt:iat": "false" } },
    }});
    let file = gateway.directory.path().join("policies/teams/owner/claimed.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, claimed.to_string()).unwrap();
    let decision = async |more: Value| -> Value {
        let mut question = json!({ "actions": ["glacier:ListParts"], "resources": [OTHER] });
        question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer: Value = simulate(&gateway, "owner", &question).await.json().await.unwrap();
        answer["results"][0]["decision"].clone()
    };
    while decision(json!({})).await != "allowed" {}
    assert_eq!(decision(json!({ "team": "owner" })).await, "allowed");
    assert_eq!(decision(json!({ "team": "owner", "subject": "eve" })).await, "implicitDeny");
}

#[tokio::test]
async fn questions_that_cannot_be_answered_are_refused() {
    let gateway = Gateway::start();
    for (question, code) in [
        (json!({}), "malformed-request"),
        (json!({ "resources": [OWN], "x": 1 }), "malformed-request"),
        (json!({ "resources": [] }), "invalid-parameter"),
        (json!({ "resources": [OWN], "team": "owner/eve" }), "invalid-parameter"),
        (json!({ "resources": ["arn:aws:s3:::a"] }), "invalid-parameter"),
        (json!({ "resources": [OWN], "actions": ["glacier:DeleteVault"] }), "invalid-parameter"),
        (json!({ "resources": vec![OWN; 41] }), "invalid-parameter"),
        (
            json!({ "resources": [OWN], "context": { "jwt:a": ["b".repeat(4097)] } }),
            "invalid-parameter",
        ),
    ] {
        let (status, body) = problem(simulate(&gateway, "owner", &question).await).await;
        assert_eq!((status, &body["code"]), (400, &json!(code)), "{question}");
    }
}

/// A Deny that asks for the end of the text is not escaped by its length.
#[tokio::test]
async fn a_user_agent_that_is_too_long_for_policies_is_refused() {
    let gateway = Gateway::start();
    for (length, expected) in [(4096, 200), (4097, 400), (60_000, 400)] {
        let request = client().get(format!("{}/v1/access", gateway.rest));
        let request = request.bearer_auth(gateway.key.token("owner"));
        let reply = request.header("User-Agent", "a".repeat(length)).send().await.unwrap();
        assert_eq!(reply.status(), expected, "{length}");
        if expected == 400 {
            let (_, body) = problem(reply).await;
            assert_eq!(body["code"], "malformed-request");
            assert!(body["detail"].as_str().unwrap().contains("4096 bytes"), "{body}");
        }
    }
}

/// Policies are asked about one of them, and a Deny could be about the other.
#[tokio::test]
async fn two_user_agents_are_refused_at_both_doors() {
    let gateway = Gateway::start();
    for (path, field, code) in [
        ("/v1/access", "code", "malformed-request"),
        ("/glacier/-/vaults", "code", "InvalidParameterValueException"),
    ] {
        let mut twice = HeaderMap::new();
        for value in ["curl/8", "evil/1"] {
            twice.append(USER_AGENT, HeaderValue::from_static(value));
        }
        let request = client().get(format!("{}{path}", gateway.rest)).headers(twice);
        let request = request.header("x-amz-glacier-version", "2012-06-01");
        let reply = request.bearer_auth(gateway.key.token("owner")).send().await.unwrap();
        assert_eq!(reply.status(), 400, "{path}");
        let body: Value = reply.json().await.unwrap();
        assert_eq!(body[field], code, "{body}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_long_is_told_from_one_that_cannot_be_read() {
    let gateway = Gateway::start();
    let long = json!({ "resources": [OWN], "context": { "jwt:a": "b".repeat(9 << 20) } });
    let (status, body) = problem(simulate(&gateway, "owner", &long).await).await;
    assert_eq!((status, &body["code"]), (413, &json!("body-too-long")));
    assert!(body["detail"].as_str().unwrap().contains("2097152 bytes"), "{body}");
}

#[tokio::test]
async fn a_context_that_cannot_be_is_refused_with_the_key_and_the_nearest() {
    let gateway = Gateway::start();
    for (context, parts) in [
        (json!({ "jwt:Roles": { "a": 1 } }), vec!["\"jwt:Roles\" must be a string"]),
        (json!({ "jwt:roles": [["a"]] }), vec!["\"jwt:roles\" must be a string"]),
        (
            json!({ "gateway:UploadAgeInDay": 9 }),
            vec![
                "context key \"gateway:UploadAgeInDay\" does not exist",
                "\"gateway:UploadAgeInDays\"",
            ],
        ),
        (json!({ "SourceIp": "10.0.0.1" }), vec!["context key \"SourceIp\" does not exist"]),
        (json!({ "aws:SourceIp": "10.0.0.1", "aws:sourceip": "10.0.0.2" }), vec!["given twice"]),
    ] {
        let question = json!({ "resources": [OWN], "context": context });
        let (status, body) = problem(simulate(&gateway, "owner", &question).await).await;
        assert_eq!((status, &body["code"]), (400, &json!("invalid-parameter")), "{question}");
        let detail = body["detail"].as_str().unwrap();
        for part in parts {
            assert!(detail.contains(part), "{part} is missing from: {detail}");
        }
    }
}

#[tokio::test]
async fn a_simulation_takes_the_given_context_and_names_keys_as_the_policy_writes_them() {
    let gateway = Gateway::start();
    let policy = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": "glacier:ListParts", "Resource": "*",
          "Condition": { "NumericLessThan": { "gateway:UploadAgeInDays": "7" } } },
        { "Effect": "Allow", "Action": "glacier:DescribeVault", "Resource": "*",
          "Condition": { "IpAddress": { "aws:sourceIP": "127.0.0.0/8" } } },
    ]});
    std::fs::write(gateway.directory.path().join("policies/teams/owner.json"), policy.to_string())
        .unwrap();
    let gateway = gateway.restarted();
    let ask = async |action: &str, context: Value| -> Value {
        let question = json!({ "actions": [action], "resources": [OWN], "context": context });
        let answer: Value = simulate(&gateway, "owner", &question).await.json().await.unwrap();
        answer["results"][0].clone()
    };
    let unknown = ask("glacier:ListParts", json!({})).await;
    assert_eq!(unknown["missingContextKeys"], json!(["gateway:UploadAgeInDays"]));
    assert_eq!(unknown["nearMisses"][0]["key"], "gateway:UploadAgeInDays");
    let young = ask("glacier:ListParts", json!({ "Gateway:uploadAgeInDays": 6 })).await;
    assert_eq!(young["decision"], "allowed");

    let here = "glacier:DescribeVault";
    assert_eq!(ask(here, json!({})).await["decision"], "allowed");
    assert_eq!(ask(here, json!({ "aws:SourceIp": null })).await["decision"], "implicitDeny");
    assert_eq!(ask(here, json!({ "aws:SourceIp": [] })).await["decision"], "implicitDeny");

    let reply = gateway.call("owner", Method::GET, "/v1/access").await;
    let access: Value = reply.json().await.unwrap();
    assert_eq!(access["statements"][1]["conditionsOn"], json!(["aws:sourceIP"]));
}

#[tokio::test]
async fn broken_new_policies_leave_the_old_ones_serving_and_readyz_says_so() {
    let gateway = Gateway::start();
    let readyz = async || {
        let reply = client().get(format!("{}/readyz", gateway.management)).send().await.unwrap();
        (reply.status().as_u16(), reply.text().await.unwrap())
    };
    let file = gateway.directory.path().join("policies/teams/owner.json");
    std::fs::write(&file, OWNER_POLICY.replace("glacier:*", "glacier:Abrt*")).unwrap();
    let (status, body) = loop {
        let answer = readyz().await;
        if answer.1 != "ok\n" {
            break answer;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(status, 200);
    assert!(body.contains("teams/owner.json:4:"), "{body}");
    let (_, since) = body.split_once("those of ").unwrap();
    let since = since.split(' ').next().unwrap();
    assert!(OffsetDateTime::parse(since, &Rfc3339).is_ok(), "{body}");
    let question = json!({ "actions": ["glacier:ListParts"], "resources": [OWN] });
    let answer: Value = simulate(&gateway, "owner", &question).await.json().await.unwrap();
    assert_eq!(answer["results"][0]["decision"], "allowed");

    std::fs::write(&file, OWNER_POLICY).unwrap();
    while readyz().await.1 != "ok\n" {
        tokio::task::yield_now().await;
    }
}
