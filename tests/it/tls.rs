//! The REST API over TLS, callers by their certificates, and issuers behind a
//! private CA.

use std::{io::Error, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use reqwest::{Certificate, Client, Identity};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::{
    signed::Request,
    support::{BINARY, Gateway, Key, claims, now, problem},
};

type TlsStream = tokio_rustls::client::TlsStream<TcpStream>;

const VAULTS: &str = "/v1/accounts/-/vaults";

/// A certificate authority.
pub struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate and its key, PEM.
    fn certify(&self, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let mut params = CertificateParams::new([]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn server(&self) -> (String, String) {
        self.certify(|params| {
            params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        })
    }

    /// The authority's own certificate, PEM.
    pub fn certificate(&self) -> String {
        self.0.pem()
    }

    /// What makes a server on this machine speak TLS.
    pub fn acceptor(&self) -> TlsAcceptor {
        let (certificate, key) = self.server();
        let chain = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    fn caller(&self, names: &[SanType]) -> Identity {
        self.caller_and_thumbprint(names).0
    }

    /// A caller's certificate, and how a token names it (RFC 8705, section 3.1).
    fn caller_and_thumbprint(&self, names: &[SanType]) -> (Identity, String) {
        let (certificate, key) = self.certify(|params| params.subject_alt_names = names.to_vec());
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let thumbprint = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, &der));
        (Identity::from_pem(format!("{certificate}{key}").as_bytes()).unwrap(), thumbprint)
    }
}

fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

/// A gateway that speaks TLS, and the files it is configured with.
struct Served {
    gateway: Gateway,
    files: TempDir,
}

impl Served {
    fn start(ca: &Ca) -> Self {
        let files = TempDir::new().unwrap();
        let path = |name: &str| files.path().join(name);
        let tls = format!(
            r#"
            [server.tls]
            certificate_file = {:?}
            private_key_file = {:?}
            client_ca_file = {:?}
            [server.tls.client_teams]
            "spiffe://example.org/ns/own/sa/*" = ["owner"]
            "*.Own.example.org" = ["owner"]
            [keys.master_key_files]
            1 = "DIRECTORY/master-key-1"
            "#,
            path("tls.crt"),
            path("tls.key"),
            path("ca.crt"),
        );
        write(&files, ca, ca);
        Self { gateway: Gateway::with(&tls, &[]), files }
    }

    fn url(&self) -> String {
        format!("{}{VAULTS}", self.gateway.rest.replace("http://", "https://"))
    }
}

/// Connects with TLS and offers these application protocols.
async fn connect(ca: &Ca, gateway: &Gateway, protocols: &[&[u8]]) -> Result<TlsStream, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.certificate().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let address = gateway.rest.strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect("127.0.0.1".try_into().unwrap(), stream).await
}

