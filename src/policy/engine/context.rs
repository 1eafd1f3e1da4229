//! The request context: the facts that conditions and variables can ask for.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use super::resource::Resource;
use crate::domain::{AccountDirectory, AccountFacts, AccountId, Principal};
use crate::policy::language::keys::{self, Known};

/// The longest text, in bytes, that callers may give as the value of a key by
/// themselves: as a `User-Agent`, or in a simulation. A longer one is refused and not
/// cut, since a Deny could miss what is cut off.
pub const MAX_GIVEN_VALUE: usize = 4096;

/// The values of one context key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Values<'a> {
    /// One value.
    One(Cow<'a, str>),
    /// Two or more.
    Many(Vec<Cow<'a, str>>),
}

impl<'a> Values<'a> {
    fn one(value: &'a str) -> Option<Self> {
        Some(Self::One(Cow::Borrowed(value)))
    }

    /// A list of values. An empty one is a key that is absent (IAM User Guide,
    /// "Condition operators", "Null": the key exists and its value is not null).
    fn list(values: impl IntoIterator<Item = Cow<'a, str>>) -> Option<Self> {
        let mut values: Vec<_> = values.into_iter().collect();
        match values.len() {
            0 | 1 => values.pop().map(Self::One),
            _ => Some(Self::Many(values)),
        }
    }

    /// A JSON value as a context key takes it. Objects, nulls and lists in lists are
    /// no values; what stands beside them in a list still counts, lest a Deny that
    /// asks for it be void.
    fn json(value: &'a Value) -> Option<Self> {
        match value {
            Value::Array(values) => Self::list(values.iter().filter_map(scalar)),
            other => scalar(other).map(Self::One),
        }
    }
}

/// A single JSON value's text.
fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text.as_str())),
        Value::Bool(value) => Some(Cow::Borrowed(flag(*value))),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Whether a value holds a text that is longer than callers may give.
fn is_too_long(value: &Value) -> bool {
    match value {
        Value::String(text) => text.len() > MAX_GIVEN_VALUE,
        Value::Array(values) => values.iter().any(is_too_long),
        _ => false,
    }
}

/// Where conditions and variables find their values: the gateway's own request,
/// or the free-form context of a simulation.
pub(crate) trait Facts {
    /// The ARN of the caller.
    fn caller(&self) -> &str;

    /// The values of `key`, which is in lower case (context keys are not
    /// case-sensitive). `None` when the request has no such key.
    fn get(&self, key: &str) -> Option<Values<'_>>;
}

/// What the gateway knows of a request beside the caller, the operation and the
/// resource. Made once per request; deciding only reads it.
#[derive(Clone, Debug)]
pub struct Context {
    source_ip: Option<IpAddr>,
    secure_transport: bool,
    user_agent: Option<String>,
    now: OffsetDateTime,
    via_job: bool,
    /// What few policies ask for, printed when one does.
    printed: Printed,
    upload: Option<Upload>,
    accounts: Option<Arc<AccountDirectory>>,
    /// The account that is asked about, if no resource says so.
    account: Option<AccountId>,
    given: Option<GivenKeys>,
}

/// What a store keeps of a request's context, for what goes on when the request has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptContext {
    /// The caller's address.
    pub source_ip: Option<IpAddr>,
    /// Whether the request came over TLS.
    pub secure_transport: bool,
    /// What called.
    pub user_agent: Option<String>,
}

impl KeptContext {
    /// The context at another time.
    pub fn at(&self, now: OffsetDateTime) -> Context {
        let user_agent = self.user_agent.clone();
        let context = Context::new(now, self.secure_transport);
        Context { source_ip: self.source_ip, user_agent, ..context }
    }
}

#[derive(Clone, Debug, Default)]
struct Printed {
    source_ip: OnceLock<String>,
    current_time: OnceLock<String>,
    epoch_time: OnceLock<String>,
}

/// Facts about one multipart upload, looked up only for policies that ask.
#[derive(Clone, Debug)]
struct Upload {
    age_in_days: String,
    description: Option<String>,
}

impl Context {
    /// The context of a request that arrived at `now`, over TLS or not.
    pub fn new(now: OffsetDateTime, secure_transport: bool) -> Self {
        Self {
            source_ip: None,
            secure_transport,
            user_agent: None,
            now,
            via_job: false,
            printed: Printed::default(),
            upload: None,
            accounts: None,
            account: None,
            given: None,
        }
    }

    /// Sets `aws:SourceIp`: the caller's address, which a trusted proxy may have
    /// reported. An IPv4 address mapped into IPv6 is taken as IPv4.
    pub fn source_ip(mut self, address: IpAddr) -> Self {
        self.source_ip = Some(address.to_canonical());
        self
    }

