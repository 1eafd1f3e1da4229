//! The authenticated caller.

use std::{collections::BTreeMap, iter::successors};

/// How the ARNs of the gateway's teams and their members begin. The service prefix is
/// the gateway's own, so that no AWS principal can be mistaken for one.
pub const TEAM_ARN: &str = "arn:aws:glacier-gateway:::team/";

/// The issuer of callers that sign with a gateway key. No configured issuer may have
/// this name.
pub const GATEWAY_KEYS: &str = "gateway-keys";

/// The issuer of callers that show a client certificate. No configured issuer may have
/// this name.
pub const CLIENT_CERTIFICATES: &str = "client-certificates";

/// Who is calling, as the credentials prove it. The same whatever the door and
/// the kind of credential.
#[derive(Clone, Debug, PartialEq)]
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
    /// The ARN under which policies see the caller as a member of `team`:
    /// `arn:aws:glacier-gateway:::team/{team}/{subject}`.
    pub fn arn(&self, team: &str) -> String {
        format!("{TEAM_ARN}{team}/{}", self.subject)
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
    }
}
