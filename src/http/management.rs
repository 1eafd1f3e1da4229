//! The management listener: probes for an orchestrator and metrics, on a port of
//! its own.

use actix_web::{
    HttpResponse,
    error::ErrorInternalServerError,
    get,
    web::{self, Data},
};

use crate::{gateway::Gateway, metrics::CONTENT_TYPE};

/// Adds the probes and `/metrics`.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(livez).service(readyz).service(startupz).service(metrics);
}

/// The process answers.
#[get("/livez")]
async fn livez() -> HttpResponse {
    HttpResponse::Ok().body("ok\n")
}

/// The gateway can serve callers.
#[get("/readyz")]
async fn readyz(gateway: Data<Gateway>) -> HttpResponse {
    let policies = gateway.policies.status();
    match (gateway.readiness(), policies.errors.first()) {
        // Broken new policies do not stop the old ones from serving.
        (Ok(()), Some(error)) => HttpResponse::Ok().body(format!(
            "ok, with the policies of {}: the new ones are refused ({error})\n",
            policies.loaded_at
        )),
        (readiness, _) => probe(readiness),
    }
}

/// The gateway has started; from then on the other probes count.
#[get("/startupz")]
async fn startupz(gateway: Data<Gateway>) -> HttpResponse {
    probe(gateway.startup())
}

/// What Prometheus reads.
#[get("/metrics")]
async fn metrics(gateway: Data<Gateway>) -> actix_web::Result<HttpResponse> {
    gateway.metrics.policies(&gateway.policies.status());
    let text = gateway.metrics.text().map_err(ErrorInternalServerError)?;
    Ok(HttpResponse::Ok().content_type(CONTENT_TYPE).body(text))
}

fn probe(state: Result<(), &'static str>) -> HttpResponse {
    match state {
        Ok(()) => HttpResponse::Ok().body("ok\n"),
        Err(reason) => HttpResponse::ServiceUnavailable().body(format!("{reason}\n")),
    }
}
