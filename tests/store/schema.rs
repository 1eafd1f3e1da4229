//! The schema: who makes it, and which gateways can use it.

use std::process::Stdio;

use glacier_gateway::config::StoreUrl;
use sqlx::{Connection, Executor, SqliteConnection};

use crate::{
    commands::Installation,
    support::{PATIENCE, Place, close, intend, on_both},
};

/// Executes a statement, on either kind.
async fn execute(place: &Place, sql: &'static str) {
    match &place.settings.url {
        StoreUrl::Sqlite(path) => {
            let url = format!("sqlite:{}", path.display());
            SqliteConnection::connect(&url).await.unwrap().execute(sql).await.unwrap();
        }
        _ => drop(place.connection().await.execute(sql).await.unwrap()),
    }
}

on_both! {
    async fn a_schema_that_needs_a_newer_gateway_is_refused(place: Place) {
        place.try_open().await.unwrap().close(PATIENCE);
        execute(&place, "UPDATE store_info SET version = 9, oldest_reader = 8").await;
        let error = place.try_open().await.err().unwrap().to_string();
        assert!(error.contains("needs a gateway that knows version 8"), "{error}");
        let check = Installation::of(&place).run(&["store", "check"]);
        assert!(check.told.contains("version 9") && !check.success, "{}", check.told);
    }

    async fn a_newer_schema_that_older_gateways_can_use_is_used_and_left_alone(place: Place) {
        place.try_open().await.unwrap().close(PATIENCE);
        execute(&place, "UPDATE store_info SET version = 9, oldest_reader = 1").await;
        let store = place.open().await;
        intend(&store).await.unwrap();
        let check = Installation::of(&place).run(&["store", "check"]);
        assert!(check.told.contains("schema: 9, readable by 1"), "{}", check.told);
        close(&store).await;
    }
}

#[tokio::test]
async fn ten_gateways_that_migrate_at_once_make_one_schema() {
    let place = Place::postgres().await;
    let installation = Installation::of(&place);
    let migrating: Vec<_> = (0..10)
        .map(|_| {
            let mut command = installation.command(&["store", "migrate"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in migrating {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let mut connection = place.connection().await;
    let stores: Vec<(i64,)> =
        sqlx::query_as("SELECT version FROM store_info").fetch_all(&mut connection).await.unwrap();
    assert_eq!(stores.len(), 1);
    intend(&place.open().await).await.unwrap();
}

#[tokio::test]
async fn ten_gateways_that_start_at_once_share_one_log() {
    let place = Place::postgres().await;
    let installation = Installation::of(&place);
    let mut gateways: Vec<_> = (0..10).map(|_| installation.serve()).collect();
    gateways.iter_mut().for_each(|gateway| gateway.listens());
    drop(gateways);
    let starts = place.rows().await.into_iter().filter(|row| row.kind == 4).count();
    assert_eq!(starts, 1);
}

#[tokio::test]
async fn a_role_that_may_only_serve_serves_and_cannot_change_what_is_recorded() {
    let place = Place::postgres().await;
    let (serving, role) = place.as_new_role().await;
    let error = serving.try_open().await.err().unwrap().to_string();
    assert!(error.contains("store migrate --grant-to"), "{error}");

    let owner = Installation::of(&place);
    let migrated = owner.run(&["store", "migrate", "--grant-to", &role]);
    assert!(migrated.success, "{}", migrated.told);
    let store = serving.open().await;
    intend(&store).await.unwrap();
    store.lease("sealer", PATIENCE).await.unwrap().unwrap();
    close(&store).await;
    assert!(serving.open_intents().await.len() == 1);

    let mut connection = serving.connection().await;
    for forbidden in [
        "DELETE FROM audit_entry",
        "TRUNCATE audit_entry",
        "UPDATE audit_entry SET entry = leaf",
        "UPDATE audit_log SET origin = ''",
        "DELETE FROM audit_log",
        "UPDATE store_info SET version = 0",
        "DROP TABLE audit_open",
    ] {
        let error = connection.execute(forbidden).await.unwrap_err().to_string();
        assert!(error.contains("permission denied") || error.contains("must be owner"), "{error}");
    }

    let warning = "can change and delete the trail's entries";
    assert!(owner.run(&["store", "check"]).told.contains(warning));
    let check = Installation::of(&serving).run(&["store", "check"]);
    assert!(check.success && !check.told.contains(warning), "{}", check.told);
}

#[tokio::test]
async fn a_gateway_that_may_change_entries_says_so_when_it_starts() {
    let place = Place::postgres().await;
    let installation = Installation::of(&place);
    let mut gateway = installation.serve();
    gateway.listens();
    assert!(gateway.said("can change and delete the trail's entries"));
}
