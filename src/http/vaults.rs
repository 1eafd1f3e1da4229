//! Vaults: list those the caller may describe, describe one.

use actix_web::{get, web::Json};

use super::{
    call::Call,
    openapi::{
        AccountPath, AccountProblems, Region, VaultPageParameters, VaultPath, VaultProblems,
    },
    parameters::Parameters,
    problem::Problem,
};
use crate::{
    glacier::{Operation, Vault, VaultArn, VaultPage},
    policy::Resource,
};

/// Glacier's most for a page of vaults.
const MOST: i32 = 10;

/// List an account's vaults
///
/// The answer holds only the vaults that the caller may describe, so a page may
/// have fewer entries than `limit`, or none, and yet not be the last.
///
/// **Permissions**: `glacier:ListVaults` on `*` (in IAM the action takes no
/// resource), and `glacier:DescribeVault` on each vault that shall be listed.
#[utoipa::path(
    tag = "vaults",
    operation_id = "listVaults",
    params(AccountPath, Region, VaultPageParameters),
    responses((status = 200, description = "A page of vaults.", body = VaultPage), AccountProblems)
)]
#[get("/accounts/{accountId}/vaults")]
pub(super) async fn list(call: Call, parameters: Parameters) -> Result<Json<VaultPage>, Problem> {
    parameters.only(&["region", "limit", "marker"])?;
    let (region, account) = parameters.account(&call.gateway)?;
    let page = parameters.page(MOST)?;
    let resource = Resource::account(region.clone(), account.clone());
    let permit = call.authorize(Operation::ListVaults, resource)?;
    let reply = call.forward(call.gateway.upstream.list_vaults(&permit, page)).await?;
    let mut page = reply.value;
    page.vaults.retain(|listed| {
        listed.vault_name.parse().is_ok_and(|vault| {
            let arn = VaultArn { region: region.clone(), account: account.clone(), vault };
            call.may(Operation::DescribeVault, Resource::vault(arn))
        })
    });
    Ok(Json(page))
}

/// Describe a vault
///
/// **Permissions**: `glacier:DescribeVault` on the vault.
#[utoipa::path(
    tag = "vaults",
    operation_id = "describeVault",
    params(VaultPath, Region),
    responses((status = 200, description = "The vault.", body = Vault), VaultProblems)
)]
#[get("/accounts/{accountId}/vaults/{vaultName}")]
pub(super) async fn describe(call: Call, parameters: Parameters) -> Result<Json<Vault>, Problem> {
    parameters.only(&["region"])?;
    let vault = parameters.vault(&call.gateway)?;
    let permit = call.authorize(Operation::DescribeVault, Resource::vault(vault))?;
    let reply = call.forward(call.gateway.upstream.describe_vault(&permit)).await?;
    Ok(Json(reply.value))
}
