//! Asking for a job.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use indicatif::ProgressBar;
use reqwest::Method;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    job::{Job, PATH},
    watch,
};
use crate::cli::{
    failure::Failure,
    remote::{self, Remote},
};

/// What a job is to abort.
#[derive(clap::Args)]
pub struct NewJob {
    #[command(flatten)]
    gateway: remote::Options,
    /// The team that the job is of; needed if you are in several.
    #[arg(long)]
    team: Option<String>,
    /// An account: its number, its name with * and ? as wildcards, or - for the gateway's
    /// default account. May be given several times.
    #[arg(
        long = "account",
        value_name = "ACCOUNT",
        default_value = "-",
        allow_hyphen_values = true
    )]
    accounts: Vec<String>,
    /// A region, with wildcards; the gateway's default region if there is none. May be given
    /// several times.
    #[arg(long = "region", value_name = "REGION")]
    regions: Vec<String>,
    /// A vault's name, with wildcards. May be given several times.
    #[arg(long = "vault", value_name = "VAULT", required = true)]
    vaults: Vec<String>,
    #[command(flatten)]
    select: Select,
    /// Why; it is kept with the job.
    #[arg(long)]
    reason: Option<String>,
    /// Fail, and abort nothing, if more uploads are found.
    #[arg(long, value_name = "COUNT")]
    max_uploads: Option<u32>,
    /// Stop if a larger share of the aborts fails, from 0 to 1.
    #[arg(long, value_name = "SHARE")]
    max_failure_rate: Option<f64>,
    /// Abort nothing before this time, such as 2026-11-30T22:00:00Z.
    #[arg(long, value_name = "TIME")]
    not_before: Option<String>,
    /// Abort what is found without a confirmation.
    #[arg(long)]
    auto_confirm: bool,
    /// Do not wait until the job has found the uploads.
    #[arg(long)]
    no_wait: bool,
    /// Print the job as JSON instead of its ID.
    #[arg(long)]
    json: bool,
}

/// Which uploads.
#[derive(clap::Args)]
#[group(required = true, multiple = true)]
struct Select {
    /// Initiated this long ago or longer, such as P7D or PT12H.
    #[arg(long, value_name = "DURATION")]
    older_than: Option<String>,
    /// Initiated before this time.
    #[arg(long, value_name = "TIME")]
    initiated_before: Option<String>,
    /// With a description like this, with wildcards.
    #[arg(long, value_name = "PATTERN")]
    description: Option<String>,
    /// With parts of this many bytes or more.
    #[arg(long, value_name = "BYTES")]
    min_bytes: Option<u64>,
    /// Whose parts have not changed for this long. PT0S takes them as they are, also those
    /// that somebody may still be sending parts to.
    #[arg(long, value_name = "DURATION")]
    quiet_for: Option<String>,
    /// All of them.
    #[arg(long)]
    all: bool,
    /// The uploads whose IDs stand in this file, one a line; - reads standard input.
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    uploads: Option<PathBuf>,
}

/// Asks for a job.
pub(super) async fn run(options: NewJob) -> Result<(), Failure> {
    let body = body(&options)?;
    let remote = options.gateway.remote()?;
    // So that a request whose answer was lost can be sent again.
    let key = Uuid::new_v4().to_string();
    let request = remote.request(Method::POST, PATH, &[])?;
    let request = request.header("Idempotency-Key", key).json(&body);
    let created: Value = remote.json(request).await?;
    let job: Job = serde_json::from_value(created.clone()).map_err(Failure::other)?;
    let (job, shown) = match options.no_wait {
        true => (job, created.to_string()),
        false => prepared(&remote, &job.job_id).await?,
    };
    if options.json {
        println!("{shown}");
    } else {
        if !options.no_wait {
            eprintln!("{}", job.found());
        }
        if let Some(token) = job.selection_token.filter(|_| job.state == "awaiting-confirmation") {
            let id = &job.job_id;
            eprintln!(
                "Nothing is aborted yet. See each upload:  glacier-gateway jobs report {id}\n\
                 Abort exactly these:  glacier-gateway jobs confirm {id} --selection-token {token}"
            );
        }
        println!("{}", job.job_id);
    }
    match job.problem {
        Some(_) => Err(Failure::other("the job has failed")),
        None => Ok(()),
    }
}

/// Waits until a job has found its uploads.
async fn prepared(remote: &Remote, id: &str) -> Result<(Job, String), Failure> {
    let spinner = ProgressBar::new_spinner().with_message("looking for uploads");
    let mut shown = String::new();
    let job = watch::follow(remote, id, |job, data| {
        spinner.tick();
        data.clone_into(&mut shown);
        job.state != "preparing"
    })
    .await;
    spinner.finish_and_clear();
    Ok((job?, shown))
}

fn body(options: &NewJob) -> Result<Value, Failure> {
    let NewJob { select, .. } = options;
    let mut target = json!({"accounts": options.accounts, "vaults": options.vaults});
    if !options.regions.is_empty() {
        target["regions"] = json!(options.regions);
    }
    let ids = select.uploads.as_deref().map(upload_ids).transpose()?;
    let select = given([
        ("olderThan", json!(select.older_than)),
        ("initiatedBefore", json!(select.initiated_before)),
        ("descriptionMatches", json!(select.description)),
        ("minBytes", json!(select.min_bytes)),
        ("quietFor", json!(select.quiet_for)),
        ("all", json!(select.all.then_some(true))),
        ("uploadIds", json!(ids)),
    ]);
    Ok(given([
        ("team", json!(options.team)),
        ("target", target),
        ("select", select),
        ("reason", json!(options.reason)),
        ("maxUploads", json!(options.max_uploads)),
        ("maxFailureRate", json!(options.max_failure_rate)),
        ("notBefore", json!(options.not_before)),
        ("confirm", json!(options.auto_confirm.then_some("auto"))),
    ]))
}

/// An object of what is not null.
fn given<const N: usize>(members: [(&str, Value); N]) -> Value {
    let members = members.into_iter().filter(|(_, value)| !value.is_null());
    members.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()
}

fn upload_ids(path: &Path) -> Result<Vec<String>, Failure> {
    let mut text = String::new();
    let read = match path.to_str() {
        Some("-") => io::stdin().read_to_string(&mut text).map(drop),
        _ => fs::read_to_string(path).map(|read| text = read),
    };
    read.map_err(|error| Failure::configuration(format!("{}: {error}", path.display())))?;
    // Spreadsheets begin a file with a byte order mark.
    let text = text.trim_start_matches('\u{feff}');
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(str::to_owned).collect())
}
