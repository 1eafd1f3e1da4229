//! The log's sealer: what one or many replicas append is sealed, and the store is held
//! against what was signed.

use std::{collections::BTreeMap, time::Duration};

use glacier_gateway::{
    audit::{
        log::{CheckpointKeys, LogState, Sealer, accept_loss, rows},
        query::{self, Filter},
        verify::{Report, verify_store},
    },
    config::{self, KeyNumber, Reads, StoreUrl},
    store::{Append, Kind, Pool, Store},
};
use secrecy::ExposeSecret;
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};
use uuid::Uuid;

use crate::support::{PATIENCE, Place, on_both, until};

/// The settings of a trail whose checkpoints are signed.
pub fn audit(place: &Place) -> config::Audit {
    let path = place.directory.path().join("audit-key");
    if !path.exists() {
        std::fs::write(&path, CheckpointKeys::create().unwrap().expose_secret()).unwrap();
    }
    config::Audit {
        deadline: Duration::from_secs(1),
        reads: Reads::Record,
        key_files: BTreeMap::from([(KeyNumber(1), path)]),
        checkpoint_file: Some(place.directory.path().join("checkpoints")),
        origin: Some("test".to_owned()),
        keep: Duration::from_secs(400 * 24 * 3600),
    }
}

/// Seals the log of a store, as a replica does.
pub async fn seal(place: &Place, store: &Store) -> LogState {
    let settings = audit(place);
    let start = Sealer::start(store.clone(), &settings, &place.settings.url);
    let (sealer, state) = start.await.unwrap();
    tokio::spawn(sealer.run(std::future::pending()));
    state
}

async fn execute(place: &Place, sql: &'static str) {
    match &place.settings.url {
        StoreUrl::Sqlite(path) => {
            let url = format!("sqlite:{}", path.display());
            let mut connection = SqliteConnection::connect(&url).await.unwrap();
            connection.execute(sqlx::raw_sql(sql)).await.unwrap();
        }
        _ => {
            let mut connection: PgConnection = place.connection().await;
            connection.execute(sqlx::raw_sql(sql)).await.unwrap();
        }
    }
}

fn event(text: &str) -> Append {
    let entry = format!("{{\"eventType\":\"Event\",\"text\":{text:?}}}").into_bytes();
    Append::new(Uuid::now_v7(), 0, Kind::Event, String::new(), entry)
}

pub async fn append(store: &Store, count: usize) {
    let pending: Vec<_> = (0..count).map(|n| store.append(event(&n.to_string()))).collect();
    for pending in pending {
        pending.durable(PATIENCE).await.unwrap();
    }
}

/// Waits until the last log is sealed up to its last record.
pub async fn sealed(pool: &Pool) {
    until("the log is sealed", async || {
        let head = rows::head(pool).await.unwrap().unwrap();
        let logs = rows::logs(pool).await.unwrap();
        logs.last().unwrap().checkpoint.as_ref().map(|last| last.size) == Some(head.next)
    })
    .await;
}

async fn verify(place: &Place, pool: &Pool) -> Report {
    let keys = CheckpointKeys::load(&audit(place).key_files).unwrap();
    verify_store(pool, &[], Some(&keys.trusted()), Duration::ZERO).await.unwrap()
}

pub async fn pool(place: &Place) -> Pool {
    Pool::beside(&place.settings).await.unwrap().unwrap()
}

