//! Inventory runs: ask for one, and see how it goes.

use actix_web::{HttpRequest, HttpResponse, get, http::header::LOCATION, post, web::Json};
use utoipa::IntoParams;
use uuid::Uuid;

use super::{
    super::{
        super::{
            body::JsonBody,
            parameters::Parameters,
            problem::{Code, NOT_SERVED, Problem},
        },
        idempotency::{self, KeyHeader},
        openapi::{InventoryRunProblems, NewInventoryRunProblems, TrailProblems},
    },
    accounts,
    run::{FailedVault, InventoryDetail, InventoryRun, InventoryRunPage, NewInventoryRun},
};
use crate::{
    domain::{
        AccountId,
        GatewayAction::{GetInventory, StartInventoryRun},
        Operation, VaultArn,
    },
    gateway::{Actor, Call, IdempotencyKey, Refusal},
    inventory::{
        run::{self, Created, Order, Run},
        target::Target,
    },
};

/// How many runs may be not done yet.
const MOST_UNFINISHED: i64 = 100;
/// The most runs of a page.
const PAGE: i32 = 100;
/// How many a page has if the request does not say.
const USUAL_PAGE: i32 = 20;

/// `runId`
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code)]
struct RunPath {
    /// The run's ID.
    #[param(rename = "runId", format = "uuid", example = "019aae2e-1f5d-7c3e-9d56-0f8d1f6f2b1a")]
    run_id: String,
}

/// `limit`, `marker` of runs
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
struct RunParameters {
    /// At most this many runs; 20 by default.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<i32>,
    /// The `marker` of the page before.
    #[param(pattern = "^[0-9a-f-]{36}$")]
    marker: Option<String>,
}

/// Have vaults looked through
///
/// The gateway lists the uploads in progress in all vaults that fit, in each account and
/// region at a pace of its own (`inventory.pace`), and keeps what it finds. It goes on
/// whatever becomes of a replica. Glacier is asked in the name of the caller: what the
/// policies do not let the caller list is left out and counted.
///
/// **Permissions**: `gateway:StartInventoryRun` on
/// `arn:aws:glacier-gateway:::account/ACCOUNT`; accounts that fit only a pattern are left
/// out without it. Besides `glacier:ListVaults` on the account, unless all vaults are named
/// without wildcards; `glacier:ListMultipartUploads` on each vault; and `glacier:ListParts`
/// for `sizes`.
#[utoipa::path(
    tag = "inventory",
    operation_id = "startInventoryRun",
    params(KeyHeader),
    request_body = NewInventoryRun,
    responses(
        (status = 202, description = "The run is kept, and begins soon.", body = InventoryRun,
         headers(("Location" = String, description = "Where the run can be seen."))),
        NewInventoryRunProblems,
    )
)]
#[post("/v1/inventory-runs")]
pub async fn start(
    call: Call,
    parameters: Parameters,
    request: HttpRequest,
    JsonBody(new): JsonBody<NewInventoryRun>,
) -> Result<HttpResponse, Problem> {
    parameters.only(&[])?;
    let given = idempotency::given(&request)?;
    let target = new.target();
    target.check().map_err(|wrong| Problem::new(Code::InvalidParameter, format!("{wrong}.")))?;
    let mut places = target.places(&call.gateway.upstream);
    let allowed = call.allowed_accounts(StartInventoryRun, &accounts(&places))?;
    for named in named(&call, &target)? {
        call.allowed_accounts(StartInventoryRun, &[named])?;
    }
    places.retain(|place| allowed.contains(&place.account));
    if places.is_empty() {
        return Err(Problem::new(
            Code::RegionNotServed,
            "This gateway serves none of these regions in these accounts.",
        ));
    }
    let sizes = new.detail == InventoryDetail::Sizes;
    let order = Order { actor: Actor::from(&call), target, sizes };
    let key = given.map(|given| {
        let asked = serde_json::to_vec(&(&order.target, sizes)).unwrap_or_default();
        IdempotencyKey::new(&order.actor, "POST /v1/inventory-runs", &given, &[&asked])
    });
    let made = async {
        let store = call.store()?;
        if run::unfinished(store).await? >= MOST_UNFINISHED {
            return Err(Refusal::TooManyInventoryRuns);
        }
        let id = match run::create(store, &order, None, key.as_ref(), &places).await? {
            Created::New(id) | Created::Before(id) => id,
            Created::KeyReused => return Err(Refusal::IdempotencyKeyReused),
            Created::Ticked => return Err(Refusal::InventoryRunNotFound),
        };
        run::find(store, &id).await?.ok_or(Refusal::InventoryRunNotFound)
    };
    let run = call.looked_up(made.await).await?;
    let location = format!("/v1/inventory-runs/{}", run.id);
    let run = InventoryRun::from(run);
    Ok(HttpResponse::Accepted().insert_header((LOCATION, location)).json(run))
}

