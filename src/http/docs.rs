//! `/docs`: Swagger UI, and what keeps its page and the tokens typed into it safe.

use actix_web::{
    dev::ServiceResponse,
    http::header::{CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY},
    web::Data,
};
use utoipa_swagger_ui::{Config, SwaggerUi, oauth};

use crate::{config, gateway::Gateway};

/// The page, with the way a person signs in if there is one.
pub(super) fn swagger_ui(sign_in: Option<&config::SwaggerUi>) -> SwaggerUi {
    let page = SwaggerUi::new("/docs/{_:.*}").config(
        Config::from("/openapi.json")
            .persist_authorization(sign_in.is_some_and(|sign_in| sign_in.persist_authorization))
            .display_request_duration(true)
            .try_it_out_enabled(true)
            // Otherwise the page shows the specification's address to validator.swagger.io.
            .validator_url("none"),
    );
    match sign_in {
        Some(sign_in) => page.oauth(
            oauth::Config::new()
                .client_id(&sign_in.client_id)
                .scopes(sign_in.scopes.clone())
                .additional_query_string_params(sign_in.parameters.clone())
                .use_pkce_with_authorization_code_grant(true),
        ),
        None => page,
    }
}

/// Tells browsers what the page of `/docs` may do: it runs only its own scripts, calls
/// only the gateway and the issuer's token endpoint, tells nobody where it was, and is
/// shown in no frame.
pub(super) fn protect<B>(response: &mut ServiceResponse<B>) {
    let request = response.request();
    if request.path() != "/docs" && !request.path().starts_with("/docs/") {
        return;
    }
    let gateway = request.app_data::<Data<Gateway>>();
    let sign_in = gateway.and_then(|gateway| gateway.settings.swagger_ui.as_ref());
    let policy = content_security_policy(sign_in);
    let headers = response.headers_mut();
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
}

/// Swagger UI sets styles on its elements, and its style sheet holds images as `data:`.
fn content_security_policy(sign_in: Option<&config::SwaggerUi>) -> String {
    let issuer = sign_in
        .map(|sign_in| format!(" {}", sign_in.token_url.origin().ascii_serialization()))
        .unwrap_or_default();
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
         img-src 'self' data:; connect-src 'self'{issuer}; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'"
    )
}
