//! The sessions of roles that were given out, and how STS is told to behave.

use std::collections::{BTreeMap, HashMap};

use actix_web::http::StatusCode;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{config::Account, error::GlacierError};

/// How STS is told to behave.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Behaviour {
    /// How long sessions last, whatever is asked for.
    pub(super) lifetime_seconds: Option<u32>,
    /// The token of all sessions, in place of one for each.
    pub(super) session_token: Option<String>,
    /// The source identity that the configured credentials have already.
    pub(super) source_identity: Option<String>,
    /// The transitive session tags that the configured credentials have already.
    pub(super) transitive_tags: BTreeMap<String, String>,
}

/// A session that was given out.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Session {
    pub(super) access_key_id: String,
    #[serde(skip)]
    pub(super) secret_access_key: SecretString,
    #[serde(skip)]
    pub(super) session_token: SecretString,
    #[serde(with = "time::serde::rfc3339")]
    pub(super) expiration: OffsetDateTime,
    pub(super) account_id: String,
    pub(super) role_arn: String,
    pub(super) role_session_name: String,
    pub(super) source_identity: Option<String>,
    pub(super) tags: BTreeMap<String, String>,
}

/// The sessions that were given out.
#[derive(Default)]
pub(super) struct Sessions {
    pub(super) behaviour: Behaviour,
    /// By access key ID, and in order.
    by_key: HashMap<String, Session>,
    order: Vec<String>,
}

impl Sessions {
    /// All of them, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.order.iter().filter_map(|id| self.by_key.get(id))
    }

    /// The session of an access key.
    pub(super) fn get(&self, access_key_id: &str) -> Option<&Session> {
        self.by_key.get(access_key_id)
    }

    /// Revokes all of them.
    pub(super) fn revoke(&mut self) {
        self.by_key.values_mut().for_each(|s| s.expiration = OffsetDateTime::UNIX_EPOCH);
    }

    /// Remembers a session that is given out.
    pub(super) fn add(&mut self, session: Session) {
        self.order.push(session.access_key_id.clone());
        self.by_key.insert(session.access_key_id.clone(), session);
    }

    /// The credentials of a session.
    ///
    /// # Errors
    /// `ExpiredTokenException` where it has ended.
    pub(super) fn credentials(
        &self,
        access_key_id: &str,
        now: OffsetDateTime,
    ) -> Result<Option<Account>, GlacierError> {
        let Some(session) = self.by_key.get(access_key_id) else { return Ok(None) };
        if session.expiration <= now {
            let message = "The security token included in the request is expired";
            let code = "ExpiredTokenException";
            return Err(GlacierError::new(StatusCode::FORBIDDEN, code, message));
        }
        Ok(session.account_id.parse().ok().map(|account_id| Account {
            account_id,
            access_key_id: session.access_key_id.clone(),
            secret_access_key: session.secret_access_key.clone(),
            session_token: Some(session.session_token.clone()),
        }))
    }
}
