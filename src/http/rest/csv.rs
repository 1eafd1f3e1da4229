//! Lines of CSV (RFC 4180), and the media type that asks for them.

use actix_web::{HttpRequest, http::header::ACCEPT};
use csv::{Terminator, Writer, WriterBuilder};

/// A cell of a line.
pub(super) enum Cell<'a> {
    /// A text of the gateway's or of Glacier's own.
    Plain(&'a str),
    /// A text that somebody made up. A spreadsheet would take it for a formula if it begins
    /// like one, so that a `'` goes before it.
    Foreign(&'a str),
    /// A number.
    Number(i64),
    /// Nothing is known.
    Empty,
}

impl From<Option<i64>> for Cell<'_> {
    fn from(number: Option<i64>) -> Self {
        number.map_or(Self::Empty, Self::Number)
    }
}

impl<'a> From<Option<&'a str>> for Cell<'a> {
    fn from(text: Option<&'a str>) -> Self {
        text.map_or(Self::Empty, Self::Plain)
    }
}

impl<'a> Cell<'a> {
    /// A text that somebody made up, if there is one.
    pub fn foreign(text: Option<&'a str>) -> Self {
        text.map_or(Self::Empty, Self::Foreign)
    }
}

/// Lines of CSV.
pub(super) struct Lines(Writer<Vec<u8>>);

impl Lines {
    /// None yet.
    pub fn new() -> Self {
        let mut builder = WriterBuilder::new();
        // A line of another length than the first is written whole, too.
        Self(builder.flexible(true).terminator(Terminator::CRLF).from_writer(Vec::new()))
    }

    /// The first line, which names the columns.
    pub fn of(columns: &[&str]) -> Self {
        let mut lines = Self::new();
        lines.add(columns.iter().copied().map(Cell::Plain));
        lines
    }

    /// Adds a line.
    pub fn add<'a>(&mut self, cells: impl IntoIterator<Item = Cell<'a>>) {
        let fields = cells.into_iter().map(|cell| match cell {
            Cell::Empty => String::new(),
            Cell::Number(number) => number.to_string(),
            Cell::Foreign(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => {
                format!("'{text}")
            }
            Cell::Plain(text) | Cell::Foreign(text) => text.to_owned(),
        });
        // Memory takes what is written, and lines may be of any length.
        let _ = self.0.write_record(fields);
    }

    /// All of them.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap_or_default()
    }
}

/// Whether the caller asks for CSV.
pub(super) fn is_wanted(request: &HttpRequest) -> bool {
    let accepted = request.headers().get_all(ACCEPT).filter_map(|value| value.to_str().ok());
    let mut ranges = accepted.flat_map(|value| value.split(','));
    ranges.any(|range| {
        let media = range.split(';').next().unwrap_or_default();
        media.trim().eq_ignore_ascii_case("text/csv")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_made_up_is_no_formula_and_an_upload_id_stays_as_it_is() {
        let mut lines = Lines::of(&["text", "more"]);
        let foreign = ["=1+1", "+x", "-x", "@x", "a=b", "a, \"b\"", "=a,b", "a\nb", "\ta", ""];
        let foreign = foreign.map(Cell::Foreign).into_iter();
        lines.add(foreign.chain([Cell::Plain("-upload"), Cell::Number(-1), Cell::Empty]));
        assert_eq!(
            String::from_utf8_lossy(&lines.into_bytes()),
            "text,more\r\n'=1+1,'+x,'-x,'@x,a=b,\"a, \"\"b\"\"\",\"'=a,b\",\"a\nb\",'\ta,,-upload,-1,\r\n"
        );
    }
}
