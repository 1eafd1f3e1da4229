//! Vaults: list those the caller may describe, describe one.

use actix_web::{get, web::Json};

use super::{
    super::{
        parameters::{Parameters, VAULTS_PAGE},
        problem::Problem,
    },
    openapi::{
        AccountPath, AccountProblems, Region, VaultPageParameters, VaultPath, VaultProblems,
    },
};
use crate::{
    gateway::Call,
    glacier::{Vault, VaultPage},
};

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
#[get("/v1/accounts/{accountId}/vaults")]
pub async fn list(call: Call, parameters: Parameters) -> Result<Json<VaultPage>, Problem> {
    parameters.only(&["region", "limit", "marker"])?;
    let account = parameters.account(&call.gateway)?;
    let page = parameters.page(VAULTS_PAGE)?;
    Ok(Json(call.list_vaults(account, page).await?))
}

/// Describe a vault
///
/// **Permissions**: `glacier:DescribeVault` on the vault.
#[utoipa::path(
    tag = "vaults",
    operation_id = "describeVault",
    params(AccountPath, VaultPath, Region),
    responses((status = 200, description = "The vault.", body = Vault), VaultProblems)
)]
#[get("/v1/accounts/{accountId}/vaults/{vaultName}")]
pub async fn describe(call: Call, parameters: Parameters) -> Result<Json<Vault>, Problem> {
    parameters.only(&["region"])?;
    let vault = parameters.vault(&call.gateway)?;
    Ok(Json(call.describe_vault(vault).await?))
}
