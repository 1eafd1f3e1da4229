//! The keys that sign checkpoints. One Ed25519 key signs for every month, each time under
//! the name of the month's log: a verifier of signed notes takes the name for a part of
//! the key, so each month has a verifier key of its own.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use aws_lc_rs::{
    rand,
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use signed_note::{StandardSigner, StandardVerifier, VerifierList, key_id};

use crate::{
    config::KeyNumber,
    files::{self, Reader},
};

/// The name in a key file. Nothing is signed under it.
const KEY_NAME: &str = "glacier-gateway-audit";
/// The algorithm Ed25519 in the keys of signed notes.
const ED25519: u8 = 1;
/// The most that a key file may hold, in bytes.
const MAX_FILE: u64 = 4096;

/// The keys that sign.
#[derive(Debug, Default)]
pub struct CheckpointKeys(BTreeMap<u8, CheckpointKey>);

#[derive(Debug)]
struct CheckpointKey {
    /// In base64, after the byte of the algorithm.
    secret: SecretString,
    verifier: VerifierKey,
}

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("audit.key_files.{number}: {}: {problem}", path.display())]
pub struct UnusableKey {
    number: u8,
    path: PathBuf,
    problem: String,
}

/// The public half of a key, without a log's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VerifierKey([u8; 32]);

/// The keys that a verifier trusts, whatever log they sign for.
#[derive(Clone, Debug, Default)]
pub struct TrustedKeys(pub Vec<VerifierKey>);

/// A text is not the verifier key of a signed note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write a verifier key as `glacier-gateway audit keys` prints it: ORIGIN+HASH+KEY, of Ed25519"
)]
pub struct NoVerifierKey;

/// The system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random bytes")]
pub struct NoRandomness;

impl CheckpointKeys {
    /// A new key, as the line that its file is to hold.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn create() -> Result<SecretString, NoRandomness> {
        let mut seed = Zeroizing::new([0; 32]);
        rand::fill(seed.as_mut()).map_err(|_| NoRandomness)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).map_err(|_| NoRandomness)?;
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        let secret = Zeroizing::new([&[ED25519], seed.as_slice()].concat());
        let secret = Zeroizing::new(BASE64_STANDARD.encode(&*secret));
        Ok(signer_key(KEY_NAME, &VerifierKey(public), &secret).as_str().into())
    }

    /// Reads the key files.
    ///
    /// # Errors
    /// A file that cannot be read, or that holds no key.
    pub fn load(files: &BTreeMap<KeyNumber, PathBuf>) -> Result<Self, UnusableKey> {
        let mut keys = BTreeMap::new();
        for (KeyNumber(number), path) in files {
            let key = read(path)
                .and_then(|file| CheckpointKey::parse(&file))
                .map_err(|problem| UnusableKey { number: *number, path: path.clone(), problem })?;
            keys.insert(*number, key);
        }
        Ok(Self(keys))
    }

    /// Whether nothing can be signed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What signs for a log: every key, under the log's name.
    pub(super) fn signers(
        &self,
        origin: &str,
    ) -> Result<Vec<StandardSigner>, signed_note::SignerError> {
        let signer = |key: &CheckpointKey| {
            let secret = key.secret.expose_secret();
            StandardSigner::new(&signer_key(origin, &key.verifier, secret))
        };
        self.0.values().map(signer).collect()
    }

    /// The public halves, by the keys' numbers.
    pub fn verifiers(&self) -> impl Iterator<Item = (u8, VerifierKey)> {
        self.0.iter().map(|(number, key)| (*number, key.verifier))
    }

    /// Trust in what these keys sign.
    pub fn trusted(&self) -> TrustedKeys {
        TrustedKeys(self.0.values().map(|key| key.verifier).collect())
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let file = path.to_owned();
    let read = Reader::default().read_now(move |_| files::read(&file, MAX_FILE));
    read.flatten().map(Zeroizing::new).map_err(|error| error.to_string())
}

/// A signer's key as Go's package `note` writes it.
fn signer_key(name: &str, verifier: &VerifierKey, secret: &str) -> Zeroizing<String> {
    let id = key_id(name, &verifier.with_algorithm());
    Zeroizing::new(format!("PRIVATE+KEY+{name}+{id:08x}+{secret}"))
}

