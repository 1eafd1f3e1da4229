//! A Glacier behind TLS whose certificate is wrong, or that speaks none.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use reqwest::Url;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::TlsAcceptor;

use crate::{glacier::trouble, run::Run, times};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server with a certificate of `authority`.
fn server(authority: &Authority, change: impl FnOnce(&mut CertificateParams)) -> Way {
    let mut params = CertificateParams::new([]).unwrap();
    params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let chain = vec![CertificateDer::from(params.signed_by(&key, authority).unwrap())];
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Way::Certificate(TlsAcceptor::from(Arc::new(config)))
}

/// How a connection is taken.
#[derive(Clone)]
enum Way {
    Certificate(TlsAcceptor),
    /// As a server does that speaks HTTP alone.
    Plain,
    /// The handshake is never answered.
    Silent,
}

async fn accept(client: TcpStream, glacier: u16, mut way: watch::Receiver<Way>) {
    let now = way.borrow_and_update().clone();
    tokio::select! {
        () = pass(client, glacier, now) => {}
        // Connections from before are closed.
        _ = way.changed() => {}
    }
}

async fn pass(mut client: TcpStream, glacier: u16, way: Way) {
    match way {
        Way::Certificate(acceptor) => {
            let Ok(mut client) = acceptor.accept(client).await else { return };
            let Ok(mut glacier) = TcpStream::connect(("127.0.0.1", glacier)).await else { return };
            let _ = copy_bidirectional(&mut client, &mut glacier).await;
        }
        Way::Plain => {
            let _ = client.read(&mut [0; 1024]).await;
            let _ =
                client.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        }
        Way::Silent => std::future::pending().await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_glacier_without_a_good_certificate_is_not_asked_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::in_folder("glacier's certificate", folder.path()).await;
    let (own, other) = (authority(), authority());
    let good = server(&own, |_| {});
    let glacier: Url = run.gateway.simulator.endpoint.parse().unwrap();
    let glacier = glacier.port().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let way = watch::Sender::new(good.clone());
    let of_connections = way.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(accept(client, glacier, of_connections.subscribe()));
        }
    });
    let trusted = folder.path().join("ca.pem");
    std::fs::write(&trusted, own.pem()).unwrap();
    run.end().await;
    run.set_environment(vec![
        ("GATEWAY__AWS__ENDPOINT_URL", format!("https://127.0.0.1:{port}")),
        ("SSL_CERT_FILE", trusted.display().to_string()),
    ]);
    run.restart().await;
    run.aborts(50).await;
    let long_ago = |params: &mut CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    };
    let elsewhere = |params: &mut CertificateParams| {
        params.subject_alt_names = vec![SanType::DnsName("other.example.com".try_into().unwrap())];
    };
    for _ in 0..times(1, 20) {
        for (name, wrong) in [
            ("another authority's certificate", server(&other, |_| {})),
            ("a certificate for another name", server(&own, elsewhere)),
            ("an expired certificate", server(&own, long_ago)),
            ("no TLS", Way::Plain),
            ("a handshake without an answer", Way::Silent),
        ] {
            run.supply(crate::glacier::ENOUGH).await;
            way.send_replace(wrong);
            trouble(&mut run, name, async |_: &mut Run| {
                way.send_replace(good.clone());
            })
            .await;
        }
    }
    let figures = run.finish().await;
    assert_eq!(figures.losses, 0);
}
