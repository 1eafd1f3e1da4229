//! `inventory`: what was seen in the vaults, by way of a running gateway.

use std::{
    io::{IsTerminal, stderr},
    time::Duration,
};

use reqwest::Method;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    failure::Failure,
    remote::{Options, Remote},
};

/// How often is asked how a run goes.
const EVERY: Duration = Duration::from_secs(1);

/// What can be done with the inventory.
#[derive(clap::Subcommand)]
pub(super) enum Chore {
    /// Show how many uploads are in progress, and how old they are.
    Show(Show),
    /// List uploads that were seen.
    Uploads(Uploads),
    /// Have vaults looked through, and wait until that is done.
    ///
    /// The exit code is 1 if some vaults could not be looked through.
    Run(Run),
}

/// Which vaults.
#[derive(clap::Args)]
struct Places {
    /// An account by its number or name, with "*" and "?" as wildcards; "-" is the
    /// gateway's default account.
    #[arg(long)]
    account: Option<String>,
    /// A region, with wildcards.
    #[arg(long)]
    region: Option<String>,
    /// A vault, with wildcards.
    #[arg(long)]
    vault: Option<String>,
}

/// What a row is about.
#[derive(Clone, Copy, clap::ValueEnum)]
enum By {
    Vault,
    Region,
    Account,
}

/// What to show.
#[derive(clap::Args)]
pub(super) struct Show {
    #[command(flatten)]
    gateway: Options,
    #[command(flatten)]
    places: Places,
    /// What a row is about.
    #[arg(long, value_enum, default_value = "vault")]
    by: By,
    /// Print a JSON object for each row.
    #[arg(long)]
    json: bool,
}

/// Which uploads to list.
#[derive(clap::Args)]
pub(super) struct Uploads {
    #[command(flatten)]
    gateway: Options,
    #[command(flatten)]
    places: Places,
    /// "present", "missing", "gone" or "any".
    #[arg(long, default_value = "present")]
    state: String,
    /// Only uploads that were initiated so long ago, such as "7days".
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// Only uploads that have received so many bytes.
    #[arg(long, value_name = "BYTES")]
    min_bytes: Option<u64>,
    /// Only uploads whose description fits, with wildcards.
    #[arg(long, value_name = "PATTERN")]
    description: Option<String>,
    /// Print a JSON object for each upload.
    #[arg(long)]
    json: bool,
}

/// What to look through.
#[derive(clap::Args)]
pub(super) struct Run {
    #[command(flatten)]
    gateway: Options,
    #[command(flatten)]
    places: Places,
    /// Look at the parts of each upload as well.
    #[arg(long)]
    sizes: bool,
    /// Do not wait until it is done.
    #[arg(long)]
    no_wait: bool,
    /// Print the run as JSON.
    #[arg(long)]
    json: bool,
}

impl Places {
    fn query(&self) -> Vec<(&'static str, String)> {
        let named = [("account", &self.account), ("region", &self.region), ("vault", &self.vault)];
        named.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }
}

/// Does a chore.
pub(super) fn run(chore: Chore) -> Result<(), Failure> {
    let system = actix_web::rt::System::new();
    match chore {
        Chore::Show(wanted) => system.block_on(show(&wanted)),
        Chore::Uploads(wanted) => system.block_on(uploads(&wanted)),
        Chore::Run(wanted) => system.block_on(look(&wanted)),
    }
}

async fn show(wanted: &Show) -> Result<(), Failure> {
    let by = match wanted.by {
        By::Vault => "vault",
        By::Region => "region",
        By::Account => "account",
    };
    let mut query = wanted.places.query();
    query.push(("groupBy", by.to_owned()));
    if !wanted.json {
        println!(
            "UPLOADS   >1 DAY  >7 DAYS >30 DAYS            BYTES     GONE  AS OF                 VAULT"
        );
    }
    let remote = wanted.gateway.remote()?;
    pages(&remote, "/v1/inventory", &query, "rows", |row| {
        if wanted.json {
            println!("{row}");
            return;
        }
        let number = |value: &Value| value.as_i64().map_or("-".to_owned(), |n| n.to_string());
        let text = |name: &str| row[name].as_str().unwrap_or_default();
        let ages = &row["atLeast"];
        println!(
            "{:>7} {:>8} {:>8} {:>8} {:>16} {:>8}  {:20}  {}",
            number(&row["uploads"]),
            number(&ages["days1"]),
            number(&ages["days7"]),
            number(&ages["days30"]),
            number(&row["bytes"]),
            number(&row["gone"]["uploads"]),
            text("asOf").get(..19).unwrap_or_default(),
            [text("accountName"), text("region"), text("vaultName")].join(" ").trim_end(),
        );
    })
    .await
}

