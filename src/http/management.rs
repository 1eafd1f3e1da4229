//! The management listener: probes for an orchestrator, on a port of its own.

use actix_web::{
    HttpResponse, get,
    web::{self, Data},
};

use crate::gateway::Gateway;

/// Adds the probes.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(livez).service(readyz).service(startupz);
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

fn probe(state: Result<(), &'static str>) -> HttpResponse {
    match state {
        Ok(()) => HttpResponse::Ok().body("ok\n"),
        Err(reason) => HttpResponse::ServiceUnavailable().body(format!("{reason}\n")),
    }
}
