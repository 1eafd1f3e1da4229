//! Data flows one way: a room that decides or forwards knows nothing of doors.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A room, and what no file in it may mention.
const FORBIDDEN: [(&str, &[&str]); 6] = [
    (
        "src/policy",
        &["actix", "crate::http", "crate::door", "crate::app", "crate::config", "reqwest"],
    ),
    ("src/policy/language", &["policy::engine", "policy::review", "policy::folder"]),
    ("src/policy/engine", &["policy::review", "policy::folder"]),
    ("src/policy/review", &["policy::folder"]),
    (
        "src/glacier",
        &["actix", "crate::http", "crate::door", "crate::app", "crate::authn", "reqwest"],
    ),
    (
        "src/authn",
        &["actix", "crate::http", "crate::door", "crate::app", "crate::policy", "aws_sdk_glacier"],
    ),
];

#[test]
fn policy_glacier_and_authn_know_nothing_of_the_doors() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (room, words) in FORBIDDEN {
        let files = files(&root.join(room));
        assert!(files.len() > 1, "{room} has moved");
        for path in files {
            let text = fs::read_to_string(&path).unwrap();
            for word in words {
                assert!(!text.contains(word), "{} mentions {word}", path.display());
            }
        }
    }
}

/// All files of a folder and of those within.
fn files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn only_the_upstream_client_speaks_to_glacier_and_only_the_five_operations() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let upstream = fs::read_to_string(root.join("src/glacier/upstream.rs")).unwrap();
    for operation in [
        "initiate_multipart_upload",
        "upload_multipart_part",
        "complete_multipart_upload",
        "upload_archive",
        "delete_archive",
        "create_vault",
        "delete_vault",
        "initiate_job",
    ] {
        assert!(!upstream.contains(operation), "{operation} is not ours to perform");
    }
}