#[tokio::test]
async fn http_2_is_not_offered() {
    let ca = Ca::new();
    let served = Served::start(&ca);
    let either = connect(&ca, &served.gateway, &[b"h2", b"http/1.1"]).await.unwrap();
    assert_eq!(either.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let refused = connect(&ca, &served.gateway, &[b"h2"]).await.unwrap_err();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
}

#[tokio::test]
async fn a_signature_is_as_good_over_tls() {
    let ca = Ca::new();
    let served = Served::start(&ca);
    let upload = served.gateway.simulator.seed("own-a", &["x"]).await.remove(0);
    let key = served.gateway.create_key(&["--team", "owner"]);
    let target = format!("/glacier/-/vaults/own-a/multipart-uploads/{upload}");
    let request = Request::new(&served.gateway, "DELETE", &target).signed(&key);
    let mut other = request.clone();
    let host = other.headers.iter_mut().find(|(name, _)| name == "host").unwrap();
    host.1 = "other.example.org".to_owned();

    // The host is signed, so a request that was meant for another is refused.
    let connected = async || connect(&ca, &served.gateway, &[b"http/1.1"]).await.unwrap();
    assert_eq!(other.send_on(connected().await).await.0, 403);
    assert_eq!(request.send_on(connected().await).await.0, 204);
    let status = served.gateway.simulator.status("own-a", &upload).await;
    assert_eq!(status.as_deref(), Some("aborted"));
}

/// Writes a server's certificate of one CA, and the CA of callers.
fn write(files: &TempDir, server: &Ca, callers: &Ca) {
    let (certificate, key) = server.server();
    std::fs::write(files.path().join("ca.crt"), callers.0.pem()).unwrap();
    std::fs::write(files.path().join("tls.key"), key).unwrap();
    std::fs::write(files.path().join("tls.crt"), certificate).unwrap();
}

fn client(ca: &Ca, identity: Option<Identity>) -> Client {
    let root = Certificate::from_pem(ca.certificate().as_bytes()).unwrap();
    let client = Client::builder().tls_certs_only([root]).pool_max_idle_per_host(0);
    match identity {
        Some(identity) => client.identity(identity).build().unwrap(),
        None => client.build().unwrap(),
    }
}

#[tokio::test]
async fn a_certificate_proves_a_caller() {
    let ca = Ca::new();
    let served = Served::start(&ca);
    for (names, status) in [
        (vec![uri("spiffe://example.org/ns/own/sa/encoder")], 200),
        (vec![uri("spiffe://example.org/ns/own/sa/a"), dns("x.example.org")], 200),
        (vec![dns("encoder.own.example.org")], 200),
        (vec![dns("x.example.org"), dns("ENCODER.own.example.org")], 200),
        (vec![uri("spiffe://example.org/ns/other/sa/encoder")], 401),
        (vec![uri("spiffe://example.org/ns/own/sa/a/b")], 401),
        (vec![uri("spiffe://evil.example/ns/own/sa/encoder")], 401),
        (vec![uri("https://example.org/ns/own/sa/encoder")], 401),
        // A SPIFFE ID is the only name of its owner.
        (vec![uri("spiffe://example.org/ns/other/sa/a"), dns("a.own.example.org")], 401),
        (
            vec![
                uri("spiffe://example.org/ns/other/sa/a"),
                uri("spiffe://example.org/ns/own/sa/a"),
            ],
            401,
        ),
        (vec![dns("own.example.org")], 401),
        (vec![dns("*.own.example.org")], 401),
        (vec![], 401),
    ] {
        let reply = client(&ca, Some(ca.caller(&names))).get(served.url()).send().await.unwrap();
        assert_eq!(reply.status(), status, "{names:?}");
        if status == 401 {
            let (_, body) = problem(reply).await;
            assert_eq!(body["code"], "certificate-not-mapped", "{names:?}");
        }
    }
    let entry = served.gateway.process.event(|event| event["message"] == "request");
    assert_eq!(entry["subject"], "spiffe://example.org/ns/own/sa/encoder");
}

#[tokio::test]
async fn certificates_of_other_authorities_are_refused_in_the_handshake() {
    let (ca, other) = (Ca::new(), Ca::new());
    let served = Served::start(&ca);
    let forged = other.caller(&[uri("spiffe://example.org/ns/own/sa/encoder")]);
    assert!(client(&ca, Some(forged)).get(served.url()).send().await.is_err());
    let names = [uri("spiffe://example.org/ns/own/sa/encoder")];
    let (certificate, key) = ca.certify(|params| {
        params.subject_alt_names = names.to_vec();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 1);
    });
    let expired = Identity::from_pem(format!("{certificate}{key}").as_bytes()).unwrap();
    assert!(client(&ca, Some(expired)).get(served.url()).send().await.is_err());
    // Plain HTTP is not spoken.
    assert!(client(&ca, None).get(served.url().replace("https", "http")).send().await.is_err());
}

#[tokio::test]
async fn a_token_counts_more_than_a_certificate() {
    let ca = Ca::new();
    let served = Served::start(&ca);
    let bare = client(&ca, None);
    let token = served.gateway.key.token("owner");
    let reply = bare.get(served.url()).bearer_auth(&token).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    let (status, body) = problem(bare.get(served.url()).send().await.unwrap()).await;
    assert_eq!((status, &body["code"]), (401, &json!("token-missing")));
    let named = client(&ca, Some(ca.caller(&[dns("a.own.example.org")])));
    let reply = named.get(served.url()).bearer_auth("not a token").send().await.unwrap();
    assert_eq!(reply.status(), 401);
    let stranger = served.gateway.key.token("stranger");
    let reply = named.get(served.url()).bearer_auth(stranger).send().await.unwrap();
    assert_eq!(reply.status(), 403);
}

