//! The control endpoint: JSON over HTTP, on a port of its own, without
//! authentication.
//!
//! | request | does |
//! | --- | --- |
//! | `GET /state` | the vaults with their uploads and parts, the latter in Glacier's words; an upload's `status` is `in-progress`, `aborted` or `completed`, and one that Glacier has forgotten is absent |
//! | `POST /vaults` | creates a vault with uploads in it, see [`SeedVault`]; 201 `{"uploadIds": […]}` |
//! | `POST /activity` | `{"uploadId": …, "activity": "part"}` sends one more part, `"completion"` completes the upload |
//! | `GET /requests` | the requests received, oldest first, without signatures; at most the last 10,000 |
//! | `DELETE /requests` | forgets them |
//! | `GET /faults` | the faults in force |
//! | `POST /faults` | adds one, see [`Fault`] |
//! | `DELETE /faults` | removes them all |
//! | `PATCH /clock` | `{"advanceSeconds": 90000}` lets uploads age; `{"skewSeconds": -600}` sets how far the clock is ahead in `Date` headers and for signatures |
//! | `GET /sessions` | the sessions of roles that were given out, without their secrets |
//! | `DELETE /sessions` | ends them all |
//! | `PATCH /sts` | `{"lifetimeSeconds": 5}` is how long sessions last; `sourceIdentity` and `transitiveTags` are what the configured credentials have already; what is left out is as at first |
//! | `POST /reset` | forgets everything but the configuration |

use actix_web::{HttpResponse, error, web};
use serde::Deserialize;
use serde_json::{Value, json};
use time::Duration;

use super::{
    api,
    clock::timestamp,
    faults::{Activity, Fault, Faults},
    seed::SeedVault,
    sessions::Behaviour,
    state::Simulator,
    uploads::{Status, Upload},
};
use crate::domain::VaultArn;

type Data = web::Data<Simulator>;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    // A wrong order is told what is wrong with it.
    let json = web::JsonConfig::default().error_handler(|wrong, _| {
        let reply = HttpResponse::BadRequest().json(json!({ "message": wrong.to_string() }));
        error::InternalError::from_response(wrong, reply).into()
    });
    config
        .app_data(json)
        .route("/state", web::get().to(get_state))
        .route("/vaults", web::post().to(post_vault))
        .route("/activity", web::post().to(post_activity))
        .route("/requests", web::get().to(get_requests))
        .route("/requests", web::delete().to(delete_requests))
        .route("/faults", web::get().to(get_faults))
        .route("/faults", web::post().to(post_fault))
        .route("/faults", web::delete().to(delete_faults))
        .route("/clock", web::patch().to(patch_clock))
        .route("/sessions", web::get().to(get_sessions))
        .route("/sessions", web::delete().to(delete_sessions))
        .route("/sts", web::patch().to(patch_sts))
        .route("/reset", web::post().to(post_reset));
}

async fn get_state(simulator: Data) -> HttpResponse {
    let state = simulator.state();
    let now = state.clock.now();
    let vaults = state.vaults.iter().map(|(arn, vault)| {
        let uploads = vault.uploads(now).map(|upload| show(arn, upload));
        json!({
            "accountId": arn.account,
            "region": arn.region,
            "vaultName": arn.vault,
            "creationDate": timestamp(vault.created),
            "uploads": uploads.collect::<Value>(),
        })
    });
    HttpResponse::Ok().json(json!({
        "now": timestamp(now),
        "vaults": vaults.collect::<Value>(),
    }))
}

fn show(arn: &VaultArn, upload: &Upload) -> Value {
    let mut shown = api::describe_upload(arn, upload);
    shown["Parts"] =
        upload.parts.iter().map(|(first, part)| api::describe_part(*first, *part)).collect();
    shown["status"] = match upload.status {
        Status::InProgress => "in-progress",
        Status::Aborted => "aborted",
        Status::Completed(_) => "completed",
    }
    .into();
    shown
}

async fn post_vault(simulator: Data, seed: web::Json<SeedVault>) -> HttpResponse {
    match simulator.seed(&seed) {
        Ok(ids) => HttpResponse::Created().json(json!({ "uploadIds": ids })),
        Err(error) => HttpResponse::BadRequest().json(error.body()),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OwnerActs {
    upload_id: String,
    activity: Activity,
}

async fn post_activity(simulator: Data, order: web::Json<OwnerActs>) -> HttpResponse {
    match simulator.act(&order.upload_id, order.activity) {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(error) => HttpResponse::BadRequest().json(error.body()),
    }
}

async fn get_requests(simulator: Data) -> HttpResponse {
    HttpResponse::Ok().json(simulator.state().received.list())
}

async fn delete_requests(simulator: Data) -> HttpResponse {
    simulator.state().received.clear();
    HttpResponse::NoContent().finish()
}

async fn get_faults(simulator: Data) -> HttpResponse {
    HttpResponse::Ok().json(simulator.state().faults.iter().collect::<Vec<_>>())
}

async fn post_fault(simulator: Data, fault: web::Json<Fault>) -> HttpResponse {
    simulator.state().faults.add(fault.into_inner());
    HttpResponse::NoContent().finish()
}

async fn delete_faults(simulator: Data) -> HttpResponse {
    simulator.state().faults = Faults::default();
    HttpResponse::NoContent().finish()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetClock {
    #[serde(default)]
    advance_seconds: u32,
    skew_seconds: Option<i32>,
}

async fn patch_clock(simulator: Data, change: web::Json<SetClock>) -> HttpResponse {
    let clock = &mut simulator.state().clock;
    clock.advanced += Duration::seconds(change.advance_seconds.into());
    if let Some(skew) = change.skew_seconds {
        clock.skew = Duration::seconds(skew.into());
    }
    HttpResponse::NoContent().finish()
}

async fn get_sessions(simulator: Data) -> HttpResponse {
    HttpResponse::Ok().json(simulator.state().sessions.iter().collect::<Vec<_>>())
}

async fn delete_sessions(simulator: Data) -> HttpResponse {
    simulator.state().sessions.revoke();
    HttpResponse::NoContent().finish()
}

async fn patch_sts(simulator: Data, behaviour: web::Json<Behaviour>) -> HttpResponse {
    simulator.state().sessions.behaviour = behaviour.into_inner();
    HttpResponse::NoContent().finish()
}

async fn post_reset(simulator: Data) -> HttpResponse {
    simulator.reset();
    HttpResponse::NoContent().finish()
}
