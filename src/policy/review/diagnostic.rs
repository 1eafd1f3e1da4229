//! A finding in a policy file, with its line and column.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::policy::language::finding::Finding;
use crate::policy::language::lint_code::Severity;

/// A finding in a policy file, with its line and column.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The kind of finding, stable: `unknown-action`, `duplicate-key`, ….
    pub code: &'static str,
    /// The policy's file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    #[serde(skip)]
    pub(super) span: Range<usize>,
    #[serde(skip)]
    pub(super) source: Arc<str>,
}

impl Diagnostic {
    pub(crate) fn new(file: &Path, source: &Arc<str>, finding: Finding) -> Self {
        let Finding { code, span, message, help } = finding;
        let start = source.floor_char_boundary(span.start.min(source.len()));
        let (line, column) = place(source, start);
        Self {
            severity: code.severity(),
            code: code.as_str(),
            file: file.to_owned(),
            line,
            column,
            message,
            help,
            span: start..source.ceil_char_boundary(span.end.clamp(start, source.len())),
            source: Arc::clone(source),
        }
    }

    /// The line and the column just after what the diagnostic is about, from 1.
    pub(super) fn end(&self) -> (usize, usize) {
        place(&self.source, self.span.end)
    }
}

/// The line and the column in characters of a byte of a text, from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, line, column, message, .. } = self;
        write!(f, "{}:{line}:{column}: {message}", file.display())?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}
