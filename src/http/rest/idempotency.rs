//! `Idempotency-Key`: what makes a request that is sent twice one request.

use actix_web::HttpRequest;
use utoipa::IntoParams;

use super::super::problem::{Code, Problem};

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// `Idempotency-Key`
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code)]
pub(super) struct KeyHeader {
    /// A second request with this key, by the same caller, makes nothing new: it is answered
    /// as the first one was.
    #[param(
        rename = "Idempotency-Key",
        nullable = false,
        pattern = "^[!-~]+$",
        min_length = 1,
        max_length = 255
    )]
    idempotency_key: Option<String>,
}

/// The key that a request has, if it has one.
pub(super) fn given(request: &HttpRequest) -> Result<Option<String>, Problem> {
    let mut all = request.headers().get_all(IDEMPOTENCY_KEY);
    let Some(key) = all.next() else { return Ok(None) };
    if all.next().is_some() {
        return Err(Problem::new(Code::InvalidParameter, "Idempotency-Key: send it once."));
    }
    let text = key.to_str().ok().filter(|text| {
        (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
    });
    let message = "Idempotency-Key: write 1 to 255 visible characters of ASCII.";
    let text = text.ok_or_else(|| Problem::new(Code::InvalidParameter, message))?;
    Ok(Some(text.to_owned()))
}
