//! Any text is a document or has errors at places in it; and what has none
//! holds statements.
#![no_main]

use std::path::Path;

use glacier_gateway::policy::{Format, Layer, Severity, lint_document, render};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for layer in [Layer::Policies, Layer::Guardrails, Layer::VaultPolicies] {
        let found = lint_document(Path::new("a.json"), text, layer);
        render(&found, Format::Human);
        for diagnostic in &found {
            assert!(diagnostic.line <= text.lines().count().max(1) + 1);
        }
        if found.iter().all(|diagnostic| diagnostic.severity == Severity::Warning) {
            // A number beyond a float's range is JSON, but no such value.
            if let Ok(value) = serde_json::from_str::<serde_json::Value>(text) {
                assert!(value["Statement"].is_object() || value["Statement"].is_array());
            }
        }
    }
});
