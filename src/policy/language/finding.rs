//! An error or a warning: what is wrong with a document, at which place, and what to
//! write instead.

use std::ops::Range;

use super::lint_code::LintCode;

/// Something read from a document, and the bytes it stands at.
#[derive(Clone, Debug)]
pub(crate) struct Spanned<T> {
    pub value: T,
    pub span: Range<usize>,
}

/// An error or a warning at a place in one document's text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finding {
    pub code: LintCode,
    pub span: Range<usize>,
    pub message: String,
    pub help: Option<String>,
}

impl Finding {
    pub fn new(code: LintCode, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { code, span, message: message.into(), help: None }
    }

    /// A malformed variable in a string of the document. The place is exact
    /// unless the string holds JSON escapes.
    pub fn variable(text: &Spanned<String>, error: &VariableError) -> Self {
        let escaped = text.span.len() != text.value.len() + 2;
        let start = text.span.start + 1;
        let span =
            if escaped { text.span.clone() } else { start + error.at.start..start + error.at.end };
        Self::new(LintCode::InvalidVariable, span, error.message)
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds "did you mean …?", if there is a suggestion.
    pub fn help_maybe(mut self, suggestion: Option<String>) -> Self {
        if let Some(suggestion) = suggestion {
            self.help = Some(format!("did you mean {suggestion:?}?"));
        }
        self
    }
}

/// A variable that breaks the notation, and where in the text it does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VariableError {
    pub at: Range<usize>,
    pub message: &'static str,
}
