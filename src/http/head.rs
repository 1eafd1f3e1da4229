//! The line and header fields of a request, which must be short.

use actix_web::dev::ServiceRequest;

use super::problem::{Code, Problem};
use crate::config::ServerLimits;

/// Refuses a URL or header fields that are longer than `limits` say. Beyond 128 KiB of both the
/// HTTP library has refused them.
///
/// # Errors
/// The refusal.
pub fn check(request: &ServiceRequest, limits: &ServerLimits) -> Result<(), Problem> {
    let &ServerLimits { url_size, head_size, .. } = limits;
    let uri = request.uri();
    if uri.path().len() + uri.query().map_or(0, |query| query.len() + 1) > url_size {
        let detail = format!("Send a URL of at most {url_size} bytes (limits.server.url_size).");
        return Err(Problem::new(Code::UrlTooLong, detail));
    }
    // Each with ": " and the end of its line.
    let fields = request.headers().iter();
    if fields.map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>() > head_size
    {
        let detail = format!(
            "Send header fields of at most {head_size} bytes together (limits.server.head_size)."
        );
        return Err(Problem::new(Code::HeadTooLong, detail));
    }
    Ok(())
}
