//! Events that a server sends (WHATWG HTML, "Server-sent events").

use std::mem;

use reqwest::Response;

/// One event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// What a client that comes back says it has seen.
    pub(super) id: Option<String>,
    /// What it says.
    pub(super) data: String,
}

/// Reads the events of a response.
pub(super) struct Events {
    response: Response,
    read: Reader,
}

#[derive(Default)]
struct Reader {
    bytes: Vec<u8>,
    event: Event,
}

impl Events {
    pub(super) fn of(response: Response) -> Self {
        Self { response, read: Reader::default() }
    }

    /// The next event; `None` when there are no more.
    ///
    /// # Errors
    /// A connection that broke.
    pub(super) async fn next(&mut self) -> reqwest::Result<Option<Event>> {
        loop {
            if let Some(event) = self.read.next() {
                return Ok(Some(event));
            }
            match self.response.chunk().await? {
                Some(chunk) => self.read.bytes.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}

impl Reader {
    /// The next event of what has arrived.
    fn next(&mut self) -> Option<Event> {
        while let Some(end) = memchr::memchr(b'\n', &self.bytes) {
            let rest = self.bytes.split_off(end + 1);
            let line = mem::replace(&mut self.bytes, rest);
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                let event = mem::take(&mut self.event);
                // What comes between events are signs of life.
                if !event.data.is_empty() {
                    return Some(event);
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => self.event.id = Some(value.to_owned()),
                "data" if self.event.data.is_empty() => self.event.data = value.to_owned(),
                "data" => self.event.data.extend(["\n", value]),
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_however_they_arrive() {
        let text =
            b": hello\n\nid: 4\nevent: job\ndata: {\"a\":\ndata: 1}\n\n:\n\ndata:x\r\n\r\nid: 5\n";
        for size in 1..text.len() {
            let (mut reader, mut found) = (Reader::default(), Vec::new());
            for chunk in text.chunks(size) {
                reader.bytes.extend_from_slice(chunk);
                found.extend(std::iter::from_fn(|| reader.next()));
            }
            let event = |id: Option<&str>, data: &str| Event {
                id: id.map(str::to_owned),
                data: data.to_owned(),
            };
            assert_eq!(found, [event(Some("4"), "{\"a\":\n1}"), event(None, "x")]);
        }
    }
}
