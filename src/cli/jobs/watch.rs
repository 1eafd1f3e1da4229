//! Following a job, across broken connections and restarts of the gateway.

use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Method, header::ACCEPT};

use super::job::{Job, PATH};
use crate::cli::{
    events::{Event, Events},
    failure::Failure,
    remote::{Remote, Unanswered},
};

/// The exit code if a job could not be followed to its end.
const NOT_FOLLOWED: u8 = 2;
/// How long a gateway that does not answer is waited for.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long to wait before a connection is made anew.
const PAUSE: Duration = Duration::from_secs(1);

/// Follows a job until it ends.
pub(super) async fn run(remote: &Remote, id: &str, json: bool) -> Result<(), Failure> {
    let bar = bar();
    let mut shown = String::new();
    let job = follow(remote, id, |job, data| {
        if json {
            println!("{data}");
        }
        bar.set_length(job.counts.selected);
        bar.set_position(job.counts.ended());
        bar.set_message(job.told());
        // Without a terminal there is a line for each state.
        if bar.is_hidden() && !json && shown != job.state {
            eprintln!("{}", job.told());
            shown.clone_from(&job.state);
        }
        job.has_ended()
    })
    .await?;
    bar.finish_and_clear();
    if !json {
        println!("{}", job.told());
    }
    job.shortcoming().map_or(Ok(()), |what| Err(Failure::other(what)))
}

fn bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("[{elapsed_precise}] {bar:30} {percent:>3} % {msg}");
    let bar = ProgressBar::new(0);
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

/// Reads a job's events until `enough` holds of one, which takes the job and its JSON. After
/// a connection that broke it goes on behind the last event that was read.
pub(super) async fn follow(
    remote: &Remote,
    id: &str,
    mut enough: impl FnMut(&Job, &str) -> bool,
) -> Result<Job, Failure> {
    let path = format!("{PATH}/{id}/events");
    let (mut seen, mut heard) = (None, Instant::now());
    loop {
        let mut request =
            remote.request(Method::GET, &path, &[])?.header(ACCEPT, "text/event-stream");
        if let Some(seen) = &seen {
            request = request.header("Last-Event-ID", seen);
        }
        let told = match remote.try_once(request).await {
            Ok(response) => {
                let mut events = Events::of(response);
                loop {
                    match events.next().await {
                        Ok(Some(Event { id, data })) => {
                            heard = Instant::now();
                            seen = id.or(seen);
                            let job: Job = serde_json::from_str(&data).map_err(not_followed)?;
                            if enough(&job, &data) {
                                return Ok(job);
                            }
                        }
                        Ok(None) => break "the gateway ended the connection".to_owned(),
                        Err(error) => break error.to_string(),
                    }
                }
            }
            Err(Unanswered::Never(failure)) => return Err(not_followed(failure.message)),
            Err(Unanswered::Later(told, _)) => told,
        };
        if heard.elapsed() > PATIENCE {
            return Err(not_followed(told));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn not_followed(why: impl ToString) -> Failure {
    Failure { message: why.to_string(), code: NOT_FOLLOWED }
}
