//! The OpenAPI document: what the handlers cannot say of themselves.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, get, http::StatusCode, web::Data};
use utoipa::{
    IntoParams, IntoResponses, Modify, OpenApi,
    openapi::{
        ContentBuilder, HeaderBuilder, RefOr, Response, ResponseBuilder, Type,
        example::ExampleBuilder,
        schema::{ObjectBuilder, Ref},
        security::{
            AuthorizationCode, Flow, Http, HttpAuthScheme, OAuth2, Scopes, SecurityRequirement,
            SecurityScheme,
        },
    },
};

use super::super::problem::{Code, ProblemDetails};
use crate::config;

/// The security scheme of [`add_sign_in`].
const SIGN_IN: &str = "signIn";

/// The document but for the paths, which the routes add.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Glacier Gateway",
        description = "Abort multipart uploads of Amazon S3 Glacier vaults, and see which there are, \
            under your company's own policies and without AWS credentials.\n\n\
            Every request carries a bearer token of your company's identity provider or, where the \
            gateway takes them, comes with a client certificate; the caller's team decides what it \
            may do. Every error is a problem document (RFC 9457) with a stable `code`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/", description = "This gateway")),
    tags(
        (name = "uploads", description = "Multipart uploads in progress"),
        (name = "access", description = "What policies say to you"),
        (name = "vaults", description = "The vaults they are in"),
        (name = "inventory", description = "What was seen in the vaults, and when"),
        (name = "accounts", description = "The AWS accounts of the vaults"),
        (name = "abort-jobs", description = "Uploads aborted in bulk"),
        (name = "lifecycle-rules", description = "Rules by which that happens again and again"),
        (name = "audit", description = "What was decided and done, and proof of it"),
    ),
    security(("bearer" = [])),
    components(schemas(ProblemDetails)),
    modifiers(&SharedComponents),
)]
pub struct Document;

/// What all operations refer to: the security scheme and the error replies.
struct SharedComponents;

impl Modify for SharedComponents {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let mut bearer = Http::new(HttpAuthScheme::Bearer);
        bearer.bearer_format = Some("JWT".to_owned());
        bearer.description = Some("A token of a configured issuer.".to_owned());
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        for (name, codes) in REPLIES {
            components.responses.insert(name.to_owned(), reply(codes).into());
        }
    }
}

/// Adds the way a person signs in, for Swagger UI to offer.
pub fn add_sign_in(document: &mut utoipa::openapi::OpenApi, sign_in: &config::SwaggerUi) {
    let scopes = sign_in.scopes.iter().map(|scope| (scope.as_str(), ""));
    let flow = Flow::AuthorizationCode(AuthorizationCode::new(
        sign_in.authorization_url.as_str(),
        sign_in.token_url.as_str(),
        Scopes::from_iter(scopes),
    ));
    let scheme = SecurityScheme::OAuth2(OAuth2::with_description(
        [flow],
        "Sign in at your company's identity provider.",
    ));
    document.components.get_or_insert_default().add_security_scheme(SIGN_IN, scheme);
    let requirement = SecurityRequirement::new(SIGN_IN, sign_in.scopes.iter());
    document.security.get_or_insert_default().push(requirement);
}

/// The document in its two notations, made once.
pub struct Rendered {
    json: String,
    yaml: String,
}

impl Rendered {
    /// Writes `document` out.
    ///
    /// # Errors
    /// When a schema cannot be written, which the tests would show.
    pub fn new(document: &utoipa::openapi::OpenApi) -> Result<Self, Box<dyn std::error::Error>> {
        Ok(Self { json: document.to_pretty_json()?, yaml: document.to_yaml()? })
    }
}

#[get("/openapi.json")]
pub async fn json(document: Data<Rendered>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(document.json.clone())
}

#[get("/openapi.yaml")]
pub async fn yaml(document: Data<Rendered>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/yaml").body(document.yaml.clone())
}

