//! Accounts: list those that the caller may see.

use std::collections::BTreeMap;

use actix_web::{get, web::Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{parameters::Parameters, problem::Problem},
    openapi::LocalProblems,
};
use crate::gateway::{Call, SeenAccount};

/// The AWS accounts that the caller may see.
#[derive(Serialize, ToSchema)]
pub struct AccountList {
    /// The accounts, by their numbers.
    accounts: Vec<Account>,
}

/// An AWS account that the gateway serves.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// The account's number, for paths.
    #[schema(example = "111122223333", pattern = "^[0-9]{12}$")]
    account_id: String,
    /// The name that the gateway's operators gave it.
    #[schema(example = "media")]
    name: String,
    /// The regions whose vaults can be asked for.
    #[schema(example = json!(["eu-central-1"]))]
    regions: Vec<String>,
    /// The tags that the gateway's operators gave it.
    tags: BTreeMap<String, String>,
}

impl From<SeenAccount> for Account {
    fn from(SeenAccount { id, name, tags, regions }: SeenAccount) -> Self {
        let regions = regions.iter().map(ToString::to_string).collect();
        Self { account_id: id.to_string(), name, regions, tags }
    }
}

/// List the AWS accounts
///
/// The answer holds only the accounts that the caller may see. Whether it may do something
/// in them is for other actions to say.
///
/// **Permissions**: `gateway:ListAccounts` on `arn:aws:glacier-gateway:::account/ACCOUNT` of
/// each account that shall be listed.
#[utoipa::path(
    tag = "accounts",
    operation_id = "listAccounts",
    responses((status = 200, description = "The accounts.", body = AccountList), LocalProblems)
)]
#[get("/v1/accounts")]
pub async fn list(call: Call, parameters: Parameters) -> Result<Json<AccountList>, Problem> {
    parameters.only(&[])?;
    let accounts = call.list_accounts()?.into_iter().map(Account::from).collect();
    Ok(Json(AccountList { accounts }))
}
