//! Retention by the command line, and what verification says of what is left.

use glacier_gateway::{
    audit::log::{Sealer, rows},
    config::StoreUrl,
    store::{Append, Kind},
};
use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{
    commands::{Installation, Said},
    log::{append, audit, pool, sealed},
    support::{PATIENCE, Place, close, on_both, until},
};

const DAY: i64 = 24 * 3600;
/// How far the clocks go on, in days.
const LATER: i64 = 100;

/// Debian's library, by the machine's architecture.
fn libfaketime() -> Option<String> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    let mut libraries = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
    libraries.find(|library| library.exists()).map(|library| library.display().to_string())
}

async fn execute(place: &Place, sql: String) {
    let sql = AssertSqlSafe(sql);
    match &place.settings.url {
        StoreUrl::Sqlite(path) => {
            let url = format!("sqlite:{}", path.display());
            let mut connection = SqliteConnection::connect(&url).await.unwrap();
            connection.execute(sqlx::raw_sql(sql)).await.unwrap();
        }
        _ => drop(place.connection().await.execute(sqlx::raw_sql(sql)).await.unwrap()),
    }
}

/// Sets PostgreSQL's clock for all connections from now on. SQLite's is that of the process.
async fn set_clock(place: &Place, days: i64) {
    let StoreUrl::Postgres(url) = &place.settings.url else { return };
    let database = url.path().trim_start_matches('/');
    let sql = format!(
        "CREATE SCHEMA IF NOT EXISTS later; \
         CREATE OR REPLACE FUNCTION later.clock_timestamp() RETURNS timestamptz \
         LANGUAGE sql AS $$ SELECT pg_catalog.clock_timestamp() + interval '{days} days' $$; \
         ALTER DATABASE \"{database}\" SET search_path = later, pg_catalog, public"
    );
    execute(place, sql).await;
}

on_both! {
    async fn whole_months_are_dropped_and_what_is_left_holds(place: Place) {
        let Some(library) = libfaketime() else {
            println!("skipped: no libfaketime; `make setup` installs it");
            return;
        };
        let store = place.open().await;
        let sql = "INSERT INTO audit_log (log, origin, month) \
                   VALUES (1, 'test/audit/2020-01', '2020-01')";
        execute(&place, sql.to_owned()).await;
        let start = br#"{"eventType":"LogStart","log":{"origin":"test/audit/2020-01"}}"#;
        let start = Append::new(Uuid::now_v7(), 0, Kind::LogStart, String::new(), start.to_vec());
        store.append(start).durable(PATIENCE).await.unwrap();
        append(&store, 600).await;
        let settings = audit(&place);
        let start = Sealer::start(store.clone(), &settings, &place.settings.url);
        let (sealer, _) = start.await.unwrap();
        let (end, ending) = oneshot::channel::<()>();
        let sealing = tokio::spawn(sealer.run(async { drop(ending.await) }));
        let pool = pool(&place).await;
        until("the next month", async || rows::head(&pool).await.unwrap().unwrap().log == 2).await;
        append(&store, 300).await;
        sealed(&pool).await;
        drop(end);
        sealing.await.unwrap();

        let settings = format!(
            "[audit]\nkeep = \"60d\"\norigin = \"test\"\ncheckpoint_file = {:?}\n\
             [audit.key_files]\n1 = {:?}\n",
            settings.checkpoint_file.unwrap(),
            settings.key_files.values().next().unwrap(),
        );
        let installation = Installation::with(&place, &settings);
        let later = |words: &[&str]| {
            let mut command = installation.command(words);
            command.env("LD_PRELOAD", &library).env("FAKETIME", format!("+{}", LATER * DAY));
            Said::of(&mut command)
        };
        let keeps = |said: Said| {
            assert!(said.success && said.told.contains("No month ended"), "{}", said.told);
        };
        keeps(installation.run(&["store", "retain"]));
        // The store's clock alone may be wrong.
        set_clock(&place, LATER).await;
        keeps(later(&["store", "retain"]));
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        let at = (now + LATER * DAY) * 1_000_000;
        let last = Append::new(Uuid::now_v7(), at, Kind::Event, String::new(), b"{}".to_vec());
        store.append(last).durable(PATIENCE).await.unwrap();
        close(&store).await;

        let mut retain = vec!["store", "retain"];
        if matches!(place.settings.url, StoreUrl::Sqlite(_)) {
            // All its times are one clock's, which may have been wrong.
            let said = later(&retain);
            assert!(!said.success, "{}", said.told);
            assert!(said.told.contains("test/audit/2020-01 would be dropped, but"), "{}", said.told);
            retain.push("--despite-gap");
        }
        let said = later(&retain);
        assert!(said.told.contains("test/audit/2020-01: dropped 601 records"), "{}", said.told);
        keeps(later(&["store", "retain"]));
        let said = later(&["audit", "verify"]);
        assert!(said.success && said.told.contains("302 records: the trail holds"), "{}", said.told);
        assert!(said.told.contains("601 records, dropped by retention"), "{}", said.told);

        // Retention drops nothing that ended just now: then somebody else did.
        set_clock(&place, 0).await;
        let said = installation.run(&["audit", "verify"]);
        assert!(!said.success && said.told.contains("less than audit.keep ago"), "{}", said.told);
    }
}
