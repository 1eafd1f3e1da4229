//! Prints diagnostics: as text that shows the line, as JSON, and as SARIF.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde_json::{Value, json};

use super::diagnostic::Diagnostic;
use crate::policy::language::lint_code::LintCode;
use crate::policy::language::lint_code::Severity;

/// How diagnostics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: each with its line.
    Human,
    /// A JSON array.
    Json,
    /// SARIF 2.1.0, for code hosts.
    Sarif,
}

/// Writes diagnostics in a format.
pub fn render(diagnostics: &[Diagnostic], format: Format) -> String {
    match format {
        Format::Human => human(diagnostics),
        Format::Json => pretty(&json!(diagnostics)),
        Format::Sarif => pretty(&sarif(diagnostics)),
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn human(diagnostics: &[Diagnostic]) -> String {
    let renderer = Renderer::plain();
    let mut text = String::new();
    for diagnostic in diagnostics {
        let Diagnostic { severity, code, file, message, help, span, source, .. } = diagnostic;
        let level = match severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let path = file.display().to_string();
        let first_line = source[span.start..].find('\n').map_or(source.len(), |n| span.start + n);
        let annotation = AnnotationKind::Primary.span(span.start..span.end.min(first_line));
        let annotation = match help {
            Some(help) => annotation.label(help.as_str()),
            None => annotation,
        };
        let snippet = Snippet::source(&**source).path(path).annotation(annotation);
        let group = level.primary_title(message.as_str()).id(*code).element(snippet);
        text += &renderer.render(&[group]);
        text += "\n\n";
    }
    let count = |severity, name| {
        let count = diagnostics.iter().filter(|d| d.severity == severity).count();
        format!("{count} {name}{}", if count == 1 { "" } else { "s" })
    };
    let (errors, warnings) = (count(Severity::Error, "error"), count(Severity::Warning, "warning"));
    text + &format!("{errors}, {warnings}\n")
}

fn sarif(diagnostics: &[Diagnostic]) -> Value {
    let found: BTreeSet<&str> = diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
    let rules = LintCode::ALL.iter().filter(|code| found.contains(code.as_str()));
    let rule = |code: &LintCode| json!({ "id": code.as_str(), "shortDescription": { "text": code.meaning() } });
    let rules: Vec<Value> = rules.map(rule).collect();
    let results: Vec<Value> = diagnostics.iter().map(sarif_result).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "glacier-gateway policy lint",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn sarif_result(diagnostic: &Diagnostic) -> Value {
    let Diagnostic { severity, code, file, line, column, message, help, .. } = diagnostic;
    let text = match help {
        Some(help) => format!("{message}; {help}"),
        None => message.clone(),
    };
    let (end_line, end_column) = diagnostic.end();
    json!({
        "ruleId": code,
        "level": severity,
        "message": { "text": text },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": uri(file) },
            "region": {
                "startLine": line,
                "startColumn": column,
                "endLine": end_line,
                "endColumn": end_column,
            },
        }}],
    })
}

/// A file's URI. If the file is below the working directory, the URI is relative to it,
/// so that a code host finds the file in the repository (SARIF 2.1.0, 3.4.4).
fn uri(file: &Path) -> String {
    // RFC 3986, 2.3: the characters that need no encoding.
    const RESERVED: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    let here = std::env::current_dir().unwrap_or_default();
    let file = file.strip_prefix(here).unwrap_or(file);
    let segments = file.components().filter_map(|component| match component {
        Component::Normal(name) => {
            Some(percent_encode(name.as_encoded_bytes(), RESERVED).to_string())
        }
        Component::ParentDir => Some("..".to_owned()),
        _ => None,
    });
    let path = segments.collect::<Vec<_>>().join("/");
    if file.is_absolute() { format!("file:///{path}") } else { path }
}
