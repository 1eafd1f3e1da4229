//! `jobs`: aborts in bulk, at any gateway.

mod create;
mod job;
mod watch;

use std::io::{self, Write};

use reqwest::{Method, header::ACCEPT};
use serde_json::json;

use self::job::{Job, PATH};
use super::{
    failure::Failure,
    remote::{self, Remote},
};

/// What can be done with jobs.
#[derive(clap::Subcommand)]
pub(super) enum Chore {
    /// Ask for uploads to be aborted, and wait until the job has found them.
    ///
    /// Nothing is aborted before the job is confirmed. Prints the job's ID on standard output,
    /// and what it found on standard error.
    Create(Box<create::NewJob>),
    /// Follow a job until it ends.
    ///
    /// The exit code is 0 if every item ended well, 1 if items failed, all were skipped, or the
    /// job did not come to its end, and 2 if it could not be followed.
    Watch(One),
    /// Let a job abort what it has found.
    Confirm(Confirm),
    /// End a job before its items have ended.
    Cancel(One),
    /// Print what became of each item, or what would.
    Report(Report),
}

/// Which job.
#[derive(clap::Args)]
pub(super) struct One {
    #[command(flatten)]
    gateway: remote::Options,
    /// The job's ID.
    job: String,
    /// Print JSON on standard output.
    #[arg(long)]
    json: bool,
}

/// What is confirmed.
#[derive(clap::Args)]
pub(super) struct Confirm {
    #[command(flatten)]
    one: One,
    /// The token of the items that shall be aborted, which "jobs create" prints. Without it,
    /// those that the job has found, whatever they are.
    #[arg(long, value_name = "TOKEN")]
    selection_token: Option<String>,
}

/// What is reported.
#[derive(clap::Args)]
pub(super) struct Report {
    #[command(flatten)]
    gateway: remote::Options,
    /// The job's ID.
    job: String,
    /// Only items that did not end well.
    #[arg(long)]
    failed: bool,
    /// Print CSV instead of a line of JSON for each item.
    #[arg(long)]
    csv: bool,
}

/// Does a chore.
pub(super) fn run(chore: Chore) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::other)?.block_on(async {
        match chore {
            Chore::Create(options) => create::run(*options).await,
            Chore::Watch(One { gateway, job, json }) => {
                watch::run(&gateway.remote()?, &job, json).await
            }
            Chore::Confirm(wanted) => confirm(wanted).await,
            Chore::Cancel(One { gateway, job, json }) => {
                let remote = gateway.remote()?;
                let path = format!("{PATH}/{job}/cancel");
                show(&remote.json(remote.request(Method::POST, &path, &[])?).await?, json)
            }
            Chore::Report(wanted) => report(wanted).await,
        }
    })
}

async fn confirm(Confirm { one, selection_token }: Confirm) -> Result<(), Failure> {
    let remote = one.gateway.remote()?;
    let token = match selection_token {
        Some(token) => token,
        None => {
            let job: Job = read(&remote, &one.job).await?;
            job.selection_token.ok_or_else(|| {
                let told = format!("the job is {}: it has found nothing to confirm", job.state);
                Failure::other(told)
            })?
        }
    };
    let path = format!("{PATH}/{}/confirm", one.job);
    let request = remote.request(Method::POST, &path, &[])?.json(&json!({"selectionToken": token}));
    show(&remote.json(request).await?, one.json)
}

async fn report(Report { gateway, job, failed, csv }: Report) -> Result<(), Failure> {
    let remote = gateway.remote()?;
    let items = if failed { "failed" } else { "all" };
    let path = format!("{PATH}/{job}/report");
    let request = remote.request(Method::GET, &path, &[("items", items.to_owned())])?;
    let media = if csv { "text/csv" } else { "application/jsonl" };
    let mut response = remote.send(request.header(ACCEPT, media)).await?;
    let mut out = io::stdout().lock();
    while let Some(chunk) = response.chunk().await.map_err(Failure::other)? {
        match out.write_all(&chunk) {
            // Whoever reads has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.map_err(Failure::other)?,
        }
    }
    out.flush().map_err(Failure::other)
}

async fn read(remote: &Remote, job: &str) -> Result<Job, Failure> {
    remote.json(remote.request(Method::GET, &format!("{PATH}/{job}"), &[])?).await
}

/// Says how a job is.
fn show(shown: &serde_json::Value, as_json: bool) -> Result<(), Failure> {
    if as_json {
        println!("{shown}");
    } else {
        let job: Job = serde_json::from_value(shown.clone()).map_err(Failure::other)?;
        println!("{}", job.told());
    }
    Ok(())
}
