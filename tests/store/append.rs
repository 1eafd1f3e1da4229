//! What is appended, and where it lands.

use std::{collections::HashSet, time::Duration};

use glacier_gateway::{
    config::StoreUrl,
    store::{Kind, Position, Unavailable},
};
use uuid::Uuid;

use crate::support::{PATIENCE, Place, entry, intend, on_both, until};

on_both! {
    async fn entries_have_consecutive_positions_in_the_order_of_their_arrival(place: Place) {
        let store = place.open().await;
        let events: Vec<Uuid> = (0..3000).map(|_| Uuid::now_v7()).collect();
        let waiting: Vec<_> = events
            .iter()
            .map(|event| store.append(entry(*event, Kind::Intent, "intent")))
            .collect();
        let mut positions = Vec::new();
        for pending in waiting {
            positions.push(pending.durable(PATIENCE).await.unwrap());
        }
        let expected: Vec<_> = (0..3000).map(|index| Position { log: 1, index }).collect();
        assert_eq!(positions, expected);
        let rows = place.rows().await;
        assert!(rows.iter().map(|row| row.event).eq(events.iter().copied()));
        assert_eq!(place.open_intents().await, events);
        assert!(store.status().commits < 3000, "every entry was a commit of its own");
        assert!(store.close(PATIENCE));
    }

    async fn an_outcome_closes_its_intent_and_a_second_one_is_late(place: Place) {
        let store = place.open().await;
        let event = intend(&store).await.unwrap();
        let other = intend(&store).await.unwrap();
        assert!(store.append_later(entry(event, Kind::Outcome, "aborted")));
        assert!(store.append_later(entry(event, Kind::Outcome, "unknown")));
        until("the outcomes", async || place.rows().await.len() == 4).await;
        let rows = place.rows().await;
        let told: Vec<_> = rows.iter().map(|row| (row.event, row.kind, &*row.entry)).collect();
        assert_eq!(
            told,
            [
                (event, 1, "intent"),
                (other, 1, "intent"),
                (event, 2, "aborted"),
                (event, 3, "late"),
            ]
        );
        assert!(rows.iter().map(|row| row.position.index).eq(0..4));
        assert_eq!(place.open_intents().await, [other]);
    }

    async fn an_intent_that_nobody_waits_for_any_more_is_not_attempted(place: Place) {
        let store = place.open().await;
        for n in 0..30 {
            let pending = store.append(entry(Uuid::now_v7(), Kind::Intent, "intent"));
            let written = store.status().entries;
            // The client goes before the entry is taken, while it is written, or after.
            if n % 2 == 0 {
                until("the commit", async || store.status().entries > written).await;
            }
            drop(pending);
        }
        assert!(store.close(PATIENCE));
        let rows = place.rows().await;
        let of = |kind| rows.iter().filter(move |row| row.kind == kind).map(|row| row.event);
        assert_eq!(of(1).count(), 30);
        assert_eq!(of(1).collect::<HashSet<_>>(), of(2).collect());
        assert!(place.open_intents().await.is_empty());
    }

    async fn a_deadline_that_passes_leaves_no_open_intent(place: Place) {
        let store = place.open().await;
        let mut durable = HashSet::new();
        for n in 0..300 {
            let event = Uuid::now_v7();
            let pending = store.append(entry(event, Kind::Intent, "intent"));
            if pending.durable(Duration::from_micros(n * 30)).await.is_ok() {
                durable.insert(event);
            }
        }
        assert!(store.close(PATIENCE));
        let open: HashSet<_> = place.open_intents().await.into_iter().collect();
        assert_eq!(open, durable);
        let rows = place.rows().await;
        let unattempted: Vec<_> = rows.iter().filter(|row| row.entry == "not-attempted").collect();
        assert_eq!(rows.iter().filter(|row| row.kind == 1).count(), 300);
        assert_eq!(unattempted.len(), 300 - durable.len());
    }

    async fn closing_writes_what_waits_and_then_nothing_is_taken(place: Place) {
        let store = place.open().await;
        for _ in 0..10_000 {
            assert!(store.append_later(entry(Uuid::now_v7(), Kind::Event, "event")));
        }
        assert!(store.close(PATIENCE));
        assert_eq!(place.rows().await.len(), 10_000);
        assert!(!store.append_later(entry(Uuid::now_v7(), Kind::Event, "event")));
        assert_eq!(intend(&store).await, Err(Unavailable));
    }

    async fn one_lease_has_one_holder_and_its_number_grows(place: Place) {
        let (store, other) = match &place.settings.url {
            // SQLite is for one process.
            StoreUrl::Sqlite(_) => (place.open().await, None),
            _ => (place.open().await, Some(place.open().await)),
        };
        let length = Duration::from_secs(60);
        let lease = store.lease("sealer", length).await.unwrap().unwrap();
        assert!(lease.holds());
        let again = store.lease("sealer", length).await.unwrap().unwrap();
        assert_eq!(again.epoch, lease.epoch);
        if let Some(other) = other {
            assert!(other.lease("sealer", length).await.unwrap().is_none());
            store.release("sealer").await.unwrap();
            let taken = other.lease("sealer", length).await.unwrap().unwrap();
            assert_eq!(taken.epoch, lease.epoch + 1);
        }
    }
}
