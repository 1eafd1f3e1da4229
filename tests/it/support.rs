//! What the tests share: processes of the real binary, and tokens for them.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc, Condvar, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use aws_lc_rs::{
    encoding::AsDer,
    rsa,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use reqwest::{Method, Response};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub const BINARY: &str = env!("CARGO_BIN_EXE_glacier-gateway");
pub const ACCOUNT: &str = "111122223333";
pub const REGION: &str = "eu-central-1";
pub const ISSUER: &str = "https://login.example.com";
pub const AUDIENCE: &str = "glacier-gateway";

/// A child that ends with its test, whose lines of one stream are kept.
pub struct Process {
    pub child: Child,
    lines: Arc<(Mutex<Lines>, Condvar)>,
}

#[derive(Default)]
struct Lines {
    all: Vec<String>,
    ended: bool,
}

impl Process {
    /// Starts `command`; `stream` picks the stream that is read.
    fn start(command: &mut Command, read_stderr: bool) -> Self {
        command.stdin(Stdio::null());
        if read_stderr {
            command.stdout(Stdio::null()).stderr(Stdio::piped());
        } else {
            command.stdout(Stdio::piped()).stderr(Stdio::null());
        }
        let mut child = command.spawn().unwrap();
        let lines = Arc::new((Mutex::new(Lines::default()), Condvar::new()));
        let stream: Box<dyn std::io::Read + Send> = if read_stderr {
            Box::new(child.stderr.take().unwrap())
        } else {
            Box::new(child.stdout.take().unwrap())
        };
        let shared = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                shared.0.lock().unwrap().all.push(line);
                shared.1.notify_all();
            }
            shared.0.lock().unwrap().ended = true;
            shared.1.notify_all();
        });
        Self { child, lines }
    }

    /// The first line that `wanted` makes something of, waiting for it.
    pub fn line<T>(&self, wanted: impl Fn(&str) -> Option<T>) -> T {
        let (lines, changed) = &*self.lines;
        let mut lines = lines.lock().unwrap();
        loop {
            if let Some(found) = lines.all.iter().find_map(|line| wanted(line)) {
                return found;
            }
            assert!(!lines.ended, "the process ended without the line:\n{}", lines.all.join("\n"));
            let (guard, timeout) = changed.wait_timeout(lines, Duration::from_secs(30)).unwrap();
            lines = guard;
            assert!(!timeout.timed_out(), "no such line:\n{}", lines.all.join("\n"));
        }
    }

    /// The first JSON line for which `wanted` holds.
    pub fn event(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.line(|line| serde_json::from_str(line).ok().filter(|event| wanted(event)))
    }

    /// Waits until `enough` holds for the lines so far.
    pub fn wait_until(&self, enough: impl Fn(&[String]) -> bool) {
        let (lines, changed) = &*self.lines;
        let lines = lines.lock().unwrap();
        let (lines, timeout) = changed
            .wait_timeout_while(lines, Duration::from_secs(30), |lines| !enough(&lines.all))
            .unwrap();
        assert!(!timeout.timed_out(), "never came true:\n{}", lines.all.join("\n"));
    }

    pub fn all_lines(&self) -> Vec<String> {
        self.lines.0.lock().unwrap().all.clone()
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An HTTP client that neither follows redirects nor keeps connections.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

/// `glacier-gateway simulator`.
pub struct Simulator {
    /// The fault suite stops it.
    #[allow(dead_code)]
    pub process: Process,
    pub endpoint: String,
    pub control: String,
}

impl Simulator {
    pub fn start(options: &[&str]) -> Self {
        let mut command = Command::new(BINARY);
        command.arg("simulator").args(options);
        let process = Process::start(&mut command, false);
        let facts = process.event(|facts| facts["endpoint"].is_string());
        let text = |name: &str| facts[name].as_str().unwrap().to_owned();
        Self { endpoint: text("endpoint"), control: text("control"), process }
    }

    pub async fn order(&self, method: Method, path: &str, body: &Value) -> Response {
        let url = format!("{}{path}", self.control);
        let response = client().request(method, url).json(body).send().await.unwrap();
        assert!(response.status().is_success(), "{path}: {response:?}");
        response
    }

    /// Creates a vault with one upload for each description; returns their IDs.
    pub async fn seed(&self, vault: &str, descriptions: &[&str]) -> Vec<String> {
        let uploads: Vec<Value> = descriptions
            .iter()
            .map(|d| json!({"archiveDescription": d, "partSizeInBytes": 1 << 20, "parts": 2, "ageSeconds": 60}))
            .collect();
        let seed =
            json!({"accountId": ACCOUNT, "region": REGION, "vaultName": vault, "uploads": uploads});
        let reply: Value = self.order(Method::POST, "/vaults", &seed).await.json().await.unwrap();
        let ids = reply["uploadIds"].as_array().unwrap();
        ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect()
    }

    pub async fn fault(&self, fault: Value) {
        self.order(Method::POST, "/faults", &fault).await;
    }

    /// The upload's status, or `None` once Glacier has forgotten it.
    pub async fn status(&self, vault: &str, upload: &str) -> Option<String> {
        let state: Value =
            self.order(Method::GET, "/state", &Value::Null).await.json().await.unwrap();
        let vaults = state["vaults"].as_array().unwrap();
        let vault = vaults.iter().find(|v| v["vaultName"] == vault)?;
        let uploads = vault["uploads"].as_array().unwrap();
        let upload = uploads.iter().find(|u| u["MultipartUploadId"] == upload)?;
        Some(upload["status"].as_str().unwrap().to_owned())
    }

    /// Every request that reached Glacier.
    pub async fn requests(&self) -> Vec<Value> {
        self.order(Method::GET, "/requests", &Value::Null).await.json().await.unwrap()
    }
}

/// A signing key of an issuer and its public half.
pub struct Key {
    pub encoding: EncodingKey,
    pub public: Value,
    pub algorithm: Algorithm,
    pub id: String,
}

impl Key {
    fn new(encoding: EncodingKey, algorithm: Algorithm, id: &str) -> Self {
        let public = Jwk::from_encoding_key(&encoding, algorithm).unwrap();
        Self::published(encoding, serde_json::to_value(public).unwrap(), algorithm, id)
    }

    fn published(encoding: EncodingKey, mut public: Value, algorithm: Algorithm, id: &str) -> Self {
        public["kid"] = json!(id);
        public["use"] = json!("sig");
        Self { encoding, public, algorithm, id: id.to_owned() }
    }

    pub fn es256(id: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let document = pair.to_pkcs8v1().unwrap();
        Self::new(EncodingKey::from_ec_der(document.as_ref()), Algorithm::ES256, id)
    }

    pub fn rs256(id: &str) -> Self {
        // Making an RSA key takes a while in a debug build: once is enough.
        static DOCUMENT: OnceLock<Vec<u8>> = OnceLock::new();
        let document = DOCUMENT.get_or_init(|| {
            let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
            let pkcs8: aws_lc_rs::encoding::Pkcs8V1Der = pair.as_der().unwrap();
            // PKCS #8 wraps PKCS #1, which the JWT library wants: version,
            // algorithm identifier, then an octet string to the end.
            let der = pkcs8.as_ref();
            der[26..].to_vec()
        });
        Self::new(EncodingKey::from_rsa_der(document), Algorithm::RS256, id)
    }

    pub fn eddsa(id: &str) -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let document = pair.to_pkcs8v1().unwrap();
        let x = BASE64_URL_SAFE_NO_PAD.encode(pair.public_key());
        let public = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
        Self::published(EncodingKey::from_ed_der(document.as_ref()), public, Algorithm::EdDSA, id)
    }

    pub fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.id.clone());
        encode(&header, claims, &self.encoding).unwrap()
    }

    pub fn token(&self, team: &str) -> String {
        self.sign(&claims(team))
    }
}

pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// Claims that the test gateway accepts.
pub fn claims(team: &str) -> Value {
    json!({
        "iss": ISSUER, "sub": format!("{team}-service"), "aud": AUDIENCE,
        "iat": now(), "exp": now() + 600, "team": team,
    })
}

/// `glacier-gateway serve` with its own simulator, keys and policies: team
/// `owner` may do everything in vaults `own-*`, team `stranger` nothing at all.
pub struct Gateway {
    pub process: Process,
    pub simulator: Simulator,
    pub key: Key,
    pub rest: String,
    pub management: String,
    pub directory: TempDir,
}

pub const OWNER_POLICY: &str = r#"{
    "Version": "2012-10-17",
    "Statement": [
        {"Sid": "Own", "Effect": "Allow", "Action": "glacier:*",
         "Resource": "arn:aws:glacier:eu-central-1:111122223333:vaults/own-*"},
        {"Sid": "Find", "Effect": "Allow", "Action": "glacier:ListVaults", "Resource": "*"}
    ]
}"#;

/// A file beside a store whose records are a test's own, not a gateway's.
pub const MADE_UP: &str = "made-up";

/// Leaves the trail, if there is one, to `tests/clients/test_audit_record.py`.
impl Drop for Gateway {
    fn drop(&mut self) {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let store = self.directory.path().join("store.db");
        if store.with_file_name(MADE_UP).exists() {
            return;
        }
        let Ok(store) = Connection::open_with_flags(store, OpenFlags::SQLITE_OPEN_READ_WRITE)
        else {
            return;
        };
        let Ok(mut rows) = store.prepare("SELECT entry FROM audit_entry") else { return };
        let entries = rows.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
        let mut lines = entries.map_while(Result::ok).collect::<Vec<_>>().join(&b'\n');
        lines.push(b'\n');
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("audit-records");
        let number = NUMBER.fetch_add(1, Relaxed);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{}-{number}.jsonl", std::process::id())), lines)
            .unwrap();
    }
}

