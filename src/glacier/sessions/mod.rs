//! Sessions of the accounts' roles (STS API Reference, "AssumeRole").
//!
//! A session is for one identity in one account, and is handed out for no other. While a
//! session is usable nobody waits for the next one, which one flight fetches ahead of time.
//! What goes wrong concerns the identity and the account alone that it went wrong for.

mod identity;
mod tried;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use aws_credential_types::Credentials;
use aws_sdk_sts::{
    Client,
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::BeforeDeserializationInterceptorContextRef,
    },
    error::{BoxError, DisplayErrorContext, ProvideErrorMetadata, SdkError},
    operation::assume_role::{AssumeRoleError, builders::AssumeRoleFluentBuilder},
    primitives::{DateTime, DateTimeFormat},
    types::Tag,
};
use moka::{policy::EvictionPolicy, sync::Cache};
use tokio::sync::watch;

pub(super) use self::identity::Identity;
pub use self::tried::RoleStatus;
use self::tried::{Outcome, Tried};
use super::{
    UpstreamError, UpstreamErrorKind,
    error::{bounded, lacks_credentials, lacks_descriptors},
};
use crate::{
    config::{ExternalId, RoleArn},
    domain::Operation,
    files::{self, Reader},
};

/// The longest that a session of a role may last if the gateway's own credentials are a
/// role's as well (IAM User Guide, "Role chaining"). It is also the shortest that a role can
/// be made to allow at most.
const DURATION: Duration = Duration::from_secs(3600);
/// A session is not used for the last of its time, for a request may need a while.
const MARGIN: Duration = Duration::from_secs(60);
/// A shorter session is none.
const SHORTEST: Duration = Duration::from_secs(1);
/// How long nobody asks again for a session that was not to be had.
const PAUSE: Duration = Duration::from_secs(3);
/// How many sessions are kept: those of 500 accounts and 40 teams.
const MOST: u64 = 20_000;

/// A role that the gateway assumes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Role {
    pub(super) arn: RoleArn,
    pub(super) external_id: Option<ExternalIdFrom>,
}

/// Where a role's external ID stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ExternalIdFrom {
    Settings(ExternalId),
    File(PathBuf),
}

/// A session of a role, for one identity.
#[derive(Debug)]
pub struct Session {
    credentials: Arc<Credentials>,
    name: String,
    usable_until: Instant,
    refresh_from: Instant,
}

