//! Logging: events of `tracing` to standard error, as JSON or for a terminal.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{Log, LogFormat};

/// Installs the process's log. A second call changes nothing.
pub fn init(settings: &Log) {
    let filter = EnvFilter::try_new(&settings.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = fmt().with_env_filter(filter).with_writer(io::stderr);
    // Fails only where a log is installed already.
    let _ = match settings.format {
        LogFormat::Json => {
            log.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
        }
        LogFormat::Human => {
            log.compact().with_target(false).with_ansi(io::stderr().is_terminal()).try_init()
        }
    };
}