/// List inventory runs, the newest first
///
/// A page may have fewer runs than `limit`, or none, and yet not be the last. The last page
/// has no `marker`.
///
/// **Permissions**: `gateway:GetInventory` on `arn:aws:glacier-gateway:::account/ACCOUNT`. A
/// run is shown as far as it is about such accounts.
#[utoipa::path(
    tag = "inventory",
    operation_id = "listInventoryRuns",
    params(RunParameters),
    responses((status = 200, description = "A page of runs.", body = InventoryRunPage), TrailProblems)
)]
#[get("/v1/inventory-runs")]
pub async fn list(call: Call, parameters: Parameters) -> Result<Json<InventoryRunPage>, Problem> {
    parameters.only(&["limit", "marker"])?;
    let limit = i64::from(parameters.page(PAGE)?.limit.unwrap_or(USUAL_PAGE));
    let marker = parameters.given("marker", str::parse::<Uuid>)?.map(|id| id.to_string());
    let visible = visible(&call)?;
    let found = async {
        let store = call.store()?;
        let _turn = store.reader().await?;
        Ok(run::list(store, marker.as_deref(), limit).await?)
    };
    let found = call.looked_up(found.await).await?;
    let last = found.last().filter(|_| found.len() as i64 == limit);
    let marker = last.map(|run| run.id.clone());
    let runs = found.into_iter().filter_map(|run| seen(run, &visible)).collect();
    Ok(Json(InventoryRunPage { runs, marker }))
}

/// See an inventory run
///
/// **Permissions**: `gateway:GetInventory` on `arn:aws:glacier-gateway:::account/ACCOUNT` of
/// one of its accounts. It is shown as far as it is about such accounts.
#[utoipa::path(
    tag = "inventory",
    operation_id = "getInventoryRun",
    params(RunPath),
    responses((status = 200, description = "The run.", body = InventoryRun), InventoryRunProblems)
)]
#[get("/v1/inventory-runs/{runId}")]
pub async fn show(call: Call, parameters: Parameters) -> Result<Json<InventoryRun>, Problem> {
    parameters.only(&[])?;
    let visible = visible(&call)?;
    let id = parameters.named("runId").and_then(|id| id.parse::<Uuid>().ok());
    let found = async {
        let store = call.store()?;
        let _turn = store.reader().await?;
        let id = id.ok_or(Refusal::InventoryRunNotFound)?.to_string();
        let run = run::find(store, &id).await?.and_then(|run| seen(run, &visible));
        let mut run = run.ok_or(Refusal::InventoryRunNotFound)?;
        let failed = run::failed(store, &id).await?.into_iter();
        let failed = failed.filter(|(vault, _)| visible.contains(&vault.account));
        let failed = failed.filter(|(vault, _)| {
            call.may_with_vault(Operation::ListMultipartUploads, vault.clone())
        });
        run.failed_vaults = Some(failed.map(failed_vault).collect());
        Ok(run)
    };
    Ok(Json(call.looked_up(found.await).await?))
}

/// The accounts that a target names without wildcards.
fn named(call: &Call, target: &Target) -> Result<Vec<AccountId>, Problem> {
    let mut named = Vec::new();
    for account in target.accounts.iter().filter(|text| !text.contains(['*', '?'])) {
        let one = Target { accounts: vec![account.clone()], ..Target::default() };
        let places = one.places(&call.gateway.upstream);
        let place = places.first();
        let place = place.ok_or_else(|| Problem::new(Code::AccountNotServed, NOT_SERVED))?;
        named.push(place.account.clone());
    }
    Ok(named)
}

/// The accounts whose inventory the caller may see.
fn visible(call: &Call) -> Result<Vec<AccountId>, Refusal> {
    let served = Target::default().places(&call.gateway.upstream);
    call.allowed_accounts(GetInventory, &accounts(&served))
}

/// What a caller sees of a run who may see these accounts.
fn seen(mut run: Run, visible: &[AccountId]) -> Option<InventoryRun> {
    run.lanes.retain(|lane| visible.iter().any(|account| account.as_str() == lane.account));
    (!run.lanes.is_empty()).then(|| run.into())
}

fn failed_vault((vault, error): (VaultArn, String)) -> FailedVault {
    FailedVault {
        account_id: vault.account.to_string(),
        region: vault.region.to_string(),
        vault_name: vault.vault.to_string(),
        error,
    }
}
