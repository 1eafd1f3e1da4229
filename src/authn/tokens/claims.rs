//! From a token's claims to the principal they stand for.

use std::{collections::BTreeMap, iter::successors};

use serde_json::{Map, Value};

use super::jwt::TokenError;
use crate::authn::team_table;
use crate::config::{self, Claim};
use crate::domain::{Principal, check_team};

/// Longest name of a subject or a tag's value, in bytes.
const MAX_NAME: usize = 256;

/// The principal that `claims` of the issuer known as `issuer` stand for.
///
/// # Errors
/// [`TokenError::Claims`], [`TokenError::Actor`] and [`TokenError::NoTeam`].
pub(super) fn principal(
    issuer: &str,
    settings: &config::Issuer,
    claims: Map<String, Value>,
) -> Result<Principal, TokenError> {
    let subject = match settings.subject_claim.of(&claims) {
        Some(Value::String(subject)) if is_name(subject) => subject.clone(),
        _ => return Err(TokenError::Claims),
    };
    check_actors(&claims)?;
    let mut teams = claimed_teams(settings, &claims);
    teams.extend(team_table::teams(&settings.subject_teams, &subject));
    teams.sort();
    teams.dedup();
    if teams.is_empty() {
        return Err(TokenError::NoTeam);
    }
    let tags = tags(&settings.tags, &claims)?;
    Ok(Principal { issuer: issuer.to_owned(), subject, teams, tags, claims })
}

/// Checks that every `act` names who acts (RFC 8693, section 4.1). What cannot be read
/// would pass for the subject's own doing.
fn check_actors(claims: &Map<String, Value>) -> Result<(), TokenError> {
    let mut actors = successors(claims.get("act"), |act| act.get("act"));
    let named = |act: &Value| act.get("sub").and_then(Value::as_str).is_some_and(is_name);
    if actors.all(named) { Ok(()) } else { Err(TokenError::Actor) }
}

/// The teams of the team claim. Values that cannot name a team are passed over: among a
/// directory's groups there are many that are not meant for the gateway.
fn claimed_teams(settings: &config::Issuer, claims: &Map<String, Value>) -> Vec<String> {
    let values = match settings.team_claim.of(claims) {
        Some(Value::Array(values)) => values.as_slice(),
        Some(value) => std::slice::from_ref(value),
        None => &[],
    };
    let prefix = settings.team_prefix.as_deref().unwrap_or_default();
    values
        .iter()
        .filter_map(|value| value.as_str()?.strip_prefix(prefix))
        .filter(|team| check_team(team).is_ok())
        .map(str::to_owned)
        .collect()
}

