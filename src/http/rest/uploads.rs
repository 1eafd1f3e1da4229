//! Multipart uploads: list them, look into one, abort one.

use actix_web::{HttpResponse, delete, get, web::Json};

use super::{
    super::{
        parameters::{Parameters, UPLOADS_PAGE},
        problem::Problem,
    },
    openapi::{
        AccountPath, PageParameters, Region, UploadPath, UploadProblems, VaultPath, VaultProblems,
    },
};
use crate::{
    gateway::Call,
    glacier::{PartPage, UploadPage},
};

/// Abort a multipart upload
///
/// Stops the upload and discards the parts that Glacier has received. Repeating
/// it does no harm: Glacier answers 204 for a while and 404 later. A completed
/// upload cannot be aborted.
///
/// **Permissions**: `glacier:AbortMultipartUpload` on the vault.
#[utoipa::path(
    tag = "uploads",
    operation_id = "abortMultipartUpload",
    params(AccountPath, VaultPath, UploadPath, Region),
    responses(
        (status = 204, description = "The upload is aborted.", headers(
            ("X-Request-Id" = String, description = "The request's ID in the gateway's log."),
            ("X-Amzn-RequestId" = String, description = "The request's ID at AWS."),
        )),
        UploadProblems,
    )
)]
#[delete("/v1/accounts/{accountId}/vaults/{vaultName}/multipart-uploads/{uploadId}")]
pub async fn abort(call: Call, parameters: Parameters) -> Result<HttpResponse, Problem> {
    parameters.only(&["region"])?;
    let vault = parameters.vault(&call.gateway)?;
    let upload = parameters.upload()?;
    call.abort_multipart_upload(vault, &upload).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// List the multipart uploads in progress in a vault
///
/// **Permissions**: `glacier:ListMultipartUploads` on the vault.
#[utoipa::path(
    tag = "uploads",
    operation_id = "listMultipartUploads",
    params(AccountPath, VaultPath, Region, PageParameters),
    responses((status = 200, description = "A page of uploads.", body = UploadPage), VaultProblems)
)]
#[get("/v1/accounts/{accountId}/vaults/{vaultName}/multipart-uploads")]
pub async fn list(call: Call, parameters: Parameters) -> Result<Json<UploadPage>, Problem> {
    parameters.only(&["region", "limit", "marker"])?;
    let vault = parameters.vault(&call.gateway)?;
    let page = parameters.page(UPLOADS_PAGE)?;
    Ok(Json(call.list_multipart_uploads(vault, page).await?))
}

/// Look into a multipart upload: its facts and the parts it has received
///
/// **Permissions**: `glacier:ListParts` on the vault.
#[utoipa::path(
    tag = "uploads",
    operation_id = "listParts",
    params(AccountPath, VaultPath, UploadPath, Region, PageParameters),
    responses(
        (status = 200, description = "The upload and a page of its parts.", body = PartPage),
        UploadProblems,
    )
)]
#[get("/v1/accounts/{accountId}/vaults/{vaultName}/multipart-uploads/{uploadId}")]
pub async fn parts(call: Call, parameters: Parameters) -> Result<Json<PartPage>, Problem> {
    parameters.only(&["region", "limit", "marker"])?;
    let vault = parameters.vault(&call.gateway)?;
    let upload = parameters.upload()?;
    let page = parameters.page(UPLOADS_PAGE)?;
    Ok(Json(call.list_parts(vault, &upload, page).await?))
}
