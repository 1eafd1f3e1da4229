//! Tokens that are bound to a key of their owner's (RFC 7800), so that whoever else gets
//! hold of one cannot use it.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::jwt::TokenError;
use crate::authn::certificate::Thumbprint;

/// The certificate that the token of these claims is bound to (RFC 8705, section 3.1).
/// `None` for a plain bearer token.
///
/// # Errors
/// [`TokenError::Bound`] if the token is bound to anything that is not checked here: to
/// take it for a plain bearer token would undo what its issuer has done.
pub(super) fn bound_to(claims: &Map<String, Value>) -> Result<Option<Thumbprint>, TokenError> {
    let Some(confirmation) = claims.get("cnf") else { return Ok(None) };
    let thumbprint = || {
        let members = confirmation.as_object().filter(|members| members.len() == 1)?;
        let text = members.get("x5t#S256")?.as_str()?;
        BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
    };
    thumbprint().map(Some).ok_or(TokenError::Bound)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(confirmation: Value) -> Result<Option<Thumbprint>, TokenError> {
        bound_to(&Map::from_iter([("cnf".to_owned(), confirmation)]))
    }

    #[test]
    fn a_token_is_bound_to_one_certificate_or_to_what_is_not_checked() {
        assert_eq!(bound_to(&Map::new()), Ok(None));
        let text = BASE64_URL_SAFE_NO_PAD.encode([7; 32]);
        assert_eq!(of(json!({"x5t#S256": text})), Ok(Some([7; 32])));
        for other in [
            json!(null),
            json!({}),
            json!([]),
            json!(text),
            json!({"jkt": text}),
            json!({"jwk": {"kty": "EC"}}),
            json!({"x5t#S256": text, "jkt": text}),
            json!({"x5t#s256": text}),
            json!({"x5t#S256": null}),
            json!({"x5t#S256": ""}),
            json!({"x5t#S256": format!("{text}=")}),
            json!({"x5t#S256": BASE64_URL_SAFE_NO_PAD.encode([7; 31])}),
            json!({"x5t#S256": [text]}),
        ] {
            assert_eq!(of(other.clone()), Err(TokenError::Bound), "{other}");
        }
    }
}
