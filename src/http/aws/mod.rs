//! The Glacier door: the five operations over Glacier's own protocol, so that
//! AWS SDKs and the AWS CLI work with `http://HOST/glacier` as their endpoint URL
//! (Glacier Developer Guide, "API Reference").
//!
//! Callers sign with a gateway key, or bring a bearer token as they would to the
//! REST door. Everything after that is the core's: the doors only read and print
//! differently.

mod credentials;
mod reply;
mod request_line;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header::HeaderValue},
    web::{self, Data, Payload},
};
use serde_json::Value;

pub use self::request_line::PATH;
use self::{credentials::Proven, reply::Exception, request_line::RequestLine};
use crate::{
    domain::Operation,
    gateway::{Call, Gateway},
    http::{
        caller,
        observe::{AWS_REQUEST_ID, Arrival},
        parameters::{Parameters, UPLOADS_PAGE, VAULTS_PAGE},
    },
};

/// The only version of Glacier's API that there is.
const VERSION: &str = "2012-06-01";

/// The door's routes, told apart only for the log and the metrics: which operation a
/// request is for is read from its path as received.
const ROUTES: [&str; 4] = [
    "/{accountId}/vaults",
    "/{accountId}/vaults/{vaultName}",
    "/{accountId}/vaults/{vaultName}/multipart-uploads",
    "/{accountId}/vaults/{vaultName}/multipart-uploads/{uploadId}",
];

/// Adds the door to the REST door's application.
pub fn routes(config: &mut web::ServiceConfig) {
    let scope = web::scope(PATH).default_service(web::to(serve));
    config.service(ROUTES.iter().fold(scope, |scope, path| scope.route(path, web::to(serve))));
}

async fn serve(request: HttpRequest, payload: Payload, gateway: Data<Gateway>) -> HttpResponse {
    let Some(arrival) = Arrival::of(&request) else {
        return HttpResponse::InternalServerError().finish();
    };
    arrival.recorder.edit().door = "glacier";
    let result = answer(&request, payload, gateway, &arrival).await;
    let mut record = arrival.recorder.edit();
    let mut response = match result {
        Ok(body) => reply::success(body),
        Err(refusal) => {
            record.outcome.get_or_insert(refusal.outcome);
            refusal.response()
        }
    };
    // AWS's ID takes its place if the request was forwarded.
    if let Ok(id) = HeaderValue::from_str(&record.request_id) {
        response.headers_mut().insert(AWS_REQUEST_ID, id);
    }
    response
}

/// The body of a successful reply; an abort has none.
async fn answer(
    request: &HttpRequest,
    payload: Payload,
    gateway: Data<Gateway>,
    arrival: &Arrival,
) -> Result<Option<Value>, Exception> {
    let mut span = arrival.trace.span("authenticate");
    let proven = credentials::prove(request, payload, &gateway, arrival.peer).await;
    match &proven {
        Ok(proven) => span.text("glacier_gateway.issuer", Some(&proven.principal.issuer)),
        Err(refusal) => span.fail(refusal.outcome),
    }
    drop(span);
    let Proven { principal, access_key_id, region, has_body } = proven.inspect_err(|refusal| {
        caller::refused(request, &gateway, arrival.peer, refusal.outcome);
    })?;
    arrival.recorder.edit().access_key_id = access_key_id;
    let call = caller::call(request, &gateway, arrival.clone(), principal)?;
    // None of the five takes a body, so a request that has one is another's.
    let line = RequestLine::of(request.method().as_str(), request.uri().path());
    let Some(RequestLine { operation, names }) = line.filter(|_| !has_body) else {
        return Err(Exception::not_offered());
    };
    check_version(request)?;
    let parameters = Parameters::new(names, request.query_string())?.in_region(region);
    perform(operation, &call, &parameters).await
}

async fn perform(
    operation: Operation,
    call: &Call,
    parameters: &Parameters,
) -> Result<Option<Value>, Exception> {
    const PAGE: &[&str] = &["limit", "marker"];
    let gateway = &call.gateway;
    Ok(match operation {
        Operation::AbortMultipartUpload => {
            parameters.only(&[])?;
            let vault = parameters.vault(gateway)?;
            call.abort_multipart_upload(vault, &parameters.upload()?).await?;
            None
        }
        Operation::ListMultipartUploads => {
            parameters.only(PAGE)?;
            let page = parameters.page(UPLOADS_PAGE)?;
            let listed = call.list_multipart_uploads(parameters.vault(gateway)?, page).await?;
            Some(reply::uploads(&listed))
        }
        Operation::ListParts => {
            parameters.only(PAGE)?;
            let (vault, upload) = (parameters.vault(gateway)?, parameters.upload()?);
            let page = parameters.page(UPLOADS_PAGE)?;
            Some(reply::parts(&call.list_parts(vault, &upload, page).await?))
        }
        Operation::DescribeVault => {
            parameters.only(&[])?;
            Some(reply::vault(&call.describe_vault(parameters.vault(gateway)?).await?))
        }
        Operation::ListVaults => {
            parameters.only(PAGE)?;
            let account = parameters.account(gateway)?;
            let page = parameters.page(VAULTS_PAGE)?;
            Some(reply::vaults(&call.list_vaults(account, page).await?))
        }
    })
}

fn check_version(request: &HttpRequest) -> Result<(), Exception> {
    match request.headers().get("x-amz-glacier-version") {
        Some(version) if version == VERSION => Ok(()),
        Some(_) => Err(Exception::new(
            StatusCode::BAD_REQUEST,
            "InvalidParameterValueException",
            "The API version in x-amz-glacier-version must be 2012-06-01.",
        )),
        None => Err(Exception::new(
            StatusCode::BAD_REQUEST,
            "MissingParameterValueException",
            "Required parameter missing: API version. Send x-amz-glacier-version: 2012-06-01.",
        )),
    }
}
