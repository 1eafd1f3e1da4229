//! Data flows one way: a room that decides or forwards knows nothing of doors.

use std::{fs, path::Path};

/// A room, and what no file in it may mention.
const FORBIDDEN: [(&str, &[&str]); 3] = [
    (
        "src/policy",
        &["actix", "crate::http", "crate::door", "crate::app", "crate::config", "reqwest"],
    ),
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
        let mut files = 0;
        for entry in fs::read_dir(root.join(room)).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            files += 1;
            for word in words {
                assert!(!text.contains(word), "{} mentions {word}", path.display());
            }
        }
        assert!(files > 1, "{room} has moved");
    }
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
