//! A list of uploads as CSV.

use actix_web::{HttpMessage, HttpRequest};
use utoipa::IntoParams;

use super::super::super::{
    parameters::Parameters,
    problem::{Code, Problem},
};
use crate::jobs::{
    IsoDuration,
    model::{Confirm, NewAbortJob},
};

/// What a body of JSON says beside the uploads. For a body of CSV alone.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
pub struct ManifestParameters {
    /// With CSV: the job's team.
    team: Option<String>,
    /// With CSV: why.
    reason: Option<String>,
    /// With CSV: the account of uploads whose line names none.
    account: Option<String>,
    /// With CSV: the region of uploads whose line names none.
    region: Option<String>,
    /// With CSV: the vault of uploads whose line names none.
    vault: Option<String>,
    /// With CSV: `quietFor` of the selection.
    #[param(rename = "quietFor")]
    quiet_for: Option<String>,
    /// With CSV: whether somebody must confirm the job.
    confirm: Option<Confirm>,
}

const COLUMNS: [&str; 4] = ["accountId", "region", "vaultName", "uploadId"];

/// Whether the body is CSV.
pub fn is_csv(request: &HttpRequest) -> bool {
    request.content_type().eq_ignore_ascii_case("text/csv")
}

/// Reads a list of uploads, and the request that the parameters make of it.
pub fn read(parameters: &Parameters, body: &[u8]) -> Result<NewAbortJob, Problem> {
    parameters.only(&["team", "reason", "account", "region", "vault", "quietFor", "confirm"])?;
    let text = |name| parameters.given(name, |text| Ok::<_, &str>(text.to_owned()));
    let quiet_for = parameters.given("quietFor", str::parse::<IsoDuration>)?;
    let confirm = parameters.given("confirm", |text| match text {
        "required" => Ok(Confirm::Required),
        "auto" => Ok(Confirm::Auto),
        _ => Err("write required or auto"),
    })?;
    let wrong = |line: usize, what: &str| {
        let detail = format!("line {} of the CSV: {what}.", line + 1);
        Problem::new(Code::InvalidParameter, detail)
    };
    let body = std::str::from_utf8(body)
        .map_err(|_| Problem::new(Code::MalformedRequest, "The CSV is not UTF-8."))?;
    let body = body.trim_start_matches('\u{feff}');
    let mut columns: Option<Vec<&str>> = None;
    let mut uploads = Vec::new();
    let (account, region, vault) = (text("account")?, text("region")?, text("vault")?);
    for (number, line) in body.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        // No name of Glacier's holds a comma or a quotation mark.
        let fields: Vec<&str> =
            line.split(',').map(|field| field.trim().trim_matches('"')).collect();
        if columns.is_none() {
            let is_header = fields.iter().all(|field| COLUMNS.contains(field));
            columns = Some(if is_header { fields.clone() } else { vec!["uploadId"] });
            if is_header {
                continue;
            }
        }
        let names = columns.as_deref().unwrap_or_default();
        if fields.len() != names.len() {
            return Err(wrong(number, "it has not the columns of the first line"));
        }
        let field = |wanted: &str| {
            let at = names.iter().position(|name| *name == wanted)?;
            fields.get(at).filter(|field| !field.is_empty()).map(|field| (*field).to_owned())
        };
        let vault_name = field("vaultName").or(vault.clone());
        uploads.push(serde_json::json!({
            "accountId": field("accountId").or(account.clone()).unwrap_or_else(|| "-".to_owned()),
            "region": field("region").or(region.clone()),
            "vaultName": vault_name.ok_or_else(|| wrong(number, "it names no vault"))?,
            "uploadId": field("uploadId").ok_or_else(|| wrong(number, "it names no upload"))?,
        }));
    }
    let select = serde_json::json!({ "uploadIds": uploads, "quietFor": quiet_for });
    let request = serde_json::json!({
        "team": text("team")?,
        "reason": text("reason")?,
        "target": {"vaults": ["*"], "accounts": ["*"], "regions": ["*"]},
        "select": select,
        "confirm": confirm.unwrap_or_default(),
    });
    serde_json::from_value(request).map_err(|error| {
        Problem::new(Code::InvalidParameter, format!("The CSV cannot be taken: {error}."))
    })
}
