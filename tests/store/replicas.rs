//! Several processes on one PostgreSQL.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use glacier_gateway::store::{Kind, Store};
use uuid::Uuid;

use crate::support::{PATIENCE, Place, REWRITE, entry, intend, settings, until};

/// Names the database and its password file to a process that only writes.
const WRITES: &str = "GATEWAY_TEST_WRITES_TO";

/// A process of its own that appends intents and outcomes as fast as it can.
struct Replica {
    child: Child,
}

impl Replica {
    fn start(place: &Place) -> Self {
        let glacier_gateway::config::StoreUrl::Postgres(url) = &place.settings.url else {
            panic!("it is SQLite")
        };
        let password = place.settings.password_file.as_ref().unwrap().display();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "replicas::writes_until_it_is_killed", "--ignored", "--nocapture"])
            .env(WRITES, format!("{url} {password}"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        said.lines().find(|line| line.as_ref().unwrap().contains("it writes")).unwrap().unwrap();
        Self { child }
    }

    fn signal(&self, signal: &str) {
        let process = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &process]).status().unwrap().success());
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
#[ignore = "a process that another test starts"]
async fn writes_until_it_is_killed() {
    let given = std::env::var(WRITES).unwrap();
    let (url, password) = given.split_once(' ').unwrap();
    let settings = settings(url.to_owned().try_into().unwrap(), Some(password.into()));
    let store = Store::open(&settings, REWRITE).await.unwrap().unwrap();
    println!("\nit writes");
    loop {
        let events: Vec<Uuid> = (0..64).map(|_| Uuid::now_v7()).collect();
        let pending: Vec<_> = events
            .iter()
            .map(|event| store.append(entry(*event, Kind::Intent, &"intent ".repeat(100))))
            .collect();
        for (pending, event) in pending.into_iter().zip(events) {
            if pending.durable(PATIENCE).await.is_ok() {
                store.append_later(entry(event, Kind::Outcome, "aborted"));
            }
        }
    }
}

#[tokio::test]
async fn a_replica_that_is_stopped_at_any_moment_does_not_keep_another_from_writing() {
    let place = Place::postgres().await;
    let store = place.open().await;
    let replica = Replica::start(&place);
    for n in 0..60 {
        replica.signal("STOP");
        let pending = store.append(entry(Uuid::now_v7(), Kind::Intent, "intent"));
        let durable = pending.durable(Duration::from_secs(1)).await;
        replica.signal("CONT");
        assert!(durable.is_ok(), "it waited for the one that was stopped the {n}th time");
        intend(&store).await.unwrap();
    }
}

#[tokio::test]
async fn replicas_that_are_killed_leave_no_gap_and_no_double() {
    let place = Place::postgres().await;
    let store = place.open().await;
    for _ in 0..5 {
        let replicas = [Replica::start(&place), Replica::start(&place)];
        let before = place.rows().await.len();
        until("entries of the replicas", async || place.rows().await.len() > before + 200).await;
        drop(replicas);
        intend(&store).await.unwrap();
    }
    let rows = place.rows().await;
    assert!(rows.iter().map(|row| row.position.index).eq(0..rows.len() as i64), "a gap");
    let mut known: Vec<_> = rows.iter().map(|row| (row.event, row.kind)).collect();
    known.sort_unstable();
    known.dedup();
    assert_eq!(known.len(), rows.len(), "an entry is there twice");
    let closed = rows.iter().filter(|row| row.kind == 2).count();
    let intents = rows.iter().filter(|row| row.kind == 1).count();
    // What is open belongs to the dead, and to this test.
    assert_eq!(place.open_intents().await.len(), intents - closed);
}