impl Gateway {
    pub fn start() -> Self {
        Self::with("", &[])
    }

    /// A gateway that knows gateway keys, with further `settings` of `[keys]`.
    pub fn with_master_keys(numbers: &[u8], settings: &str) -> Self {
        Self::with(&format!("[keys]\n{settings}\n{}", master_key_files(numbers)), &[])
    }

    /// The same gateway, started anew with these master keys.
    pub fn set_master_keys(self, numbers: &[u8]) -> Self {
        let file = self.directory.path().join("gateway.toml");
        let config = std::fs::read_to_string(&file).unwrap();
        let (rest, _) = config.split_once("[keys.master_key_files]").unwrap();
        let directory = self.directory.path().display().to_string();
        let files = master_key_files(numbers).replace("DIRECTORY", &directory);
        std::fs::write(&file, format!("{rest}{files}")).unwrap();
        self.restarted()
    }

    /// Runs another subcommand, with this gateway's configuration if wanted.
    pub fn command(&self, arguments: &[&str], with_config: bool) -> Output {
        let mut command = Command::new(BINARY);
        command.args(arguments);
        if with_config {
            command.arg("--config").arg(self.directory.path().join("gateway.toml"));
        }
        command.output().unwrap()
    }

    /// Makes a gateway key on the command line.
    pub fn create_key(&self, options: &[&str]) -> AccessKey {
        let output = self.command(&[&["key", "create", "--json"], options].concat(), true);
        assert!(output.status.success(), "{output:?}");
        let credentials: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(credentials["Version"], 1);
        let text = |name: &str| credentials[name].as_str().unwrap().to_owned();
        AccessKey { id: text("AccessKeyId"), secret: text("SecretAccessKey") }
    }

    /// `extra` is appended to the configuration, in which DIRECTORY stands for the
    /// gateway's own folder.
    pub fn with(extra: &str, simulator_options: &[&str]) -> Self {
        let simulator = Simulator::start(simulator_options);
        let key = Key::es256("es256");
        let directory = TempDir::new().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir_all(path("policies/teams")).unwrap();
        std::fs::write(path("policies/teams/owner.json"), OWNER_POLICY).unwrap();
        std::fs::write(path("jwks.json"), json!({"keys": [key.public]}).to_string()).unwrap();
        let config = format!(
            r#"
            [server]
            listen = "127.0.0.1:0"
            management_listen = "127.0.0.1:0"
            workers = 1
            shutdown_timeout = "10s"
            [aws]
            region = "{REGION}"
            account_id = "{ACCOUNT}"
            endpoint_url = "{endpoint}"
            sts_endpoint_url = "{endpoint}"
            connect_timeout = "1s"
            read_timeout = "1s"
            attempt_timeout = "1s"
            operation_timeout = "3s"
            [policy]
            directory = {:?}
            [issuers.test]
            issuer = "{ISSUER}"
            audiences = ["{AUDIENCE}"]
            jwks_file = {:?}
            {extra}
            "#,
            path("policies"),
            path("jwks.json"),
            endpoint = simulator.endpoint,
        );
        for number in 1..=2 {
            let key = format!("{number}: not much of a secret, but long enough for a test\n");
            std::fs::write(path(&format!("master-key-{number}")), key).unwrap();
        }
        std::fs::write(path("revoked.json"), "{}").unwrap();
        let config = config.replace("DIRECTORY", &directory.path().display().to_string());
        std::fs::write(path("gateway.toml"), config).unwrap();
        let (process, rest, management) = serve(&directory, &[]);
        Self { process, simulator, key, rest, management, directory }
    }

    /// The same gateway, started anew with what is now in its folder.
    pub fn restarted(self) -> Self {
        self.with_environment(&[])
    }

    /// The same gateway, started anew with further environment variables.
    pub fn with_environment(mut self, variables: &[(&str, &str)]) -> Self {
        self.restart(variables);
        self
    }

