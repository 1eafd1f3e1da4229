//! Gateway keys: access keys of the gateway's own, for callers that sign with
//! Signature Version 4. A key's secret is derived from its ID with a master key,
//! so that nothing is stored and every replica can verify.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use aws_lc_rs::{hmac, rand};
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use data_encoding::HEXLOWER;
use secrecy::{SecretString, zeroize::Zeroizing};
use time::OffsetDateTime;

use super::{
    access_key::{AccessKey, InvalidAccessKey},
    revoked_keys::RevokedKeys,
    sigv4::{Authorization, SignatureError, SignedRequest},
};
use crate::{
    config,
    domain::{GATEWAY_KEYS, Principal, Region},
    files::{self, Reader},
    reload::{Followed, Paths, Reloaded, Unreadable},
};

/// The shortest master key, in bytes.
const MIN_MASTER_KEY: usize = 32;
/// The longest that a key can be valid: a year. Whoever has the secret of a longer one
/// would stay in for as long as its revocation is kept.
const MAX_LIFETIME: Duration = Duration::from_secs(366 * 24 * 3600);

/// Makes and verifies gateway keys.
pub struct GatewayKeys {
    /// By number.
    master_keys: BTreeMap<u8, hmac::Key>,
    clock_skew: time::Duration,
    revocations: Option<Reloaded<RevokedKeys, UnusableKeys>>,
}

/// Why a signed request proves no caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The signature itself.
    #[error("{0}")]
    Signature(#[from] SignatureError),
    /// The access key ID is no gateway key's, or its master key is gone.
    #[error(
        "The access key ID is not a gateway key's. Use a key that this gateway's operators made; \
         AWS's own credentials are not for this endpoint."
    )]
    Unknown,
    /// A session token, which gateway keys do not have.
    #[error("A gateway key has no session token; remove it from your credentials.")]
    SessionToken,
    /// The key has expired.
    #[error("The gateway key has expired; ask the gateway's operators for a new one.")]
    Expired,
    /// The key is revoked.
    #[error("The gateway key is revoked; ask the gateway's operators for a new one.")]
    Revoked,
}

/// A file of the keys' settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct UnusableKeys {
    path: PathBuf,
    problem: String,
}

impl From<Unreadable> for UnusableKeys {
    fn from(Unreadable { path, error }: Unreadable) -> Self {
        Self { path, problem: error.to_string() }
    }
}

/// A signed request's caller.
#[derive(Debug)]
pub struct SignedBy {
    /// Who signed it.
    pub principal: Principal,
    /// With which key.
    pub access_key_id: String,
    /// For which region.
    pub region: Region,
}

impl GatewayKeys {
    /// Reads the master keys and the revocation file.
    ///
    /// # Errors
    /// A file that cannot be read or used.
    pub fn load(settings: &config::Keys) -> Result<Self, UnusableKeys> {
        let mut master_keys = BTreeMap::new();
        for (number, path) in &settings.master_key_files {
            let unusable = |problem| UnusableKeys { path: path.clone(), problem };
            let file = path.clone();
            let file = Reader::default().read_now(move |_| files::read(&file, files::MAX_SIZE));
            let file = file.flatten().map_err(|error| unusable(error.to_string()))?;
            let key = master_key(&Zeroizing::new(file)).map_err(unusable)?;
            master_keys.insert(number.0, key);
        }
        Ok(Self {
            master_keys,
            clock_skew: settings.clock_skew.try_into().unwrap_or(time::Duration::ZERO),
            revocations: settings.revocation_file.as_deref().map(revocations).transpose()?,
        })
    }

    /// Whether anybody could have a gateway key.
    pub fn are_in_use(&self) -> bool {
        !self.master_keys.is_empty()
    }

    /// Makes a key with the newest master key: its ID and its secret. Without a
    /// subject, the key is called after its random part.
    ///
    /// # Errors
    /// Names that an ID cannot hold, see [`AccessKey::id`]; a lifetime under a second
    /// or over a year.
    pub fn create(
        &self,
        team: &str,
        subject: Option<&str>,
        lifetime: Duration,
    ) -> Result<(String, SecretString), KeyCreationError> {
        let Some((number, master_key)) = self.master_keys.last_key_value() else {
            return Err(KeyCreationError::NoMasterKey);
        };
        if !(Duration::from_secs(1)..=MAX_LIFETIME).contains(&lifetime) {
            return Err(KeyCreationError::Lifetime);
        }
        let mut nonce = [0; 4];
        rand::fill(&mut nonce).map_err(|_| KeyCreationError::NoRandomness)?;
        let issued = OffsetDateTime::now_utc();
        let key = AccessKey {
            master_key: *number,
            team: team.to_owned(),
            subject: match subject {
                Some(subject) => subject.to_owned(),
                None => format!("key-{:08x}", u32::from_be_bytes(nonce)),
            },
            issued,
            expires: issued.saturating_add(lifetime.try_into().unwrap_or(time::Duration::MAX)),
            nonce,
        };
        let id = key.id()?;
        let secret = secret(master_key, &id);
        Ok((id, secret))
    }

