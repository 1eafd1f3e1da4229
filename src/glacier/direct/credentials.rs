//! Which AWS credentials the SDK uses at the moment.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider, future},
};
use time::OffsetDateTime;

/// The SDK asks for new credentials this long before the old ones expire, at most.
const BUFFER: Duration = Duration::from_secs(10);
/// And at least this often where they never do.
const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Credentials as the SDK got them last.
#[derive(Clone, Debug, Default)]
pub(in crate::glacier) struct SeenCredentials(Arc<ArcSwapOption<Seen>>);

#[derive(Debug)]
struct Seen {
    credentials: Arc<Credentials>,
    usable_until: OffsetDateTime,
}

/// A credentials provider that notes what it provides.
#[derive(Debug)]
struct Noting {
    chain: SharedCredentialsProvider,
    seen: SeenCredentials,
}

impl SeenCredentials {
    /// `chain`, such that what it provides is seen here. Whoever asks it keeps the
    /// credentials for the time that the SDK's identity cache does, and asks again.
    pub(in crate::glacier) fn note(
        &self,
        chain: SharedCredentialsProvider,
    ) -> SharedCredentialsProvider {
        SharedCredentialsProvider::new(Noting { chain, seen: self.clone() })
    }

    /// The credentials to use at `now`: `None` once the SDK is due to get new ones.
    pub(super) fn at(&self, now: OffsetDateTime) -> Option<Arc<Credentials>> {
        let seen = self.0.load();
        let seen = seen.as_ref()?;
        (now < seen.usable_until).then(|| Arc::clone(&seen.credentials))
    }

    fn keep(&self, credentials: &Credentials, now: OffsetDateTime) {
        let usable_until = match credentials.expiry() {
            Some(expiry) => OffsetDateTime::from(expiry) - BUFFER,
            None => now + LIFETIME,
        };
        let credentials = Arc::new(credentials.clone());
        self.0.store(Some(Arc::new(Seen { credentials, usable_until })));
    }
}

impl ProvideCredentials for Noting {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let credentials = self.chain.provide_credentials().await?;
            self.seen.keep(&credentials, OffsetDateTime::now_utc());
            Ok(credentials)
        })
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.chain.fallback_on_interrupt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_used_until_the_sdk_would_ask_for_new_ones() {
        let now = OffsetDateTime::now_utc();
        let hour = Duration::from_secs(3600);
        for (expiry, usable_for) in [
            (Some(now + hour), hour - BUFFER),
            (Some(now + BUFFER), Duration::ZERO),
            (None, LIFETIME),
        ] {
            let seen = SeenCredentials::default();
            let expiry = expiry.map(Into::into);
            seen.keep(&Credentials::new("id", "secret", None, expiry, "test"), now);
            let is_used = |after: Duration| seen.at(now + after).is_some();
            let second = Duration::from_secs(1);
            assert!(!is_used(usable_for), "{usable_for:?}");
            assert_eq!(is_used(usable_for.saturating_sub(second)), !usable_for.is_zero());
        }
    }
}
