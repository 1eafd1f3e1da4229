//! The three calls of `dev` with a client that progenitor generated. Prints what came
//! of them as one line of JSON.

use std::{collections::HashMap, env, error::Error};

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::json;

#[allow(clippy::all, dead_code)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/client.rs"));
}

use generated::Client;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let given: HashMap<String, String> = env::vars().collect();
    let media = client(&given["REST"], &given["MEDIA"])?;
    let finance = client(&given["REST"], &given["FINANCE"])?;
    let (vault, first, second) = (&given["VAULT"], &given["FIRST"], &given["SECOND"]);
    let abort = |client: Client, upload: String| async move {
        client
            .abort_multipart_upload()
            .account_id("-")
            .vault_name(vault.as_str())
            .upload_id(upload)
            .send()
            .await
    };

    let aborted = abort(media.clone(), first.clone()).await?.status().as_u16();
    let error = abort(finance, second.clone()).await.err().ok_or("the abort was not denied")?;
    let generated::Error::ErrorResponse(denied) = error else { return Err(error.into()) };
    let near = denied.near_misses.as_ref().and_then(|all| all.first()).ok_or("no near miss")?;
    let left = media
        .list_multipart_uploads()
        .account_id("-")
        .vault_name(vault.as_str())
        .send()
        .await?
        .into_inner();
    println!(
        "{}",
        json!({
            "aborted": aborted,
            "denied": {
                "status": denied.status().as_u16(),
                "code": denied.code,
                "reason": denied.reason,
                "policy": near.statement.policy,
                "missed": near.missed,
            },
            "left": left.uploads.iter().map(|upload| &upload.upload_id).collect::<Vec<_>>(),
        })
    );
    Ok(())
}

fn client(rest: &str, token: &str) -> Result<Client, Box<dyn Error>> {
    let bearer = HeaderValue::from_str(&format!("Bearer {token}"))?;
    let headers = HeaderMap::from_iter([(AUTHORIZATION, bearer)]);
    let client = reqwest::Client::builder().default_headers(headers).build()?;
    Ok(Client::new_with_client(rest, client))
}
