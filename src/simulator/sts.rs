//! As much of AWS STS as a gateway of many accounts needs: `AssumeRole`, at the same
//! endpoint as Glacier (STS API Reference; IAM User Guide, "Pass session tags in STS",
//! "Monitor and control actions taken with assumed roles", "Role chaining").

use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header::DATE},
    web,
};
use rand::RngCore;
use time::{Duration, format_description::well_known::Rfc3339};
use url::form_urlencoded;

use super::{
    config::Role,
    error::GlacierError,
    faults::Effect,
    operation::{Operation, Wanted},
    received::Received,
    reply::{Reply, http_date, spoil},
    sessions::Session,
    signature,
    state::Simulator,
    uploads::random_id,
};
use crate::authn::sigv4::SignedRequest;

/// The longest body that is read.
const MAX_BODY: usize = 64 * 1024;
const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// Whether a request is STS's.
pub(super) fn is_meant(request: &HttpRequest) -> bool {
    request.method() == "POST" && request.uri().path() == "/"
}

/// Serves a request to STS.
pub(super) async fn serve(
    request: &HttpRequest,
    headers: &[(String, String)],
    payload: web::Payload,
    simulator: &Simulator,
) -> HttpResponse {
    let Ok(Ok(body)) = payload.to_bytes_limited(MAX_BODY).await else {
        return HttpResponse::BadRequest().finish();
    };
    let parameters: HashMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
    let role_arn = parameters.get("RoleArn").map(String::as_str).unwrap_or_default();
    // arn:aws:iam::ACCOUNT:role/NAME
    let account = role_arn.split(':').nth(4).unwrap_or_default().to_owned();
    let operation = Operation::AssumeRole;
    let wanted = Wanted { operation, account, vault: String::new(), upload: String::new() };
    let strike = {
        let mut state = simulator.state();
        let at = state.clock.now();
        let received = Received::new(request, headers, Some(operation), at);
        state.received.push(received.with_body(String::from_utf8_lossy(&body).into_owned()));
        state.faults.strike(Some(&wanted), Instant::now())
    };
    tokio::time::sleep(strike.delay).await;
    let refusal = match strike.effect {
        None => None,
        Some(Effect::Throttle | Effect::RateLimit { .. }) => {
            Some(GlacierError::new(StatusCode::BAD_REQUEST, "Throttling", "Rate exceeded"))
        }
        Some(Effect::Unavailable) => {
            let (status, code) = (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable");
            Some(GlacierError::new(status, code, "Service Unavailable"))
        }
        Some(Effect::Error { status, code, message }) => {
            Some(GlacierError { status, code, message })
        }
        Some(effect) => return spoil(effect, Reply::no_content, request, simulator).await,
    };
    let answer = match refusal {
        Some(refusal) => Err(refusal),
        None => assume_role(request, headers, &body, &parameters, simulator),
    };
    let (status, xml) = match answer {
        Ok(xml) => (StatusCode::OK, xml),
        Err(error) => {
            let status = StatusCode::from_u16(error.status);
            (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), error_xml(&error))
        }
    };
    HttpResponse::build(status)
        .insert_header((DATE, http_date(simulator)))
        .insert_header(("x-amzn-RequestId", random_id(35)))
        .content_type("text/xml")
        .body(xml)
}

fn assume_role(
    request: &HttpRequest,
    headers: &[(String, String)],
    body: &[u8],
    parameters: &HashMap<String, String>,
    simulator: &Simulator,
) -> Result<String, GlacierError> {
    let mut state = simulator.state();
    let now = state.clock.wall();
    let headers: Vec<(&str, &[u8])> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let signed = SignedRequest {
        method: request.method().as_str(),
        target: request.uri().path_and_query().map_or("/", |target| target.as_str()),
        headers: &headers,
        payload_sha256: &crate::files::sha256(&[body]),
    };
    let caller = signature::verify(&signed, "sts", simulator, &state, now)?;
    if parameters.get("Action").map(String::as_str) != Some("AssumeRole") {
        let message = "Could not find operation for this simulator: only AssumeRole";
        return Err(GlacierError::new(StatusCode::BAD_REQUEST, "InvalidAction", message));
    }
    let asked = Asked::read(parameters)?;
    let denied = || {
        let message = format!(
            "User: {} is not authorized to perform: sts:AssumeRole on resource: {}",
            caller.access_key_id, asked.role_arn
        );
        GlacierError::new(StatusCode::FORBIDDEN, "AccessDenied", message)
    };
    let role: &Role = simulator
        .config
        .roles
        .iter()
        .find(|role| role.arn == asked.role_arn)
        .filter(|role| role.external_id.is_none() || role.external_id == asked.external_id)
        .ok_or_else(denied)?;
    // What the caller's own session has been given, it passes on.
    let own = state.sessions.get(&caller.access_key_id);
    let behaviour = &state.sessions.behaviour;
    let source_identity = match own {
        Some(own) => own.source_identity.clone(),
        None => behaviour.source_identity.clone(),
    };
    if source_identity.is_some() && asked.source_identity != source_identity {
        return Err(denied());
    }
    let inherited = if own.is_none() { behaviour.transitive_tags.clone() } else { BTreeMap::new() };
    let is_inherited = |key: &str| inherited.keys().any(|own| own.eq_ignore_ascii_case(key));
    if let Some(key) = asked.tags.keys().find(|key| is_inherited(key)) {
        let message = format!(
            "One of the specified transitive tag keys can't be set because it conflicts with a \
             transitive tag key from the calling session: {key}"
        );
        return Err(GlacierError::new(StatusCode::BAD_REQUEST, "InvalidParameterValue", message));
    }
    if own.is_some() && asked.duration > 3600 {
        return Err(invalid(
            "The requested DurationSeconds exceeds the 1 hour session limit for \
                            roles assumed by role chaining",
        ));
    }
    let lifetime = behaviour.lifetime_seconds.unwrap_or(asked.duration);
    let mut random = [0; 8];
    rand::rng().fill_bytes(&mut random);
    let given = behaviour.session_token.clone();
    let (secret, token) = (random_id(30), given.unwrap_or_else(|| random_id(96)));
    let session = Session {
        access_key_id: format!("ASIA{}", hex::encode_upper(random)),
        secret_access_key: secret.clone().into(),
        session_token: token.clone().into(),
        expiration: now + Duration::seconds(lifetime.into()),
        account_id: role.account_id.to_string(),
        role_arn: asked.role_arn,
        role_session_name: asked.role_session_name,
        source_identity: asked.source_identity,
        tags: inherited.into_iter().chain(asked.tags).collect(),
    };
    let xml = session.xml(&secret, &token);
    state.sessions.add(session);
    Ok(xml)
}