impl Session {
    /// What signs for it.
    pub(super) fn credentials(&self) -> &Arc<Credentials> {
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
pub(super) struct Unusable {
    kind: UpstreamErrorKind,
    /// STS's own code, or what became of the request.
    said: String,
    /// The whole story, for the log alone.
    cause: String,
}

impl Unusable {
    /// The whole story.
    pub(super) fn cause(&self) -> &str {
        &self.cause
    }

    /// What it means to a call.
    pub(super) fn error(&self, operation: Operation) -> UpstreamError {
        UpstreamError::without_session(self.kind, operation, &self.said, &self.cause)
    }
}

/// All sessions.
pub(super) struct Sessions {
    sts: Client,
    /// By role and identity.
    slots: Cache<String, Arc<Slot>>,
    tried: Arc<Tried>,
}

type Slot = watch::Sender<State>;

/// The session of one identity in one account.
#[derive(Default)]
struct State {
    session: Option<Arc<Session>>,
    failure: Option<(Instant, Arc<Unusable>)>,
    /// Whether a session is on its way.
    under_way: bool,
}

/// What a look at a state finds.
enum Look {
    Usable(Arc<Session>),
    /// Usable, and time to fetch the next one.
    Due(Arc<Session>),
    Failed(Arc<Unusable>),
    Nothing,
}

impl State {
    fn look(&self, now: Instant) -> Look {
        let failure = self.failure.as_ref().filter(|(at, _)| now < *at + PAUSE);
        match (&self.session, failure) {
            (Some(session), failure) if now < session.usable_until => {
                if now < session.refresh_from || self.under_way || failure.is_some() {
                    Look::Usable(session.clone())
                } else {
                    Look::Due(session.clone())
                }
            }
            (_, Some((_, failure))) => Look::Failed(failure.clone()),
            _ => Look::Nothing,
        }
    }
}

impl Sessions {
    /// Sessions that `sts` gives.
    pub(super) fn new(sts: Client) -> Self {
        // A session that is new must find a place, lest it be fetched for every request.
        let lru = EvictionPolicy::lru();
        let slots = Cache::builder().max_capacity(MOST).eviction_policy(lru);
        let slots = slots.time_to_idle(DURATION).build();
        Self { sts, slots, tried: Arc::default() }
    }

    /// How it went with the role; `None` if nobody has tried to assume it.
    pub(super) fn status(&self, role: &Role) -> Option<RoleStatus> {
        self.tried.status(&role.arn)
    }

    /// The session of `identity` in the role's account.
    ///
    /// # Errors
    /// When there is none, and none is to be had.
    pub(super) async fn get(
        &self,
        role: &Arc<Role>,
        identity: Identity<'_>,
    ) -> Result<Arc<Session>, Arc<Unusable>> {
        let key = role.key(&identity);
        let slot = match self.slots.get(&key) {
            Some(slot) => slot,
            None => self.slots.get_with(key, Arc::default),
        };
        let mut changes = None;
        loop {
            let look = slot.borrow().look(Instant::now());
            match look {
                Look::Usable(session) => return Ok(session),
                Look::Due(session) => {
                    self.fetch(&slot, role, identity);
                    return Ok(session);
                }
                Look::Failed(failure) => return Err(failure),
                Look::Nothing => {}
            }
            // What changes from now on is heard of. What has changed is seen at the next look.
            let Some(changes) = &mut changes else {
                changes = Some(slot.subscribe());
                continue;
            };
            self.fetch(&slot, role, identity);
            let _ = changes.changed().await;
        }
    }

    /// Fetches a session, unless one is on its way. It arrives whether or not somebody still
    /// waits for it.
    fn fetch(&self, slot: &Arc<Slot>, role: &Arc<Role>, identity: Identity<'_>) {
        let mut first = false;
        slot.send_if_modified(|state| {
            first = !std::mem::replace(&mut state.under_way, true);
            false
        });
        if first {
            let (slot, tried) = (slot.clone(), self.tried.clone());
            let flight = Flight { slot, tried, role: role.clone(), arrived: None };
            tokio::spawn(flight.fly(self.request(role, identity), identity.name()));
        }
    }

    fn request(&self, role: &Role, identity: Identity<'_>) -> AssumeRoleFluentBuilder {
        let tag = |(key, value)| Tag::builder().key(key).value(value).build().ok();
        let name = identity.name();
        self.sts
            .assume_role()
            .role_arn(role.arn.as_str())
            .role_session_name(&name)
            .source_identity(name)
            .set_tags(identity.tags().into_iter().map(tag).collect())
            .duration_seconds(DURATION.as_secs() as i32)
    }
}

/// A session on its way.
struct Flight {
    slot: Arc<Slot>,
    tried: Arc<Tried>,
    role: Arc<Role>,
    arrived: Option<Result<Session, Unusable>>,
}

impl Flight {
    async fn fly(mut self, request: AssumeRoleFluentBuilder, name: String) {
        let result = assume(request, &self.role, name).await;
        let role_arn = self.role.arn.as_str();
        if let Err(Unusable { cause, .. }) = &result {
            tracing::warn!(role_arn, cause, "a role cannot be assumed");
        }
        self.tried.note(
            &self.role.arn,
            match &result {
                Ok(_) if self.slot.borrow().session.is_some() => Outcome::Refreshed,
                Ok(_) => Outcome::New,
                Err(failure) => Outcome::Failed(failure.said.clone()),
            },
        );
        self.arrived = Some(result);
    }
}

/// Also if it was lost, others may try.
impl Drop for Flight {
    fn drop(&mut self) {
        let lost = || Err(Unusable::new("nothing", "the request was given up"));
        let arrived = self.arrived.take().unwrap_or_else(lost);
        self.slot.send_modify(|state| {
            state.under_way = false;
            match arrived {
                Ok(session) => {
                    (state.session, state.failure) = (Some(Arc::new(session)), None);
                }
                Err(failure) => state.failure = Some((Instant::now(), Arc::new(failure))),
            }
        });
    }
}

async fn assume(
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
    let lifetime = date.until(&credentials.expiration);
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
    // Sessions that began together are not refreshed together.
    let refresh = lifetime.mul_f64(0.7 + 0.2 * rand::random::<f64>());
    Ok(Session {
        credentials: Arc::new(session),
        name,
        usable_until: now + (lifetime - MARGIN.min(lifetime / 10)),
        refresh_from: now + refresh,
    })
}

impl Role {
    /// What tells its sessions from all others.
    fn key(&self, identity: &Identity<'_>) -> String {
        let external_id = match &self.external_id {
            None => String::new(),
            Some(ExternalIdFrom::Settings(id)) => id.as_str().to_owned(),
            Some(ExternalIdFrom::File(path)) => format!("\n{}", path.display()),
        };
        // None of the parts but a path has a line's end, and a path no identity's comma.
        [self.arn.as_str(), "\n", &identity.text(), "\n", &external_id].concat()
    }

    async fn external_id(&self) -> Result<Option<String>, Unusable> {
        let path = match &self.external_id {
            None => return Ok(None),
            Some(ExternalIdFrom::Settings(id)) => return Ok(Some(id.as_str().to_owned())),
            Some(ExternalIdFrom::File(path)) => path.clone(),
        };
        let shown = path.display().to_string();
        let read = Reader::default().read(move |_| files::read(&path, 4096)).await.flatten();
        let unusable = |error: &dyn std::fmt::Display| {
            Unusable::new("nothing", &format!("the external ID in {shown}: {error}"))
        };
        let text = String::from_utf8(read.map_err(|error| unusable(&error))?)
            .map_err(|error| unusable(&error))?;
        let id = ExternalId::try_from(text.trim().to_owned()).map_err(|error| unusable(&error))?;
        Ok(Some(id.as_str().to_owned()))
    }
}

impl Unusable {
    fn new(said: &str, cause: &str) -> Self {
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
            SdkError::TimeoutError(_) => "nothing in time",
            SdkError::DispatchFailure(_) => "nothing: there is no connection",
            error => error.code().unwrap_or("something that cannot be understood"),
        };
        let cause = format!("AssumeRole: {}", DisplayErrorContext(&error));
        Self { kind, said: bounded(said.to_owned()), cause: bounded(cause) }
    }
}

/// What STS took for the time when it answered. How long a session lasts is measured from
/// then: our clock may be wrong.
#[derive(Clone, Debug, Default)]
struct ServerDate(Arc<Mutex<Option<SystemTime>>>);

impl ServerDate {
    /// How long it was from then until `moment`.
    fn until(&self, moment: &DateTime) -> Duration {
        let date = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let moment = SystemTime::try_from(*moment).unwrap_or(SystemTime::UNIX_EPOCH);
        moment.duration_since(date.unwrap_or_else(SystemTime::now)).unwrap_or_default()
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
