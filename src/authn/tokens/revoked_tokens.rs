//! Tokens and subjects that are refused although their issuer vouches for them:
//! a JSON file, read again when it changes.

use std::{
    collections::{BTreeSet, HashSet},
    path::PathBuf,
};

use serde::Deserialize;

use crate::authn::certificate;
use crate::domain::{CLIENT_CERTIFICATES, Principal};
use crate::reload::{Followed, Paths, Reloaded, Unreadable};

/// The revocations in force, if there is a file of them.
pub(super) struct RevokedTokens(Option<Reloaded<List, UnusableRevocations>>);

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the revocations of {} (tokens.revocation_file): {why}", path.display())]
pub struct UnusableRevocations {
    path: PathBuf,
    why: String,
}

impl From<Unreadable> for UnusableRevocations {
    fn from(Unreadable { path, error }: Unreadable) -> Self {
        Self { path, why: error.to_string() }
    }
}

#[derive(Debug, Default, PartialEq)]
struct List {
    /// Issuer and `jti`.
    tokens: HashSet<(String, String)>,
    /// Issuer and subject.
    subjects: HashSet<(String, String)>,
}

impl RevokedTokens {
    /// Reads `file`; without a file nothing is revoked.
    ///
    /// # Errors
    /// When the file cannot be read, is of another form, or names an issuer that is
    /// not in `issuers`: a revocation that would not revoke.
    pub(super) fn read(
        file: Option<PathBuf>,
        issuers: BTreeSet<String>,
    ) -> Result<Self, UnusableRevocations> {
        let read = |path: PathBuf| {
            let paths = Paths::Files(vec![path.clone()]);
            Reloaded::read("tokens.revocation_file", paths, move |contents| {
                List::parse(&contents[0].1, &issuers)
                    .map_err(|why| UnusableRevocations { path: path.clone(), why })
            })
        };
        Ok(Self(file.map(read).transpose()?))
    }

    /// Follows the file until dropped.
    pub(super) async fn keep_fresh(&self, followed: &Followed) {
        if let Some(list) = &self.0 {
            list.keep_fresh(followed).await;
        }
    }

    /// Whether the principal, or the token that proved it, is revoked.
    pub(super) fn cover(&self, principal: &Principal) -> bool {
        self.0.as_ref().is_some_and(|list| list.current().covers(principal))
    }

    /// Whether a subject of `issuer` is revoked.
    pub(super) fn cover_subject(&self, issuer: &str, subject: &str) -> bool {
        self.0.as_ref().is_some_and(|list| list.current().covers_subject(issuer, subject))
    }
}

impl List {
    fn parse(text: &[u8], issuers: &BTreeSet<String>) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            #[serde(default)]
            tokens: Vec<Token>,
            #[serde(default)]
            subjects: Vec<Subject>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Token {
            issuer: String,
            jti: String,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Subject {
            issuer: String,
            subject: String,
        }
        impl Subject {
            fn normal(self) -> (String, String) {
                match self.issuer == CLIENT_CERTIFICATES {
                    true => (self.issuer, certificate::normal(&self.subject)),
                    false => (self.issuer, self.subject),
                }
            }
        }
        let file: File = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let list = Self {
            tokens: file.tokens.into_iter().map(|t| (t.issuer, t.jti)).collect(),
            subjects: file.subjects.into_iter().map(Subject::normal).collect(),
        };
        match list.tokens.iter().chain(&list.subjects).find(|(issuer, _)| !issuers.contains(issuer))
        {
            Some((issuer, _)) => Err(format!(
                "\"{issuer}\" is no configured issuer; write one of {}",
                issuers.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
            )),
            None => Ok(list),
        }
    }

    fn covers(&self, principal: &Principal) -> bool {
        let token = principal.claims.get("jti").and_then(|jti| jti.as_str());
        let token = token.map(|jti| (principal.issuer.clone(), jti.to_owned()));
        self.covers_subject(&principal.issuer, &principal.subject)
            || token.is_some_and(|token| self.tokens.contains(&token))
    }