    /// The caller that signed `request`.
    ///
    /// # Errors
    /// See [`KeyError`]. That a key has expired or is revoked is told only to
    /// those who have its secret.
    pub fn verify(
        &self,
        request: &SignedRequest<'_>,
        now: OffsetDateTime,
    ) -> Result<SignedBy, KeyError> {
        let authorization = Authorization::of(request)?;
        let id = authorization.access_key_id();
        let key: AccessKey = id.parse().map_err(|_| KeyError::Unknown)?;
        let master_key = self.master_keys.get(&key.master_key).ok_or(KeyError::Unknown)?;
        let region =
            authorization.verify(request, &secret(master_key, id), now, self.clock_skew)?;
        if request.header("x-amz-security-token")?.is_some() {
            return Err(KeyError::SessionToken);
        }
        if now >= key.expires {
            return Err(KeyError::Expired);
        }
        if self.revocations.as_ref().is_some_and(|list| list.current().covers(id, &key)) {
            return Err(KeyError::Revoked);
        }
        let principal = Principal {
            issuer: GATEWAY_KEYS.to_owned(),
            subject: key.subject,
            teams: vec![key.team],
            tags: BTreeMap::new(),
            claims: serde_json::Map::new(),
        };
        Ok(SignedBy { principal, access_key_id: id.to_owned(), region })
    }

    /// Of each master key its number and what tells it from others: an HMAC under it of a
    /// text that is no ID, so that it is no key's secret.
    pub fn fingerprints(&self) -> impl Iterator<Item = (u8, String)> {
        self.master_keys.iter().map(|(number, key)| {
            let tag = hmac::sign(key, b"the fingerprint of a master key");
            (*number, HEXLOWER.encode(tag.as_ref()))
        })
    }

    /// The issuer's name if an `Authorization` header names a gateway key, whoever signed.
    pub fn claimed_issuer(&self, authorization: &str) -> Option<&'static str> {
        let (_, credential) = authorization.split_once("Credential=")?;
        let key: AccessKey = credential.split('/').next()?.parse().ok()?;
        self.master_keys.contains_key(&key.master_key).then_some(GATEWAY_KEYS)
    }

    /// Follows the revocation file until dropped.
    pub async fn keep_revocations_fresh(&self, followed: &Followed) {
        if let Some(revocations) = &self.revocations {
            revocations.keep_fresh(followed).await;
        }
    }
}

/// Why no key can be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyCreationError {
    /// Nothing to derive a secret from.
    #[error("there is no master key; name its file in keys.master_key_files")]
    NoMasterKey,
    /// How long it is to be valid.
    #[error("a key is valid for at least one second and at most 366 days")]
    Lifetime,
    /// The team or the subject.
    #[error("{0}")]
    Names(#[from] InvalidAccessKey),
    /// The system's random numbers.
    #[error("the system has no random numbers")]
    NoRandomness,
}

/// The secret that belongs to `id`. An altered ID has another secret, which only
/// the holder of the master key knows.
fn secret(master_key: &hmac::Key, id: &str) -> SecretString {
    BASE64_STANDARD_NO_PAD.encode(hmac::sign(master_key, id.as_bytes())).into()
}

/// The key that a file holds, without the line break that editors put at its end.
fn master_key(file: &[u8]) -> Result<hmac::Key, String> {
    let key = file.trim_ascii();
    if key.len() < MIN_MASTER_KEY {
        return Err(format!(
            "a master key has at least {MIN_MASTER_KEY} bytes; make one with \
             \"openssl rand -base64 48\""
        ));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, key))
}

/// The revocations in `file`.
fn revocations(file: &Path) -> Result<Reloaded<RevokedKeys, UnusableKeys>, UnusableKeys> {
    let path = file.to_owned();
    Reloaded::read("keys.revocation_file", Paths::Files(vec![path.clone()]), move |contents| {
        RevokedKeys::parse(&contents[0].1)
            .map_err(|problem| UnusableKeys { path: path.clone(), problem })
    })
}

#[cfg(test)]
#[path = "gateway_keys_tests.rs"]
mod tests;
