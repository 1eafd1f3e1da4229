//! Logging: events of `tracing` to standard error, as JSON or for a terminal.

use std::{
    fmt::{self, Write as _},
    io::{self, BufWriter, IsTerminal, Write as _},
};

use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tracing::{Event, Subscriber, field::Visit};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::MakeWriter,
    layer::{Context, SubscriberExt},
    util::SubscriberInitExt,
};

use crate::config::{Log, LogFormat};

/// How many lines may wait to be written: about a megabyte.
const BACKLOG: usize = 1024;

/// Installs the process's log. A second call changes nothing.
///
/// Lines for machines are written by a thread of their own, as many at once as there
/// are: a request waits for no disk. None is lost: where the thread falls far behind,
/// requests wait for it, and what is left is written when the guard is dropped.
#[must_use = "dropped at once, the guard lets nothing be logged"]
pub fn init(settings: &Log) -> Option<WorkerGuard> {
    let filter = EnvFilter::try_new(&settings.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::registry().with(filter);
    // `try_init` fails only where a log is installed already.
    match settings.format {
        LogFormat::Json => {
            let lines = NonBlockingBuilder::default().lossy(false).buffered_lines_limit(BACKLOG);
            let (lines, guard) = lines.finish(BufWriter::with_capacity(1 << 16, io::stderr()));
            let _ = log.with(Json(lines)).try_init();
            Some(guard)
        }
        LogFormat::Human => {
            let human = tracing_subscriber::fmt::layer().compact().with_target(false);
            let human = human.with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
            let _ = log.with(human).try_init();
            None
        }
    }
}

/// Events as JSON objects, one a line: `timestamp`, `level`, the event's own fields,
/// `target`. The library's own formatter was a sixth of the instructions of a request.
struct Json<W>(W);

impl<S, W> Layer<S> for Json<W>
where
    S: Subscriber,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line { json: Vec::with_capacity(1024), text: String::with_capacity(128) };
        line.json.extend(b"{\"timestamp\":\"");
        // Memory can be written to; that the log cannot, nobody could be told.
        let _ = OffsetDateTime::now_utc().format_into(&mut line.json, &Rfc3339);
        line.json.push(b'"');
        line.add("level", event.metadata().level().as_str());
        event.record(&mut line);
        line.add("target", event.metadata().target());
        line.json.extend(b"}\n");
        let _ = self.0.make_writer().write_all(&line.json);
    }
}

struct Line {
    json: Vec<u8>,
    /// Room to print a value in before it is quoted.
    text: String,
}

impl Line {
    fn add(&mut self, name: &str, value: impl Serialize) {
        // Names are identifiers of Rust, which JSON need not escape.
        for part in [",\"", name, "\":"] {
            self.json.extend_from_slice(part.as_bytes());
        }
        // That cannot fail: the values are plain.
        let _ = serde_json::to_writer(&mut self.json, &value);
    }
}

impl Visit for Line {
    fn record_f64(&mut self, field: &tracing::field::Field, value: f64) {
        self.add(field.name(), value);
    }

    fn record_i64(&mut self, field: &tracing::field::Field, value: i64) {
        self.add(field.name(), value);
    }

    fn record_u64(&mut self, field: &tracing::field::Field, value: u64) {
        self.add(field.name(), value);
    }

    fn record_bool(&mut self, field: &tracing::field::Field, value: bool) {
        self.add(field.name(), value);
    }

    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        self.add(field.name(), value);
    }

    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        let _ = write!(text, "{value:?}");
        self.add(field.name(), &text);
        self.text = text;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_of_json_whatever_its_values_hold() {
        let written = Written::default();
        let sink = written.clone();
        let log = tracing_subscriber::registry().with(Json(move || sink.clone()));
        let hostile = "a\"b\\c\nd\u{7}é\u{2028}";
        tracing::subscriber::with_default(log, || {
            tracing::warn!(
                text = hostile,
                shown = %hostile,
                count = 7_u64,
                below = -7_i64,
                ms = 0.25,
                yes = true,
                none = None::<&str>,
                "a message"
            );
        });
        let bytes = written.0.lock().unwrap().clone();
        let line = String::from_utf8(bytes).unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        let mut event: Value = serde_json::from_str(&line).unwrap();
        let timestamp = event["timestamp"].take();
        assert!(OffsetDateTime::parse(timestamp.as_str().unwrap(), &Rfc3339).is_ok());
        assert_eq!(
            event,
            json!({
                "timestamp": null, "level": "WARN", "message": "a message",
                "text": hostile, "shown": hostile, "count": 7, "below": -7, "ms": 0.25,
                "yes": true, "target": "glacier_gateway::telemetry::tests",
            })
        );
    }
}
