//! Who is calling over HTTP, and what policies may ask about their request.

use std::{future::Future, pin::Pin, sync::Arc};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::header::{AUTHORIZATION, USER_AGENT},
    web::Data,
};
use time::OffsetDateTime;

use super::{
    observe::Arrival,
    peer::Peer,
    problem::{Code, Problem},
};
use crate::{
    authn::{CertificateError, ClientCertificate},
    domain::{CLIENT_CERTIFICATES, Principal},
    gateway::{Call, Gateway},
    policy::{Context, MAX_GIVEN_VALUE},
};

/// A handler that takes a call first serves no stranger.
impl FromRequest for Call {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let (Some(gateway), Some(arrival)) =
                (request.app_data::<Data<Gateway>>(), Arrival::of(&request))
            else {
                return Err(Problem::new(Code::InternalError, "The gateway is not set up."));
            };
            let mut span = arrival.trace.span("authenticate");
            let proven = prove(&request, gateway, arrival.peer).await;
            match &proven {
                Ok(principal) => span.text("glacier_gateway.issuer", Some(&principal.issuer)),
                Err(problem) => span.fail(problem.code.as_str()),
            }
            drop(span);
            let principal = proven.inspect_err(|problem| {
                refused(&request, gateway, arrival.peer, problem.code.as_str());
            })?;
            call(&request, gateway, arrival, principal)
        })
    }
}

/// The call of a proven caller, which is within its limits.
///
/// # Errors
/// It asks too much; or see [`context`].
pub fn call(
    request: &HttpRequest,
    gateway: &Arc<Gateway>,
    arrival: Arrival,
    principal: Arc<Principal>,
) -> Result<Call, Problem> {
    arrival.recorder.edit().principal = Some(principal.clone());
    let admission = gateway.admit(&principal);
    let admission = admission.inspect_err(|excess| arrival.note_limits(&excess.standings))?;
    arrival.note_limits(&admission.standings);
    let context = context(request, arrival.peer)?;
    let call = Call::new(gateway.clone(), principal, context, arrival.recorder);
    Ok(call.admitted(admission))
}

async fn prove(
    request: &HttpRequest,
    gateway: &Gateway,
    peer: Option<Peer>,
) -> Result<Arc<Principal>, Problem> {
    match certified(request, gateway)? {
        Some(principal) => Ok(principal),
        None => by_token(request, gateway, peer).await,
    }
}

/// The caller by its bearer token.
pub async fn by_token(
    request: &HttpRequest,
    gateway: &Gateway,
    peer: Option<Peer>,
) -> Result<Arc<Principal>, Problem> {
    let token = bearer(request)?;
    // One that was verified before costs little.
    look_at_credentials(gateway, peer, || gateway.authenticator.knows(token))?;
    let certificate = request.conn_data::<ClientCertificate>();
    Ok(gateway.authenticator.authenticate(token, certificate).await?)
}

/// Whether the caller's credentials may be looked at.
///
/// # Errors
/// Too many from its address were refused, and these are not `known` to be good.
pub fn look_at_credentials(
    gateway: &Gateway,
    peer: Option<Peer>,
    known: impl FnOnce() -> bool,
) -> Result<(), Problem> {
    let retry_after = gateway.suspension(peer.and_then(|peer| peer.address));
    if retry_after.is_none() || known() {
        return Ok(());
    }
    gateway.metrics.limited("refused-credentials");
    let detail = "Too many credentials from your address were refused lately, so these were not \
                  looked at; send good ones, and try again later.";
    Err(Problem { retry_after, ..Problem::new(Code::TooManyRefusedCredentials, detail) })
}

/// Counts a request whose caller proved nothing, in the trail and, if it tried, against its
/// address.
pub fn refused(request: &HttpRequest, gateway: &Gateway, peer: Option<Peer>, code: &'static str) {
    let credentials = request.headers().get(AUTHORIZATION).map(|value| value.to_str());
    let issuer = match credentials {
        Some(Ok(text)) => match text.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                gateway.authenticator.claimed_issuer(token.trim())
            }
            _ => gateway.keys.claimed_issuer(text),
        },
        Some(Err(_)) => None,
        None => request.conn_data::<ClientCertificate>().map(|_| CLIENT_CERTIFICATES),
    };
    let source = peer.and_then(|peer| peer.address);
    if credentials.is_some() && code != Code::IssuerUnavailable.as_str() {
        gateway.refused_credentials(source);
    }
    gateway.trail.refused_authentication(source, issuer, code);
}

/// What policies can ask about the request itself.
///
/// # Errors
/// A connection that is gone with its address, and a `User-Agent` that is too long for
/// policies to be asked about it, or a second one.
fn context(request: &HttpRequest, peer: Option<Peer>) -> Result<Context, Problem> {
    // A caller that resets its connection at once takes its address with it. A Deny that
    // asks for the address would be void.
    let Some(peer) = peer else {
        let detail = "The connection was closed before its address could be read.";
        return Err(Problem::new(Code::MalformedRequest, detail));
    };
    let mut context = Context::new(OffsetDateTime::now_utc(), peer.secure);
    if let Some(address) = peer.address {
        context = context.source_ip(address);
    }
    let mut given = request.headers().get_all(USER_AGENT);
    let user_agent = given.next();
    // Policies are asked about one, and a Deny could be about the other.
    if given.next().is_some() {
        let detail = "The request has two User-Agent headers: send one.";
        return Err(Problem::new(Code::MalformedRequest, detail));
    }
    if user_agent.is_some_and(|value| value.len() > MAX_GIVEN_VALUE) {
        let detail =
            format!("The User-Agent header is longer than {MAX_GIVEN_VALUE} bytes: shorten it.");
        return Err(Problem::new(Code::MalformedRequest, detail));
    }
    // With bytes that are not text it is still there, lest a Deny that asks for it be void.
    Ok(match user_agent {
        Some(value) => context.user_agent(&String::from_utf8_lossy(value.as_bytes())),
        None => context,
    })
}

/// The caller by its certificate, where it has one and no token says who is calling.
fn certified(
    request: &HttpRequest,
    gateway: &Gateway,
) -> Result<Option<Arc<Principal>>, CertificateError> {
    match request.conn_data::<ClientCertificate>() {
        Some(certificate) if !request.headers().contains_key(AUTHORIZATION) => {
            gateway.authenticator.identify(certificate.names()?).map(Some)
        }
        _ => Ok(None),
    }
}

/// The token of `Authorization: Bearer` (RFC 6750, section 2.1).
pub fn bearer(request: &HttpRequest) -> Result<&str, Problem> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let missing = || {
        Problem::new(
            Code::TokenMissing,
            "Send your token in the header \"Authorization: Bearer TOKEN\".",
        )
    };
    let header = headers.next().ok_or_else(missing)?;
    if headers.next().is_some() {
        return Err(Problem::new(Code::TokenInvalid, "The request has two Authorization headers."));
    }
    let text = std::str::from_utf8(header.as_bytes()).ok().filter(|text| text.is_ascii());
    let text = text.ok_or_else(|| {
        Problem::new(Code::TokenInvalid, "The Authorization header is not plain ASCII.")
    })?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(missing()),
    }
}
