//! Callers by their TLS certificates, whose chain the handshake has verified.

use std::collections::BTreeMap;

use x509_parser::{extensions::GeneralName, prelude::parse_x509_certificate};

use super::{Principal, pattern};

/// What policies know as the issuer of callers by certificate.
pub const CLIENT_CERTIFICATES: &str = "client-certificates";

/// The names that a certificate gives its owner: its SPIFFE ID, else its DNS names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateNames(Vec<String>);

impl CertificateNames {
    /// The names of a certificate in DER form. `None` where it has none, or several
    /// URIs: which one is meant cannot be told (SPIFFE X.509-SVID, section 2).
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let (_, certificate) = parse_x509_certificate(certificate).ok()?;
        let names = &certificate.subject_alternative_name().ok()??.value.general_names;
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
                    GeneralName::DNSName(name) if !name.contains('*') => {
                        Some(name.to_ascii_lowercase())
                    }
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        };
        (!names.is_empty()).then_some(Self(names))
    }

    /// The caller that these names belong to, by a table of patterns: of the teams
    /// of every name, with the first that has any as subject.
    pub(super) fn principal(&self, table: &BTreeMap<String, Vec<String>>) -> Option<Principal> {
        let mut teams = Vec::new();
        let mut subject = None;
        for name in &self.0 {
            let before = teams.len();
            teams.extend(pattern::teams(table, name));
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
