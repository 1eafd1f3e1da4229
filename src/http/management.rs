//! The management listener: probes for an orchestrator and metrics, on a port of
//! its own.

use actix_web::{
    HttpResponse,
    error::ErrorInternalServerError,
    get,
    web::{self, Data},
};
use time::format_description::well_known::Rfc3339;

use super::connections::Connections;
use crate::{
    audit::TrailStatus,
    gateway::{CeilingStatus, Gateway},
    metrics::{CONTENT_TYPE, UpstreamLevel},
    telemetry::{self, traces},
};

/// How many accounts with broken roles `/readyz` names.
const MOST_ACCOUNTS: usize = 10;

/// Adds the probes and `/metrics`.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(livez).service(readyz).service(startupz).service(metrics);
}

/// The process answers.
#[get("/livez")]
async fn livez() -> HttpResponse {
    HttpResponse::Ok().body("ok\n")
}

/// The gateway can serve callers. Below that stands what is wrong and yet no reason to
/// send callers elsewhere, because other replicas would serve them no better.
#[get("/readyz")]
async fn readyz(gateway: Data<Gateway>, connections: Data<Connections>) -> HttpResponse {
    let mut troubles = String::new();
    let policies = gateway.policies.status();
    let since = policies.loaded_at.format(&Rfc3339).unwrap_or_default();
    if let Some(error) = &policies.unread {
        troubles += &format!("policies: {error}; those of {since} serve\n");
    }
    if policies.allows_nothing {
        troubles += "policies: they allow nothing, so that every request is denied\n";
    }
    if let Some(error) = policies.errors.first() {
        troubles +=
            &format!("policies: the new ones are refused ({error}); those of {since} serve\n");
    }
    for (setting, trouble) in gateway.followed.all() {
        if let Some(error) = trouble {
            troubles += &format!("{setting}: {error}; what was read before stays in force\n");
        }
    }
    for (issuer, _) in gateway.authenticator.issuers().filter(|(_, usable)| !usable) {
        troubles += &format!("issuer {issuer}: no usable keys; its tokens are answered with 503\n");
    }
    let roles = gateway.upstream.role_statuses();
    let broken = roles.iter().filter_map(|(name, status)| Some((name, status.trouble.as_ref()?)));
    for (name, said) in broken.clone().take(MOST_ACCOUNTS) {
        troubles +=
            &format!("account {name}: its role cannot be assumed (AWS STS answered: {said})\n");
    }
    if let Some(more @ 1..) = broken.count().checked_sub(MOST_ACCOUNTS) {
        troubles += &format!("accounts: the roles of {more} more cannot be assumed\n");
    }
    for level in gateway.ceilings() {
        if let Some(since) = level.open_since {
            let CeilingStatus { account, region, .. } = level;
            troubles += &format!(
                "glacier {account} {region}: calls only fail since {since}; they are refused, but \
                 for one now and then\n"
            );
        }
    }
    if let Some(TrailStatus { store, log, .. }) = gateway.trail.status() {
        if let Some((since, trouble)) = store.trouble {
            troubles +=
                &format!("audit: unavailable since {since} ({trouble}); changes are refused\n");
        }
        if let Some(trouble) = log.rolled_back {
            troubles += &format!("audit: rolled back ({trouble}); changes are refused\n");
        }
        if let Some(trouble) = log.trouble {
            troubles += &format!("audit: the log is not sealed ({trouble}); records are kept\n");
        }
        if let Some(trouble) = log.outside {
            troubles += &format!(
                "audit: checkpoints are not kept outside ({trouble}): an older copy of the store \
                 would go unnoticed\n"
            );
        }
        if let Some(doubts) = log.doubts {
            troubles += &format!("audit: {doubts}\n");
        }
    }
    let log = telemetry::status();
    if let Some(trouble) = &log.trouble {
        troubles += &format!("log: {trouble}; {} lines wait\n", log.waiting);
    }
    if log.lost > 0 {
        troubles += &format!("log: {} lines are lost since the start\n", log.lost);
    }
    if connections.open() >= connections.limit {
        let limit = connections.limit;
        troubles += &format!("connections: all {limit} are taken; further callers wait for one\n");
    }
    probe(gateway.readiness(), &troubles)
}

/// The gateway has started; from then on the other probes count.
#[get("/startupz")]
async fn startupz(gateway: Data<Gateway>) -> HttpResponse {
    probe(gateway.startup(), "")
}

/// What Prometheus reads.
#[get("/metrics")]
async fn metrics(
    gateway: Data<Gateway>,
    connections: Data<Connections>,
) -> actix_web::Result<HttpResponse> {
    gateway.metrics.connections(connections.open(), connections.limit);
    gateway.metrics.policies(&gateway.policies.status());
    gateway.metrics.trail(gateway.trail.status().as_ref());
    gateway.metrics.log(&telemetry::status());
    gateway.metrics.spans(traces::dropped());
    gateway.metrics.followed(&gateway.followed);
    gateway.metrics.issuers(gateway.authenticator.issuers());
    let accounts = gateway.upstream.accounts();
    let level = |status: CeilingStatus| {
        Some(UpstreamLevel {
            account: accounts.directory().get(&status.account)?.name.clone(),
            region: status.region.to_string(),
            limit: status.limit,
            under_way: status.under_way,
            waiting: status.waiting,
            is_open: status.open_since.is_some(),
            overloaded: status.refused.overloaded,
            circuit_open: status.refused.open,
        })
    };
    gateway.metrics.upstream_levels(gateway.ceilings().into_iter().filter_map(level));
    gateway.metrics.accounts(gateway.upstream.role_statuses().into_iter());
    let text = gateway.metrics.text().map_err(ErrorInternalServerError)?;
    Ok(HttpResponse::Ok().content_type(CONTENT_TYPE).body(text))
}

fn probe(state: Result<(), &'static str>, troubles: &str) -> HttpResponse {
    match state {
        Ok(()) => HttpResponse::Ok().body(format!("ok\n{troubles}")),
        Err(reason) => HttpResponse::ServiceUnavailable().body(format!("{reason}\n{troubles}")),
    }
}