/// The parameters of `AssumeRole`, checked as STS's model says.
struct Asked {
    role_arn: String,
    role_session_name: String,
    source_identity: Option<String>,
    external_id: Option<String>,
    duration: u32,
    tags: BTreeMap<String, String>,
}

impl Asked {
    fn read(parameters: &HashMap<String, String>) -> Result<Self, GlacierError> {
        let get = |name: &str| parameters.get(name).cloned();
        let required =
            |name: &str| get(name).ok_or_else(|| invalid(&format!("{name} is required")));
        let name = |text: String| {
            let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
            let fits = (2..=64).contains(&text.len()) && text.bytes().all(good);
            if fits {
                Ok(text)
            } else {
                Err(invalid(&format!("{text:?} has not 2 to 64 of [\\w+=,.@-]")))
            }
        };
        let duration = match get("DurationSeconds") {
            None => 3600,
            Some(text) => text
                .parse()
                .ok()
                .filter(|seconds| (900..=43_200).contains(seconds))
                .ok_or_else(|| invalid("DurationSeconds is 900 to 43200"))?,
        };
        let mut tags = BTreeMap::new();
        for number in 1..=51 {
            let member = |part: &str| get(&format!("Tags.member.{number}.{part}"));
            let (Some(key), Some(value)) = (member("Key"), member("Value")) else { break };
            let good = |c: char| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c);
            let fits = (1..=128).contains(&key.chars().count()) && value.chars().count() <= 256;
            if !fits || !key.chars().chain(value.chars()).all(good) {
                return Err(invalid(&format!(
                    "the tag {key:?} has a key or value that is no tag's"
                )));
            }
            if number > 50 || tags.keys().any(|other: &String| other.eq_ignore_ascii_case(&key)) {
                return Err(invalid("there are too many tags, or two of the same key"));
            }
            tags.insert(key, value);
        }
        Ok(Self {
            role_arn: required("RoleArn")?,
            role_session_name: name(required("RoleSessionName")?)?,
            source_identity: get("SourceIdentity").map(name).transpose()?,
            external_id: get("ExternalId"),
            duration,
            tags,
        })
    }
}

fn invalid(message: &str) -> GlacierError {
    GlacierError::new(StatusCode::BAD_REQUEST, "ValidationError", message)
}

impl Session {
    fn xml(&self, secret: &str, token: &str) -> String {
        let Self { access_key_id, role_session_name: name, account_id, .. } = self;
        let partition = self.role_arn.split(':').nth(1).unwrap_or_default();
        let role = self.role_arn.rsplit('/').next().unwrap_or_default();
        let source = self.source_identity.as_deref().unwrap_or_default();
        let expiration = self.expiration.replace_nanosecond(0).unwrap_or(self.expiration);
        let expiration = expiration.format(&Rfc3339).unwrap_or_default();
        format!(
            "<AssumeRoleResponse xmlns=\"{NAMESPACE}\"><AssumeRoleResult>\
             <SourceIdentity>{source}</SourceIdentity><AssumedRoleUser>\
             <Arn>arn:{partition}:sts::{account_id}:assumed-role/{role}/{name}</Arn>\
             <AssumedRoleId>AROASIMULATED:{name}</AssumedRoleId></AssumedRoleUser><Credentials>\
             <AccessKeyId>{access_key_id}</AccessKeyId>\
             <SecretAccessKey>{secret}</SecretAccessKey>\
             <SessionToken>{token}</SessionToken><Expiration>{expiration}</Expiration>\
             </Credentials></AssumeRoleResult><ResponseMetadata><RequestId>{}</RequestId>\
             </ResponseMetadata></AssumeRoleResponse>",
            random_id(16)
        )
    }
}

fn error_xml(error: &GlacierError) -> String {
    let side = if error.status < 500 { "Sender" } else { "Receiver" };
    let message = error.message.replace('&', "&amp;").replace('<', "&lt;");
    format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{side}</Type><Code>{}</Code>\
         <Message>{message}</Message></Error><RequestId>{}</RequestId></ErrorResponse>",
        error.code,
        random_id(16)
    )
}
