//! Glacier's REST API: requests in, replies out (Glacier Developer Guide, "API
//! Reference").

use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use futures_util::StreamExt;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    clock::timestamp,
    error::GlacierError,
    operation::{Operation, Wanted},
    received::Received,
    reply::{Reply, spoil},
    signature::{self, Caller},
    state::Simulator,
    sts,
    tree_hash::{Hash, Hasher, Payload},
    uploads::{Part, Upload},
    vaults::{Vault, Vaults},
};
use crate::{authn::sigv4::SignedRequest, domain::VaultArn};

const VERSION: &str = "2012-06-01";
/// The largest page of uploads and of parts, which is also the default.
const UPLOADS_PAGE: usize = 50;
/// The largest page of vaults, which is also the default.
const VAULTS_PAGE: usize = 10;

type Result<T> = std::result::Result<T, GlacierError>;

/// Serves every request to the simulator's Glacier endpoint.
pub(super) async fn serve(
    request: HttpRequest,
    payload: web::Payload,
    simulator: web::Data<Simulator>,
) -> HttpResponse {
    let headers = lower_case_headers(&request);
    if sts::is_meant(&request) {
        return sts::serve(&request, &headers, payload, &simulator).await;
    }
    let wanted = Wanted::of(request.method().as_str(), request.uri().path());
    let operation = wanted.as_ref().map(|wanted| wanted.operation);
    let strike = {
        let mut state = simulator.state();
        let at = state.clock.now();
        state.received.push(Received::new(&request, &headers, operation, at));
        state.faults.strike(wanted.as_ref(), Instant::now())
    };
    let Some(payload) = hash(payload).await else {
        return HttpResponse::BadRequest().finish();
    };
    let call = Call { headers: &headers, query: request.query_string(), wanted, payload };
    let perform =
        || call.perform(&request, &simulator).unwrap_or_else(|error| Reply::error(&error));

    let reply = (strike.carried_out || strike.then.is_some()).then(perform);
    if let (Some(activity), Some(wanted)) = (strike.then, &call.wanted) {
        // An upload that is gone by then has no owner any more.
        let _ = simulator.act(&wanted.upload, activity);
    }
    tokio::time::sleep(strike.delay).await;
    let genuine = || reply.unwrap_or_else(perform);
    let response = match strike.effect {
        None => genuine().respond(&simulator),
        Some(effect) => spoil(effect, genuine, &request, &simulator).await,
    };
    tracing::debug!(?operation, status = response.status().as_u16(), "simulated Glacier replied");
    response
}

fn lower_case_headers(request: &HttpRequest) -> Vec<(String, String)> {
    let headers = request.headers().iter();
    // A header that is not ASCII cannot have been signed as it stands.
    let readable = headers.filter_map(|(name, value)| Some((name, value.to_str().ok()?)));
    readable.map(|(name, value)| (name.as_str().to_owned(), value.to_owned())).collect()
}

/// Reads a payload to its end; `None` if the client broke off.
async fn hash(mut payload: web::Payload) -> Option<Payload> {
    let mut hasher = Hasher::new();
    while let Some(chunk) = payload.next().await {
        hasher.update(&chunk.ok()?);
    }
    Some(hasher.finish())
}

/// A request with its payload reduced to hashes.
struct Call<'a> {
    headers: &'a [(String, String)],
    query: &'a str,
    wanted: Option<Wanted>,
    payload: Payload,
}

