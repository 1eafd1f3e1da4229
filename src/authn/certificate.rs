//! Callers by their TLS certificates, whose chain the handshake has verified.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::{
    pki_types::{CertificateDer, UnixTime},
    server::danger::ClientCertVerifier,
};
use x509_parser::{extensions::GeneralName, prelude::parse_x509_certificate};

use super::team_table;
use crate::domain::{CLIENT_CERTIFICATES, Principal};

/// For how long a certificate counts as good once it was looked at. A connection may
/// last longer than the certificate that it began with, and than the trust in its CA.
const LOOKED_AT: Duration = Duration::from_secs(5);

/// The SHA-256 of a certificate in DER form, as a token may name the one that it is bound
/// to (RFC 8705, section 3.1).
pub(super) type Thumbprint = [u8; 32];

/// The certificate of a connection's client.
pub struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    names: CertificateNames,
    verifier: Arc<dyn ClientCertVerifier>,
    verified: Cell<Instant>,
}

impl ClientCertificate {
    /// The certificate at the head of `chain`, which `verifier` has just verified.
    /// `None` where it cannot be read.
    pub fn new(
        chain: &[CertificateDer<'_>],
        verifier: Arc<dyn ClientCertVerifier>,
    ) -> Option<Self> {
        let names = CertificateNames::of(chain.first()?)?;
        let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        Some(Self { chain, names, verifier, verified: Cell::new(Instant::now()) })
    }

    /// The names, if the certificate is still good.
    ///
    /// # Errors
    /// [`CertificateError::Invalid`]
    pub fn names(&self) -> Result<&CertificateNames, CertificateError> {
        if self.verified.get().elapsed() >= LOOKED_AT {
            let [own, intermediates @ ..] = &self.chain[..] else {
                return Err(CertificateError::Invalid);
            };
            let verified = self.verifier.verify_client_cert(own, intermediates, UnixTime::now());
            verified.map_err(|_| CertificateError::Invalid)?;
            self.verified.set(Instant::now());
        }
        Ok(&self.names)
    }

    /// The certificate's thumbprint.
    pub(super) fn thumbprint(&self) -> Option<Thumbprint> {
        digest(&SHA256, self.chain.first()?).as_ref().try_into().ok()
    }
}

/// The names that a certificate gives its owner: its SPIFFE ID, else its DNS names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateNames(Vec<String>);

/// Why a certificate that the handshake has verified proves no caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// No team is given to its names.
    #[error("Your certificate is good, but {0}. Ask the gateway's operators, or send a token.")]
    NotMapped(CertificateNames),
    /// It has ended since, or its CA is no longer trusted.
    #[error("Your certificate is no longer good; connect with a current one.")]
    Invalid,
    /// One of its names is revoked.
    #[error("A name of your certificate is revoked; ask the gateway's operators.")]
    Revoked,
}

/// Why names without a team have none.
impl fmt::Display for CertificateNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [] => f.write_str(
                "it has no name that counts: a SPIFFE ID as its one URI, or else DNS names",
            ),
            names => write!(f, "no team belongs to its name {}", names.join(", ")),
        }
    }
}

impl CertificateNames {
    /// The names of a certificate in DER form. Of several URIs none counts: which one
    /// is meant cannot be told (SPIFFE X.509-SVID, section 2). `None` where `certificate`
    /// cannot be read.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let (_, certificate) = parse_x509_certificate(certificate).ok()?;
        let extension = certificate.subject_alternative_name().ok()?;
        let names = extension.map_or(&[][..], |extension| &extension.value.general_names);
        let uris: Vec<&str> = names
            .iter()
            .filter_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            })
            .collect();
        let names = match uris[..] {
            [uri] if uri.starts_with("spiffe://") => vec![uri.to_owned()],
            [] => names
                .iter()
                .filter_map(|name| match name {
                    GeneralName::DNSName(name) if !name.contains(['*', ':', '/']) => {
                        Some(normal(name))
                    }
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        };
        Some(Self(names))
    }

    /// All the names.
    pub(super) fn all(&self) -> &[String] {
        &self.0
    }

    /// The caller that these names belong to, by a table of patterns: of the teams
    /// of every name, with the first that has any as subject.
    pub(super) fn principal(&self, table: &BTreeMap<String, Vec<String>>) -> Option<Principal> {
        let mut teams = Vec::new();
        let mut subject = None;
        for name in &self.0 {
            let before = teams.len();
            teams.extend(team_table::teams(table, name));
            if teams.len() > before {
                subject.get_or_insert(name);
            }
        }
        teams.sort();
        teams.dedup();
        Some(Principal {
            issuer: CLIENT_CERTIFICATES.to_owned(),
            subject: subject?.clone(),
            teams,
            tags: BTreeMap::new(),
            claims: serde_json::Map::new(),
        })
    }
}

/// A name as names are compared: DNS names without regard to case (RFC 4343), SPIFFE
/// IDs as they are.
pub(super) fn normal(name: &str) -> String {
    match name.starts_with("spiffe://") {
        true => name.to_owned(),
        false => name.to_ascii_lowercase(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn names(names: &[SanType]) -> Vec<String> {
        let mut parameters = CertificateParams::new([]).unwrap();
        parameters.subject_alt_names = names.to_vec();
        let certificate = parameters.self_signed(&KeyPair::generate().unwrap()).unwrap();
        CertificateNames::of(certificate.der()).unwrap().0
    }

    fn uri(name: &str) -> SanType {
        SanType::URI(name.try_into().unwrap())
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().unwrap())
    }

    #[test]
    fn a_certificate_names_its_owner_by_one_spiffe_id_or_by_dns_names() {
        let id = "spiffe://example.org/ns/media/sa/encoder";
        let address = SanType::IpAddress([127, 0, 0, 1].into());
        assert_eq!(names(&[uri(id), dns("a.example")]), [id]);
        assert_eq!(
            names(&[dns("A.example"), address, dns("b.example")]),
            ["a.example", "b.example"]
        );
        for nameless in [
            vec![],
            vec![uri(id), uri("spiffe://example.org/ns/media/sa/other")],
            vec![uri("https://example.org/encoder"), dns("a.example")],
            vec![dns("*.example")],
            vec![dns(id)],
        ] {
            assert!(names(&nameless).is_empty(), "{nameless:?}");
        }
        assert_eq!(CertificateNames::of(b"nonsense"), None);
    }

    #[test]
    fn the_first_name_with_a_team_is_the_subject_and_the_teams_are_all_names() {
        let names = ["x.example", "a.example", "b.example"].map(str::to_owned).to_vec();
        let team = |pattern: &str, teams: &[&str]| {
            (pattern.to_owned(), teams.iter().map(|team| (*team).to_owned()).collect())
        };
        let table = [team("a.*", &["media"]), team("b.*", &["ads", "media"])].into();
        let principal = CertificateNames(names).principal(&table).unwrap();
        assert_eq!(principal.subject, "a.example");
        assert_eq!(principal.teams, ["ads", "media"]);
        assert_eq!(CertificateNames(vec![]).principal(&table), None);
    }
}