on_both! {
    async fn a_month_ends_while_replicas_append_and_nothing_is_lost(place: Place) {
        let store = place.open().await;
        let many = matches!(place.settings.url, StoreUrl::Postgres(_));
        let other = if many { place.try_open().await.unwrap() } else { store.clone() };
        execute(&place, "INSERT INTO audit_log (log, origin, month) \
                         VALUES (1, 'test/audit/2020-01', '2020-01')").await;
        let start = br#"{"eventType":"LogStart","log":{"origin":"test/audit/2020-01"}}"#;
        let start = Append::new(Uuid::now_v7(), 0, Kind::LogStart, String::new(), start.to_vec());
        store.append(start).durable(PATIENCE).await.unwrap();
        append(&store, 700).await;
        // The clock of a gateway was ahead.
        let ahead = 4_000_000_000_000_000;
        let record = br#"{"eventType":"Event","eventName":"Ahead"}"#.to_vec();
        let record = Append::new(Uuid::now_v7(), ahead, Kind::Event, String::new(), record);
        store.append(record).durable(PATIENCE).await.unwrap();
        seal(&place, &store).await;
        if many {
            seal(&place, &other).await;
        }
        // The month ends in the first turn.
        let both = async |store: &Store| {
            for _ in 0..20 {
                append(store, 100).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::join!(both(&store), both(&other));
        let pool = pool(&place).await;
        sealed(&pool).await;
        let report = verify(&place, &pool).await;
        assert_eq!(report.wrong().map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);
        assert_eq!(report.logs.len(), 2);
        // With the first record of each log.
        assert_eq!(report.records(), 700 + 1 + 4000 + 2);
        assert!(report.logs.iter().all(|log| log.vouched == log.size && log.size > 0));
        // The log that has ended is searched for it.
        let filter = Filter { from: Some(ahead), ..Filter::default() };
        let found = query::list(&store, &filter, None, 10, |_| true).await.unwrap();
        assert_eq!(found.events.len(), 1);
    }

    async fn every_replica_notices_that_the_store_has_lost_commits(place: Place) {
        let store = place.try_open().await.unwrap();
        let many = matches!(place.settings.url, StoreUrl::Postgres(_));
        let other = if many { place.try_open().await.unwrap() } else { store.clone() };
        let mut states = vec![seal(&place, &store).await];
        if many {
            states.push(seal(&place, &other).await);
        }
        append(&store, 600).await;
        let pool = pool(&place).await;
        sealed(&pool).await;
        execute(&place, "UPDATE audit_head SET next = 300; \
                         DELETE FROM audit_entry WHERE position >= (CAST(1 AS BIGINT) << 40) + 300; \
                         DELETE FROM audit_checkpoint; DELETE FROM audit_tile").await;
        append(&store, 400).await;
        let all = |rolled_back: bool| {
            let states = states.clone();
            async move || states.iter().all(|state| state.is_rolled_back() == rolled_back)
        };
        until("the loss is noticed", all(true)).await;
        assert!(rows::logs(&pool).await.unwrap()[0].checkpoint.is_none(), "it was sealed again");
        let keys = CheckpointKeys::load(&audit(&place).key_files).unwrap().trusted();
        accept_loss(&pool, "test", &[], &keys).await.unwrap();
        until("the loss is accepted", all(false)).await;
        append(&store, 10).await;
        sealed(&pool).await;
        let report = verify(&place, &pool).await;
        assert_eq!(report.wrong().map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);
        assert_eq!(report.logs[0].size, 700);
        assert_eq!(report.logs[0].losses.len(), 1);
        assert_eq!((report.logs[1].size, report.logs[1].vouched), (11, 11));
    }

    async fn readers_leave_the_sealer_a_connection(place: Place) {
        let store = place.try_open().await.unwrap();
        seal(&place, &store).await;
        let mut readers = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let store = store.clone();
            readers.spawn(async move {
                loop {
                    let _turn = store.reader().await.unwrap();
                    query::list(&store, &Filter::default(), None, 10, |_| true).await.unwrap();
                }
            });
        }
        append(&store, 100).await;
        sealed(&pool(&place).await).await;
        readers.shutdown().await;
        // As many read at once as leave two of the store's connections to the gateway itself.
        let turns = place.settings.connections.saturating_sub(2).max(1);
        let mut held = Vec::new();
        for _ in 0..turns {
            held.push(store.reader().await.unwrap());
        }
        assert!(store.reader().await.is_err());
    }
}
