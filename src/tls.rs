//! TLS for the REST API: the gateway's certificate and the CAs of its callers',
//! read again when their files change.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
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

use crate::config;

/// How often the files are looked at. Watching would miss the swapped symbolic
/// links of a mounted Kubernetes Secret.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Why the files make no TLS server.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
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

/// What the files hold.
#[derive(PartialEq)]
struct Files {
    certificates: Vec<u8>,
    private_key: Vec<u8>,
    client_cas: Option<Vec<u8>>,
}

/// What they make.
struct Material {
    key: Arc<CertifiedKey>,
    clients: Arc<dyn ClientCertVerifier>,
}

/// The material in use.
struct Current(ArcSwap<Material>);

/// A TLS server's configuration, which follows the files as long as the runtime
/// runs. Must run inside a tokio runtime.
///
/// # Errors
/// When the files cannot be used now; later, what was usable stays.
pub async fn server_config(settings: &config::Tls) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut files = Files::read(settings).await?;
    let material = files.material(settings, &provider)?;
    let current = Arc::new(Current(ArcSwap::from_pointee(material)));
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_client_cert_verifier(current.clone())
        .with_cert_resolver(current.clone());
    // A resumed session would bring a caller back without its certificate being
    // looked at.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;

    let settings = settings.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            // While they are being replaced they may not be there.
            let Ok(new) = Files::read(&settings).await else { continue };
            if new == files {
                continue;
            }
            files = new;
            match files.material(&settings, &provider) {
                Ok(material) => {
                    current.0.store(Arc::new(material));
                    tracing::info!("read the certificates of server.tls anew");
                }
                // Between two of the files being replaced they may not fit.
                Err(error) => {
                    tracing::error!(%error, "cannot use the certificates; keeping those in use");
                }
            }
        }
    });
    Ok(server)
}

impl Files {
    async fn read(settings: &config::Tls) -> Result<Self, TlsError> {
        Ok(Self {
            certificates: read(&settings.certificate_file).await?,
            private_key: read(&settings.private_key_file).await?,
            client_cas: match &settings.client_ca_file {
                Some(path) => Some(read(path).await?),
                None => None,
            },
        })
    }

    fn material(
        &self,
        settings: &config::Tls,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Material, TlsError> {
        let chain = certificates(&self.certificates, &settings.certificate_file)?;
        let key = PrivateKeyDer::from_pem_slice(&self.private_key).map_err(|_| TlsError::Pem {
            path: settings.private_key_file.clone(),
            wanted: "private key",
        })?;
        let key = CertifiedKey::from_der(chain, key, provider).map_err(unusable)?;
        let clients = match (&self.client_cas, &settings.client_ca_file) {
            (Some(pem), Some(path)) => {
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
        Ok(Material { key: Arc::new(key), clients })
    }
}

async fn read(path: &PathBuf) -> Result<Vec<u8>, TlsError> {
    tokio::fs::read(path).await.map_err(|error| TlsError::Read { path: path.clone(), error })
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
        Some(self.0.load().key.clone())
    }
}

/// Asks the verifier of the material in use.
impl ClientCertVerifier for Current {
    fn offer_client_auth(&self) -> bool {
        self.0.load().clients.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.load().clients.client_auth_mandatory()
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
        self.0.load().clients.verify_client_cert(certificate, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.load().clients.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.load().clients.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.load().clients.supported_verify_schemes()
    }
}