    fn covers_subject(&self, issuer: &str, subject: &str) -> bool {
        self.subjects.contains(&(issuer.to_owned(), subject.to_owned()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::{super::test_tokens::in_time, *};

    fn parse(text: &str) -> Result<List, String> {
        List::parse(text.as_bytes(), &BTreeSet::from(["corporate".to_owned()]))
    }

    #[test]
    fn a_list_that_would_not_revoke_is_refused() {
        for (text, why) in [
            ("", "EOF"),
            ("[\"7f0c\"]", "invalid"),
            (r#"{"jti": ["7f0c"]}"#, "unknown field `jti`"),
            (r#"{"tokens": [{"jti": "7f0c"}]}"#, "missing field `issuer`"),
            (r#"{"tokens": [{"issuer": "corprate", "jti": "7f0c"}]}"#, "write one of corporate"),
            (r#"{"subjects": [{"issuer": "x", "subject": "a"}]}"#, "write one of corporate"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert_eq!(parse("{}"), Ok(List::default()));
    }

    fn caller(issuer: &str, subject: &str, claims: serde_json::Value) -> Principal {
        Principal {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            teams: vec!["media".to_owned()],
            tags: Default::default(),
            claims: claims.as_object().unwrap().clone(),
        }
    }

    #[test]
    fn a_token_or_a_subject_is_revoked_at_its_issuer() {
        let caller = |issuer, subject, jti: &str| caller(issuer, subject, json!({"jti": jti}));
        for text in [
            r#"{"tokens": [{"issuer": "corporate", "jti": "7f0c"}]}"#,
            r#"{"subjects": [{"issuer": "corporate", "subject": "encoder"}]}"#,
            r#"{"tokens": [{"issuer": "corporate", "jti": "7f0c"}],
                "subjects": [{"issuer": "corporate", "subject": "someone"}]}"#,
            r#"{"tokens": [{"issuer": "corporate", "jti": "0000"}],
                "subjects": [{"issuer": "corporate", "subject": "encoder"}]}"#,
        ] {
            let revoked = parse(text).unwrap();
            assert!(revoked.covers(&caller("corporate", "encoder", "7f0c")), "{text}");
            assert!(!revoked.covers(&caller("partners", "encoder", "7f0c")), "{text}");
            assert!(!revoked.covers(&caller("corporate", "other", "7f0d")), "{text}");
        }
        assert!(!List::default().covers(&caller("corporate", "encoder", "7f0c")));
    }

    #[test]
    fn a_token_without_an_identity_is_revoked_by_its_subject() {
        let text = r#"{"tokens": [{"issuer": "corporate", "jti": "7"}],
            "subjects": [{"issuer": "corporate", "subject": "encoder"}]}"#;
        for claims in [json!({}), json!({"jti": 7})] {
            let revoked = parse(text).unwrap();
            assert!(revoked.covers(&caller("corporate", "encoder", claims.clone())));
            assert!(!revoked.covers(&caller("corporate", "other", claims)));
        }
    }

    #[tokio::test]
    async fn the_file_is_read_again_when_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("revoked.json");
        let encoder = caller("corporate", "encoder", json!({}));
        let issuers = BTreeSet::from(["corporate".to_owned()]);
        let read = || RevokedTokens::read(Some(file.clone()), issuers.clone());
        assert!(read().is_err());
        std::fs::write(&file, "{}").unwrap();
        let revoked = read().unwrap();
        assert!(!revoked.cover(&encoder));
        let list = r#"{"subjects": [{"issuer": "corporate", "subject": "encoder"}]}"#;
        std::fs::write(&file, list).unwrap();
        let covered = async {
            while !revoked.cover(&encoder) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let followed = Followed::default();
        tokio::select! {
            () = revoked.keep_fresh(&followed) => {}
            () = in_time(covered) => {}
        }
        assert!(revoked.cover(&encoder));
        assert!(!RevokedTokens::read(None, issuers).unwrap().cover(&encoder));
    }
}