impl Call<'_> {
    /// Authenticates the caller and carries the operation out.
    fn perform(&self, request: &HttpRequest, simulator: &Simulator) -> Result<Reply> {
        let mut state = simulator.state();
        let headers: Vec<(&str, &[u8])> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let signed = SignedRequest {
            method: request.method().as_str(),
            target: request.uri().path_and_query().map_or("/", |target| target.as_str()),
            headers: &headers,
            payload_sha256: &hex::encode(self.payload.sha256),
        };
        let now = state.clock.wall();
        let caller = signature::verify(&signed, "glacier", simulator, &state, now)?;
        let wanted = self.wanted.as_ref().ok_or_else(|| {
            let code = "UnknownOperationException";
            GlacierError::new(StatusCode::NOT_FOUND, code, "There is no such operation.")
        })?;
        match self.header("x-amz-glacier-version") {
            Some(VERSION) => {}
            None => return Err(GlacierError::missing("API version")),
            Some(other) => {
                return Err(GlacierError::invalid(format!("Invalid API version: {other}")));
            }
        }
        self.check_content_sha256()?;
        if wanted.account != "-" && wanted.account != caller.account.as_str() {
            let message = format!("Access denied for account ID: {}", wanted.account);
            return Err(GlacierError::access_denied(message));
        }
        let now = state.clock.now();
        self.dispatch(wanted, &caller, &mut state.vaults, now)
    }

    fn dispatch(
        &self,
        wanted: &Wanted,
        caller: &Caller,
        vaults: &mut Vaults,
        now: OffsetDateTime,
    ) -> Result<Reply> {
        if wanted.operation == Operation::ListVaults {
            let (marker, limit) = self.page(VAULTS_PAGE)?;
            let page = vaults.list(&caller.account, &caller.region, marker.as_deref(), limit)?;
            let list: Vec<Value> =
                page.items.iter().map(|(arn, vault)| describe(arn, vault, now)).collect();
            return Ok(Reply::json(json!({ "Marker": page.marker, "VaultList": list })));
        }

        let arn = vault_arn(wanted, caller)?;
        let id = wanted.upload.as_str();
        let location = format!("/{}/vaults/{}", arn.account, arn.vault);
        Ok(match wanted.operation {
            Operation::CreateVault => {
                vaults.create(arn, now)?;
                Reply::created(location)
            }
            // Told apart from Glacier's before.
            Operation::ListVaults | Operation::DescribeVault | Operation::AssumeRole => {
                Reply::json(describe(&arn, vaults.get(&arn)?, now))
            }
            Operation::DeleteVault => {
                vaults.delete(&arn)?;
                Reply::no_content()
            }
            Operation::InitiateMultipartUpload => {
                let part_size = self.number("x-amz-part-size")?;
                let description = self.header("x-amz-archive-description").map(str::to_owned);
                let id = &vaults.initiate(&arn, part_size, description, now)?.id;
                Reply::created(format!("{location}/multipart-uploads/{id}"))
                    .with("x-amz-multipart-upload-id", id.to_string())
            }
            Operation::UploadMultipartPart => {
                let range = self.content_range()?;
                self.required("x-amz-content-sha256")?;
                if self.tree_hash()? != self.payload.tree_hash {
                    return Err(self.invalid("x-amz-sha256-tree-hash"));
                }
                let upload = vaults.upload_mut(&arn, id, now)?;
                upload.put_part(range, self.payload.tree_hash, now)?;
                Reply::no_content()
                    .with("x-amz-sha256-tree-hash", hex::encode(self.payload.tree_hash))
            }
            Operation::CompleteMultipartUpload => {
                let size = self.number("x-amz-archive-size")?;
                let archive = vaults.complete(&arn, id, size, self.tree_hash()?, now)?;
                Reply::created(format!("{location}/archives/{}", archive.id))
                    .with("x-amz-sha256-tree-hash", hex::encode(archive.tree_hash))
                    .with("x-amz-archive-id", archive.id)
            }
            Operation::AbortMultipartUpload => {
                vaults.upload_mut(&arn, id, now)?.abort(now)?;
                Reply::no_content()
            }
            Operation::ListMultipartUploads => {
                let (marker, limit) = self.page(UPLOADS_PAGE)?;
                let page = vaults.get(&arn)?.uploads_in_progress(marker.as_deref(), limit, now)?;
                let list = page.items.iter().map(|upload| describe_upload(&arn, upload));
                let list: Vec<Value> = list.collect();
                Reply::json(json!({ "Marker": page.marker, "UploadsList": list }))
            }
            Operation::ListParts => {
                let (marker, limit) = self.page(UPLOADS_PAGE)?;
                let upload = vaults.upload(&arn, id, now)?;
                let page = upload.parts(marker.as_deref(), limit)?;
                let mut listing = describe_upload(&arn, upload);
                let parts = page.items.into_iter().map(|(first, part)| describe_part(first, part));
                listing["Parts"] = parts.collect();
                listing["Marker"] = page.marker.into();
                Reply::json(listing)
            }
        })
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn required(&self, name: &str) -> Result<&str> {
        self.header(name).ok_or_else(|| GlacierError::missing(name))
    }

    fn invalid(&self, name: &str) -> GlacierError {
        let value = self.header(name).unwrap_or_default();
        GlacierError::invalid(format!("Invalid {name}: {value}"))
    }

    fn number(&self, name: &str) -> Result<u64> {
        self.required(name)?.parse().map_err(|_| self.invalid(name))
    }

    fn tree_hash(&self) -> Result<Hash> {
        let name = "x-amz-sha256-tree-hash";
        let mut hash = Hash::default();
        hex::decode_to_slice(self.required(name)?, &mut hash).map_err(|_| self.invalid(name))?;
        Ok(hash)
    }

    fn check_content_sha256(&self) -> Result<()> {
        let name = "x-amz-content-sha256";
        let sha256 = hex::encode(self.payload.sha256);
        if self.header(name).is_none_or(|announced| announced == sha256) {
            Ok(())
        } else {
            Err(self.invalid(name))
        }
    }

    /// `bytes {first}-{last}/*`, which must fit the payload's length.
    fn content_range(&self) -> Result<(u64, u64)> {
        let text =
            self.header("content-range").ok_or_else(|| GlacierError::missing("Content-Range"))?;
        let invalid = || GlacierError::invalid(format!("Invalid Content-Range: {text}"));
        let (first, last) = text
            .strip_prefix("bytes ")
            .and_then(|range| range.strip_suffix("/*")?.split_once('-'))
            .ok_or_else(invalid)?;
        let first: u64 = first.parse().map_err(|_| invalid())?;
        let last: u64 = last.parse().map_err(|_| invalid())?;
        if last < first {
            return Err(invalid());
        }
        if (last - first).checked_add(1) != Some(self.payload.length) {
            let length = self.payload.length;
            let message =
                format!("Content-Range: {text} is incompatible with Content-Length: {length}");
            return Err(GlacierError::invalid(message));
        }
        Ok((first, last))
    }

    /// The query's marker, and its limit or else `largest`.
    fn page(&self, largest: usize) -> Result<(Option<String>, usize)> {
        let (mut marker, mut limit) = (None, largest);
        for (name, value) in url::form_urlencoded::parse(self.query.as_bytes()) {
            match name.as_ref() {
                "marker" => marker = Some(value.into_owned()),
                "limit" => {
                    let number = value.parse().ok().filter(|n| (1..=largest).contains(n));
                    limit = number.ok_or_else(|| {
                        GlacierError::invalid(format!(
                            "Invalid limit: {value}. It is 1 to {largest}."
                        ))
                    })?;
                }
                _ => {}
            }
        }
        Ok((marker, limit))
    }
}

