//! PostgreSQL that dies, stops or is cut off. Whoever is told that an entry is durable finds
//! it afterwards; every other intent is absent, or was not attempted.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use glacier_gateway::store::{Kind, Store, Unavailable};
use sqlx::{Connection, Executor};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    cluster::Cluster,
    commands::Installation,
    proxy::Proxy,
    support::{PATIENCE, Place, close, entry, intend, until},
};

const DEADLINE: Duration = Duration::from_secs(1);

/// A store behind a proxy, and its place without one.
async fn behind_proxy() -> (Place, Proxy, Store) {
    let place = Place::postgres().await;
    let proxy = Proxy::to(Cluster::shared().port).await;
    let store = place.through(proxy.port).try_open().await.unwrap();
    place.begin_log().await;
    (place, proxy, store)
}

async fn try_intend(store: &Store, told: &mut HashMap<Uuid, bool>) -> bool {
    let event = Uuid::now_v7();
    let durable = store.append(entry(event, Kind::Intent, "intent")).durable(DEADLINE).await;
    told.insert(event, durable.is_ok());
    if durable.is_ok() {
        assert!(store.append_later(entry(event, Kind::Outcome, "aborted")));
    }
    durable.is_ok()
}

async fn is_available(store: &Store) {
    until("the store is available", async || store.status().trouble.is_none()).await;
}

async fn is_unavailable(store: &Store) {
    until("the store is unavailable", async || store.status().trouble.is_some()).await;
    let asked = Instant::now();
    assert_eq!(intend(store).await, Err(Unavailable));
    assert!(asked.elapsed() < DEADLINE, "it waited for a store that is known to be gone");
}

/// What every outage must leave behind.
async fn accounts_for(place: &Place, told: &HashMap<Uuid, bool>) {
    let rows = place.rows().await;
    let mut outcomes: HashMap<Uuid, Vec<&str>> = HashMap::new();
    for row in rows.iter().filter(|row| row.kind == 2) {
        outcomes.entry(row.event).or_default().push(&row.entry);
    }
    assert!(!rows.iter().any(|row| row.kind == 3), "late outcomes: {rows:#?}");
    let intents: Vec<Uuid> = rows.iter().filter(|row| row.kind == 1).map(|row| row.event).collect();
    let distinct: HashSet<Uuid> = intents.iter().copied().collect();
    assert_eq!(intents.len(), distinct.len(), "an intent is there twice");
    for (event, durable) in told {
        assert!(distinct.contains(event), "{event} is not recorded, durable: {durable}");
        let expected = if *durable { "aborted" } else { "not-attempted" };
        assert_eq!(outcomes[event], [expected], "{event}, durable: {durable}");
    }
    assert!(place.open_intents().await.is_empty());
    assert!(rows.iter().map(|row| row.position.index).eq(0..rows.len() as i64), "a gap");
}

#[tokio::test]
async fn a_server_that_is_killed_and_comes_back_has_every_durable_entry() {
    let mut cluster = Cluster::start(&[]);
    let place = Place::at(&cluster).await;
    let store = place.open().await;
    let mut told = HashMap::new();
    for _ in 0..3 {
        for _ in 0..20 {
            assert!(try_intend(&store, &mut told).await);
        }
        cluster.stop();
        let mut refused = 0;
        while refused < 3 {
            refused += usize::from(!try_intend(&store, &mut told).await);
        }
        is_unavailable(&store).await;
        assert!(store.append_later(entry(Uuid::now_v7(), Kind::Event, "kept")));
        cluster.resume();
        is_available(&store).await;
    }
    assert!(try_intend(&store, &mut told).await);
    close(&store).await;
    accounts_for(&place, &told).await;
    assert_eq!(place.rows().await.iter().filter(|row| row.entry == "kept").count(), 3);
}

