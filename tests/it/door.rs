//! The Glacier door: who gets in, and what they are answered. The Rust SDK calls
//! it as it would call Glacier; requests that no SDK would send are made by hand.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sdk_glacier::{
    Client,
    config::{BehaviorVersion, Region, retry::RetryConfig},
    error::ProvideErrorMetadata,
    operation::RequestId,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    signed::Request,
    support::{AccessKey, Gateway, REGION, client},
};

/// A gateway with a master key, and a key of team `owner`.
fn gateway() -> (Gateway, AccessKey) {
    let gateway = Gateway::with_master_keys(&[1], "");
    let key = gateway.create_key(&["--team", "owner", "--subject", "ci"]);
    (gateway, key)
}

fn sdk(gateway: &Gateway, key: &AccessKey) -> Client {
    sdk_for(REGION, gateway, key)
}

fn sdk_for(region: &'static str, gateway: &Gateway, key: &AccessKey) -> Client {
    let config = aws_sdk_glacier::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(format!("{}/glacier", gateway.rest))
        .region(Region::new(region))
        .credentials_provider(Credentials::new(&key.id, &key.secret, None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}

/// The code and the status of an error, whose form is checked here.
fn code((status, body): &(u16, Value)) -> (u16, &str) {
    let fields: Vec<_> = body.as_object().expect("a JSON object").keys().collect();
    assert_eq!(fields, ["code", "message", "type"]);
    assert_eq!(body["type"], if *status < 500 { "Client" } else { "Server" });
    assert!(!body["message"].as_str().unwrap().is_empty());
    (*status, body["code"].as_str().unwrap())
}

#[tokio::test]
async fn an_sdk_performs_the_five_operations_and_nothing_shows_it_the_gateway() {
    let (gateway, key) = gateway();
    let uploads = gateway.simulator.seed("own-a", &["one", "two"]).await;
    gateway.simulator.seed("foreign", &[]).await;
    let glacier = sdk(&gateway, &key);

    let vaults = glacier.list_vaults().account_id("-").send().await.unwrap();
    let names: Vec<_> = vaults.vault_list().iter().map(|v| v.vault_name().unwrap()).collect();
    assert_eq!(names, ["own-a"], "only what the caller may describe");
    assert_eq!(vaults.marker(), None);

    let vault = glacier.describe_vault().account_id("-").vault_name("own-a").send().await.unwrap();
    assert_eq!(vault.vault_arn(), Some("arn:aws:glacier:eu-central-1:111122223333:vaults/own-a"));
    assert!(vault.creation_date().is_some());

    let list = || glacier.list_multipart_uploads().account_id("-").vault_name("own-a");
    let listed = list().send().await.unwrap();
    assert_eq!(listed.uploads_list().len(), 2);
    let page = list().limit(1).send().await.unwrap();
    let rest = list().marker(page.marker().unwrap()).send().await.unwrap();
    let descriptions: Vec<_> = [page.uploads_list(), rest.uploads_list()]
        .concat()
        .iter()
        .map(|upload| upload.archive_description().unwrap().to_owned())
        .collect();
    assert_eq!(descriptions.len(), 2);
    assert!(descriptions.contains(&"one".to_owned()) && descriptions.contains(&"two".to_owned()));

    let parts = glacier.list_parts().account_id("-").vault_name("own-a").upload_id(&uploads[0]);
    let parts = parts.send().await.unwrap();
    assert_eq!(parts.multipart_upload_id(), Some(uploads[0].as_str()));
    assert_eq!(parts.parts()[0].range_in_bytes(), Some("0-1048575"));
    let parts =
        || glacier.list_parts().account_id("-").vault_name("own-a").upload_id(&uploads[0]).limit(1);
    let page = parts().send().await.unwrap();
    let rest = parts().marker(page.marker().unwrap()).send().await.unwrap();
    assert_eq!(rest.parts()[0].range_in_bytes(), Some("1048576-2097151"));
    assert_eq!(rest.marker(), None);

    let abort = || glacier.abort_multipart_upload().account_id("111122223333").vault_name("own-a");
    let aborted = abort().upload_id(&uploads[0]).send().await.unwrap();
    let seen = gateway.simulator.requests().await;
    assert_eq!(seen.last().unwrap()["operation"], "AbortMultipartUpload");
    assert!(aborted.request_id().is_some());
    assert_eq!(gateway.simulator.status("own-a", &uploads[0]).await.as_deref(), Some("aborted"));

    let line = gateway.process.event(|event| event["outcome"] == "aborted");
    assert_eq!(line["upstream_request_id"], json!(aborted.request_id()));
    assert_eq!(line["subject"], "ci");
    assert_eq!(line["teams"], "owner");
    assert_eq!(line["access_key_id"], key.id.as_str());
    assert!(!gateway.process.all_lines().join("\n").contains(&key.secret));
}

#[tokio::test]
async fn the_region_that_a_request_is_signed_for_is_the_one_that_is_asked() {
    let (gateway, key) = gateway();
    let gateway = gateway.with_environment(&[("GATEWAY__AWS__REGIONS", "[\"us-east-1\"]")]);
    gateway.simulator.seed("own-a", &[]).await;
    let list =
        async |region| sdk_for(region, &gateway, &key).list_vaults().account_id("-").send().await;
    // The seeded vault is in eu-central-1.
    for (region, vaults) in [("eu-central-1", 1), ("us-east-1", 0)] {
        assert_eq!(list(region).await.unwrap().vault_list().len(), vaults, "{region}");
    }
    let not_served = list("us-west-2").await.unwrap_err();
    assert_eq!(not_served.code(), Some("SignatureDoesNotMatch"));
}

#[tokio::test]
async fn a_denial_is_access_denied_with_the_reason_and_nothing_reaches_glacier() {
    let (gateway, key) = gateway();
    let upload = &gateway.simulator.seed("foreign", &["x"]).await[0];
    let stranger = gateway.create_key(&["--team", "stranger"]);
    for key in [&key, &stranger] {
        let glacier = sdk(&gateway, key);
        let abort = glacier.abort_multipart_upload().account_id("-").vault_name("foreign");
        let error = abort.upload_id(upload).send().await.unwrap_err();
        assert_eq!(error.code(), Some("AccessDeniedException"));
        assert_eq!(error.raw_response().unwrap().status().as_u16(), 403);
        assert!(error.message().unwrap().contains("no policy of your teams allows this"));
        assert!(error.request_id().is_some());
    }
    assert!(gateway.simulator.requests().await.is_empty());
}

/// Every operation of Glacier's API beside the five (Glacier Developer Guide,
/// "API Reference"), and what is no operation at all.
const OTHERS: [(&str, &str); 35] = [
    ("PUT", "vaults/own-a"),
    ("DELETE", "vaults/own-a"),
    ("POST", "vaults/own-a/multipart-uploads"),
    ("PUT", "vaults/own-a/multipart-uploads/u"),
    ("POST", "vaults/own-a/multipart-uploads/u"),
    ("POST", "vaults/own-a/archives"),
    ("DELETE", "vaults/own-a/archives/a"),
    ("POST", "vaults/own-a/jobs"),
    ("GET", "vaults/own-a/jobs"),
    ("GET", "vaults/own-a/jobs/j"),
    ("GET", "vaults/own-a/jobs/j/output"),
    ("GET", "vaults/own-a/access-policy"),
    ("PUT", "vaults/own-a/access-policy"),
    ("DELETE", "vaults/own-a/access-policy"),
    ("GET", "vaults/own-a/lock-policy"),
    ("POST", "vaults/own-a/lock-policy"),
    ("DELETE", "vaults/own-a/lock-policy"),
    ("POST", "vaults/own-a/lock-policy/l"),
    ("GET", "vaults/own-a/notification-configuration"),
    ("PUT", "vaults/own-a/notification-configuration"),
    ("DELETE", "vaults/own-a/notification-configuration"),
    ("GET", "vaults/own-a/tags"),
    ("POST", "vaults/own-a/tags?operation=add"),
    ("POST", "vaults/own-a/tags?operation=remove"),
    ("GET", "policies/data-retrieval"),
    ("PUT", "policies/data-retrieval"),
    ("GET", "provisioned-capacity"),
    ("POST", "provisioned-capacity"),
    ("DELETE", "vaults/own-a/multipart-uploads"),
    ("HEAD", "vaults"),
    ("POST", "vaults"),
    ("PATCH", "vaults/own-a"),
    ("DELETE", "vaults/own-a/multipart-uploads/u/"),
    ("DELETE", "vaults/own-a/multipart-uploads/u/parts"),
    ("BREW", "vaults/own-a"),
];

#[tokio::test]
async fn everything_else_of_glaciers_api_is_denied_by_name_and_never_forwarded() {
    let (gateway, key) = gateway();
    gateway.simulator.seed("own-a", &[]).await;
    for (method, path) in OTHERS {
        let request = Request::new(&gateway, method, &format!("/glacier/-/{path}"));
        let anonymous = request.send(&gateway).await;
        if method == "HEAD" {
            assert_eq!(anonymous.0, 403);
            assert_eq!(request.signed(&key).send(&gateway).await.0, 403);
            continue;
        }
        assert_eq!(code(&anonymous), (403, "MissingAuthenticationToken"), "{method} {path}");
        let refused = request.signed(&key).send(&gateway).await;
        assert_eq!(code(&refused), (403, "AccessDeniedException"), "{method} {path}");
        let message = refused.1["message"].as_str().unwrap();
        for name in [
            "AbortMultipartUpload",
            "ListMultipartUploads",
            "ListParts",
            "DescribeVault",
            "ListVaults",
        ] {
            assert!(message.contains(name), "{message}");
        }
    }
    assert!(gateway.simulator.requests().await.is_empty());
    gateway.process.event(|event| {
        event["outcome"] == "operation-not-offered" && event["access_key_id"] == key.id.as_str()
    });
}

/// SDKs send the hash of the empty body with every request.
#[tokio::test]
async fn the_hash_of_the_body_that_is_sent_may_be_announced() {
    let (gateway, key) = gateway();
    gateway.simulator.seed("own-a", &[]).await;
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let request = Request::new(&gateway, "GET", "/glacier/-/vaults/own-a");
    let reply = request.with("x-amz-content-sha256", empty).signed(&key).send(&gateway).await;
    assert_eq!(reply.0, 200, "{}", reply.1);
}

#[tokio::test]
async fn a_body_makes_a_request_another_operations_and_is_read_only_so_far() {
    let (gateway, key) = gateway();
    gateway.simulator.seed("own-a", &[]).await;
    let describe = || Request::new(&gateway, "GET", "/glacier/-/vaults/own-a");
    let small = describe().with_body("{}").signed(&key);
    assert_eq!(code(&small.send(&gateway).await), (403, "AccessDeniedException"));

    // Whoever tries something else with a body that can be read is known.
    let target = "/glacier/-/vaults/own-a/access-policy";
    let policy = Request::new(&gateway, "PUT", target).with_body(vec![b' '; 64 * 1024]);
    assert_eq!(code(&policy.signed(&key).send(&gateway).await), (403, "AccessDeniedException"));
    gateway.process.event(|event| event["method"] == "PUT" && event["access_key_id"] == *key.id);

    // 1 GiB is announced and only its beginning ever sent.
    let endless = Request::new(&gateway, "PUT", "/glacier/-/vaults/own-a/multipart-uploads/u")
        .with("content-length", "1073741824");
    let hash = "a".repeat(64);
    let announced =
        Request { body: Vec::new(), ..endless.clone() }.with("x-amz-content-sha256", &hash);
    for (request, expected) in [
        // Its hash cannot be known, so the caller stays unknown.
        (endless.signed(&key), (403, "AccessDeniedException")),
        // Signed with another hash than the one announced.
        (announced.signed(&key), (403, "SignatureDoesNotMatch")),
    ] {
        let request = Request { body: vec![0; 128 * 1024], ..request };
        assert_eq!(code(&request.send(&gateway).await), expected);
    }
    assert!(gateway.simulator.requests().await.is_empty());
}

#[tokio::test]
async fn a_signature_that_does_not_fit_the_request_is_refused_with_awss_code() {
    let (gateway, key) = gateway();
    let upload = &gateway.simulator.seed("own-a", &["x"]).await[0];
    let target = format!("/glacier/-/vaults/own-a/multipart-uploads/{upload}");
    let request = Request::new(&gateway, "DELETE", &target);
    let good = request.clone().signed(&key);
    let other_key = gateway.create_key(&["--team", "owner"]);
    let other_secret = AccessKey { secret: other_key.secret.clone(), ..key.clone() };
    let altered = |change: fn(&mut Request)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    let reworded = |from: &str, to: &str| {
        let mut request = good.clone();
        let (_, value) = request.headers.iter_mut().find(|(n, _)| n == "authorization").unwrap();
        assert!(value.contains(from));
        *value = value.replace(from, to);
        request
    };
    let ago = |minutes: u64| SystemTime::now() - Duration::from_secs(60 * minutes);
    let ahead = SystemTime::now() + Duration::from_secs(6 * 60);
    let presigned = format!("{target}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0");

    let attacks = [
        ("no credentials", request.clone(), (403, "MissingAuthenticationToken")),
        (
            "presigned URL",
            Request::new(&gateway, "DELETE", &presigned),
            (403, "MissingAuthenticationToken"),
        ),
        (
            "presigned and signed",
            Request::new(&gateway, "DELETE", &presigned).signed(&key),
            (403, "MissingAuthenticationToken"),
        ),
        (
            "another scheme",
            request.clone().with("authorization", "Basic b3duZXI6b3duZXI="),
            (400, "IncompleteSignature"),
        ),
        (
            "SigV4A",
            reworded("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
            (400, "IncompleteSignature"),
        ),
        (
            "another key's secret",
            request.clone().signed(&other_secret),
            (403, "SignatureDoesNotMatch"),
        ),
        ("another key's ID", reworded(&key.id, &other_key.id), (403, "SignatureDoesNotMatch")),
        (
            "AWS's own credentials",
            reworded(&key.id, "AKIAIOSFODNN7EXAMPLE"),
            (400, "UnrecognizedClientException"),
        ),
        (
            "a master key that is not there",
            reworded(&key.id, &format!("GGK1AJ{}", &key.id[6..])),
            (400, "UnrecognizedClientException"),
        ),
        (
            "for S3",
            request.clone().signed_as(&key, SystemTime::now(), "s3"),
            (403, "SignatureDoesNotMatch"),
        ),
        ("too old", request.clone().signed_as(&key, ago(6), "glacier"), (400, "RequestExpired")),
        ("too early", request.clone().signed_as(&key, ahead, "glacier"), (400, "RequestExpired")),
        (
            "another vault",
            altered(|r| r.target = r.target.replace("own-a", "own-b")),
            (403, "SignatureDoesNotMatch"),
        ),
        ("another method", altered(|r| r.method = "GET".into()), (403, "SignatureDoesNotMatch")),
        ("a query", altered(|r| r.target.push_str("?limit=1")), (403, "SignatureDoesNotMatch")),
        (
            "the name encoded differently",
            altered(|r| r.target = r.target.replace("own-a", "own%2Da")),
            (403, "SignatureDoesNotMatch"),
        ),
        (
            "another host",
            altered(|r| r.headers[0].1 = "glacier.eu-central-1.amazonaws.com".into()),
            (403, "SignatureDoesNotMatch"),
        ),
        ("two hosts", altered(|r| r.headers.push(("host".into(), "elsewhere".into()))), (400, "")),
        (
            "a header of AWS's that is not signed",
            altered(|r| r.headers.push(("x-amz-security-token".into(), "t".into()))),
            (403, "SignatureDoesNotMatch"),
        ),
        (
            "a header twice",
            altered(|r| r.headers.push(("x-amz-glacier-version".into(), "2012-06-01".into()))),
            (400, "IncompleteSignature"),
        ),
        (
            "two signatures",
            altered(|r| {
                let (_, value) = r.headers.iter().find(|(n, _)| n == "authorization").unwrap();
                r.headers.push(("authorization".into(), value.clone()));
            }),
            (400, "IncompleteSignature"),
        ),
        (
            "a signature and a token",
            altered(|r| r.headers.push(("authorization".into(), "Bearer x".into()))),
            (400, "IncompleteSignature"),
        ),
        (
            "unsigned payload",
            request.clone().with("x-amz-content-sha256", "UNSIGNED-PAYLOAD").signed(&key),
            (403, "SignatureDoesNotMatch"),
        ),
        (
            "a session token",
            request.clone().with("x-amz-security-token", "t").signed(&key),
            (400, "UnrecognizedClientException"),
        ),
        (
            "a body that was not signed",
            altered(|r| *r = r.clone().with_body("x")),
            (403, "SignatureDoesNotMatch"),
        ),
        ("no digits", reworded("Signature=", "Signature=zz"), (400, "IncompleteSignature")),
    ];
    for (attack, request, expected) in attacks {
        let reply = request.send(&gateway).await;
        if expected.1.is_empty() {
            assert_eq!(reply.0, expected.0, "{attack}");
        } else {
            assert_eq!(code(&reply), expected, "{attack}");
        }
    }
    assert!(gateway.simulator.requests().await.is_empty());
    assert_eq!(good.send(&gateway).await, (204, Value::Null));
    // AWS, too, accepts a request again within the tolerance.
    assert_eq!(good.send(&gateway).await, (204, Value::Null));
}

#[tokio::test]
async fn the_path_counts_as_received() {
    let (gateway, key) = gateway();
    for name in ["own-a", "own-..", "own-_.-", "own-A.B"] {
        let upload = &gateway.simulator.seed(name, &["x"]).await[0];
        let target = format!("/glacier/-/vaults/{name}/multipart-uploads/{upload}");
        let encoded = target.replace("own-", "%6Fwn%2D");
        for target in [target, encoded] {
            let request = Request::new(&gateway, "DELETE", &target).signed(&key);
            assert_eq!(request.send(&gateway).await.0, 204, "{target}");
        }
    }
    let forwarded = gateway.simulator.requests().await.len();
    for (target, expected) in [
        ("/glacier/-/vaults/own-a/../foreign", "AccessDeniedException"),
        ("/glacier/-/vaults/foreign/../own-a", "AccessDeniedException"),
        ("/glacier/-/vaults//own-a", "AccessDeniedException"),
        ("/glacier/./-/vaults/own-a", "AccessDeniedException"),
        ("/glacier/-/vaults/own-a/.", "AccessDeniedException"),
        ("/glacier/-/vaults/..", "InvalidParameterValueException"),
        ("/glacier/-/vaults/%2E%2E", "InvalidParameterValueException"),
        ("/glacier/-/vaults/own-a%2F..%2Fforeign", "InvalidParameterValueException"),
        ("/glacier/-/vaults/own-a%252e", "InvalidParameterValueException"),
        ("/glacier/-/vaults/own-a%00", "InvalidParameterValueException"),
        ("/glacier/-/vaults/own-a%FF", "AccessDeniedException"),
        ("/glacier/-/vaults/", "InvalidParameterValueException"),
        ("/glacier/%2D%2D/vaults/own-a", "InvalidParameterValueException"),
        ("/glacier/999999999999/vaults/own-a", "AccessDeniedException"),
        ("/%67lacier/-/vaults/own-a", "AccessDeniedException"),
        ("/glacier/-/vaults/own-a?limit=1", "InvalidParameterValueException"),
        ("/glacier/-/vaults?limit=0", "InvalidParameterValueException"),
        ("/glacier/-/vaults?limit=5&limit=6", "InvalidParameterValueException"),
        ("/glacier/-/vaults?region=us-east-1", "InvalidParameterValueException"),
        ("/glacier/-/vaults?marker=%0A", "InvalidParameterValueException"),
    ] {
        let reply = Request::new(&gateway, "GET", target).signed(&key).send(&gateway).await;
        assert_eq!(code(&reply).1, expected, "{target}");
    }
    assert_eq!(gateway.simulator.requests().await.len(), forwarded);
}

#[tokio::test]
async fn the_version_of_the_api_is_required() {
    let (gateway, key) = gateway();
    let mut request = Request::new(&gateway, "GET", "/glacier/-/vaults");
    request.headers[1].1 = "2026-01-01".to_owned();
    let wrong = request.clone().signed(&key).send(&gateway).await;
    assert_eq!(code(&wrong), (400, "InvalidParameterValueException"));
    request.headers.pop();
    let missing = request.signed(&key).send(&gateway).await;
    assert_eq!(code(&missing), (400, "MissingParameterValueException"));
}

#[tokio::test]
async fn two_authorization_headers_prove_nobody_at_either_door() {
    let (gateway, key) = gateway();
    let signed = Request::new(&gateway, "GET", "/glacier/-/vaults").signed(&key);
    let signature = signed.headers.iter().find(|(name, _)| name == "authorization").unwrap();
    let bearer = format!("Bearer {}", gateway.key.token("owner"));
    let (signature, bearer) = (signature.1.as_str(), bearer.as_str());
    let nonsense = "Bearer x.y.z";
    // Whichever of them were taken, one of them is good.
    for [first, second] in [
        [bearer, bearer],
        [bearer, nonsense],
        [nonsense, bearer],
        [bearer, signature],
        [signature, bearer],
        [signature, signature],
        [bearer, "Basic dXNlcjpwYXNzd29yZA=="],
        ["Basic dXNlcjpwYXNzd29yZA==", bearer],
        ["", bearer],
    ] {
        let url = format!("{}/v1/accounts/-/vaults", gateway.rest);
        let rest = client().get(url).header("authorization", first);
        let rest = rest.header("authorization", second).send().await.unwrap();
        let (status, body) = crate::support::problem(rest).await;
        assert_eq!((status, &body["code"]), (401, &json!("token-invalid")), "{first}, {second}");

        let mut request = signed.clone();
        request.headers.retain(|(name, _)| name != "authorization");
        let request = request.with("authorization", first).with("authorization", second);
        let refused = request.send(&gateway).await;
        let expected = match first.starts_with("Bearer") {
            true => "UnrecognizedClientException",
            false => "IncompleteSignature",
        };
        assert_eq!(code(&refused), (400, expected), "{first}, {second}");
    }
    assert!(gateway.simulator.requests().await.is_empty());
}

#[tokio::test]
async fn a_bearer_token_opens_the_door_too() {
    let (gateway, _) = gateway();
    let upload = &gateway.simulator.seed("own-a", &["x"]).await[0];
    let url = format!("{}/glacier/-/vaults/own-a/multipart-uploads/{upload}", gateway.rest);
    let abort = async |token: &str| {
        let request = client().request(Method::DELETE, &url).bearer_auth(token);
        let reply = request.header("x-amz-glacier-version", "2012-06-01").send().await.unwrap();
        let status = reply.status().as_u16();
        (status, serde_json::from_str(&reply.text().await.unwrap()).unwrap_or_default())
    };
    let mut expired = crate::support::claims("owner");
    expired["exp"] = json!(1);
    let expired = gateway.key.sign(&expired);
    assert_eq!(code(&abort(&expired).await), (403, "ExpiredTokenException"));
    assert_eq!(code(&abort("x.y.z").await), (400, "UnrecognizedClientException"));
    let stranger = gateway.key.token("stranger");
    assert_eq!(code(&abort(&stranger).await), (403, "AccessDeniedException"));
    assert!(gateway.simulator.requests().await.is_empty());
    assert_eq!(abort(&gateway.key.token("owner")).await, (204, Value::Null));
}

#[tokio::test]
async fn glaciers_errors_come_through_as_glaciers_and_the_gateways_own_as_unavailability() {
    let (gateway, key) = gateway();
    let upload = &gateway.simulator.seed("own-a", &["x"]).await[0];
    let glacier = sdk(&gateway, &key);
    let error = |status: u16, code: &str| json!({"error": {"status": status, "code": code, "message": "m"}});
    for (effect, status, code) in [
        (error(404, "ResourceNotFoundException"), 404, "ResourceNotFoundException"),
        (error(400, "InvalidParameterValueException"), 400, "InvalidParameterValueException"),
        (error(400, "MissingParameterValueException"), 400, "MissingParameterValueException"),
        (error(400, "NoLongerSupportedException"), 400, "NoLongerSupportedException"),
        (json!("throttle"), 400, "ThrottlingException"),
        (json!("unavailable"), 500, "ServiceUnavailableException"),
        (error(403, "AccessDeniedException"), 500, "ServiceUnavailableException"),
        (error(403, "ExpiredTokenException"), 500, "ServiceUnavailableException"),
        (error(403, "InvalidSignatureException"), 500, "ServiceUnavailableException"),
        (json!("hang"), 500, "ServiceUnavailableException"),
        (json!("reset"), 500, "ServiceUnavailableException"),
        (json!({"notJson": {"status": 404}}), 500, "ServiceUnavailableException"),
    ] {
        gateway.simulator.fault(json!({"effect": effect})).await;
        let abort = glacier.abort_multipart_upload().account_id("-").vault_name("own-a");
        let raised = abort.upload_id(upload).send().await.unwrap_err();
        assert_eq!(raised.code(), Some(code), "{effect}: {raised:?}");
        assert_eq!(raised.raw_response().unwrap().status().as_u16(), status, "{effect}");
        assert!(raised.request_id().is_some());
        gateway.simulator.order(Method::DELETE, "/faults", &Value::Null).await;
    }
}
