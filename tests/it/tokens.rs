//! Bearer tokens: what proves a caller and what does not.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Gateway, Key, claims, client, now, problem};

const VAULTS: &str = "/v1/accounts/-/vaults";

async fn refusal(gateway: &Gateway, token: &str) -> (u16, String) {
    let (status, body) = problem(gateway.call_with(token, Method::GET, VAULTS).await).await;
    (status, body["code"].as_str().unwrap().to_owned())
}

fn invalid() -> (u16, String) {
    (401, "token-invalid".to_owned())
}

fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = claims("owner");
    change(&mut claims);
    claims
}

#[tokio::test]
async fn es256_rs256_and_eddsa_tokens_prove_a_caller() {
    let gateway = Gateway::start();
    let keys = [Key::es256("k1"), Key::rs256("k2"), Key::eddsa("k3")];
    let public: Vec<_> = keys.iter().map(|key| key.public.clone()).collect();
    std::fs::write(gateway.directory.path().join("jwks.json"), json!({"keys": public}).to_string())
        .unwrap();
    let gateway = gateway.restarted();
    for key in keys {
        let reply = gateway.call_with(&key.token("owner"), Method::GET, VAULTS).await;
        assert_eq!(reply.status(), 200, "{:?}", key.algorithm);
    }
}

#[tokio::test]
async fn times_and_audience_and_issuer_are_checked() {
    let gateway = Gateway::start();
    let expired = changed(|c| c["exp"] = json!(now() - 60));
    let early = changed(|c| c["nbf"] = json!(now() + 60));
    for (claims, code) in [
        (expired, "token-expired"),
        (early, "token-not-yet-valid"),
        (changed(|c| c["aud"] = json!("another-service")), "token-invalid"),
        (changed(|c| c["iss"] = json!("https://evil.example")), "token-invalid"),
        (changed(|c| c["iss"] = json!("https://login.example.com/")), "token-invalid"),
        (changed(|c| c["exp"] = json!("tomorrow")), "token-invalid"),
        (changed(|c| c["sub"] = json!("")), "token-invalid"),
        (changed(|c| c["team"] = json!("")), "token-without-team"),
        (changed(|c| c["team"] = json!([])), "token-without-team"),
        (changed(|c| c["team"] = json!(7)), "token-without-team"),
    ] {
        assert_eq!(
            refusal(&gateway, &gateway.key.sign(&claims)).await,
            (401, code.to_owned()),
            "{claims}"
        );
    }
    let within_leeway = changed(|c| c["exp"] = json!(now() - 5));
    let reply = gateway.call_with(&gateway.key.sign(&within_leeway), Method::GET, VAULTS).await;
    assert_eq!(reply.status(), 200);
}

#[tokio::test]
async fn every_required_claim_is_required() {
    let gateway = Gateway::start();
    for claim in ["iss", "sub", "aud", "exp", "team"] {
        let token = gateway.key.sign(&changed(|c| {
            c.as_object_mut().unwrap().remove(claim);
        }));
        let (status, code) = refusal(&gateway, &token).await;
        let expected = if claim == "team" { "token-without-team" } else { "token-invalid" };
        assert_eq!((status, code.as_str()), (401, expected), "without {claim}");
    }
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let gateway = Gateway::start();
    let good = gateway.key.token("owner");
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let encode_json = |value: &Value| {
        use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
        BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
    };

    let none = encode_json(&json!({"alg": "none", "typ": "JWT"}));
    let other_team = encode_json(&claims("admin"));
    let mut hmac_header = Header::new(Algorithm::HS256);
    hmac_header.kid = Some("es256".to_owned());
    let public = gateway.key.public.to_string();
    let hmac = encode(&hmac_header, &claims("owner"), &EncodingKey::from_secret(public.as_bytes()))
        .unwrap();
    let impostor = Key::es256("es256").token("owner");
    let mut jku_header = Header::new(Algorithm::ES256);
    jku_header.kid = Some("theirs".to_owned());
    jku_header.jku = Some(format!("{}/stolen", gateway.simulator.endpoint));
    let jku = encode(&jku_header, &claims("owner"), &Key::es256("theirs").encoding).unwrap();
    let crit = encode_json(&json!({"alg": "ES256", "kid": "es256", "crit": ["b64"], "b64": true}));

    for (attack, token) in [
        ("none", format!("{none}.{payload}.")),
        ("none with a signature", format!("{none}.{payload}.{signature}")),
        ("no signature", format!("{header}.{payload}.")),
        ("two parts", format!("{header}.{payload}")),
        ("other claims", format!("{header}.{other_team}.{signature}")),
        ("HMAC with the public key", hmac),
        ("another key of the same name", impostor),
        ("a key URL in the header", jku),
        ("a critical extension", format!("{crit}.{payload}.{signature}")),
        (
            "an algorithm that is not accepted",
            Key::es256("es256").sign(&claims("owner")).replacen(
                header,
                &encode_json(&json!({"alg": "ES384", "kid": "es256"})),
                1,
            ),
        ),
        (
            "a path as key name",
            good.replacen(
                header,
                &encode_json(&json!({"alg": "ES256", "kid": "../../etc/passwd"})),
                1,
            ),
        ),
        ("one letter", "x".to_owned()),
        ("words", "not a token at all".to_owned()),
        ("padding", format!("{header}=.{payload}.{signature}")),
        ("an oversized token", "a".repeat(20_000)),
    ] {
        assert_eq!(refusal(&gateway, &token).await, invalid(), "{attack}");
    }
    // Nobody fetched the attacker's key.
    assert!(gateway.simulator.requests().await.is_empty());
}

