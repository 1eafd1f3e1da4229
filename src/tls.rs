//! TLS for the REST API: the gateway's certificate and the CAs of its callers',
//! read again when their files change.

use std::{
    any::Any,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::{dev::Extensions, rt::net::TcpStream};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};

use crate::{
    authn::ClientCertificate,
    config,
    reload::{Contents, Followed, Paths, Reloaded, Unreadable},
};

/// Why the files make no TLS server.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read.
    #[error(transparent)]
    Read(#[from] Unreadable),
    /// A file without what it should hold.
    #[error("{} holds no {wanted} in PEM form", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
    },
    /// A key that does not fit the certificate, a certificate that is none.
    #[error("the certificates of server.tls cannot be used: {0}")]
    Unusable(String),
}

/// What the files make.
struct Material {
    key: Arc<CertifiedKey>,
    clients: Arc<dyn ClientCertVerifier>,
}

/// The material in use.
struct Current(Reloaded<Material, TlsError>);

/// A TLS server's configuration and its verifier of callers' certificates, which
/// follow the files as long as the runtime runs, and tell `followed` how that goes. Must
/// run inside a tokio runtime.
///
/// # Errors
/// When the files cannot be used now; later, what was usable stays.
pub fn server_config(
    settings: &config::Tls,
    followed: Arc<Followed>,
) -> Result<(ServerConfig, Arc<dyn ClientCertVerifier>), TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let current = Arc::new(Current::read(settings, provider.clone())?);
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_client_cert_verifier(current.clone())
        .with_cert_resolver(current.clone());
    // A resumed session would bring a caller back without its certificate being
    // looked at.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    let verifier = current.clone();
    tokio::spawn(async move { current.0.keep_fresh(&followed).await });
    Ok((server, verifier))
}

/// Whether the files can be used now.
///
/// # Errors
/// As [`server_config`].
pub fn check(settings: &config::Tls) -> Result<(), TlsError> {
    Current::read(settings, Arc::new(aws_lc_rs::default_provider())).map(drop)
}

impl Current {
    fn read(settings: &config::Tls, provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let mut paths = vec![settings.certificate_file.clone(), settings.private_key_file.clone()];
        paths.extend(settings.client_ca_file.clone());
        let settings = settings.clone();
        let make = move |files: &Contents| Material::of(files, &settings, &provider);
        Reloaded::read("server.tls", Paths::Files(paths), make).map(Self)
    }
}

impl Material {
    /// Of the certificate, its private key and, if there is one, the CAs' file.
    fn of(
        files: &Contents,
        settings: &config::Tls,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let chain = certificates(&files[0].1, &settings.certificate_file)?;
        let key = PrivateKeyDer::from_pem_slice(&files[1].1).map_err(|_| TlsError::Pem {
            path: settings.private_key_file.clone(),
            wanted: "private key",
        })?;
        let key = CertifiedKey::from_der(chain, key, provider).map_err(unusable)?;
        let clients = match (files.get(2), &settings.client_ca_file) {
            (Some((_, pem)), Some(path)) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(pem, path)? {
                    roots.add(certificate).map_err(unusable)?;
                }
                // Callers with tokens bring no certificate.
                WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
                    .allow_unauthenticated()
                    .build()
                    .map_err(unusable)?
            }
            _ => WebPkiClientVerifier::no_client_auth(),
        };
        Ok(Self { key: Arc::new(key), clients })
    }
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let missing = || TlsError::Pem { path: path.to_owned(), wanted: "certificate" };
    let all: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| missing())?;
    if all.is_empty() { Err(missing()) } else { Ok(all) }
}

fn unusable(error: impl fmt::Display) -> TlsError {
    TlsError::Unusable(error.to_string())
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current().key.clone())
    }
}

/// Asks the verifier of the material in use.
impl ClientCertVerifier for Current {
    fn offer_client_auth(&self) -> bool {
        self.0.current().clients.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.current().clients.client_auth_mandatory()
    }

    // Hints would have to be borrowed from what may be replaced; they are optional
    // (RFC 8446, section 4.2.4).
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.0.current().clients.verify_client_cert(certificate, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.current().clients.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.current().clients.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.current().clients.supported_verify_schemes()
    }
}
/// Notes the certificate that a new connection's client showed to `verifier`.
pub fn note_certificate(
    connection: &dyn Any,
    data: &mut Extensions,
    verifier: &Arc<dyn ClientCertVerifier>,
) {
    let stream = connection.downcast_ref::<TlsStream<TcpStream>>();
    let chain = stream.and_then(|stream| stream.get_ref().1.peer_certificates());
    let certificate = chain.and_then(|chain| ClientCertificate::new(chain, verifier.clone()));
    if let Some(certificate) = certificate {
        data.insert(certificate);
    }
}
