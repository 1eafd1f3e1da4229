//! A store of the last version, as `tests/last-version` keeps it: this version takes it over, the
//! last one can have it back, and both can use it at once.

use std::{collections::BTreeMap, env, path::Path, process::Command};

use glacier_gateway::config::StoreUrl;
use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection};

use crate::{
    commands::{Installation, Serving},
    support::{Place, on_both, query},
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/last-version");

fn kept(name: &str) -> String {
    std::fs::read_to_string(Path::new(FOLDER).join(name)).unwrap()
}

const fn kind(place: &Place) -> &'static str {
    if matches!(place.settings.url, StoreUrl::Sqlite(_)) { "sqlite" } else { "postgres" }
}

/// Executes statements, on either kind.
async fn execute(place: &Place, sql: String) {
    if let StoreUrl::Sqlite(path) = &place.settings.url {
        let url = format!("sqlite:{}?mode=rwc", path.display());
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        connection.execute(AssertSqlSafe(sql)).await.unwrap();
        connection.close().await.unwrap();
    } else {
        place.connection().await.execute(AssertSqlSafe(sql)).await.unwrap();
    }
}

/// Makes the last version's store, with what was in it.
async fn restore(place: &Place) {
    execute(place, kept(&format!("store.{}.sql", kind(place)))).await;
}

/// Makes the store that a gateway makes that knows only so many migrations.
async fn migrated_to(place: &Place, version: usize) {
    let (integer, text) =
        if kind(place) == "sqlite" { ("INTEGER", "TEXT") } else { ("BIGINT", "TEXT") };
    execute(
        place,
        format!(
            "CREATE TABLE store_info (id {integer} PRIMARY KEY CHECK (id = 1), store_id {text} NOT \
             NULL, version {integer} NOT NULL, oldest_reader {integer} NOT NULL, created {integer} \
             NOT NULL)"
        ),
    )
    .await;
    let released: BTreeMap<String, String> =
        serde_json::from_str(&kept("migrations.json")).unwrap();
    let folder = format!("src/store/migrations/{}/", kind(place));
    let released = released.range(folder.clone()..).filter(|(name, _)| name.starts_with(&folder));
    for (_, migration) in released.take(version) {
        execute(place, migration.clone()).await;
    }
    execute(place, format!("INSERT INTO store_info VALUES (1, 'kept', {version}, 1, 0)")).await;
}

/// The columns of all tables: their types, and whether a row must name them.
async fn columns(place: &Place) -> BTreeMap<(String, String), (String, bool)> {
    let rows: Vec<(String, String, String, bool)> = if kind(place) == "sqlite" {
        query!(
            place,
            "SELECT m.name, c.name, c.type, c.\"notnull\" AND c.dflt_value IS NULL \
             FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'"
        )
    } else {
        query!(
            place,
            "SELECT table_name::TEXT, column_name::TEXT, data_type::TEXT, \
             is_nullable = 'NO' AND column_default IS NULL \
             FROM information_schema.columns WHERE table_schema = 'public'"
        )
    };
    let column = |(table, name, kind, needed)| ((table, name), (kind, needed));
    rows.into_iter().map(column).collect()
}

/// The last version's program, which `make upgrade` builds.
fn last_program() -> Option<String> {
    let program = env::var("LAST_GATEWAY").ok();
    if program.is_none() {
        eprintln!("skipped: LAST_GATEWAY names no program; `make upgrade` builds it");
    }
    program
}

impl Installation {
    /// A command of the last version, with the same settings.
    fn last(&self, program: &str, words: &[&str]) -> Command {
        let mut last = Command::new(program);
        let command = self.command(words);
        last.args(command.get_args());
        last.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        last
    }
}

on_both! {
    async fn a_store_of_the_last_version_is_taken_over_with_its_trail(place: Place) {
        restore(&place).await;
        let before = place.rows().await;
        assert!(before.len() > 10);
        let installation = Installation::of(&place);
        let migrated = installation.run(&["store", "migrate"]);
        assert!(migrated.success, "{}", migrated.told);
        let mut gateway = installation.serve();
        gateway.listens();
        drop(gateway);
        let after = place.rows().await;
        assert_eq!(after[..before.len()], before);
        let keys: BTreeMap<String, String> = serde_json::from_str(&kept("keys.json")).unwrap();
        let verified = installation.run(&["audit", "verify", "--key", &keys[kind(&place)]]);
        assert!(verified.success, "{}", verified.told);
        let check = installation.run(&["store", "check"]);
        assert!(check.success, "{}", check.told);
    }

    async fn a_newer_schema_keeps_all_that_its_oldest_reader_knows(place: Place) {
        migrated_to(&place, 1).await;
        let known = columns(&place).await;
        assert!(known.len() > 20, "{known:?}");
        let installation = Installation::of(&place);
        let migrated = installation.run(&["store", "migrate"]);
        assert!(migrated.success, "{}", migrated.told);
        let now = columns(&place).await;
        assert!(now.len() > known.len());
        for (column, definition) in &known {
            assert_eq!(now.get(column), Some(definition), "{column:?}");
        }
        // An older gateway names no new column when it inserts a row.
        for (column, (_, needed)) in now.iter().filter(|(column, _)| !known.contains_key(*column)) {
            let is_old = known.keys().any(|(table, _)| *table == column.0);
            assert!(!(is_old && *needed), "{column:?}");
        }
    }

    async fn the_last_version_serves_a_store_of_this_one(place: Place) {
        let Some(program) = last_program() else { return };
        let installation = Installation::of(&place);
        let mut gateway = installation.serve();
        gateway.listens();
        drop(gateway);
        let before = place.count().await;
        let mut last = Serving::of(&mut installation.last(&program, &["serve"]));
        last.listens();
        drop(last);
        assert!(place.count().await >= before);
        let output = installation.last(&program, &["store", "check"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

#[tokio::test]
async fn a_gateway_of_the_last_version_and_one_of_this_serve_one_store() {
    let Some(program) = last_program() else { return };
    let place = Place::postgres().await;
    let installation = Installation::of(&place);
    let mut last = Serving::of(&mut installation.last(&program, &["serve"]));
    last.listens();
    let mut gateway = installation.serve();
    gateway.listens();
    drop(last);
    let mut again = Serving::of(&mut installation.last(&program, &["serve"]));
    again.listens();
    drop((again, gateway));
    let starts = place.rows().await.into_iter().filter(|row| row.kind == 4).count();
    assert_eq!(starts, 1, "they share one log");
    assert!(installation.run(&["store", "check"]).success);
}