    /// Starts it anew in place, after it has ended.
    pub fn restart(&mut self, variables: &[(&str, &str)]) {
        (self.process, self.rest, self.management) = serve(&self.directory, variables);
    }

    /// The same gateway, started anew with so much time for every answer and record that it
    /// is enough on a machine that has much else to do.
    pub fn patient(mut self) -> Self {
        self.process.child.kill().unwrap();
        self.process.child.wait().unwrap();
        self.with_environment(&[
            ("GATEWAY__AWS__CONNECT_TIMEOUT", "10s"),
            ("GATEWAY__AWS__READ_TIMEOUT", "10s"),
            ("GATEWAY__AWS__ATTEMPT_TIMEOUT", "10s"),
            ("GATEWAY__AWS__OPERATION_TIMEOUT", "10s"),
            ("GATEWAY__AUDIT__DEADLINE", "10s"),
        ])
    }

    /// A request with a token of `team`.
    pub async fn call(&self, team: &str, method: Method, path: &str) -> Response {
        self.call_with(&self.key.token(team), method, path).await
    }

    pub async fn call_with(&self, token: &str, method: Method, path: &str) -> Response {
        let url = format!("{}{path}", self.rest);
        client().request(method, url).bearer_auth(token).send().await.unwrap()
    }

    /// Sends `path` exactly as it is, which an HTTP library would normalise.
    pub async fn raw(&self, method: &str, path: &str) -> (u16, Value) {
        let host = self.rest.strip_prefix("http://").unwrap();
        let token = self.key.token("owner");
        let mut stream = TcpStream::connect(host).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        let status = reply.split(' ').nth(1).unwrap().parse().unwrap();
        let body = reply.split_once("\r\n\r\n").unwrap().1;
        (status, serde_json::from_str(body).unwrap_or_default())
    }
}

/// The section of the configuration for these master keys.
fn master_key_files(numbers: &[u8]) -> String {
    let file = |number: &u8| format!("{number} = \"DIRECTORY/master-key-{number}\"\n");
    format!("[keys.master_key_files]\n{}", numbers.iter().map(file).collect::<String>())
}

/// A gateway key.
#[derive(Clone, Debug)]
pub struct AccessKey {
    pub id: String,
    pub secret: String,
}

/// Starts `serve` with the configuration in `directory`.
fn serve(directory: &TempDir, variables: &[(&str, &str)]) -> (Process, String, String) {
    let mut command = serve_command(Command::new(BINARY), directory);
    command.envs(variables.iter().copied());
    let process = Process::start(&mut command, true);
    let listening = process.event(|event| event["message"] == "listening");
    let url = |name: &str| format!("http://{}", listening[name].as_str().unwrap());
    let (rest, management) = (url("rest"), url("management"));
    (process, rest, management)
}

/// What serves the configuration in `directory`: `command` is the binary, or runs it.
pub fn serve_command(mut command: Command, directory: &TempDir) -> Command {
    command
        .args(["serve", "--config"])
        .arg(directory.path().join("gateway.toml"))
        .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

/// Lets team `owner` do everything with its jobs.
pub const JOBS_POLICY: &str = r#"{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": ["gateway:*AbortJob", "gateway:ListAbortJobs"],
     "Resource": "arn:aws:glacier-gateway:::job/owner/*"},
    {"Effect": "Allow", "Action": "gateway:ReadAudit",
     "Resource": "arn:aws:glacier-gateway:::audit/owner"}]}"#;

/// `glacier-gateway dev` on free ports.
pub struct Dev {
    pub process: Process,
}

impl Dev {
    pub fn start(options: &[&str]) -> Self {
        let mut command = Command::new(BINARY);
        command.args(["dev", "--port", "0"]).args(options);
        Self { process: Process::start(&mut command, false) }
    }
}

/// Status and problem document of an error reply, whose form is checked here.
pub async fn problem(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let request_id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(
        response.headers().contains_key("www-authenticate"),
        status == 401,
        "WWW-Authenticate goes with 401"
    );
    assert_eq!(
        response.headers().contains_key("retry-after"),
        matches!(status, 429 | 503),
        "Retry-After goes with 429 and 503"
    );
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["status"], status);
    assert_eq!(body["requestId"], request_id);
    assert_eq!(
        body["type"],
        format!("urn:glacier-gateway:problem:{}", body["code"].as_str().unwrap())
    );
    assert!(body["detail"].as_str().is_some_and(|d| !d.is_empty()));
    (status, body)
}

pub fn uploads(vault: &str) -> String {
    format!("/v1/accounts/-/vaults/{vault}/multipart-uploads")
}
