//! Tokens and subjects that are refused although their issuer vouches for them:
//! a JSON file, read again when it changes.

use std::{
    collections::{BTreeSet, HashSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use serde::Deserialize;
use tokio::task::JoinHandle;

use super::Principal;

/// How often the file is looked at. Watching would miss the swapped symbolic links
/// of a mounted Kubernetes ConfigMap or Secret.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The revocations in force.
pub(super) struct RevokedTokens {
    current: Arc<ArcSwap<List>>,
    task: Option<JoinHandle<()>>,
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the revocations of {} (tokens.revocation_file): {why}", path.display())]
pub struct UnusableRevocations {
    path: PathBuf,
    why: String,
}

#[derive(Debug, Default, PartialEq)]
struct List {
    /// Issuer and `jti`.
    tokens: HashSet<(String, String)>,
    /// Issuer and subject.
    subjects: HashSet<(String, String)>,
}

impl RevokedTokens {
    /// Reads `file` and begins to watch it; without a file nothing is revoked. Must
    /// run inside a tokio runtime.
    ///
    /// # Errors
    /// When the file cannot be read, is of another form, or names an issuer that is
    /// not in `issuers`: a revocation that would not revoke.
    pub(super) fn start(
        file: Option<PathBuf>,
        issuers: BTreeSet<String>,
    ) -> Result<Self, UnusableRevocations> {
        let Some(path) = file else {
            return Ok(Self { current: Default::default(), task: None });
        };
        let failed = |why: String| UnusableRevocations { path: path.clone(), why };
        let mut text = std::fs::read(&path).map_err(|error| failed(error.to_string()))?;
        let list = List::parse(&text, &issuers).map_err(failed)?;
        let current = Arc::new(ArcSwap::from_pointee(list));
        let shared = current.clone();
        let watch = async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                // While it is being replaced it may not be there.
                let Ok(new) = tokio::fs::read(&path).await else { continue };
                if new == text {
                    continue;
                }
                text = new;
                match List::parse(&text, &issuers) {
                    Ok(list) => {
                        let (tokens, subjects) = (list.tokens.len(), list.subjects.len());
                        shared.store(Arc::new(list));
                        tracing::info!(path = %path.display(), tokens, subjects, "read the revocations");
                    }
                    Err(why) => {
                        tracing::error!(path = %path.display(), why, "cannot use the revocations; keeping those known");
                    }
                }
            }
        };
        Ok(Self { current, task: Some(tokio::spawn(watch)) })
    }

    /// Whether the principal, or the token that proved it, is revoked.
    pub(super) fn cover(&self, principal: &Principal) -> bool {
        let list = self.current.load();
        if list.tokens.is_empty() && list.subjects.is_empty() {
            return false;
        }
        let of = |name: &str| (principal.issuer.clone(), name.to_owned());
        let token = principal.claims.get("jti").and_then(|jti| jti.as_str());
        list.subjects.contains(&of(&principal.subject))
            || token.is_some_and(|jti| list.tokens.contains(&of(jti)))
    }
}

impl Drop for RevokedTokens {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
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
        let file: File = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let list = Self {
            tokens: file.tokens.into_iter().map(|t| (t.issuer, t.jti)).collect(),
            subjects: file.subjects.into_iter().map(|s| (s.issuer, s.subject)).collect(),
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
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

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

    fn revoked(text: &str) -> RevokedTokens {
        let list = ArcSwap::from_pointee(parse(text).unwrap());
        RevokedTokens { current: Arc::new(list), task: None }
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
            let revoked = revoked(text);
            assert!(revoked.cover(&caller("corporate", "encoder", "7f0c")), "{text}");
            assert!(!revoked.cover(&caller("partners", "encoder", "7f0c")), "{text}");
            assert!(!revoked.cover(&caller("corporate", "other", "7f0d")), "{text}");
        }
        assert!(!revoked("{}").cover(&caller("corporate", "encoder", "7f0c")));
    }

    #[test]
    fn a_token_without_an_identity_is_revoked_by_its_subject() {
        let text = r#"{"tokens": [{"issuer": "corporate", "jti": "7"}],
            "subjects": [{"issuer": "corporate", "subject": "encoder"}]}"#;
        for claims in [json!({}), json!({"jti": 7})] {
            assert!(revoked(text).cover(&caller("corporate", "encoder", claims.clone())));
            assert!(!revoked(text).cover(&caller("corporate", "other", claims)));
        }
    }

    #[tokio::test]
    async fn the_file_is_read_again_when_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("revoked.json");
        let encoder = caller("corporate", "encoder", json!({}));
        let issuers = BTreeSet::from(["corporate".to_owned()]);
        let start = || RevokedTokens::start(Some(file.clone()), issuers.clone());
        assert!(start().is_err());
        std::fs::write(&file, "{}").unwrap();
        let revoked = start().unwrap();
        assert!(!revoked.cover(&encoder));
        let list = r#"{"subjects": [{"issuer": "corporate", "subject": "encoder"}]}"#;
        std::fs::write(&file, list).unwrap();
        let covered = async {
            while !revoked.cover(&encoder) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), covered).await.unwrap();
    }
}