fn vault_arn(wanted: &Wanted, caller: &Caller) -> Result<VaultArn> {
    let Caller { account, region, .. } = caller;
    let vault = wanted.vault.parse().map_err(|_| {
        let partition = region.partition();
        GlacierError::invalid(format!(
            "Invalid vault name: arn:{partition}:glacier:{region}:{account}:vaults/{}",
            wanted.vault
        ))
    })?;
    Ok(VaultArn { region: region.clone(), account: account.clone(), vault })
}

/// A vault as DescribeVault and ListVaults show it.
pub(super) fn describe(arn: &VaultArn, vault: &Vault, now: OffsetDateTime) -> Value {
    let inventory = vault.inventory(now);
    json!({
        "VaultARN": arn.to_string(),
        "VaultName": arn.vault,
        "CreationDate": timestamp(vault.created),
        "LastInventoryDate": inventory.as_ref().map(|inventory| timestamp(inventory.date)),
        "NumberOfArchives": inventory.as_ref().map_or(0, |inventory| inventory.archives),
        "SizeInBytes": inventory.as_ref().map_or(0, |inventory| inventory.bytes),
    })
}

/// An upload as ListMultipartUploads and ListParts show it.
pub(super) fn describe_upload(arn: &VaultArn, upload: &Upload) -> Value {
    json!({
        "MultipartUploadId": upload.id,
        "VaultARN": arn.to_string(),
        "ArchiveDescription": upload.description,
        "PartSizeInBytes": upload.part_size,
        "CreationDate": timestamp(upload.created),
    })
}

pub(super) fn describe_part(first: u64, part: Part) -> Value {
    json!({
        "RangeInBytes": format!("{first}-{}", first + part.length - 1),
        "SHA256TreeHash": hex::encode(part.tree_hash),
    })
}