async fn uploads(wanted: &Uploads) -> Result<(), Failure> {
    let mut query = wanted.places.query();
    query.push(("state", wanted.state.clone()));
    if let Some(age) = wanted.older_than {
        let before = (OffsetDateTime::now_utc() - age).format(&Rfc3339);
        query.push(("initiatedBefore", before.map_err(Failure::other)?));
    }
    query.extend(wanted.min_bytes.map(|bytes| ("minBytes", bytes.to_string())));
    query.extend(wanted.description.clone().map(|text| ("descriptionMatches", text)));
    let remote = wanted.gateway.remote()?;
    pages(&remote, "/v1/inventory/uploads", &query, "uploads", |upload| {
        if wanted.json {
            println!("{upload}");
            return;
        }
        let text = |name: &str| upload[name].as_str().unwrap_or_default();
        // A description is somebody else's text, and a terminal obeys some.
        let description: String =
            text("archiveDescription").chars().filter(|c| !c.is_control()).collect();
        println!(
            "{} {:8} {} {} {} {} {description}",
            text("creationDate").get(..19).unwrap_or_default(),
            text("state"),
            text("accountName"),
            text("region"),
            text("vaultName"),
            text("uploadId"),
        );
    })
    .await
}

async fn look(wanted: &Run) -> Result<(), Failure> {
    let remote = wanted.gateway.remote()?;
    let list = |pattern: &Option<String>| pattern.iter().cloned().collect::<Vec<_>>();
    let places = &wanted.places;
    let body = json!({
        "accounts": list(&places.account),
        "regions": list(&places.region),
        "vaults": list(&places.vault),
        "detail": if wanted.sizes { "sizes" } else { "uploads" },
    });
    let start = remote.request(Method::POST, "/v1/inventory-runs", &[])?.json(&body);
    let mut run: Value = remote.json(start).await?;
    let path = format!("/v1/inventory-runs/{}", run["runId"].as_str().unwrap_or_default());
    let shows_progress = stderr().is_terminal();
    while !wanted.no_wait && run["finished"].is_null() {
        actix_web::rt::time::sleep(EVERY).await;
        run = remote.json(remote.request(Method::GET, &path, &[])?).await?;
        if shows_progress {
            eprint!("\r\u{1b}[K{}", told(&run));
        }
    }
    if shows_progress && !wanted.no_wait {
        eprint!("\r\u{1b}[K");
    }
    if wanted.json {
        println!("{run}");
    } else {
        println!("{}", told(&run));
        for failed in run["failedVaults"].as_array().into_iter().flatten() {
            let text = |name: &str| failed[name].as_str().unwrap_or_default();
            let place = [text("accountId"), text("region"), text("vaultName")].join(" ");
            println!("{place}: {}", text("error"));
        }
    }
    match run["state"].as_str() {
        Some("incomplete") => {
            Err(Failure::other("some vaults could not be looked through, or were not to be"))
        }
        _ => Ok(()),
    }
}

/// How a run goes, in a line.
fn told(run: &Value) -> String {
    let lanes = run["lanes"].as_array().map_or(&[][..], Vec::as_slice);
    let done = lanes.iter().filter(|lane| !lane["finished"].is_null()).count();
    let counts = &run["counts"];
    format!(
        "{} {}: {done} of {} accounts and regions, {} vaults ({} denied, {} failed), {} uploads",
        run["runId"].as_str().unwrap_or_default(),
        run["state"].as_str().unwrap_or_default(),
        lanes.len(),
        counts["crawled"],
        counts["denied"],
        counts["failed"],
        counts["uploads"],
    )
}

/// Goes through all pages of a list.
async fn pages(
    remote: &Remote,
    path: &str,
    query: &[(&'static str, String)],
    entries: &str,
    mut each: impl FnMut(&Value),
) -> Result<(), Failure> {
    let mut marker: Option<String> = None;
    loop {
        let mut query = query.to_vec();
        query.push(("limit", "1000".to_owned()));
        query.extend(marker.map(|marker| ("marker", marker)));
        let page: Value = remote.json(remote.request(Method::GET, path, &query)?).await?;
        page[entries].as_array().into_iter().flatten().for_each(&mut each);
        marker = page["marker"].as_str().map(str::to_owned);
        if marker.is_none() {
            return Ok(());
        }
    }
}