/// The principal's tags. A claim that is absent gives none; one that is a list or
/// an object is a mistake that could silently void a deny, so it is refused.
fn tags(
    mapping: &BTreeMap<String, Claim>,
    claims: &Map<String, Value>,
) -> Result<BTreeMap<String, String>, TokenError> {
    let mut tags = BTreeMap::new();
    for (key, claim) in mapping {
        let value = match claim.of(claims) {
            None => continue,
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Bool(flag)) => flag.to_string(),
            Some(_) => return Err(TokenError::Claims),
        };
        if value.len() > MAX_NAME {
            return Err(TokenError::Claims);
        }
        tags.insert(key.clone(), value);
    }
    Ok(tags)
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The principal of `claims` under an issuer's further settings.
    fn map(settings: &str, claims: Value) -> Result<Principal, TokenError> {
        let issuer = format!("issuer = \"https://a.example\"\naudiences = [\"x\"]\n{settings}");
        let settings = figment::Figment::from(figment::providers::Toml::string(&issuer));
        let Value::Object(claims) = claims else { panic!("not claims") };
        principal("corporate", &settings.extract().unwrap(), claims)
    }

    use figment::providers::Format;

    fn teams(settings: &str, claims: Value) -> Vec<String> {
        map(settings, claims).unwrap().teams
    }

    #[test]
    fn teams_come_from_a_string_or_a_list() {
        assert_eq!(teams("", json!({"sub": "a", "team": "media"})), ["media"]);
        let list = json!({"sub": "a", "team": ["video", "media", "video"]});
        assert_eq!(teams("", list), ["media", "video"]);
        let nested = json!({"sub": "a", "realm_access": {"roles": ["media", 7, null, {}]}});
        assert_eq!(teams("team_claim = \"/realm_access/roles\"", nested), ["media"]);
    }

    #[test]
    fn only_values_with_the_prefix_are_teams_and_lose_it() {
        let groups = json!({"sub": "a", "team": ["glacier-media", "staff", "glacier-", "glacier"]});
        assert_eq!(teams("team_prefix = \"glacier-\"", groups), ["media"]);
        let none = json!({"sub": "a", "team": "media"});
        assert_eq!(map("team_prefix = \"glacier-\"", none), Err(TokenError::NoTeam));
    }

    #[test]
    fn what_cannot_name_a_team_is_none() {
        let long = "x".repeat(129);
        for team in ["", "a/b", "/a", "a\u{0}", "a\nb", "a b", "*", &long] {
            assert_eq!(teams("", json!({"sub": "a", "team": [team, "media"]})), ["media"]);
            let claims = json!({"sub": "a", "team": team});
            assert_eq!(map("", claims), Err(TokenError::NoTeam), "{team:?}");
        }
        for team in [json!(7), json!(null), json!({"media": true}), json!([]), json!([["media"]])] {
            let claims = json!({"sub": "a", "team": team});
            assert_eq!(map("", claims), Err(TokenError::NoTeam), "{team}");
        }
    }

    #[test]
    fn service_accounts_belong_to_the_teams_of_a_table() {
        let table = r#"
            [subject_teams]
            "system:serviceaccount:media:*" = ["media"]
            "system:serviceaccount:*:backup" = ["backup", "audit"]
            "system:serviceaccount:ops:deployer" = ["ops"]
        "#;
        let of = |subject: &str| {
            map(table, json!({"sub": subject})).map(|p| p.teams.join(" ")).unwrap_or_default()
        };
        assert_eq!(of("system:serviceaccount:media:encoder"), "media");
        assert_eq!(of("system:serviceaccount:media:backup"), "audit backup media");
        assert_eq!(of("system:serviceaccount:ops:deployer"), "ops");
        assert_eq!(of("system:serviceaccount:ops:deployer2"), "");
        assert_eq!(of("system:serviceaccount:media"), "");
        assert_eq!(of("system:serviceaccount:media:a:b"), "");
        assert_eq!(of("x:system:serviceaccount:media:a"), "");
        assert_eq!(of("system:serviceaccount:media2:a"), "");
    }

    #[test]
    fn a_subject_is_a_name() {
        for subject in [json!(""), json!(7), json!(null), json!(["a"]), json!("a\r\nb")] {
            let claims = json!({"sub": subject, "team": "media"});
            assert_eq!(map("", claims), Err(TokenError::Claims), "{subject}");
        }
        let claims = json!({"sub": "4711", "email": "a@example.com", "team": "media"});
        assert_eq!(map("subject_claim = \"email\"", claims).unwrap().subject, "a@example.com");
    }

    #[test]
    fn whoever_acts_for_the_subject_is_named() {
        let of = |act| map("", json!({"sub": "a", "team": "t", "act": act}));
        assert_eq!(of(json!({"sub": "b", "iss": "x"})).unwrap().actor(), Some("b"));
        assert!(of(json!({"sub": "c", "act": {"sub": "b"}})).is_ok());
        for act in [
            json!(null),
            json!("b"),
            json!({}),
            json!([{"sub": "b"}]),
            json!({"sub": ""}),
            json!({"sub": "b\n"}),
            json!({"client_id": "b"}),
            json!({"sub": "c", "act": {"sub": 7}}),
            json!({"sub": "c", "act": null}),
        ] {
            assert_eq!(of(act.clone()), Err(TokenError::Actor), "{act}");
        }
    }

    #[test]
    fn tags_are_single_values() {
        let settings = "[tags]\nsite = \"/address/locality\"\nlevel = \"level\"\non = \"on\"";
        let claims = json!({"sub": "a", "team": "t", "address": {"locality": "Bern"}, "level": 3});
        let tags = map(settings, claims).unwrap().tags;
        assert_eq!(
            tags,
            BTreeMap::from([("level".into(), "3".into()), ("site".into(), "Bern".into())])
        );
        let list = json!({"sub": "a", "team": "t", "level": [1, 2]});
        assert_eq!(map(settings, list), Err(TokenError::Claims));
    }

    #[test]
    fn subjects_teams_and_tags_have_a_length_they_may_have() {
        let of = |subject: usize, team: usize, level: usize| {
            let claims = json!({
                "sub": "s".repeat(subject), "team": "t".repeat(team), "level": "l".repeat(level),
            });
            map("[tags]\nlevel = \"level\"", claims).map(|principal| principal.tags["level"].len())
        };
        assert_eq!(of(256, 128, 256), Ok(256));
        assert_eq!(of(257, 128, 256), Err(TokenError::Claims));
        assert_eq!(of(256, 129, 256), Err(TokenError::NoTeam));
        assert_eq!(of(256, 128, 257), Err(TokenError::Claims));
    }

    #[test]
    fn the_principal_is_of_the_issuer_and_keeps_the_claims() {
        let claims = json!({"sub": "a", "team": "t", "iss": "https://a.example", "on": true});
        let principal = map("[tags]\non = \"on\"", claims.clone()).unwrap();
        assert_eq!(principal.issuer, "corporate");
        assert_eq!(principal.tags["on"], "true");
        assert_eq!(Value::Object(principal.claims), claims);
    }
}