#[tokio::test]
async fn a_server_that_restarts_while_nobody_asks_is_missed_by_nobody() {
    let mut cluster = Cluster::start(&[]);
    let place = Place::at(&cluster).await;
    let store = place.open().await;
    intend(&store).await.unwrap();
    cluster.stop();
    until("the loss", async || store.status().trouble.is_some()).await;
    cluster.resume();
    is_available(&store).await;
    intend(&store).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_stopped_is_noticed_and_used_again() {
    let mut cluster = Cluster::start(&[]);
    let place = Place::at(&cluster).await;
    let store = place.open().await;
    let mut told = HashMap::new();
    assert!(try_intend(&store, &mut told).await);
    cluster.signal("STOP");
    assert!(!try_intend(&store, &mut told).await);
    is_unavailable(&store).await;
    cluster.signal("CONT");
    is_available(&store).await;
    assert!(try_intend(&store, &mut told).await);
    close(&store).await;
    accounts_for(&place, &told).await;
}

#[tokio::test]
async fn a_partition_before_the_statement_arrives_is_noticed_and_heals() {
    let (place, proxy, store) = behind_proxy().await;
    let mut told = HashMap::new();
    assert!(try_intend(&store, &mut told).await);
    proxy.cut();
    assert!(!try_intend(&store, &mut told).await);
    is_unavailable(&store).await;
    proxy.heal();
    is_available(&store).await;
    assert!(try_intend(&store, &mut told).await);
    close(&store).await;
    accounts_for(&place, &told).await;
}

#[tokio::test]
async fn an_intent_whose_commit_was_not_answered_is_not_attempted() {
    let (place, proxy, store) = behind_proxy().await;
    let mut told = HashMap::new();
    assert!(try_intend(&store, &mut told).await);
    until("the outcome", async || place.rows().await.len() == 2).await;
    proxy.hold_answers();
    assert!(!try_intend(&store, &mut told).await);
    until("the intent", async || place.rows().await.len() == 3).await;
    is_unavailable(&store).await;
    proxy.heal();
    is_available(&store).await;
    close(&store).await;
    accounts_for(&place, &told).await;
    // With what was refused at once while the store was unavailable.
    assert_eq!(place.rows().await.len(), 6);
}

#[tokio::test]
async fn a_statement_that_arrives_after_its_connection_was_given_up_does_nothing() {
    let (place, proxy, store) = behind_proxy().await;
    let mut told = HashMap::new();
    assert!(try_intend(&store, &mut told).await);
    until("the outcome", async || place.rows().await.len() == 2).await;
    proxy.hold_present();
    assert!(!try_intend(&store, &mut told).await);
    let event = Uuid::now_v7();
    assert!(store.append_later(entry(event, Kind::Event, "once")));
    // The second connection takes over, and writes what the first one has sent.
    until("the event", async || place.rows().await.iter().any(|row| row.event == event)).await;
    proxy.heal();
    // Only what the first connection sent can still come, and nothing of it may.
    until("the first connection's end", async || {
        let mut connection = place.connection().await;
        let (others,): (i64,) = sqlx::query_as(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND application_name = 'glacier-gateway' AND state <> 'idle'",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        others == 0
    })
    .await;
    assert!(try_intend(&store, &mut told).await);
    close(&store).await;
    accounts_for(&place, &told).await;
    assert_eq!(place.rows().await.iter().filter(|row| row.event == event).count(), 1);
}

#[tokio::test]
async fn closing_ends_within_its_limit_although_the_server_is_gone() {
    let (_place, proxy, store) = behind_proxy().await;
    proxy.cut();
    assert!(store.append_later(entry(Uuid::now_v7(), Kind::Event, "event")));
    let begun = Instant::now();
    let closing = store.clone();
    let closed = tokio::task::spawn_blocking(move || closing.close(DEADLINE)).await.unwrap();
    assert!(!closed);
    assert!(begun.elapsed() < 3 * DEADLINE);
}

/// Beside the writer, too: readers, the sealer, whoever takes a lease.
#[tokio::test]
async fn a_connection_that_is_lost_in_the_midst_of_a_question_is_given_up() {
    let (place, proxy, store) = behind_proxy().await;
    let length = Duration::from_secs(60);
    store.lease("a chore", length).await.unwrap().unwrap();
    let mut admin = place.connection().await;
    let mut transaction = admin.begin().await.unwrap();
    transaction.execute("SELECT FROM lease FOR UPDATE").await.unwrap();
    let mut observer = place.connection().await;
    // As many as there are connections.
    let asking: Vec<_> = (0..place.settings.connections)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.lease("a chore", length).await })
        })
        .collect();
    until("all wait", async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let (waiting,): (i64,) = sqlx::query_as(waiting).fetch_one(&mut observer).await.unwrap();
        waiting == i64::from(place.settings.connections)
    })
    .await;
    // These connections never get anything through any more.
    proxy.hold_present();
    transaction.rollback().await.unwrap();
    for asking in asking {
        let answer = timeout(PATIENCE, asking).await.expect("it still waits");
        assert!(answer.unwrap().is_err());
    }
    until("others answer", async || store.lease("a chore", length).await.is_ok()).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_at_the_start_is_told_from_a_wrong_setting() {
    let mut cluster = Cluster::start(&[]);
    let place = Place::at(&cluster).await;
    cluster.stop();
    let said = Installation::of(&place).run(&["serve"]);
    assert_eq!(said.code, Some(69), "{}", said.told);
    assert!(said.told.contains("start PostgreSQL"), "{}", said.told);
}

