//! What replies say of a caller's limits: `RateLimit-Policy` and `RateLimit`
//! (draft-ietf-httpapi-ratelimit-headers-10).

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::gateway::Standing;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STANDING: HeaderName = HeaderName::from_static("ratelimit");

/// The two fields.
#[derive(Debug)]
pub struct Fields {
    policy: HeaderValue,
    standing: HeaderValue,
}

impl Fields {
    /// What is said of these limits; `None` if there are none.
    pub fn of(standings: &[Standing]) -> Option<Self> {
        if standings.is_empty() {
            return None;
        }
        let policy = |Standing { limit, most, .. }: &Standing| {
            let unit = if limit.is_rate() { "w=1" } else { "qu=\"concurrent-requests\"" };
            format!("\"{}\";q={most};{unit}", limit.name())
        };
        let standing = |Standing { limit, remaining, .. }: &Standing| {
            let reset = if limit.is_rate() { ";t=1" } else { "" };
            format!("\"{}\";r={remaining}{reset}", limit.name())
        };
        let list = |item: fn(&Standing) -> String| {
            let items: Vec<String> = standings.iter().map(item).collect();
            HeaderValue::try_from(items.join(", ")).ok()
        };
        Some(Self { policy: list(policy)?, standing: list(standing)? })
    }

    /// Adds them to a reply.
    pub fn add_to(&self, headers: &mut HeaderMap) {
        headers.insert(POLICY, self.policy.clone());
        headers.insert(STANDING, self.standing.clone());
    }
}