/// `accountId`
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code)]
pub struct AccountPath {
    /// 12 digits, or `-` for the gateway's default account.
    #[param(rename = "accountId", pattern = "^(-|[0-9]{12})$", example = "-")]
    account_id: String,
}

/// `vaultName`
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code)]
pub struct VaultPath {
    /// The vault's name; not `.` or `..`.
    #[param(
        rename = "vaultName",
        pattern = r"^(?!\.{1,2}$)[A-Za-z0-9_.\-]{1,255}$",
        min_length = 1,
        max_length = 255,
        example = "photos"
    )]
    vault_name: String,
}

/// `uploadId`
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code)]
pub struct UploadPath {
    /// The upload's ID. It may begin with `-`.
    #[param(
        rename = "uploadId",
        pattern = r"^[A-Za-z0-9_\-]{1,256}$",
        min_length = 1,
        max_length = 256,
        example = "OW2fM5iVylEpFEMM9_HpKowRapC3vn5sSL39_396UW9zLFUWVrnRHaPjUJddQ5OxSHVXjYtrN47NBZ-khxOjyEXAMPLE"
    )]
    upload_id: String,
}

/// `region`
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
pub struct Region {
    /// A region of the account that the gateway serves; the configured one by default.
    #[param(pattern = "^[a-z]+(-[a-z]+)+-[0-9]{1,2}$", max_length = 32)]
    region: Option<String>,
}

/// `limit`, `marker`
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
pub struct PageParameters {
    /// At most this many entries.
    #[param(minimum = 1, maximum = 50)]
    limit: Option<i32>,
    /// The `marker` of the page before.
    #[param(pattern = "^[!-~]+$", min_length = 1, max_length = 1024)]
    marker: Option<String>,
}

/// `limit`, `marker` of vaults
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
pub struct VaultPageParameters {
    /// At most this many entries.
    #[param(minimum = 1, maximum = 10)]
    limit: Option<i32>,
    /// The `marker` of the page before.
    #[param(pattern = "^[!-~]+$", min_length = 1, max_length = 1024)]
    marker: Option<String>,
}

/// The error replies that operations share: name, and the codes it may carry, all
/// of one status.
const REPLIES: [(&str, &[Code]); 24] = [
    (
        "BadRequest",
        &[
            Code::InvalidParameter,
            Code::MissingParameter,
            Code::UnknownParameter,
            Code::DuplicateParameter,
            Code::MalformedRequest,
        ],
    ),
    (
        "Unauthorized",
        &[
            Code::TokenMissing,
            Code::TokenInvalid,
            Code::TokenExpired,
            Code::TokenNotYetValid,
            Code::TokenRevoked,
            Code::TokenBound,
            Code::TokenWithoutTeam,
            Code::CertificateNotMapped,
            Code::CertificateInvalid,
            Code::CertificateRevoked,
        ],
    ),
    ("Forbidden", &[Code::NotAuthorized]),
    ("AccountNotFound", &[Code::AccountNotServed, Code::RegionNotServed]),
    ("VaultNotFound", &[Code::VaultNotFound, Code::AccountNotServed, Code::RegionNotServed]),
    (
        "UploadNotFound",
        &[Code::UploadNotFound, Code::VaultNotFound, Code::AccountNotServed, Code::RegionNotServed],
    ),
    ("EventNotFound", &[Code::EventNotFound]),
    ("LogNotFound", &[Code::LogNotFound]),
    ("InventoryRunNotFound", &[Code::InventoryRunNotFound]),
    ("TooManyInventoryRuns", &[Code::TooManyInventoryRuns]),
    ("LifecycleRuleNotFound", &[Code::LifecycleRuleNotFound]),
    ("LifecycleRuleRunning", &[Code::LifecycleRuleRunning]),
    ("JobNotFound", &[Code::JobNotFound]),
    ("JobConflict", &[Code::JobConflict, Code::SelectionChanged]),
    ("IdempotencyConflict", &[Code::IdempotencyKeyInUse]),
    ("IdempotencyKeyReused", &[Code::IdempotencyKeyReused]),
    ("RequestTimeout", &[Code::RequestTimeout]),
    ("BodyTooLong", &[Code::BodyTooLong]),
    ("TooManyRequests", &[Code::UpstreamThrottled, Code::JobLimitReached]),
    ("InternalError", &[Code::InternalError]),
    ("StoreRequired", &[Code::StoreRequired]),
    (
        "BadGateway",
        &[
            Code::GatewayNotAuthorizedUpstream,
            Code::AccountRoleUnusable,
            Code::GlacierNotAvailableForAccount,
            Code::GlacierUnreachable,
            Code::GlacierInvalidResponse,
        ],
    ),
    (
        "Unavailable",
        &[
            Code::GlacierUnavailable,
            Code::Overloaded,
            Code::CircuitOpen,
            Code::GatewayOutOfDescriptors,
            Code::IssuerUnavailable,
            Code::AuditUnavailable,
            Code::AuditRolledBack,
            Code::StoreUnavailable,
        ],
    ),
    ("Timeout", &[Code::GlacierTimeout]),
];

