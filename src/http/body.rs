//! Bodies of requests, which must be short and arrive in time.

use std::{future::Future, pin::Pin, time::Duration};

use actix_web::{
    Error, FromRequest, HttpRequest, dev,
    http::StatusCode,
    web::{Bytes, Data, Json, JsonConfig, Payload},
};
use serde::de::DeserializeOwned;

use super::problem::{Code, Problem};
use crate::{config::ServerLimits, gateway::Gateway};

/// The longest body of most operations, in bytes.
const LONGEST: usize = 2 << 20;

/// A body as JSON.
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for JsonBody<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let json = Json::<T>::from_request(request, payload);
        let limit = time_limit(request);
        Box::pin(async move {
            match tokio::time::timeout(limit, json).await {
                Ok(Ok(Json(value))) => Ok(Self(value)),
                Ok(Err(error)) if is_too_long(&error) => {
                    Err(Problem::new(Code::BodyTooLong, format!("Send a shorter body: {error}.")))
                }
                Ok(Err(error)) => Err(Problem::new(
                    Code::MalformedRequest,
                    format!("Send a body as JSON that the operation knows: {error}."),
                )),
                Err(_) => Err(too_slow(limit)),
            }
        })
    }
}

/// How most operations read JSON, if bodies may be as long as the settings say.
pub fn json_config(settings: &ServerLimits) -> JsonConfig {
    JsonConfig::default().limit(LONGEST.min(settings.body_size))
}

/// How long the body of `request` may take to arrive.
pub fn time_limit(request: &HttpRequest) -> Duration {
    let gateway = request.app_data::<Data<Gateway>>();
    gateway.map_or(Duration::MAX, |gateway| gateway.settings.limits.server.body_timeout)
}

/// What to answer to a body that took longer than `limit`.
pub fn too_slow(limit: Duration) -> Problem {
    Problem::new(
        Code::RequestTimeout,
        format!("Send the whole body within {}.", humantime::format_duration(limit)),
    )
}

/// Reads the body of `request` as it is, of at most `most` bytes.
///
/// # Errors
/// A body that is longer, or does not arrive in time.
pub async fn read(request: &HttpRequest, payload: Payload, most: usize) -> Result<Bytes, Problem> {
    let limit = time_limit(request);
    match tokio::time::timeout(limit, payload.to_bytes_limited(most)).await {
        Ok(Ok(Ok(body))) => Ok(body),
        Ok(Ok(Err(error))) => {
            Err(Problem::new(Code::MalformedRequest, format!("Send a whole body: {error}.")))
        }
        Ok(Err(_)) => Err(Problem::new(
            Code::BodyTooLong,
            format!("Send a shorter body: this operation reads {most} bytes."),
        )),
        Err(_) => Err(too_slow(limit)),
    }
}

fn is_too_long(error: &Error) -> bool {
    error.as_response_error().status_code() == StatusCode::PAYLOAD_TOO_LARGE
}