/// What a list of vaults over TLS is answered at either door: the statuses, and what the
/// log calls a refusal.
async fn at_both_doors(served: &Served, client: &Client, token: &str) -> [(u16, String); 2] {
    let rest = client.get(served.url()).bearer_auth(token).send().await.unwrap();
    let rest = match rest.status().as_u16() {
        200 => (200, String::new()),
        _ => {
            let (status, body) = problem(rest).await;
            (status, body["code"].as_str().unwrap().to_owned())
        }
    };
    let url = served.url().replace("/v1/accounts", "/glacier");
    let glacier = client.get(url).header("x-amz-glacier-version", "2012-06-01");
    let glacier = glacier.bearer_auth(token).send().await.unwrap();
    let status = glacier.status().as_u16();
    let body: Value = glacier.json().await.unwrap();
    [rest, (status, body["code"].as_str().unwrap_or_default().to_owned())]
}

#[tokio::test]
async fn a_bound_token_counts_only_over_a_connection_with_its_certificate() {
    let ca = Ca::new();
    let served = Served::start(&ca);
    let list = served.files.path().join("revoked.json");
    let revoked = json!({"subjects": [
        {"issuer": "client-certificates", "subject": "revoked.example.org"}
    ]});
    std::fs::write(&list, revoked.to_string()).unwrap();
    let list = list.to_str().unwrap().to_owned();
    let Served { gateway, files } = served;
    let gateway = gateway.with_environment(&[("GATEWAY__TOKENS__REVOCATION_FILE", &list)]);
    let served = Served { gateway, files };
    let bound_to = |confirmation: Value| {
        let mut claims = claims("owner");
        claims["cnf"] = confirmation;
        served.gateway.key.sign(&claims)
    };
    let good = [(200, String::new()), (200, String::new())];
    let refused =
        [(401, "token-bound".to_owned()), (400, "UnrecognizedClientException".to_owned())];
    // With a team or without: here the certificate only confirms the token.
    let (own, thumbprint) = ca.caller_and_thumbprint(&[dns("a.own.example.org")]);
    let (unmapped, other_thumbprint) = ca.caller_and_thumbprint(&[dns("x.example.org")]);
    let (own, unmapped, bare) =
        (client(&ca, Some(own)), client(&ca, Some(unmapped)), client(&ca, None));
    for (owner, thief, thumbprint) in
        [(&own, &unmapped, &thumbprint), (&unmapped, &own, &other_thumbprint)]
    {
        let token = bound_to(json!({"x5t#S256": thumbprint}));
        for thief in [thief, &bare] {
            assert_eq!(at_both_doors(&served, thief, &token).await, refused);
        }
        assert_eq!(at_both_doors(&served, owner, &token).await, good);
        // Now it is remembered.
        for thief in [thief, &bare] {
            assert_eq!(at_both_doors(&served, thief, &token).await, refused);
        }
        assert_eq!(at_both_doors(&served, owner, &token).await, good);
    }
    for confirmation in [
        json!(null),
        json!({}),
        json!({"jkt": thumbprint}),
        json!({"x5t#S256": thumbprint, "jkt": thumbprint}),
        json!({"x5t#S256": format!("{thumbprint}=")}),
    ] {
        let token = bound_to(confirmation.clone());
        assert_eq!(at_both_doors(&served, &own, &token).await, refused, "{confirmation}");
    }
    // Its key is in other hands by now.
    let (revoked, thumbprint) = ca.caller_and_thumbprint(&[dns("revoked.example.org")]);
    let token = bound_to(json!({"x5t#S256": thumbprint}));
    assert_eq!(at_both_doors(&served, &client(&ca, Some(revoked)), &token).await, refused);
    // What is not bound needs no certificate.
    let plain = served.gateway.key.token("owner");
    assert_eq!(at_both_doors(&served, &bare, &plain).await, good);
    let event = served.gateway.process.event(|event| event["outcome"] == "token-bound");
    assert_eq!(event["status"], 401);
}