/// Problems of an operation that asks nothing of Glacier.
pub struct LocalProblems;
/// The same for an operation that takes a body.
pub struct BodyProblems;
/// Problems of an operation on the whole audit trail.
pub struct TrailProblems;
/// Problems of an operation on an event of the audit trail.
pub struct EventProblems;
/// Problems of an operation on a log of the audit trail.
pub struct LogProblems;
/// Problems of asking for an inventory run.
pub struct NewInventoryRunProblems;
/// Problems of an operation on an inventory run.
pub struct InventoryRunProblems;
/// Problems of an operation that makes a job.
pub struct NewJobProblems;
/// Problems of an operation that reads a job.
pub struct JobProblems;
/// Problems of an operation that changes a job.
pub struct JobChangeProblems;
/// Problems of an operation that reads a lifecycle rule.
pub struct LifecycleProblems;
/// Problems of an operation that runs a lifecycle rule.
pub struct LifecycleRunProblems;
/// Problems of an operation on an account.
pub struct AccountProblems;
/// Problems of an operation on a vault.
pub struct VaultProblems;
/// Problems of an operation on an upload.
pub struct UploadProblems;

impl IntoResponses for LocalProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut problems = problems("");
        problems.retain(|status, _| !["429", "502", "504"].contains(&status.as_str()));
        problems
    }
}

impl IntoResponses for BodyProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut problems = LocalProblems::responses();
        for (status, name) in [("408", "RequestTimeout"), ("413", "BodyTooLong")] {
            problems.insert(status.to_owned(), Ref::from_response_name(name).into());
        }
        problems
    }
}

impl IntoResponses for TrailProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut problems = LocalProblems::responses();
        problems.insert("501".to_owned(), Ref::from_response_name("StoreRequired").into());
        problems
    }
}

impl IntoResponses for EventProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut problems = TrailProblems::responses();
        problems.insert("404".to_owned(), Ref::from_response_name("EventNotFound").into());
        problems
    }
}

impl IntoResponses for LogProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut problems = TrailProblems::responses();
        problems.insert("404".to_owned(), Ref::from_response_name("LogNotFound").into());
        problems
    }
}

impl IntoResponses for NewInventoryRunProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut problems = TrailProblems::responses();
        problems.extend(BodyProblems::responses());
        for (status, name) in [
            ("404", "AccountNotFound"),
            ("422", "IdempotencyKeyReused"),
            ("429", "TooManyInventoryRuns"),
        ] {
            problems.insert(status.to_owned(), Ref::from_response_name(name).into());
        }
        problems
    }
}

impl IntoResponses for InventoryRunProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut problems = TrailProblems::responses();
        problems.insert("404".to_owned(), Ref::from_response_name("InventoryRunNotFound").into());
        problems
    }
}

