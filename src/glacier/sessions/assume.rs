//! Asks STS for a session.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use aws_credential_types::Credentials;
use aws_sdk_sts::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::BeforeDeserializationInterceptorContextRef,
    },
    error::{BoxError, ProvideErrorMetadata, SdkError},
    operation::assume_role::{AssumeRoleError, builders::AssumeRoleFluentBuilder},
    primitives::{DateTime, DateTimeFormat},
};

use crate::{
    config::{ExternalId, RoleArn},
    domain::Operation,
    files::{self, Reader},
    glacier::{
        UpstreamError, UpstreamErrorKind,
        error::{bounded, causes, lacks_credentials, lacks_descriptors},
    },
};

/// The longest that a session of a role may last if the gateway's own credentials are a
/// role's as well (IAM User Guide, "Role chaining"). It is also the shortest that a role can
/// be made to allow at most.
pub(super) const DURATION: Duration = Duration::from_secs(3600);
/// A session is not used for the last of its time (at most for half of it), for a request
/// may need a while.
const MARGIN: Duration = Duration::from_secs(60);
/// Of its time a session has to have lived a part to be replaced because Glacier refuses it:
/// of an hour a minute.
const DOUBTED: u32 = 60;
/// A shorter session is none.
const SHORTEST: Duration = Duration::from_secs(1);

/// A role that the gateway assumes.
#[derive(Debug)]
pub(in crate::glacier) struct Role {
    pub(in crate::glacier) arn: RoleArn,
    pub(in crate::glacier) external_id: Option<ExternalIdFrom>,
}

/// Where a role's external ID stands.
#[derive(Debug)]
pub(in crate::glacier) enum ExternalIdFrom {
    Settings(ExternalId),
    /// All who ask for sessions of the role read it in turn.
    File(PathBuf, Reader),
}

/// A session of a role, for one identity.
#[derive(Debug)]
pub struct Session {
    credentials: Arc<Credentials>,
    name: String,
    usable_until: Instant,
    refresh_from: Instant,
    /// From when on a refusal of Glacier's tells that the session is no longer good: a new
    /// one would not be refused alike.
    doubted_from: Instant,
    refused: AtomicBool,
}

impl Session {
    /// Whether it may be used.
    pub(super) fn is_usable(&self, now: Instant) -> bool {
        now < self.usable_until
    }

    /// Whether it is time to fetch the next one. Until that is there this one is used, for
    /// Glacier may have refused it a single vault.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let is_doubted = now >= self.doubted_from && self.refused.load(Ordering::Relaxed);
        now >= self.refresh_from || is_doubted
    }

    /// Notes that Glacier refuses it. It may have been revoked (IAM User Guide, "Revoke IAM
    /// role temporary security credentials"), or the role lacks an action.
    pub(in crate::glacier) fn refused(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// What signs for it.
    pub(in crate::glacier) fn credentials(&self) -> &Arc<Credentials> {
        &self.credentials
    }

    /// The name of the role session, as it stands in the ARN of whoever acts by it.
    pub fn role_session_name(&self) -> &str {
        &self.name
    }

    /// The source identity.
    pub fn source_identity(&self) -> &str {
        &self.name
    }

    /// The ID of the access key, by which AWS's logs know the session. Not a secret.
    pub fn access_key_id(&self) -> &str {
        self.credentials.access_key_id()
    }
}

/// Why there is no session.
#[derive(Debug)]
pub(in crate::glacier) struct Unusable {
    kind: UpstreamErrorKind,
    /// STS's own code, or what became of the request.
    said: String,
    /// The whole story, for the log alone.
    pub(super) cause: String,
}

impl Unusable {
    /// STS's own code, or what became of the request.
    pub(super) fn said(&self) -> &str {
        &self.said
    }

    /// The whole story.
    pub(in crate::glacier) fn cause(&self) -> &str {
        &self.cause
    }

    /// What it means to a call.
    pub(in crate::glacier) fn error(&self, operation: Operation) -> UpstreamError {
        UpstreamError::without_session(self.kind, operation, &self.said, &self.cause)
    }
}