impl CheckpointKey {
    fn parse(file: &[u8]) -> Result<Self, String> {
        const WRONG: &str = "it holds no key; make one with `glacier-gateway audit key create`";
        let line = std::str::from_utf8(file).map_err(|_| WRONG)?.trim_ascii();
        // Its checks include that the key's public half has the ID.
        StandardSigner::new(line).map_err(|_| WRONG)?;
        let secret = line.splitn(5, '+').nth(4).ok_or(WRONG)?;
        let decoded = Zeroizing::new(BASE64_STANDARD.decode(secret).map_err(|_| WRONG)?);
        let seed = decoded.get(1..).ok_or(WRONG)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| WRONG)?;
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        Ok(Self { secret: secret.to_owned().into(), verifier: VerifierKey(public) })
    }
}

impl VerifierKey {
    /// The verifier key of a log: `ORIGIN+HASH+KEY`, the form that verifiers of signed
    /// notes take.
    pub fn of_log(&self, origin: &str) -> String {
        let key = self.with_algorithm();
        format!("{origin}+{:08x}+{}", key_id(origin, &key), BASE64_STANDARD.encode(key))
    }

    fn with_algorithm(self) -> [u8; 33] {
        let mut key = [ED25519; 33];
        key[1..].copy_from_slice(&self.0);
        key
    }
}

impl std::str::FromStr for VerifierKey {
    type Err = NoVerifierKey;

    fn from_str(text: &str) -> Result<Self, NoVerifierKey> {
        StandardVerifier::new(text).map_err(|_| NoVerifierKey)?;
        let key = text.splitn(3, '+').nth(2).ok_or(NoVerifierKey)?;
        let key = BASE64_STANDARD.decode(key).map_err(|_| NoVerifierKey)?;
        let key = key.get(1..).and_then(|key| key.try_into().ok());
        key.map(Self).ok_or(NoVerifierKey)
    }
}

impl TrustedKeys {
    /// The verifiers of a log's checkpoints.
    pub(super) fn of_log(&self, origin: &str) -> VerifierList {
        let mut keys = self.0.clone();
        keys.sort_unstable();
        // A list takes a key that it has twice for two that cannot be told apart.
        keys.dedup();
        let verifiers =
            keys.iter().filter_map(|key| StandardVerifier::new(&key.of_log(origin)).ok());
        VerifierList::new(verifiers.map(|verifier| Box::new(verifier) as _).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(in crate::audit) mod tests {
    use super::*;

    /// As many new keys.
    pub fn keys(count: u8) -> CheckpointKeys {
        let key = |number| {
            let line = CheckpointKeys::create().unwrap();
            (number, CheckpointKey::parse(line.expose_secret().as_bytes()).unwrap())
        };
        CheckpointKeys((1..=count).map(key).collect())
    }

    #[test]
    fn a_key_file_is_one_line_that_other_implementations_read() {
        let line = CheckpointKeys::create().unwrap();
        let line = line.expose_secret();
        assert!(line.starts_with("PRIVATE+KEY+glacier-gateway-audit+"), "{line}");
        assert!(!line.contains('\n'));
        CheckpointKey::parse(format!("{line}\n").as_bytes()).unwrap();
        // The one in the documentation of Go's package `note`.
        let key = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
        let key = CheckpointKey::parse(key.as_bytes()).unwrap();
        let public = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        assert_eq!(key.verifier.of_log("PeterNeumann"), public);
        assert_eq!(public.parse(), Ok(key.verifier));
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_shown() {
        let line = CheckpointKeys::create().unwrap();
        let line = line.expose_secret();
        let other_id = line.replace("glacier-gateway-audit+", "glacier-gateway-audit+0");
        for wrong in ["", "secret", &line[1..], &line[..line.len() - 4], &other_id] {
            let problem = CheckpointKey::parse(wrong.as_bytes()).unwrap_err();
            assert!(problem.contains("audit key create"), "{problem}");
        }
        assert!(!format!("{:?}", keys(1)).contains(line.splitn(5, '+').nth(4).unwrap()));
        for wrong in
            ["", "a+b+c", "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"]
        {
            assert!(wrong.parse::<VerifierKey>().is_err(), "{wrong}");
        }
    }
}