impl IntoResponses for NewJobProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut problems = BodyProblems::responses();
        for (status, name) in [
            ("409", "IdempotencyConflict"),
            ("422", "IdempotencyKeyReused"),
            ("429", "TooManyRequests"),
            ("501", "StoreRequired"),
        ] {
            problems.insert(status.to_owned(), Ref::from_response_name(name).into());
        }
        problems
    }
}

impl IntoResponses for JobProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut problems = TrailProblems::responses();
        problems.insert("404".to_owned(), Ref::from_response_name("JobNotFound").into());
        problems
    }
}

impl IntoResponses for JobChangeProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut problems = BodyProblems::responses();
        problems.append(&mut JobProblems::responses());
        problems.insert("409".to_owned(), Ref::from_response_name("JobConflict").into());
        problems
    }
}

impl IntoResponses for LifecycleProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut problems = TrailProblems::responses();
        let not_found = Ref::from_response_name("LifecycleRuleNotFound");
        problems.insert("404".to_owned(), not_found.into());
        problems
    }
}

impl IntoResponses for LifecycleRunProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut problems = LifecycleProblems::responses();
        let running = Ref::from_response_name("LifecycleRuleRunning");
        problems.insert("409".to_owned(), running.into());
        problems
    }
}

impl IntoResponses for AccountProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems("AccountNotFound")
    }
}

impl IntoResponses for VaultProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems("VaultNotFound")
    }
}

impl IntoResponses for UploadProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems("UploadNotFound")
    }
}

/// All shared replies, of those for 404 only `not_found`.
fn problems(not_found: &str) -> BTreeMap<String, RefOr<Response>> {
    REPLIES
        .iter()
        .filter_map(|(name, codes)| {
            let status = codes.first()?.status();
            let wanted = match status {
                StatusCode::NOT_FOUND => *name == not_found,
                StatusCode::REQUEST_TIMEOUT
                | StatusCode::PAYLOAD_TOO_LARGE
                | StatusCode::CONFLICT
                | StatusCode::UNPROCESSABLE_ENTITY
                | StatusCode::NOT_IMPLEMENTED => false,
                StatusCode::TOO_MANY_REQUESTS => *name == "TooManyRequests",
                _ => true,
            };
            wanted.then(|| (status.as_str().to_owned(), Ref::from_response_name(*name).into()))
        })
        .collect()
}

/// The reply that an operation refers to, with an example for each code.
fn reply(codes: &[Code]) -> Response {
    let titles: Vec<&str> = codes.iter().map(|code| code.title()).collect();
    let examples = codes.iter().map(|code| {
        let example = serde_json::json!({
            "type": format!("urn:glacier-gateway:problem:{}", code.as_str()),
            "title": code.title(),
            "status": code.status().as_u16(),
            "detail": "What happened this time and what to do.",
            "instance": "/v1/accounts/-/vaults/photos",
            "code": code.as_str(),
            "requestId": "019aae2e-1f5d-7c3e-9d56-0f8d1f6f2b1a",
        });
        (code.as_str(), ExampleBuilder::new().value(Some(example)).build())
    });
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("ProblemDetails")))
        .examples_from_iter(examples)
        .build();
    let mut response = ResponseBuilder::new()
        .description(format!("{}.", titles.join("; ")))
        .content("application/problem+json", content)
        .header("X-Request-Id", header("The request's ID in the gateway's log."));
    let status = codes.first().map(|code| code.status());
    if status == Some(StatusCode::UNAUTHORIZED) {
        response = response.header("WWW-Authenticate", header("RFC 6750, section 3."));
    }
    if matches!(status, Some(StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)) {
        response = response.header("Retry-After", header("Seconds to wait."));
    }
    response.build()
}

fn header(description: &str) -> utoipa::openapi::Header {
    HeaderBuilder::new()
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .description(Some(description))
        .build()
}
