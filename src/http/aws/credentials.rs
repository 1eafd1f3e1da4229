//! Who stands at the door: a signature's or a token's proof.

use std::sync::Arc;

use actix_web::{
    HttpRequest,
    http::header::AUTHORIZATION,
    web::{Bytes, Payload},
};
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use time::OffsetDateTime;

use super::reply::Exception;
use crate::{
    authn::sigv4::{SignatureError, SignedRequest},
    domain::{Principal, Region},
    gateway::Gateway,
    http::{body::time_limit, caller, peer::Peer},
};

/// The longest body that is read to check its hash, in bytes. The five operations have
/// no body. Of Glacier's other operations, those with a long body sign its hash in a
/// header; the longest of the rest is a vault policy, at most 20 KiB.
const MAX_BODY: usize = 64 * 1024;

/// A proven caller.
pub(super) struct Proven {
    pub(super) principal: Arc<Principal>,
    /// The gateway key that signed the request.
    pub(super) access_key_id: Option<String>,
    /// The region that the request was signed for; a token has none.
    pub(super) region: Option<Region>,
    /// Whether the request came with a body.
    pub(super) has_body: bool,
}

/// Proves who sent `request`: by `Authorization: AWS4-HMAC-SHA256` with a gateway
/// key, or by `Authorization: Bearer`.
pub(super) async fn prove(
    request: &HttpRequest,
    payload: Payload,
    gateway: &Gateway,
    peer: Option<Peer>,
) -> Result<Proven, Exception> {
    let headers: Vec<(&str, &[u8])> =
        request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    if is_presigned(request.query_string()) {
        return Err(Exception::presigned());
    }
    let scheme = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes());
    if scheme.is_some_and(|value| has_prefix(value, b"bearer ")) {
        let principal = caller::by_token(request, gateway, peer).await?;
        let has_body = is_some(&read(request, payload).await?);
        return Ok(Proven { principal, access_key_id: None, region: None, has_body });
    }
    if scheme.is_none() {
        return Err(SignatureError::Missing.into());
    }
    caller::look_at_credentials(gateway, peer, || false)?;

    let body = read(request, payload).await?;
    let unread = SignedRequest {
        method: request.method().as_str(),
        target: request.uri().path_and_query().map_or("/", |target| target.as_str()),
        headers: &headers,
        payload_sha256: "",
    };
    let announced = unread.header("x-amz-content-sha256")?;
    let computed = body.as_ref().map(|body| HEXLOWER.encode(digest(&SHA256, body).as_ref()));
    let payload_sha256 = match (announced, &computed) {
        (Some(announced), Some(computed)) if announced != computed => {
            return Err(Exception::body_altered());
        }
        (_, Some(computed)) => computed,
        // Too long to be read, and so for no operation that is offered: the hash
        // that was signed tells at least who tries.
        (Some(announced), None) => announced,
        (None, None) => return Err(Exception::not_offered()),
    };
    let signed_by = gateway
        .keys
        .verify(&SignedRequest { payload_sha256, ..unread }, OffsetDateTime::now_utc())?;
    Ok(Proven {
        principal: Arc::new(signed_by.principal),
        access_key_id: Some(signed_by.access_key_id),
        region: Some(signed_by.region),
        has_body: is_some(&body),
    })
}

fn has_prefix(value: &[u8], prefix: &[u8]) -> bool {
    value.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Whether the query holds a signature, as that of a presigned URL does.
fn is_presigned(query: &str) -> bool {
    url::form_urlencoded::parse(query.as_bytes())
        .any(|(name, _)| has_prefix(name.as_bytes(), b"x-amz-"))
}

/// The body, or `None` if it is too long to be read.
async fn read(request: &HttpRequest, payload: Payload) -> Result<Option<Bytes>, Exception> {
    let body = tokio::time::timeout(time_limit(request), payload.to_bytes_limited(MAX_BODY));
    match body.await {
        Ok(Ok(Ok(body))) => Ok(Some(body)),
        Ok(Err(_)) => Ok(None),
        Ok(Ok(Err(_))) | Err(_) => Err(Exception::body_cut()),
    }
}

/// Whether a body has anything in it.
fn is_some(body: &Option<Bytes>) -> bool {
    body.as_ref().is_none_or(|body| !body.is_empty())
}
