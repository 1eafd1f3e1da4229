//! Bodies of requests, which must be short and arrive in time.

use std::{future::Future, pin::Pin, time::Duration};

use actix_web::{Error, FromRequest, HttpRequest, dev::Payload, http::StatusCode, web::Json};
use serde::de::DeserializeOwned;

use super::problem::{Code, Problem};

/// How long a body may take to arrive.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A body as JSON.
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for JsonBody<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
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

fn is_too_long(error: &Error) -> bool {
    error.as_response_error().status_code() == StatusCode::PAYLOAD_TOO_LARGE
}