#[tokio::test]
async fn the_challenge_names_the_error_only_where_a_token_was_sent() {
    let gateway = Gateway::start();
    let url = format!("{}{VAULTS}", gateway.rest);
    let bare = client().get(&url).send().await.unwrap();
    assert_eq!(bare.headers()["www-authenticate"], "Bearer realm=\"glacier-gateway\"");
    let basic = client().get(&url).basic_auth("user", Some("password")).send().await.unwrap();
    assert_eq!(problem(basic).await.1["code"], "token-missing");
    let wrong = client().get(&url).bearer_auth("x").send().await.unwrap();
    let challenge = wrong.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
}

#[tokio::test]
async fn a_caller_in_several_teams_has_the_leave_of_all_of_them() {
    let gateway = Gateway::start();
    let token = gateway.key.sign(&changed(|c| c["team"] = json!(["stranger", "owner"])));
    let reply = gateway.call_with(&token, Method::GET, VAULTS).await;
    assert_eq!(reply.status(), 200);
}

#[tokio::test]
async fn a_token_that_would_live_too_long_is_refused_with_the_setting_that_says_so() {
    let gateway = Gateway::start();
    let day = 24 * 3600;
    for claims in [
        changed(|c| c["exp"] = json!(now() + day + 60)),
        changed(|c| c["iat"] = json!(now() - day)),
        changed(|c| {
            c["exp"] = json!(now() + day + 60);
            c.as_object_mut().unwrap().remove("iat");
        }),
    ] {
        let token = gateway.key.sign(&claims);
        let (status, body) = problem(gateway.call_with(&token, Method::GET, VAULTS).await).await;
        assert_eq!((status, &body["code"]), (401, &json!("token-invalid")), "{claims}");
        assert!(body["detail"].as_str().unwrap().contains("max_age"), "{body}");
    }
    let gateway = gateway.with_environment(&[("GATEWAY__ISSUERS__TEST__MAX_AGE", "36h")]);
    let token = gateway.key.sign(&changed(|c| c["exp"] = json!(now() + day + 60)));
    assert_eq!(gateway.call_with(&token, Method::GET, VAULTS).await.status(), 200);
}

#[tokio::test]
async fn policies_know_who_acts_for_the_caller() {
    let gateway = Gateway::start();
    let policy = json!({ "Version": "2012-10-17", "Statement": {
        "Effect": "Deny",
        "Action": "glacier:*",
        "Resource": "*",
        "Condition": { "StringLike": { "gateway:Actor": "robot-*" } },
    }});
    let folder = gateway.directory.path().join("policies/teams/owner");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("robots.json"), policy.to_string()).unwrap();
    let gateway = gateway.restarted();
    for (act, status) in [
        (json!({"sub": "robot-7"}), 403),
        (json!({"sub": "robot-7", "act": {"sub": "console"}}), 403),
        (json!({"sub": "console"}), 200),
        // It acts no longer.
        (json!({"sub": "console", "act": {"sub": "robot-7"}}), 200),
        (json!("robot-7"), 401),
        (json!({"client_id": "robot-7"}), 401),
    ] {
        let token = gateway.key.sign(&changed(|c| c["act"] = act.clone()));
        let reply = gateway.call_with(&token, Method::GET, VAULTS).await;
        assert_eq!(reply.status(), status, "{act}");
    }
}

#[tokio::test]
async fn a_new_key_in_the_file_is_found_without_a_restart() {
    let gateway = Gateway::start();
    let next = Key::es256("next");
    let both = json!({"keys": [gateway.key.public, next.public]});
    std::fs::write(gateway.directory.path().join("jwks.json"), both.to_string()).unwrap();
    // The keys were read at start; an unknown one is looked for after a pause.
    let deadline = now() + 30;
    loop {
        let reply = gateway.call_with(&next.token("owner"), Method::GET, VAULTS).await;
        if reply.status() == 200 {
            break;
        }
        assert!(now() < deadline, "the new key was never read");
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    assert_eq!(gateway.call("owner", Method::GET, VAULTS).await.status(), 200);
}

#[tokio::test]
async fn a_gateway_whose_issuer_is_down_is_not_ready_and_says_why() {
    let gateway = Gateway::start();
    let gateway = gateway
        .with_environment(&[("GATEWAY__ISSUERS__TEST__JWKS_FILE", "/nonexistent/jwks.json")]);
    let (status, code) = refusal(&gateway, &gateway.key.token("owner")).await;
    assert_eq!((status, code.as_str()), (503, "issuer-unavailable"));
    let ready = client().get(format!("{}/readyz", gateway.management)).send().await.unwrap();
    assert_eq!(ready.status(), 503);
    let live = client().get(format!("{}/livez", gateway.management)).send().await.unwrap();
    assert_eq!(live.status(), 200);
}