/// Asks STS for the session of `role` that `request` is about.
pub(super) async fn assume(
    request: AssumeRoleFluentBuilder,
    role: &Role,
    name: String,
) -> Result<Session, Unusable> {
    let request = request.set_external_id(role.external_id().await?);
    let date = ServerDate::default();
    // In a box, since it is large.
    let answer = Box::pin(request.customize().interceptor(date.clone()).send()).await;
    let now = Instant::now();
    let answer = answer.map_err(Unusable::of)?;
    let Some(credentials) = answer.credentials else {
        return Err(Unusable::new("nothing", "the answer has no credentials"));
    };
    let fields =
        [&credentials.access_key_id, &credentials.secret_access_key, &credentials.session_token];
    // They become headers.
    if fields.iter().any(|field| field.is_empty() || !field.bytes().all(|b| b.is_ascii_graphic())) {
        return Err(Unusable::new("nothing", "the answer has no credentials that could sign"));
    }
    let lifetime = date.lifetime(&credentials.expiration);
    if lifetime < SHORTEST {
        return Err(Unusable::new("ExpiredToken", "the session has no time left"));
    }
    let session = Credentials::new(
        credentials.access_key_id,
        credentials.secret_access_key,
        Some(credentials.session_token),
        // When it expires is known here, whatever our clock says.
        None,
        "AssumeRole",
    );
    let usable = lifetime - MARGIN.min(lifetime / 2);
    // Sessions that began together are not refreshed together.
    let refresh = usable.mul_f64(0.7 + 0.2 * rand::random::<f64>());
    Ok(Session {
        credentials: Arc::new(session),
        name,
        usable_until: now + usable,
        refresh_from: now + refresh,
        doubted_from: now + lifetime / DOUBTED,
        refused: AtomicBool::new(false),
    })
}

impl Role {
    async fn external_id(&self) -> Result<Option<String>, Unusable> {
        let (path, reader) = match &self.external_id {
            None => return Ok(None),
            Some(ExternalIdFrom::Settings(id)) => return Ok(Some(id.as_str().to_owned())),
            Some(ExternalIdFrom::File(path, reader)) => (path, reader),
        };
        let read = {
            let path = path.clone();
            reader.read(move |_| read_external_id(&path)).await
        };
        let read = read.unwrap_or_else(|error| Err(error.to_string()));
        let unusable = |error| {
            Unusable::new("nothing", &format!("the external ID in {}: {error}", path.display()))
        };
        Ok(Some(read.map_err(unusable)?.as_str().to_owned()))
    }
}

/// The external ID in a file.
pub(in crate::glacier) fn read_external_id(path: &Path) -> Result<ExternalId, String> {
    let text = files::read(path, 4096).map_err(|error| error.to_string())?;
    let text = String::from_utf8(text).map_err(|error| error.to_string())?;
    ExternalId::try_from(text.trim().to_owned()).map_err(str::to_owned)
}

impl Unusable {
    pub(super) fn new(said: &str, cause: &str) -> Self {
        let kind = UpstreamErrorKind::AccountRoleUnusable;
        Self { kind, said: said.to_owned(), cause: cause.to_owned() }
    }

    fn of(error: SdkError<AssumeRoleError>) -> Self {
        let kind = match &error {
            error if lacks_descriptors(error) => UpstreamErrorKind::OutOfDescriptors,
            error if lacks_credentials(error) => UpstreamErrorKind::NotAuthorized,
            _ => UpstreamErrorKind::AccountRoleUnusable,
        };
        let said = match &error {
            error if lacks_credentials(error) => "nothing: the gateway has no AWS credentials",
            SdkError::TimeoutError(_) => "nothing in time",
            SdkError::DispatchFailure(failure) if failure.is_timeout() => "nothing in time",
            SdkError::DispatchFailure(_) => "nothing: there is no connection",
            error => error.code().unwrap_or("something that cannot be understood"),
        };
        let cause = match error.message() {
            Some(message) => format!("{said}: {message}"),
            None => causes(&error).map(ToString::to_string).collect::<Vec<_>>().join(": "),
        };
        Self { kind, said: bounded(said.to_owned()), cause: bounded(cause) }
    }
}

/// What STS took for the time when it answered. How long a session lasts is measured from
/// then: our clock may be wrong.
#[derive(Clone, Debug, Default)]
struct ServerDate(Arc<Mutex<Option<SystemTime>>>);

impl ServerDate {
    /// How long a session lasts that ends at `expiration`: no longer than was asked for.
    fn lifetime(&self, expiration: &DateTime) -> Duration {
        let date = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let end = SystemTime::try_from(*expiration).unwrap_or(SystemTime::UNIX_EPOCH);
        let lifetime = end.duration_since(date.unwrap_or_else(SystemTime::now));
        lifetime.unwrap_or_default().min(DURATION)
    }
}

impl Intercept for ServerDate {
    fn name(&self) -> &'static str {
        "ServerDate"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|date| DateTime::from_str(date, DateTimeFormat::HttpDate).ok());
        let date = date.and_then(|date| SystemTime::try_from(date).ok());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lasts_no_longer_than_was_asked_for_whatever_its_end_is() {
        let date = ServerDate::default();
        let now = SystemTime::now();
        *date.0.lock().unwrap() = Some(now);
        let lifetime = |end: SystemTime| date.lifetime(&DateTime::from(end));
        assert_eq!(lifetime(now + Duration::from_secs(900)), Duration::from_secs(900));
        assert_eq!(lifetime(now - Duration::from_secs(900)), Duration::ZERO);
        let year_9999 = DateTime::from_secs(253_402_300_799);
        assert_eq!(date.lifetime(&year_9999), DURATION);
        assert_eq!(date.lifetime(&DateTime::from_secs(i64::MAX)), DURATION);
    }
}
