//! Lines of CSV (RFC 4180).

use std::fmt::Write;

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

/// Adds a line.
pub(super) fn line<'a>(csv: &mut String, cells: impl IntoIterator<Item = Cell<'a>>) {
    for (n, cell) in cells.into_iter().enumerate() {
        if n > 0 {
            csv.push(',');
        }
        match cell {
            Cell::Empty => {}
            Cell::Number(number) => drop(write!(csv, "{number}")),
            Cell::Plain(text) => quoted(csv, "", text),
            Cell::Foreign(text) => {
                let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
                quoted(csv, if formula { "'" } else { "" }, text);
            }
        }
    }
    csv.push_str("\r\n");
}

fn quoted(csv: &mut String, before: &str, text: &str) {
    if text.contains([',', '"', '\r', '\n']) {
        let _ = write!(csv, "\"{before}{}\"", text.replace('"', "\"\""));
    } else {
        let _ = write!(csv, "{before}{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_made_up_is_no_formula_and_an_upload_id_stays_as_it_is() {
        let mut csv = String::new();
        let foreign = ["=1+1", "+x", "-x", "@x", "a=b", "a, \"b\"", "=a,b"].map(Cell::Foreign);
        line(&mut csv, foreign.into_iter().chain([Cell::Plain("-upload"), Cell::Number(-1)]));
        assert_eq!(csv, "'=1+1,'+x,'-x,'@x,a=b,\"a, \"\"b\"\"\",\"'=a,b\",-upload,-1\r\n");
    }
}
