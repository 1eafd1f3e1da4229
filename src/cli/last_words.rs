//! What the program says at its end: the rest of its log, and why it failed.

use std::{
    io::{self, Write},
    sync::mpsc,
    thread,
    time::Duration,
};

use super::failure::Failure;
use crate::{
    config::Log,
    telemetry::{self, traces},
};

/// How long standard error is waited for at the end, at the least.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long the last spans of traces may take to be sent.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// Prints a message on standard error, which may be broken, or blocked by a log that
/// nobody reads.
pub(super) fn tell(message: String) {
    let (told, telling) = mpsc::channel::<()>();
    thread::spawn(move || {
        let _ = writeln!(io::stderr(), "{message}");
        drop(told);
    });
    let _ = telling.recv_timeout(LAST_WORDS);
}

/// Runs `work` with a log, which is written to its end in what `work` leaves of the time
/// to shut down.
pub(super) fn logged(
    log: &Log,
    work: impl Future<Output = Result<Duration, Failure>>,
) -> Result<(), Failure> {
    telemetry::init(log).map_err(Failure::other)?;
    let left = actix_web::rt::System::new().block_on(work);
    let limit = left.as_ref().map_or(LAST_WORDS, |left| LAST_WORDS.max(*left));
    traces::finish(limit.min(LAST_SPANS));
    let finished = telemetry::finish(limit).map_err(Failure::other);
    left.and(finished)
}
