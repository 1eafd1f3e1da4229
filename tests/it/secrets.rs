//! No secret comes into the store, wherever a caller puts it.

use std::fs;

use serde_json::json;

use crate::{
    flood::stop,
    signed::Request,
    support::{AccessKey, Gateway, claims, uploads},
};

const AWS_SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// A gateway that has a secret of every kind.
fn gateway() -> Gateway {
    let settings = "[store]\nurl = \"sqlite:DIRECTORY/store.db\"\n\
                    [tokens]\nrevocation_file = \"DIRECTORY/revoked.json\"\n\
                    [keys.master_key_files]\n1 = \"DIRECTORY/master-key-1\"\n";
    Gateway::with(settings, &[])
}

/// The value of a signed request's `Authorization`, and the signature in it.
fn signature(request: &Request) -> (String, String) {
    let authorization = |(name, _): &&(String, String)| name == "authorization";
    let (_, value) = request.headers.iter().find(authorization).unwrap();
    (value.clone(), value.split("Signature=").nth(1).unwrap().to_owned())
}

/// Sends requests that hold `secret` in each place that a caller can write to, with the
/// credentials that `prove` adds.
async fn plant(gateway: &Gateway, secret: &str, prove: &impl Fn(Request) -> Request) {
    let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let vaults = |door: &str| format!("{door}/vaults");
    for door in ["/v1/accounts/-", "/glacier/-"] {
        let plain = |target: &str| prove(Request::new(gateway, "GET", target));
        let list = vaults(door);
        let planted = [
            // Text of the caller's that policies or the record may see.
            prove(Request::new(gateway, "GET", &list).with("user-agent", secret)),
            prove(Request::new(gateway, "GET", &list).with("x-request-id", &format!("!{secret}"))),
            prove(Request::new(gateway, "GET", &list).with("x-forwarded-for", secret)),
            prove(Request::new(gateway, "GET", &list).with("x-amz-security-token", secret)),
            prove(Request::new(gateway, "GET", &list).with("cookie", secret)),
            prove(Request::new(gateway, "GET", &list).with_body(secret)),
            plain(&format!("{list}?marker={encoded}")),
            plain(&format!("{list}?limit={encoded}")),
            plain(&format!("{list}?{encoded}=1")),
            plain(&format!("{door}/{encoded}")),
            // Beyond what a vault or an upload can be called.
            plain(&format!("{list}/~{encoded}/multipart-uploads")),
            plain(&format!("{list}/own-a/multipart-uploads/~{encoded}")),
        ];
        for request in planted {
            request.send_to_either(gateway).await;
        }
    }
    let question = json!({"principal": {"team": secret}, "requests": [{"action": secret}]});
    let body = serde_json::to_vec(&question).unwrap();
    let simulate = Request::new(gateway, "POST", "/v1/access/simulate");
    prove(simulate.with("content-type", "application/json").with_body(body))
        .send_to_either(gateway)
        .await;
    // As credentials, right or wrong.
    for scheme in ["Bearer ", "Basic ", "AWS4-HMAC-SHA256 ", ""] {
        for target in ["/v1/access", "/glacier/-/vaults"] {
            let request = Request::new(gateway, "GET", target);
            request
                .with("authorization", &format!("{scheme}{secret}"))
                .send_to_either(gateway)
                .await;
        }
    }
}

/// The bytes of all files of the store.
fn stored(gateway: &Gateway) -> Vec<u8> {
    let names = ["store.db", "store.db-wal", "store.db-shm", "store.db.lock"];
    let files = names.map(|name| gateway.directory.path().join(name));
    files.iter().flat_map(|file| fs::read(file).unwrap_or_default()).collect()
}

#[actix_web::test]
async fn no_secret_comes_into_the_store() {
    let mut gateway = gateway();
    gateway.simulator.seed("own-a", &["x"]).await;
    let key = gateway.create_key(&["--team", "owner", "--subject", "ci", "--expires", "1h"]);
    let master_key = fs::read_to_string(gateway.directory.path().join("master-key-1")).unwrap();
    let token = gateway.key.token("owner");
    let mut expired = claims("owner");
    expired["exp"] = json!(1);
    let expired = gateway.key.sign(&expired);
    let signed = Request::new(&gateway, "GET", "/glacier/-/vaults").signed(&key);
    let (authorization, signature) = signature(&signed);
    assert_eq!(signed.send(&gateway).await.0, 200);

    let AccessKey { secret, .. } = &key;
    let secrets = [
        ("a token", token.as_str()),
        ("an expired token", &expired),
        ("a signature", &signature),
        ("a gateway key's secret", secret),
        ("a master key", master_key.trim()),
        ("the gateway's AWS secret", AWS_SECRET),
    ];
    let by_token = |request: Request| request.with("authorization", &format!("Bearer {token}"));
    let by_nobody = |request: Request| request;
    let by_key = |request: Request| request.signed(&key);
    for (_, secret) in secrets.iter().chain([&("", authorization.as_str())]) {
        plant(&gateway, secret, &by_token).await;
        plant(&gateway, secret, &by_nobody).await;
        plant(&gateway, secret, &by_key).await;
    }
    let id = gateway.simulator.seed("own-b", &["x"]).await.remove(0);
    let path = format!("{}/{id}", uploads("own-b"));
    let abort = gateway.call("owner", reqwest::Method::DELETE, &path);
    assert_eq!(abort.await.status(), 204);

    let running = stored(&gateway);
    stop(&mut gateway);
    let ended = stored(&gateway);
    assert!(
        memchr::memmem::find(&ended, id.as_bytes()).is_some(),
        "the search finds what is there"
    );
    for (what, secret) in secrets {
        // Of a token each part by itself tells enough.
        let parts = secret.split('.').filter(|part| !part.is_empty() && *part != header(&token));
        for part in parts.chain([secret]) {
            for bytes in [&running, &ended] {
                assert!(memchr::memmem::find(bytes, part.as_bytes()).is_none(), "{what}: {part}");
            }
        }
    }
}

/// A token's header, which is no secret and the same in all.
fn header(token: &str) -> &str {
    token.split('.').next().unwrap_or_default()
}