#[tokio::test]
async fn a_certificate_that_is_no_use_is_told_why() {
    let ca = Ca::new();
    let served = Served::start(&ca);
    let refused = async |names: &[SanType]| {
        let caller = client(&ca, Some(ca.caller(names)));
        let reply = caller.get(served.url()).send().await.unwrap();
        // No token was sent, so there is nothing to say about one (RFC 6750, section 3).
        assert_eq!(reply.headers()["www-authenticate"], "Bearer realm=\"glacier-gateway\"");
        let (_, body) = problem(reply).await;
        (body["code"].as_str().unwrap().to_owned(), body["detail"].as_str().unwrap().to_owned())
    };
    let (code, detail) = refused(&[dns("x.example.org"), dns("y.example.org")]).await;
    assert_eq!(code, "certificate-not-mapped");
    assert!(detail.contains("x.example.org, y.example.org"), "{detail}");
    let (code, detail) = refused(&[]).await;
    assert_eq!(code, "certificate-not-mapped");
    assert!(detail.contains("SPIFFE ID"), "{detail}");

    let list = served.files.path().join("revoked.json");
    let revoked = json!({"subjects": [
        {"issuer": "client-certificates", "subject": "a.own.Example.org"}
    ]});
    std::fs::write(&list, revoked.to_string()).unwrap();
    let list = list.to_str().unwrap().to_owned();
    let Served { gateway, files } = served;
    let gateway = gateway.with_environment(&[("GATEWAY__TOKENS__REVOCATION_FILE", &list)]);
    let served = Served { gateway, files };
    // One revoked name suffices, whichever of several it is, with a team or without.
    for names in [
        &[dns("a.own.example.org")][..],
        &[dns("b.own.example.org"), dns("a.own.example.org")],
        &[dns("x.example.org"), dns("A.own.example.org")],
    ] {
        let caller = client(&ca, Some(ca.caller(names)));
        let (status, body) = problem(caller.get(served.url()).send().await.unwrap()).await;
        assert_eq!((status, &body["code"]), (401, &json!("certificate-revoked")), "{names:?}");
    }
    let caller = client(&ca, Some(ca.caller(&[dns("b.own.example.org")])));
    assert_eq!(caller.get(served.url()).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn certificates_are_replaced_without_a_restart() {
    let (old, new) = (Ca::new(), Ca::new());
    let served = Served::start(&old);
    let names = [dns("a.own.example.org")];
    let before = client(&old, Some(old.caller(&names)));
    assert_eq!(before.get(served.url()).send().await.unwrap().status(), 200);
    // Files that do not fit leave those in use alone.
    std::fs::write(served.files.path().join("tls.crt"), "nonsense").unwrap();
    served.gateway.process.event(|event| event["level"] == "ERROR");
    assert_eq!(before.get(served.url()).send().await.unwrap().status(), 200);

    write(&served.files, &new, &new);
    let after = client(&new, Some(new.caller(&names)));
    let deadline = now() + 30;
    while after.get(served.url()).send().await.is_err() {
        assert!(now() < deadline, "the new certificates are not in use");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(after.get(served.url()).send().await.unwrap().status(), 200);
    // The old CA vouches for nobody any more.
    let root = Certificate::from_pem(new.0.pem().as_bytes()).unwrap();
    let stale = Client::builder().tls_certs_only([root]).identity(old.caller(&names));
    assert!(stale.build().unwrap().get(served.url()).send().await.is_err());
}

#[tokio::test]
async fn a_connection_does_not_outlive_its_certificate_or_the_trust_in_its_authority() {
    let (ca, other) = (Ca::new(), Ca::new());
    let served = Served::start(&ca);
    let root = Certificate::from_pem(ca.certificate().as_bytes()).unwrap();
    // Each keeps its one connection; none could open another once it is refused.
    let connected = |identity: Identity| {
        Client::builder().tls_certs_only([root.clone()]).identity(identity).build().unwrap()
    };
    let refused = async |client: &Client| -> bool {
        let reply = client.get(served.url()).send().await.unwrap();
        if reply.status() == 200 {
            return false;
        }
        let (status, body) = problem(reply).await;
        assert_eq!((status, &body["code"]), (401, &json!("certificate-invalid")));
        true
    };
    let until_refused = async |client: &Client| {
        let deadline = now() + 60;
        while !refused(client).await {
            assert!(now() < deadline, "the certificate still counts");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let (certificate, key) = ca.certify(|params| {
        params.subject_alt_names = vec![dns("a.own.example.org")];
        params.not_after = time::OffsetDateTime::now_utc() + Duration::from_secs(8);
    });
    let short = connected(Identity::from_pem(format!("{certificate}{key}").as_bytes()).unwrap());
    let long = connected(ca.caller(&[dns("b.own.example.org")]));
    assert!(!refused(&short).await && !refused(&long).await);
    until_refused(&short).await;
    assert!(!refused(&long).await);
    write(&served.files, &ca, &other);
    until_refused(&long).await;
}

/// Serves `body` at every path over TLS.
async fn serve(listener: TcpListener, acceptor: TlsAcceptor, body: String) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = acceptor.accept(stream).await else { continue };
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let _ = stream.write_all(reply.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_behind_a_private_ca_is_believed_with_that_ca_only() {
    let ca = Ca::new();
    let key = Key::es256("1");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let body = json!({"keys": [key.public]}).to_string();
    tokio::spawn(serve(listener, ca.acceptor(), body));
    let files = TempDir::new().unwrap();
    let path: PathBuf = files.path().join("ca.crt");
    std::fs::write(&path, ca.certificate()).unwrap();
    let issuer = format!(
        "[issuers.private]\nissuer = \"urn:private\"\naudiences = [\"glacier-gateway\"]\n\
         jwks_url = \"https://{address}/jwks\"\n"
    );
    let mut claims = claims("owner");
    claims["iss"] = json!("urn:private");
    let token = key.sign(&claims);

    let trusting = Gateway::with(&format!("{issuer}ca_file = {path:?}"), &[]);
    let reply = trusting.call_with(&token, reqwest::Method::GET, VAULTS).await;
    assert_eq!(reply.status(), 200);
    let unknowing = Gateway::with(&issuer, &[]);
    let reply = unknowing.call_with(&token, reqwest::Method::GET, VAULTS).await;
    assert_eq!(reply.status(), 503);
    let warned = |event: &Value| event["level"] == "WARN" && event["error"].is_string();
    let warning = unknowing.process.event(warned);
    assert!(warning["error"].as_str().unwrap().contains("certificate"), "{warning}");
}

#[test]
fn files_that_cannot_be_used_are_found_before_the_gateway_starts() {
    let files = TempDir::new().unwrap();
    let path = |name: &str| files.path().join(name);
    std::fs::create_dir_all(path("policies/teams")).unwrap();
    let config = |more: String| {
        let text = format!(
            "[aws]\nregion = \"eu-central-1\"\naccount_id = \"111122223333\"\n\
             [policy]\ndirectory = {:?}\n[issuers.a]\nissuer = \"https://a.example\"\n\
             audiences = [\"x\"]\n{more}",
            path("policies"),
        );
        std::fs::write(path("gateway.toml"), text).unwrap();
        let command = std::process::Command::new(BINARY)
            .args(["check-config", "--config"])
            .arg(path("gateway.toml"))
            .output()
            .unwrap();
        (command.status.code(), String::from_utf8(command.stderr).unwrap())
    };
    let ca = Ca::new();
    write(&files, &ca, &ca);
    let (_, other_key) = ca.server();
    std::fs::write(path("other.key"), other_key).unwrap();
    std::fs::write(path("revoked.json"), r#"{"subjects":[{"issuer":"b","subject":"x"}]}"#).unwrap();
    let tls = |certificate: &str, key: &str| {
        format!(
            "[server.tls]\ncertificate_file = {:?}\nprivate_key_file = {:?}\n",
            path(certificate),
            path(key)
        )
    };
    for (more, expected) in [
        (tls("tls.crt", "tls.key"), None),
        (tls("tls.key", "tls.key"), Some("tls.key holds no certificate")),
        (tls("tls.crt", "ca.crt"), Some("ca.crt holds no private key")),
        (tls("tls.crt", "missing"), Some("cannot read")),
        (tls("tls.crt", "other.key"), Some("cannot be used")),
        (
            format!("[tokens]\nrevocation_file = {:?}\n", path("revoked.json")),
            Some("\"b\" is no configured issuer"),
        ),
    ] {
        let (code, told) = config(more.clone());
        match expected {
            None => assert_eq!(code, Some(0), "{told}"),
            Some(text) => {
                assert_eq!(code, Some(64), "{more}");
                assert!(told.contains(text), "{told}");
            }
        }
    }
}
