//! What the tests share: asking the engine, and policy folders.

use std::path::Path;

use glacier_gateway::policy::simulate_line;
use serde_json::{Value, json};
use tempfile::TempDir;

pub const PHOTOS: &str = "arn:aws:glacier:us-east-1:123456789012:vaults/photos";

/// The engine's answer to a case: its decision, or `error`.
pub fn decision(case: &Value) -> String {
    let answer: Value = serde_json::from_str(&simulate_line(case.to_string().as_bytes())).unwrap();
    answer["decision"].as_str().unwrap_or("error").to_owned()
}

/// A case of team-a aborting an upload in the vault photos.
pub fn case(policies: Value, context: Value) -> Value {
    json!({
        "id": 1,
        "policies": policies,
        "request": {
            "principal": "arn:aws:iam::123456789012:user/team-a",
            "action": "glacier:AbortMultipartUpload",
            "resource": PHOTOS,
            "context": context,
        },
    })
}

/// A policy folder with these files.
pub fn folder<'a>(files: impl IntoIterator<Item = (&'a str, String)>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(folder.path(), name, &text);
    }
    folder
}

pub fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}
