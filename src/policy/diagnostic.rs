//! What is wrong with a policy, where, and what to write instead.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::document::Spanned;
use super::pattern::VariableError;
pub(crate) use crate::spelling::{nearest, within};

/// How bad a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Legal, but surely not meant.
    Warning,
    /// The document is refused, and with it the whole set.
    Error,
}

/// A problem at a place in one document's text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Problem {
    pub severity: Severity,
    pub code: &'static str,
    pub span: Range<usize>,
    pub message: String,
    pub help: Option<String>,
}

impl Problem {
    pub fn error(code: &'static str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, span, message: message.into(), help: None }
    }

    pub fn warning(code: &'static str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message) }
    }

    /// A malformed variable in a string of the document. The place is exact
    /// unless the string holds JSON escapes.
    pub fn variable(text: &Spanned<String>, error: &VariableError) -> Self {
        let escaped = text.span.len() != text.value.len() + 2;
        let start = text.span.start + 1;
        let span =
            if escaped { text.span.clone() } else { start + error.at.start..start + error.at.end };
        Self::error("invalid-variable", span, error.message)
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds "did you mean …?", when there is something near.
    pub fn help_maybe(mut self, suggestion: Option<String>) -> Self {
        if let Some(suggestion) = suggestion {
            self.help = Some(format!("did you mean {suggestion:?}?"));
        }
        self
    }
}

/// A problem of a policy file, with its line and column.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The kind of problem, stable: `unknown-action`, `duplicate-key`, ….
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
    pub(super) fn new(file: &Path, source: &Arc<str>, problem: Problem) -> Self {
        let Problem { severity, code, span, message, help } = problem;
        let start = source.floor_char_boundary(span.start.min(source.len()));
        let (line, column) = place(source, start);
        Self {
            severity,
            code,
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
