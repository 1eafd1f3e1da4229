//! A store for tests of the trail, in a folder of their own.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use crate::{
    config::{self, Settings},
    store::{Rewrite, Store},
};

/// The settings of a store in `folder`, and those of its trail.
pub fn settings(folder: &Path) -> (config::Store, config::Audit) {
    let folder = folder.display();
    let settings = Settings::from_toml(&format!(
        r#"
        [aws]
        region = "eu-central-1"
        account_id = "111122223333"
        [policy]
        directory = "policies"
        [issuers.a]
        issuer = "https://a.example"
        audiences = ["a"]
        [store]
        url = "sqlite:{folder}/store.db"
        [audit]
        checkpoint_file = "{folder}/checkpoints"
        origin = "store.example"
        "#
    ))
    .unwrap();
    (settings.store, settings.audit)
}

/// Opens it. Outcomes are what they are made of.
pub async fn open(settings: &config::Store) -> Store {
    let rewrite = Rewrite { late: |append| append, not_attempted: Clone::clone };
    Store::open(settings, rewrite).await.unwrap().unwrap()
}