    /// Sets `aws:UserAgent`.
    pub fn user_agent(mut self, user_agent: &str) -> Self {
        self.user_agent = Some(user_agent.to_owned());
        self
    }

    /// What is to be kept of it.
    pub fn kept(&self) -> KeptContext {
        let Self { source_ip, secure_transport, user_agent, .. } = self;
        KeptContext {
            source_ip: *source_ip,
            secure_transport: *secure_transport,
            user_agent: user_agent.clone(),
        }
    }

    /// Sets `gateway:ViaJob`: a job asks, and not its creator.
    pub fn via_job(mut self) -> Self {
        self.via_job = true;
        self
    }

    /// Sets what `gateway:AccountName` and `gateway:AccountTag/KEY` are found in, by the
    /// account of the resource.
    pub fn accounts(mut self, accounts: Arc<AccountDirectory>) -> Self {
        self.accounts = Some(accounts);
        self
    }

    /// The same for one of the gateway's own actions that is about an account.
    pub fn about(mut self, account: AccountId) -> Self {
        self.account = Some(account);
        self
    }

    /// Makes this the context of a simulation: the given keys go before what
    /// the gateway would fill in, and facts about the upload may be missing.
    ///
    /// # Errors
    /// A key that there is not, that is given twice, or that has no such value.
    pub fn simulate(
        mut self,
        keys: impl IntoIterator<Item = (String, Value)>,
    ) -> Result<Self, InvalidContext> {
        let keys: Vec<_> = keys.into_iter().collect();
        for (key, value) in &keys {
            if let Known::Misspelt { nearest } = keys::look_up(key) {
                return Err(InvalidContext::UnknownKey { key: key.clone(), nearest });
            }
            if is_too_long(value) {
                return Err(InvalidContext::TooLong { key: key.clone() });
            }
        }
        self.given = Some(GivenKeys::new(keys)?);
        Ok(self)
    }

    /// Whether a policy may be asked that reads facts about the upload.
    pub(super) fn knows_upload(&self) -> bool {
        self.upload.is_some() || self.given.is_some()
    }

    /// Sets `gateway:UploadAgeInDays` (whole days from `created` to the
    /// request) and `gateway:UploadDescription`.
    pub fn upload(mut self, age: time::Duration, description: Option<&str>) -> Self {
        self.upload = Some(Upload {
            age_in_days: age.whole_days().to_string(),
            description: description.map(str::to_owned),
        });
        self
    }
}

/// A request of one of the caller's teams: the gateway's own facts.
pub(crate) struct Request<'a> {
    principal: &'a Principal,
    team: &'a str,
    /// None for the gateway's own actions.
    resource: Option<&'a Resource>,
    context: &'a Context,
    arn: OnceCell<String>,
}

impl<'a> Request<'a> {
    pub fn new(
        principal: &'a Principal,
        team: &'a str,
        resource: Option<&'a Resource>,
        context: &'a Context,
    ) -> Self {
        Self { principal, team, resource, context, arn: OnceCell::new() }
    }

    /// The account that the resource is in, or that is asked about.
    fn account_id(&self) -> Option<&AccountId> {
        self.resource.map(Resource::owner).or(self.context.account.as_ref())
    }

    /// What is known of that account.
    fn account(&self) -> Option<&AccountFacts> {
        self.context.accounts.as_ref()?.get(self.account_id()?)
    }
}

