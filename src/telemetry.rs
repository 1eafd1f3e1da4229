//! Logging: events of `tracing` to standard error, as JSON or for a terminal. Traces are in
//! [`traces`].

mod exporter;
mod lines;
mod sampling;
pub mod traces;

use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal, Write as _},
    thread,
    time::Duration,
};

use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tracing::{Event, Level, Subscriber, field::Visit};
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::MakeWriter,
    layer::{Context, SubscriberExt},
    util::SubscriberInitExt,
};

use self::lines::Lines;
pub use self::{
    exporter::UnusableTelemetry,
    lines::{LogStatus, Unwritten},
};
use crate::config::{Log, LogFormat};

/// The lines of the process's log.
static LINES: Lines = Lines::new();

/// Installs the process's log. A second call changes nothing.
///
/// # Errors
/// When there can be no thread to write the lines.
pub fn init(settings: &Log) -> io::Result<()> {
    let filter = EnvFilter::try_new(&settings.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::registry().with(filter);
    let installed = match settings.format {
        LogFormat::Json => log.with(Json(|| Sink)).try_init(),
        LogFormat::Human => {
            let human = tracing_subscriber::fmt::layer().compact().with_target(false);
            log.with(human.with_writer(|| Sink).with_ansi(io::stderr().is_terminal())).try_init()
        }
    };
    // That fails only if a log is installed already.
    if installed.is_ok() {
        let told = |lost| tracing::warn!(lost, "log lines were lost");
        let write = move || LINES.write_to(Stderr, told);
        thread::Builder::new().name("log".to_owned()).spawn(write)?;
    }
    Ok(())
}

/// How the log is.
pub fn status() -> LogStatus {
    LINES.status()
}

/// Waits until the log is written, but no longer than `limit`.
///
/// # Errors
/// When lines are lost.
pub fn finish(limit: Duration) -> Result<(), Unwritten> {
    LINES.finish(limit)
}

/// Takes whole lines.
struct Sink;

impl io::Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LINES.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard error without its lock: whoever reports a panic there would have to wait
/// for a log that cannot be written.
struct Stderr;

impl io::Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(io::stderr(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
        // Writing to memory does not fail.
        let _ = OffsetDateTime::now_utc().format_into(&mut line.json, &Rfc3339);
        line.json.push(b'"');
        // A request that is not HTTP is its sender's mistake.
        let level = match event.metadata().target() {
            "actix_http::h1::dispatcher" => &Level::INFO,
            _ => event.metadata().level(),
        };
        line.add_text("level", level.as_str());
        event.record(&mut line);
        line.add_text("target", event.metadata().target());
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
    /// Adds a number or a truth value.
    fn add(&mut self, name: &str, value: impl Serialize) {
        self.begin(name);
        // That cannot fail: the values are plain.
        let _ = serde_json::to_writer(&mut self.json, &value);
    }

    /// Adds a text. Most need no escapes, and are copied as they are: looking for
    /// escapes byte by byte was a fortieth of a request's instructions.
    fn add_text(&mut self, name: &str, text: &str) {
        self.begin(name);
        self.json.push(b'"');
        if needs_no_escape(text) {
            self.json.extend_from_slice(text.as_bytes());
        } else {
            self.escape(text);
        }
        self.json.push(b'"');
    }

    /// Names are identifiers of Rust, which JSON need not escape.
    fn begin(&mut self, name: &str) {
        for part in [",\"", name, "\":"] {
            self.json.extend_from_slice(part.as_bytes());
        }
    }

    /// Escapes as JSON does, and whatever is not ASCII: callers may send characters that
    /// show as nothing, or that turn the direction of the text after them.
    fn escape(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '"' | '\\' => self.json.extend([b'\\', c as u8]),
                ' '..='~' => self.json.push(c as u8),
                _ => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(&mut self.json, "\\u{unit:04x}");
                    }
                }
            }
        }
    }
}

/// Looks at all bytes even after one that needs an escape: so the compiler takes many at
/// once.
fn needs_no_escape(text: &str) -> bool {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\');
    text.bytes().fold(true, |all, byte| all & plain(byte))
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
        self.add_text(field.name(), value);
    }

    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        let _ = write!(text, "{value:?}");
        self.add_text(field.name(), &text);
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
        let hostile = "a\"b\\c\nd\u{7}é\u{2028}\u{202e}\u{200b}\u{1f4a3}";
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
        assert!(line.is_ascii(), "what may not show is escaped: {line}");
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
