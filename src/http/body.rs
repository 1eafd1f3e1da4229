//! Bodies of requests, which must be short and arrive in time.

use std::{future::Future, pin::Pin, time::Duration};

use actix_web::{
    Error, FromRequest, HttpRequest, dev,
    http::StatusCode,
    web::{Bytes, Json, Payload},
};
use serde::de::DeserializeOwned;

use super::problem::{Code, Problem};

/// How long a body may take to arrive.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A body as JSON.
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for JsonBody<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let json = Json::<T>::from_request(request, payload);
        Box::pin(async move {
            match tokio::time::timeout(BODY_TIMEOUT, json).await {
                Ok(Ok(Json(value))) => Ok(Self(value)),
                Ok(Err(error)) if is_too_long(&error) => {
                    Err(Problem::new(Code::BodyTooLong, format!("Send a shorter body: {error}.")))
                }
                Ok(Err(error)) => Err(Problem::new(
                    Code::MalformedRequest,
                    format!("Send a body as JSON that the operation knows: {error}."),
                )),
                Err(_) => Err(Problem::new(
                    Code::RequestTimeout,
                    format!("Send the whole body within {} seconds.", BODY_TIMEOUT.as_secs()),
                )),
            }
        })
    }
}

/// Reads a body as it is, of at most `most` bytes.
///
/// # Errors
/// A body that is longer, or does not arrive in time.
pub async fn read(payload: Payload, most: usize) -> Result<Bytes, Problem> {
    match tokio::time::timeout(BODY_TIMEOUT, payload.to_bytes_limited(most)).await {
        Ok(Ok(Ok(body))) => Ok(body),
        Ok(Ok(Err(error))) => {
            Err(Problem::new(Code::MalformedRequest, format!("Send a whole body: {error}.")))
        }
        Ok(Err(_)) => Err(Problem::new(
            Code::BodyTooLong,
            format!("Send a shorter body: this operation reads {most} bytes."),
        )),
        Err(_) => Err(Problem::new(
            Code::RequestTimeout,
            format!("Send the whole body within {} seconds.", BODY_TIMEOUT.as_secs()),
        )),
    }
}

fn is_too_long(error: &Error) -> bool {
    error.as_response_error().status_code() == StatusCode::PAYLOAD_TOO_LARGE
}