impl Facts for Request<'_> {
    fn caller(&self) -> &str {
        self.arn.get_or_init(|| self.principal.arn(self.team))
    }

    fn get(&self, key: &str) -> Option<Values<'_>> {
        let Self { principal, team, resource, context, .. } = self;
        let printed = &context.printed;
        if let Some(given) = context.given.as_ref().and_then(|given| given.get(key)) {
            return given;
        }
        if let Some(tag) = key.strip_prefix("aws:principaltag/") {
            if tag == "team" {
                return Values::one(team);
            }
            let named = |(name, _): &(&String, &String)| lowers_to(name, tag);
            return principal.tags.iter().find(named).and_then(|(_, value)| Values::one(value));
        }
        if let Some(tag) = key.strip_prefix("gateway:accounttag/") {
            let named = |(name, _): &(&String, &String)| lowers_to(name, tag);
            let tags = &self.account()?.tags;
            return tags.iter().find(named).and_then(|(_, value)| Values::one(value));
        }
        if let Some(claim) = key.strip_prefix("jwt:") {
            let named = |(name, _): &(&String, &Value)| lowers_to(name, claim);
            return principal.claims.iter().find(named).and_then(|(_, value)| Values::json(value));
        }
        match key {
            "aws:principalarn" => Values::one(self.caller()),
            "aws:principaltype" => Values::one("FederatedUser"),
            "aws:userid" => {
                let Principal { issuer, subject, .. } = principal;
                Some(Values::One(format!("{issuer}:{subject}").into()))
            }
            "aws:username" => Values::one(&principal.subject),
            "aws:requestedregion" => Values::one(resource.as_ref()?.region().as_str()),
            "aws:resourceaccount" => Values::one(self.account_id()?.as_str()),
            "aws:sourceip" => {
                let address = context.source_ip?;
                Values::one(printed.source_ip.get_or_init(|| address.to_string()))
            }
            "aws:securetransport" => Values::one(flag(context.secure_transport)),
            "aws:currenttime" => Values::one(printed.current_time.get_or_init(|| {
                let utc = context.now.to_offset(UtcOffset::UTC);
                // Formatting fails only for years beyond 9999; a date condition then
                // does not match.
                utc.replace_nanosecond(0).unwrap_or(utc).format(&Rfc3339).unwrap_or_default()
            })),
            "aws:epochtime" => Values::one(
                printed.epoch_time.get_or_init(|| context.now.unix_timestamp().to_string()),
            ),
            "aws:useragent" => context.user_agent.as_deref().and_then(Values::one),
            "gateway:accountname" => Values::one(&self.account()?.name),
            "gateway:actor" => principal.actor().and_then(Values::one),
            "gateway:viajob" => Values::one(flag(context.via_job)),
            "gateway:uploadageindays" => Values::one(&context.upload.as_ref()?.age_in_days),
            "gateway:uploaddescription" => {
                context.upload.as_ref()?.description.as_deref().and_then(Values::one)
            }
            _ => None,
        }
    }
}

fn flag(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// Whether `name` in lower case is `lower`.
fn lowers_to(name: &str, lower: &str) -> bool {
    name.eq_ignore_ascii_case(lower) || (!name.is_ascii() && name.to_lowercase() == lower)
}

/// Context keys given as JSON: `{"key": string | number | bool | [string, …]}`.
/// `null` and `[]` say that a request has no such key.
#[derive(Clone, Debug, Default)]
pub(crate) struct GivenKeys(BTreeMap<String, Value>);

impl GivenKeys {
    /// # Errors
    /// A key that stands there twice, or whose value is none for a context key.
    pub fn new(keys: impl IntoIterator<Item = (String, Value)>) -> Result<Self, InvalidContext> {
        let mut given = BTreeMap::new();
        for (key, value) in keys {
            let fits = match &value {
                Value::Null => true,
                Value::Array(values) => values.iter().all(|value| scalar(value).is_some()),
                other => scalar(other).is_some(),
            };
            if !fits {
                return Err(InvalidContext::Value { key });
            }
            if given.insert(key.to_lowercase(), value).is_some() {
                return Err(InvalidContext::Twice { key });
            }
        }
        Ok(Self(given))
    }

    /// What is said of a key, if anything is.
    fn get(&self, key: &str) -> Option<Option<Values<'_>>> {
        self.0.get(key).map(Values::json)
    }
}

/// Why the context of a simulation cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum InvalidContext {
    /// A key that does not exist.
    #[error("the context key {key:?} does not exist{}", did_you_mean(.nearest.as_deref()))]
    UnknownKey {
        /// The key.
        key: String,
        /// The key that is probably meant.
        nearest: Option<String>,
    },
    /// A value of a type that no context key has.
    #[error("the value of {key:?} must be a string, a number, a boolean or a list of those")]
    Value {
        /// The key.
        key: String,
    },
    /// A value that is longer than those of requests.
    #[error("the value of {key:?} is longer than {MAX_GIVEN_VALUE} bytes: give a shorter one")]
    TooLong {
        /// The key.
        key: String,
    },
    /// A key that is given twice, perhaps in another case.
    #[error("{key:?} is given twice: write several values as a list")]
    Twice {
        /// The key.
        key: String,
    },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("; did you mean {nearest:?}?")).unwrap_or_default()
}

/// The facts of a simulation that stands for itself: a caller and given keys,
/// nothing else.
#[derive(Debug)]
pub(crate) struct Simulated {
    pub caller: String,
    pub keys: GivenKeys,
}

impl Facts for Simulated {
    fn caller(&self) -> &str {
        &self.caller
    }

    fn get(&self, key: &str) -> Option<Values<'_>> {
        self.keys.get(key).flatten()
    }
}
