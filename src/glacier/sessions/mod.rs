//! Sessions of the accounts' roles (STS API Reference, "AssumeRole").
//!
//! A session is for one identity in one account, and is handed out for no other. While a
//! session is usable nobody waits for the next one, which one flight fetches ahead of time.
//! What goes wrong concerns the identity and the account alone that it went wrong for.

mod assume;
mod identity;
mod tried;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use aws_sdk_sts::{Client, operation::assume_role::builders::AssumeRoleFluentBuilder, types::Tag};
use moka::{policy::EvictionPolicy, sync::Cache};
use tokio::sync::watch;

pub use self::{assume::Session, tried::RoleStatus};
use self::{
    assume::{DURATION, Unusable, assume},
    tried::{Outcome, Tried},
};
pub(super) use self::{
    assume::{ExternalIdFrom, Role, read_external_id},
    identity::Identity,
};

/// How long nobody asks again for a session that was not to be had.
const PAUSE: Duration = Duration::from_secs(3);
/// How many sessions are kept: those of 500 accounts and 40 teams.
const MOST: u64 = 20_000;

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
            (Some(session), failure) if session.is_usable(now) => {
                if !session.is_due(now) || self.under_way || failure.is_some() {
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
        let key = key(role, &identity);
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
        let now = Instant::now();
        let ahead = self.slot.borrow().session.as_ref().is_some_and(|last| last.is_usable(now));
        let result = assume(request, &self.role, name.clone()).await;
        let role_arn = self.role.arn.as_str();
        if let Err(failure) = &result {
            tracing::warn!(role_arn, cause = failure.cause(), "a role cannot be assumed");
        }
        let outcome = match &result {
            Ok(_) if ahead => Outcome::Refreshed,
            Ok(_) => Outcome::New,
            Err(failure) => Outcome::Failed(failure.said().to_owned()),
        };
        self.tried.note(&self.role.arn, &name, outcome);
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

/// What tells the sessions of an identity from all others.
fn key(role: &Role, identity: &Identity<'_>) -> String {
    let external_id = match &role.external_id {
        None => String::new(),
        Some(ExternalIdFrom::Settings(id)) => id.as_str().to_owned(),
        Some(ExternalIdFrom::File(path, _)) => format!("\n{}", path.display()),
    };
    // Only a path, which is last, may have a line's end.
    [role.arn.as_str(), "\n", &identity.text(), "\n", &external_id].concat()
}