/// As a slow network takes it in time.
#[tokio::test]
async fn what_had_to_wait_is_written_in_pieces_and_no_outcome_is_left_out() {
    const LONG: usize = 60_000;
    let mut cluster = Cluster::start(&[]);
    let place = Place::at(&cluster).await;
    let store = place.open().await;
    let watch = "CREATE TABLE piece (bytes BIGINT); \
                 CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 INSERT INTO piece SELECT sum(length(entry)) FROM added; RETURN NULL; END $$; \
                 CREATE TRIGGER note AFTER INSERT ON audit_entry REFERENCING NEW TABLE AS added \
                 FOR EACH STATEMENT EXECUTE FUNCTION note()";
    place.connection().await.execute(watch).await.unwrap();
    let mut connection = place.connection().await;
    let settled = intend(&store).await.unwrap();
    connection.execute("DELETE FROM audit_open").await.unwrap();
    drop(connection);
    cluster.stop();
    until("the loss", async || store.status().trouble.is_some()).await;
    let long = "x".repeat(LONG);
    let mut taken = 0;
    // Far more than the queue and the writer together hold.
    for _ in 0..1_000 {
        taken += i64::from(store.append_later(entry(Uuid::now_v7(), Kind::Event, &long)));
    }
    until("the writer's look", async || store.status().waiting > 0).await;
    assert!(store.append_later(entry(settled, Kind::LateOutcome, "late")));
    assert!(store.append_later(entry(settled, Kind::Outcome, "second")));
    until("too much", async || store.status().refused > 0).await;
    cluster.resume();
    is_available(&store).await;
    close(&store).await;
    let rows = place.rows().await;
    let kept = rows.iter().filter(|row| row.kind == 0).count();
    // 16 MiB wait with the writer, and as much before it.
    assert!(kept * LONG <= (33 << 20), "{kept}");
    assert_eq!(kept as u64 + store.status().refused, 1_000, "{taken} were taken at first");
    assert_eq!(rows.iter().filter(|row| row.entry == "late").count(), 2, "both outcomes were late");
    let mut connection = place.connection().await;
    let (longest, pieces): (i64, i64) =
        sqlx::query_as("SELECT max(bytes)::bigint, count(*) FROM piece WHERE bytes > 0")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert!(longest <= 1 << 20, "{longest} bytes at once");
    assert!(pieces > 10, "{pieces}");
}

#[tokio::test]
async fn after_a_failover_that_lost_entries_nothing_is_written_twice() {
    let place = Place::postgres().await;
    let store = place.open().await;
    for _ in 0..10 {
        intend(&store).await.unwrap();
    }
    let mut admin = place.connection().await;
    admin
        .execute(
            "DELETE FROM audit_open; DELETE FROM audit_entry WHERE position >= (1::bigint << 40) + 5; \
             UPDATE audit_head SET next = 5",
        )
        .await
        .unwrap();
    let mut holding = admin.begin().await.unwrap();
    holding.execute("SELECT FROM audit_head FOR UPDATE").await.unwrap();
    let mut observer = place.connection().await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE \
               datname = current_database() AND application_name = 'glacier-gateway'";
    observer.execute(end).await.unwrap();
    let event = Uuid::now_v7();
    assert!(store.append_later(entry(event, Kind::Event, "once")));
    // The first connection after the failover sends the entry, and is given up. The second one
    // waits for what became of that.
    until("two that wait", async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let (waiting,): (i64,) = sqlx::query_as(waiting).fetch_one(&mut observer).await.unwrap();
        waiting == 2
    })
    .await;
    holding.rollback().await.unwrap();
    is_available(&store).await;
    close(&store).await;
    let rows = place.rows().await;
    assert_eq!(rows.iter().filter(|row| row.event == event).count(), 1, "{rows:#?}");
}
