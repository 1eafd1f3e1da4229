//! The authenticated caller.

use std::{collections::BTreeMap, iter::successors};

use serde::{Deserialize, Serialize};

/// How the ARNs of the gateway's teams and their members begin. The service prefix is
/// the gateway's own, so that no AWS principal can be mistaken for one.
pub const TEAM_ARN: &str = "arn:aws:glacier-gateway:::team/";

/// How the ARNs of the gateway's own services begin, which act without a caller.
pub const SERVICE_ARN: &str = "arn:aws:glacier-gateway:::service/";

/// The issuer of callers that sign with a gateway key. No configured issuer may have
/// this name.
pub const GATEWAY_KEYS: &str = "gateway-keys";

/// The issuer of callers that show a client certificate. No configured issuer may have
/// this name.
pub const CLIENT_CERTIFICATES: &str = "client-certificates";

/// The issuer of the gateway's own services. No configured issuer may have this name, so no
/// credential proves to be one.
pub const SERVICES: &str = "gateway-services";

/// Who is calling, as the credentials prove it. The same whatever the door and
/// the kind of credential.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Principal {
    /// The configured name of the issuer that vouches for the caller.
    pub issuer: String,
    /// The caller's name at that issuer (a token's `sub`).
    pub subject: String,
    /// The caller's teams, at least one. Several teams are judged as several
    /// principals, each under its own team's policies; a deny for one is a deny.
    pub teams: Vec<String>,
    /// Principal tags beside `team`, for `aws:PrincipalTag/KEY`.
    pub tags: BTreeMap<String, String>,
    /// The token's claims, for `jwt:CLAIM`.
    pub claims: serde_json::Map<String, serde_json::Value>,
}

impl Principal {
    /// One of the gateway's own services, which acts for `team`.
    pub fn service(name: &str, team: &str) -> Self {
        Self {
            issuer: SERVICES.to_owned(),
            subject: name.to_owned(),
            teams: vec![team.to_owned()],
            tags: BTreeMap::new(),
            claims: serde_json::Map::new(),
        }
    }

    /// The ARN under which policies see the caller as a member of `team`:
    /// `arn:aws:glacier-gateway:::team/{team}/{subject}`, or
    /// `arn:aws:glacier-gateway:::service/{subject}` for a service of the gateway's own.
    pub fn arn(&self, team: &str) -> String {
        if self.issuer == SERVICES {
            format!("{SERVICE_ARN}{}", self.subject)
        } else {
            format!("{TEAM_ARN}{team}/{}", self.subject)
        }
    }

    /// Who acts in the subject's stead, if another does (RFC 8693, section 4.1).
    pub fn actor(&self) -> Option<&str> {
        self.actors().next()
    }

    /// The actor, and before whom others acted: the last first. Only the first may count
    /// in a decision; the others tell how it came to this.
    pub fn actors(&self) -> impl Iterator<Item = &str> {
        successors(self.claims.get("act"), |act| act.get("act"))
            .map_while(|act| act.get("sub")?.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actors_are_told_from_the_last_to_the_first() {
        let acted =
            serde_json::json!({"act": {"sub": "c", "act": {"sub": "b", "act": {"sub": "a"}}}});
        let serde_json::Value::Object(claims) = acted else { return };
        let mut principal = Principal {
            issuer: "corporate".to_owned(),
            subject: "encoder".to_owned(),
            teams: vec!["media".to_owned()],
            tags: BTreeMap::new(),
            claims,
        };
        assert_eq!(principal.actor(), Some("c"));
        assert_eq!(principal.actors().collect::<Vec<_>>(), ["c", "b", "a"]);
        principal.claims.clear();
        assert_eq!(principal.actor(), None);
    }

    #[test]
    fn the_arn_names_team_and_subject() {
        let principal = Principal {
            issuer: "corporate".to_owned(),
            subject: "encoder".to_owned(),
            teams: vec!["media".to_owned(), "video".to_owned()],
            tags: BTreeMap::new(),
            claims: Default::default(),
        };
        assert_eq!(principal.arn("video"), "arn:aws:glacier-gateway:::team/video/encoder");
        let service = Principal::service("lifecycle", "media");
        assert_eq!(service.arn("media"), "arn:aws:glacier-gateway:::service/lifecycle");
    }
}
