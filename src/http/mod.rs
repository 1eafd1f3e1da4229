//! The REST door: routes, and what surrounds every request. The routes without
//! a `call::Call` are the public ones: the document and Swagger UI.

mod access;
pub(crate) mod call;
mod docs;
pub mod management;
mod openapi;
pub(crate) mod parameters;
mod peer;
pub mod problem;
pub(crate) mod record;
mod uploads;
mod vaults;

use std::{any::Any, sync::Arc};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::{
    App, Error, HttpRequest, HttpResponse, ResponseError,
    body::{BoxBody, MessageBody},
    dev::{Extensions, ResourceDef, ServiceFactory, ServiceRequest, ServiceResponse},
    http::header::{CACHE_CONTROL, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS},
    middleware::{Next, from_fn},
    rt::{net::TcpStream, spawn},
    web::{self, Data},
};
use rustls::server::danger::ClientCertVerifier;
use utoipa::OpenApi as _;
use utoipa_actix_web::{AppExt, service_config::ServiceConfig};

use self::{
    openapi::{Document, Rendered},
    problem::{Code, Problem},
    record::Recorder,
};
use crate::{authn::ClientCertificate, door, gateway::Gateway};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Under which AWS returns a request's ID.
pub(crate) const AWS_REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// The API's operations. A new one is added here and nowhere else.
fn operations(config: &mut ServiceConfig<'_>) {
    // Routes are tried in this order: first what is asked for most. They share no scope,
    // through which each request would have to go as well.
    config
        .service(uploads::abort)
        .service(uploads::list)
        .service(uploads::parts)
        .service(vaults::describe)
        .service(vaults::list)
        .service(access::show)
        .service(access::simulate);
}

/// The OpenAPI document of all operations.
pub fn document() -> utoipa::openapi::OpenApi {
    let (_, document) = App::new()
        .into_utoipa_app()
        .openapi(Document::openapi())
        .configure(operations)
        .split_for_parts();
    document
}

/// What the REST listener's workers share.
#[derive(Clone)]
pub struct Shared {
    gateway: Data<Gateway>,
    rendered: Data<Rendered>,
    methods: Data<Methods>,
}

impl Shared {
    /// Prepares what is the same for all workers.
    ///
    /// # Errors
    /// When the OpenAPI document cannot be written out.
    pub fn new(gateway: Data<Gateway>) -> Result<Self, Box<dyn std::error::Error>> {
        let mut document = document();
        if let Some(sign_in) = &gateway.settings.swagger_ui {
            openapi::add_sign_in(&mut document, sign_in);
        }
        let rendered = Data::new(Rendered::new(&document)?);
        Ok(Self { gateway, rendered, methods: Data::new(Methods::of(&document)) })
    }
}

/// One worker's application.
pub fn app(
    shared: &Shared,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = Error,
        InitError = (),
    > + use<>,
> {
    let (app, _) = App::new()
        .app_data(shared.gateway.clone())
        .app_data(shared.rendered.clone())
        .app_data(shared.methods.clone())
        .into_utoipa_app()
        .configure(operations)
        .split_for_parts();
    app.configure(door::routes)
        .service(openapi::json)
        .service(openapi::yaml)
        .service(web::redirect("/docs", "/docs/"))
        .service(docs::swagger_ui(shared.gateway.settings.swagger_ui.as_ref()))
        .default_service(web::to(unmatched))
        .wrap(from_fn(observe))
}

/// Notes the certificate that a new connection's client showed to `verifier`.
pub fn note_certificate(
    connection: &dyn Any,
    data: &mut Extensions,
    verifier: &Arc<dyn ClientCertVerifier>,
) {
    let stream = connection.downcast_ref::<TlsStream<TcpStream>>();
    let chain = stream.and_then(|stream| stream.get_ref().1.peer_certificates());
    let certificate = chain.and_then(|chain| ClientCertificate::new(chain, verifier.clone()));
    if let Some(certificate) = certificate {
        data.insert(certificate);
    }
}

/// Gives every request an ID, a log line, and every failure a problem document.
async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let request_id = request_id(&request);
    let recorder = Recorder::begin(&request, request_id.clone());
    let mut response = next.call(request).await?.map_into_boxed_body();
    let mut record = recorder.edit();
    record.route = response.request().match_pattern().unwrap_or_default();
    if let Some(error) = response.response().error() {
        let problem = match error.as_error::<Problem>() {
            Some(problem) => problem,
            None => &foreign(error.as_response_error()),
        };
        record.outcome.get_or_insert(problem.code.as_str());
        let body = problem.response(&request_id, response.request().path());
        response = response.into_response(body);
    }
    record.answered(response.status().as_u16());
    docs::protect(&mut response);
    let api = response.request().path().starts_with("/v1/");
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::try_from(request_id) {
        headers.insert(REQUEST_ID, value);
    }
    if let Some(Ok(value)) = record.upstream_request_id.as_deref().map(HeaderValue::try_from) {
        headers.insert(AWS_REQUEST_ID, value);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if api {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    drop(record);
    // The line is written when the reply is on its way: callers need not wait for it.
    spawn(async move { drop(recorder) });
    Ok(response)
}

/// The caller's `X-Request-Id` if it is harmless, else a new one.
fn request_id(request: &ServiceRequest) -> String {
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let harmless = |id: &&str| {
        (1..=128).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:/=+".contains(&b))
    };
    match given.filter(harmless) {
        Some(id) => id.to_owned(),
        None => uuid::Uuid::now_v7().to_string(),
    }
}

/// A failure that the framework found.
fn foreign(error: &dyn ResponseError) -> Problem {
    if error.status_code().is_client_error() {
        Problem::new(Code::MalformedRequest, format!("The request cannot be read: {error}."))
    } else {
        tracing::error!(%error, "a request failed inside the gateway");
        Problem::new(Code::InternalError, "Tell the gateway's operators the request ID.")
    }
}

/// The methods of every path of the document.
pub struct Methods(Vec<(ResourceDef, String)>);

impl Methods {
    fn of(document: &utoipa::openapi::OpenApi) -> Self {
        let methods = |item: &utoipa::openapi::PathItem| {
            let all = [("GET", &item.get), ("POST", &item.post), ("DELETE", &item.delete)];
            let own: Vec<&str> =
                all.into_iter().filter(|(_, o)| o.is_some()).map(|(name, _)| name).collect();
            own.join(", ")
        };
        let paths = &document.paths.paths;
        let mut all: Vec<_> = paths
            .iter()
            .map(|(path, item)| (ResourceDef::new(path.as_str()), methods(item)))
            .collect();
        for public in ["/docs", "/docs/{_:.*}", "/openapi.json", "/openapi.yaml"] {
            all.push((ResourceDef::new(public), "GET".to_owned()));
        }
        Self(all)
    }
}

/// No operation: 405 where the path has other methods, else 404.
async fn unmatched(request: HttpRequest, methods: Data<Methods>) -> Result<HttpResponse, Problem> {
    match methods.0.iter().find(|(path, _)| path.is_match(request.path())) {
        Some((_, allow)) => Err(Problem {
            allow: Some(allow.clone()),
            ..Problem::new(Code::MethodNotAllowed, format!("This resource has {allow}."))
        }),
        None => Err(Problem::new(
            Code::RouteNotFound,
            "See /openapi.json or /docs for the resources that there are.",
        )),
    }
}
