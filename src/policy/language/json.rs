//! Strict JSON that keeps duplicate names and all positions.

use jsonc_parser::ast::Value;
use jsonc_parser::{ParseOptions, parse_to_ast};

use super::finding::Finding;
use super::lint_code::LintCode;

/// Parses strict JSON (RFC 8259).
///
/// # Errors
/// Where and how the text is no JSON.
pub(super) fn parse(text: &str) -> Result<Value<'_>, Finding> {
    let strict = ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let syntax = |span, message: String| Finding::new(LintCode::InvalidJson, span, message);
    // A second opinion: the one parser keeps positions, the other is the
    // stricter about characters inside strings.
    let strictly = serde_json::from_str::<serde::de::IgnoredAny>(text);
    match (parse_to_ast(text, &jsonc_parser::CollectOptions::default(), &strict), strictly) {
        (Ok(parsed), Ok(_)) => parsed
            .value
            .ok_or_else(|| syntax(0..0, "the document is empty: write a policy".to_owned())),
        (Err(error), _) => {
            let range = error.range();
            let message = format!("this is not JSON: {}", error.kind());
            Err(syntax(range.start..range.end.max(range.start), message))
        }
        (_, Err(error)) => {
            let line: usize =
                text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
            let at = text.floor_char_boundary(line + error.column().saturating_sub(1));
            Err(syntax(at..at, format!("this is not JSON: {error}")))
        }
    }
}
