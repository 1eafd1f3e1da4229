//! Issuers that are alive: keys come and go, the issuer goes down and lies.

use std::{
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::support::{Gateway, Key, claims, client, now, problem};

const VAULTS: &str = "/v1/accounts/-/vaults";
/// Between readings that unknown keys cause.
const COOL_DOWN: Duration = Duration::from_secs(5);

/// What an issuer answers when asked for its keys.
#[derive(Clone)]
enum Answer {
    /// This reply, to the letter.
    Raw(String),
    /// Its keys, and 304 to who has them already.
    Keys(Vec<Value>),
    /// The head of a reply, and then nothing for ever.
    Stall,
    /// Bytes without end.
    Flood,
}

/// An OpenID provider as far as a verifier sees it.
struct Issuer {
    url: String,
    address: std::net::SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

struct State {
    answer: Answer,
    discovery: Value,
    /// Paths that were asked for.
    asked: Vec<String>,
    not_modified: usize,
    /// `Authorization` headers that it was sent.
    credentials: Vec<String>,
}

impl Issuer {
    async fn start(keys: &[&Key]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("http://{address}");
        let state = State {
            answer: Answer::Keys(keys.iter().map(|key| key.public.clone()).collect()),
            discovery: json!({"issuer": url, "jwks_uri": format!("{url}/jwks")}),
            asked: Vec::new(),
            not_modified: 0,
            credentials: Vec::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let task = tokio::spawn(serve(listener, state.clone()));
        Self { url, address, state, task }
    }

    fn answer(&self, answer: Answer) {
        self.state.lock().unwrap().answer = answer;
    }

    fn publish(&self, keys: &[&Key]) {
        self.answer(Answer::Keys(keys.iter().map(|key| key.public.clone()).collect()));
    }

    /// How often it was asked for its keys.
    fn readings(&self) -> usize {
        self.state.lock().unwrap().asked.iter().filter(|path| *path == "/jwks").count()
    }

    fn stop(&mut self) {
        self.task.abort();
    }

    async fn come_back(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.task = tokio::spawn(serve(listener, self.state.clone()));
    }

    /// A token of the `owner` team.
    fn token(&self, key: &Key) -> String {
        let mut claims = claims("owner");
        claims["iss"] = json!(self.url);
        key.sign(&claims)
    }

    /// A gateway that trusts it.
    fn gateway(&self, more: &str) -> Gateway {
        let issuer = format!(
            "[issuers.live]\nissuer = \"{}\"\naudiences = [\"glacier-gateway\"]\n{more}",
            self.url
        );
        Gateway::with(&issuer, &[])
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut served = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        served.spawn(reply(stream, state.clone()));
    }
}

async fn reply(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.split(' ').nth(1).unwrap().to_owned();
    let ok = |body: &Value, headers: &str| {
        let body = body.to_string();
        format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
    };
    let (answer, discovery) = {
        let mut state = state.lock().unwrap();
        state.asked.push(path.clone());
        let credential = request.lines().find_map(|line| line.strip_prefix("authorization: "));
        state.credentials.extend(credential.map(str::to_owned));
        (state.answer.clone(), state.discovery.clone())
    };
    let text = match answer {
        _ if path == "/.well-known/openid-configuration" => ok(&discovery, ""),
        Answer::Raw(text) => text,
        Answer::Keys(keys) => {
            let set = json!({"keys": keys});
            let tag = format!("\"{:x}\"", hash(&set.to_string()));
            if request.contains(&format!("if-none-match: {tag}")) {
                state.lock().unwrap().not_modified += 1;
                "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned()
            } else {
                ok(&set, &format!("etag: {tag}\r\n"))
            }
        }
        Answer::Stall => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{").await;
            std::future::pending().await
        }
        Answer::Flood => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"keys\":[").await;
            while stream.write_all(&[b' '; 65536]).await.is_ok() {}
            return;
        }
    };
    let _ = stream.write_all(text.as_bytes()).await;
}

fn hash(text: &str) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

async fn outcome(gateway: &Gateway, token: &str) -> (u16, String) {
    // Making a client takes a while; connections end with their test's runtime.
    static CLIENT: OnceLock<Client> = OnceLock::new();
    let client =
        CLIENT.get_or_init(|| Client::builder().pool_max_idle_per_host(0).build().unwrap());
    let url = format!("{}{VAULTS}", gateway.rest);
    let reply = client.get(url).bearer_auth(token).send().await.unwrap();
    if reply.status() == 200 {
        return (200, String::new());
    }
    let (status, body) = problem(reply).await;
    (status, body["code"].as_str().unwrap().to_owned())
}

/// Waits until `token` has this outcome.
async fn until(gateway: &Gateway, token: &str, status: u16, code: &str) {
    let deadline = now() + 30;
    loop {
        let last = outcome(gateway, token).await;
        if last == (status, code.to_owned()) {
            return;
        }
        assert!(now() < deadline, "still {last:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_discovered_and_read_once_for_many_tokens() {
    let key = Key::es256("1");
    let issuer = Issuer::start(&[&key]).await;
    let gateway = issuer.gateway("");
    for _ in 0..20 {
        assert_eq!(outcome(&gateway, &issuer.token(&key)).await.0, 200);
    }
    assert_eq!(issuer.readings(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_rotate_without_a_wrong_refusal() {
    let mut keys = vec![Key::es256("0")];
    let issuer = Issuer::start(&[&keys[0]]).await;
    let gateway = issuer.gateway("");
    for name in ["1", "2"] {
        keys.push(Key::es256(name));
        let published: Vec<&Key> = keys[keys.len() - 2..].iter().collect();
        issuer.publish(&published);
        // The new key's first tokens come all at once, among the old one's.
        let tokens: Vec<_> =
            (0..20).map(|n| issuer.token(published[if n % 4 == 0 { 0 } else { 1 }])).collect();
        let calls = tokens.iter().map(|token| outcome(&gateway, token));
        for (status, code) in futures_util::future::join_all(calls).await {
            assert_eq!(status, 200, "{code}");
        }
    }
    assert!(issuer.readings() <= 4, "{} readings", issuer.readings());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_replaced_under_its_name_is_found_within_seconds() {
    let (key, replacement) = (Key::es256("1"), Key::es256("1"));
    let issuer = Issuer::start(&[&key]).await;
    let gateway = issuer.gateway("");
    assert_eq!(outcome(&gateway, &issuer.token(&key)).await.0, 200);
    issuer.publish(&[&replacement]);
    until(&gateway, &issuer.token(&replacement), 200, "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawn_key_is_refused_even_for_tokens_seen_before() {
    let (kept, withdrawn) = (Key::es256("kept"), Key::es256("withdrawn"));
    let issuer = Issuer::start(&[&kept, &withdrawn]).await;
    let gateway = issuer.gateway("keys_refresh = \"1s\"");
    let (good, bad) = (issuer.token(&kept), issuer.token(&withdrawn));
    assert_eq!(outcome(&gateway, &good).await.0, 200);
    assert_eq!(outcome(&gateway, &bad).await.0, 200);
    issuer.publish(&[&kept]);
    until(&gateway, &bad, 401, "token-invalid").await;
    assert_eq!(outcome(&gateway, &good).await.0, 200);
    // Another key under the same name is another key.
    let impostor = Key::es256("kept");
    issuer.publish(&[&impostor]);
    until(&gateway, &good, 401, "token-invalid").await;
    assert_eq!(outcome(&gateway, &issuer.token(&impostor)).await.0, 200);
    // An issuer that publishes no key vouches for nobody.
    issuer.publish(&[]);
    until(&gateway, &issuer.token(&impostor), 401, "token-invalid").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_unknown_keys_causes_one_reading_in_a_cool_down() {
    let key = Key::es256("1");
    let issuer = Issuer::start(&[&key]).await;
    let gateway = issuer.gateway("");
    let begun = std::time::Instant::now();
    let flood: Vec<String> =
        (0..400).map(|n| issuer.token(&Key::es256(&format!("unknown-{n}")))).collect();
    let refused = async {
        let calls = flood.iter().map(|token| outcome(&gateway, token));
        futures_util::future::join_all(calls).await
    };
    let served = async {
        for _ in 0..50 {
            assert_eq!(outcome(&gateway, &issuer.token(&key)).await.0, 200);
        }
    };
    let (refused, ()) = tokio::join!(refused, served);
    // Some waited for the reading, and the crowd was sent away.
    let sent_away = refused.iter().filter(|(status, _)| *status == 503).count();
    assert!(refused.iter().all(|(status, _)| matches!(status, 401 | 503)));
    assert!(sent_away <= 400 - 256, "{sent_away} sent away");
    let cool_downs = begun.elapsed().as_secs() / COOL_DOWN.as_secs() + 1;
    assert!(issuer.readings() as u64 <= 1 + cool_downs, "{} readings", issuer.readings());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_keys_serve_while_the_issuer_is_down_up_to_the_limit() {
    let key = Key::es256("1");
    let mut issuer = Issuer::start(&[&key]).await;
    let gateway = issuer.gateway("keys_refresh = \"1s\"\nkeys_max_stale = \"3s\"");
    let token = issuer.token(&key);
    assert_eq!(outcome(&gateway, &token).await.0, 200);
    issuer.stop();
    let warned =
        |event: &Value| event["message"].as_str().is_some_and(|m| m.contains("cannot read"));
    gateway.process.event(warned);
    assert_eq!(outcome(&gateway, &token).await.0, 200);
    assert_eq!(outcome(&gateway, &issuer.token(&key)).await.0, 200);
    // Whether the issuer knows this key cannot be told now.
    let unknown = issuer.token(&Key::es256("unknown"));
    assert_eq!(outcome(&gateway, &unknown).await, (503, "issuer-unavailable".into()));
    until(&gateway, &token, 503, "issuer-unavailable").await;
    // Other issuers' callers go on, and the gateway stays ready for them.
    assert_eq!(gateway.call("owner", Method::GET, VAULTS).await.status(), 200);
    let ready = client().get(format!("{}/readyz", gateway.management)).send().await.unwrap();
    assert_eq!(ready.status(), 200);
    issuer.come_back().await;
    until(&gateway, &token, 200, "").await;
    assert_eq!(outcome(&gateway, &unknown).await, (401, "token-invalid".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lies_of_the_issuer_change_nothing() {
    let (key, new) = (Key::es256("1"), Key::es256("2"));
    let issuer = Issuer::start(&[&key]).await;
    let elsewhere = Issuer::start(&[&new]).await;
    let gateway = issuer.gateway("keys_refresh = \"1s\"");
    let token = issuer.token(&key);
    assert_eq!(outcome(&gateway, &token).await.0, 200);
    let body =
        |body: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let redirect = format!(
        "HTTP/1.1 302 Found\r\nlocation: {}/jwks\r\ncontent-length: 0\r\n\r\n",
        elsewhere.url
    );
    let recursive = format!("{{\"keys\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let long = json!({"keys": [new.public]}).to_string() + &" ".repeat(512 * 1024);
    for (lie, answer) in [
        ("a redirect", Answer::Raw(redirect)),
        ("a page", Answer::Raw(body("<html>maintenance</html>"))),
        ("an empty page", Answer::Raw(body(""))),
        ("not a set", Answer::Raw(body("{\"keys\":{}}"))),
        ("depth", Answer::Raw(body(&recursive))),
        ("a good set, but too long", Answer::Raw(body(&long))),
        ("an error", Answer::Raw("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".into())),
        ("half an answer", Answer::Raw("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"k".into())),
        ("nonsense", Answer::Raw("220 smtp.example.com ESMTP\r\n".into())),
        ("silence", Answer::Stall),
        ("a flood", Answer::Flood),
    ] {
        let before = issuer.readings();
        issuer.answer(answer);
        // A key that only the truth could bring.
        until(&gateway, &issuer.token(&new), 503, "issuer-unavailable").await;
        assert!(issuer.readings() > before, "{lie} was never read");
        assert_eq!(outcome(&gateway, &token).await.0, 200, "{lie}");
        assert_eq!(outcome(&gateway, &issuer.token(&key)).await.0, 200, "{lie}");
        issuer.publish(&[&key]);
        until(&gateway, &issuer.token(&new), 401, "token-invalid").await;
    }
    assert_eq!(elsewhere.readings(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unchanged_set_is_not_sent_again() {
    let key = Key::es256("1");
    let issuer = Issuer::start(&[&key]).await;
    let gateway = issuer.gateway("keys_refresh = \"1s\"");
    let deadline = now() + 30;
    while issuer.state.lock().unwrap().not_modified < 2 {
        assert!(now() < deadline, "never asked whether it changed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(outcome(&gateway, &issuer.token(&key)).await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_discovery_document_is_believed_about_its_own_issuer_only() {
    let key = Key::es256("1");
    let issuer = Issuer::start(&[&key]).await;
    let elsewhere = Issuer::start(&[&key]).await;
    for discovery in [
        json!({"issuer": "https://other.example", "jwks_uri": format!("{}/jwks", issuer.url)}),
        json!({"issuer": format!("{}/", issuer.url), "jwks_uri": format!("{}/jwks", issuer.url)}),
        json!({"issuer": issuer.url, "jwks_uri": "http://169.254.169.254/latest/meta-data"}),
        json!({"issuer": issuer.url, "jwks_uri": "file:///etc/passwd"}),
        json!({"issuer": issuer.url, "jwks_uri": "/jwks"}),
        json!({"issuer": issuer.url}),
        json!({}),
        json!([]),
    ] {
        issuer.state.lock().unwrap().discovery = discovery.clone();
        let gateway = issuer.gateway("");
        let outcome = outcome(&gateway, &issuer.token(&key)).await;
        assert_eq!(outcome, (503, "issuer-unavailable".into()), "{discovery}");
    }
    assert_eq!(issuer.readings() + elsewhere.readings(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_server_that_wants_a_credential_gets_it_and_no_other_does() {
    let key = Key::es256("1");
    let issuer = Issuer::start(&[&key]).await;
    let elsewhere = Issuer::start(&[&key]).await;
    issuer.state.lock().unwrap().discovery["jwks_uri"] = json!(format!("{}/jwks", elsewhere.url));
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "our-own-token\n").unwrap();
    let gateway = issuer.gateway(&format!("bearer_token_file = {:?}", secret.path()));
    assert_eq!(outcome(&gateway, &issuer.token(&key)).await.0, 200);
    let heard = |issuer: &Issuer| issuer.state.lock().unwrap().credentials.clone();
    assert_eq!(heard(&issuer), ["Bearer our-own-token"]);
    assert_eq!(heard(&elsewhere), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chatty_caller_pays_for_one_check_until_its_token_ends() {
    let key = Key::es256("1");
    let issuer = Issuer::start(&[&key]).await;
    let gateway = issuer.gateway("leeway = \"0s\"");
    let gateway =
        gateway.with_environment(&[("GATEWAY__LOG__FILTER", "info,glacier_gateway::authn=debug")]);
    let mut brief = claims("owner");
    brief["iss"] = json!(issuer.url);
    brief["exp"] = json!(now() + 5);
    let brief = key.sign(&brief);
    for _ in 0..30 {
        assert_eq!(outcome(&gateway, &brief).await.0, 200);
    }
    let checks = gateway.process.all_lines();
    let checks = checks.iter().filter(|line| line.contains("verified a token")).count();
    assert_eq!(checks, 1);
    until(&gateway, &brief, 401, "token-expired").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_tokens_and_subjects_are_refused_as_soon_as_the_file_says_so() {
    let gateway = Gateway::start();
    let path = gateway.directory.path().join("revocations.json");
    std::fs::write(&path, "{}").unwrap();
    let gateway =
        gateway.with_environment(&[("GATEWAY__TOKENS__REVOCATION_FILE", path.to_str().unwrap())]);
    let token = |subject: &str, id: &str| {
        let mut claims = claims("owner");
        claims["sub"] = json!(subject);
        claims["jti"] = json!(id);
        gateway.key.sign(&claims)
    };
    let (stolen, fresh, other) = (token("alice", "1"), token("alice", "2"), token("bob", "3"));
    for token in [&stolen, &fresh, &other] {
        assert_eq!(outcome(&gateway, token).await.0, 200);
    }
    let revoke = |list: Value| std::fs::write(&path, list.to_string()).unwrap();
    revoke(json!({"tokens": [{"issuer": "test", "jti": "1"}]}));
    until(&gateway, &stolen, 401, "token-revoked").await;
    assert_eq!(outcome(&gateway, &fresh).await.0, 200);
    revoke(json!({"subjects": [{"issuer": "test", "subject": "alice"}]}));
    until(&gateway, &fresh, 401, "token-revoked").await;
    assert_eq!(outcome(&gateway, &token("alice", "4")).await, (401, "token-revoked".into()));
    assert_eq!(outcome(&gateway, &other).await.0, 200);
    // A list that cannot be used leaves the old one in force.
    std::fs::write(&path, "{\"subjects\":").unwrap();
    let errors = |count| {
        let refused =
            |line: &&String| line.contains("tokens.revocation_file") && line.contains("ERROR");
        gateway.process.wait_until(|lines| lines.iter().filter(refused).count() == count);
    };
    errors(1);
    assert_eq!(outcome(&gateway, &fresh).await, (401, "token-revoked".into()));
    // So does one that is gone.
    std::fs::remove_file(&path).unwrap();
    errors(2);
    assert_eq!(outcome(&gateway, &fresh).await, (401, "token-revoked".into()));
    revoke(json!({}));
    until(&gateway, &fresh, 200, "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kubernetes_workload_is_known_by_its_service_account() {
    let key = Key::rs256("cluster");
    let cluster = Issuer::start(&[&key]).await;
    let token_of_gateway = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token_of_gateway.path(), "gateways-own").unwrap();
    let gateway = Gateway::with(
        &format!(
            r#"
            [issuers.cluster]
            issuer = "https://kubernetes.default.svc.cluster.local"
            audiences = ["glacier-gateway"]
            jwks_url = "{}/jwks"
            bearer_token_file = {:?}
            typ = ["JWT"]
            tags = {{ namespace = "/kubernetes.io/namespace" }}
            [issuers.cluster.subject_teams]
            "system:serviceaccount:own:*" = ["owner"]
            "#,
            cluster.url,
            token_of_gateway.path(),
        ),
        &[],
    );
    // As `kubectl create token` makes them: no "typ", the audience a list.
    let token = |namespace: &str, name: &str, audience: &str| {
        let claims = json!({
            "aud": [audience], "exp": now() + 3600, "iat": now(), "nbf": now(),
            "iss": "https://kubernetes.default.svc.cluster.local",
            "jti": "b6e0a1ce-8a0e-4f0a-9f0e-0c1f7f4f6a11",
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": {"name": name, "uid": "4d1e6e0e-53c5-4d4b-8a8e-7d3f2f0b7f11"},
            },
            "sub": format!("system:serviceaccount:{namespace}:{name}"),
        });
        let mut header = jsonwebtoken::Header::new(key.algorithm);
        header.typ = None;
        header.kid = Some(key.id.clone());
        jsonwebtoken::encode(&header, &claims, &key.encoding).unwrap()
    };
    let audience = "glacier-gateway";
    assert_eq!(outcome(&gateway, &token("own", "encoder", audience)).await.0, 200);
    let stranger = outcome(&gateway, &token("other", "encoder", audience)).await;
    assert_eq!(stranger, (401, "token-without-team".into()));
    // The pod's default token is for the API server.
    let default = token("own", "encoder", "https://kubernetes.default.svc.cluster.local");
    assert_eq!(outcome(&gateway, &default).await, (401, "token-invalid".into()));
    assert_eq!(cluster.state.lock().unwrap().credentials, ["Bearer gateways-own"]);
}
