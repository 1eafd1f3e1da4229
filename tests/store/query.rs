//! Events are found in the same way in both kinds of store.

use std::time::Duration;

use glacier_gateway::{
    audit::{
        Event, Trail, UserIdentity,
        query::{self, Filter, Page, Record},
    },
    config::{self, Reads},
    store::{Append, Kind},
};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{PATIENCE, Place, close, on_both};

fn audit() -> config::Audit {
    config::Audit {
        deadline: PATIENCE,
        reads: Reads::Record,
        key_files: Default::default(),
        checkpoint_file: None,
        origin: None,
        keep: Duration::from_secs(400 * 24 * 3600),
    }
}

/// Its texts stay until the test ends.
fn event(team: &str, name: &'static str) -> Event<'static> {
    Event {
        id: Uuid::now_v7(),
        time: Some(OffsetDateTime::now_utc()),
        source: "glacier.amazonaws.com",
        name,
        identity: Some(UserIdentity {
            teams: vec![team.to_owned()].leak(),
            ..UserIdentity::default()
        }),
        team: Some(team.to_owned().leak()),
        ..Event::default()
    }
}

/// An event of a gateway whose clock says this.
fn at(time: OffsetDateTime, name: &'static str) -> Event<'static> {
    let (seconds, nanoseconds) = (time.unix_timestamp().unsigned_abs(), time.nanosecond());
    let id = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanoseconds));
    Event { id, time: Some(time), ..event("media", name) }
}

fn names(page: &Page) -> Vec<&str> {
    page.events.iter().map(|event| event["eventName"].as_str().unwrap()).collect()
}

fn text<'r>(record: &'r Record, name: &str) -> &'r str {
    record.get(name).and_then(|value| value.as_str()).unwrap_or_default()
}

on_both! {
    async fn events_are_listed_by_time_and_team_with_their_outcomes(place: Place) {
        let trail = Trail::open(&place.settings, &audit()).await.unwrap();
        let store = trail.store().unwrap();
        let list = async |filter: &Filter| {
            query::list(store, filter, None, 10, |_| true).await.unwrap()
        };
        let (first, second) = (event("a_b", "ListParts"), event("axb", "DescribeVault"));
        trail.record_durably(&first).await.unwrap();
        trail.record_durably(&second).await.unwrap();
        let abort = event("a_b", "AbortMultipartUpload");
        let intent = trail.intent(&abort).await.unwrap();
        let of_team = Filter { team: Some("a_b".to_owned()), ..Filter::default() };
        let page = list(&of_team).await;
        assert_eq!(names(&page), ["ListParts", "AbortMultipartUpload"]);
        assert_eq!(text(&page.events[1], "outcome"), "");

        intent.settle("unknown", None, None);
        let late = br#"{"eventType":"Outcome","outcome":"aborted"}"#.to_vec();
        let late = Append::new(abort.id, 0, Kind::LateOutcome, "/a_b/".to_owned(), late);
        store.append(late).durable(PATIENCE).await.unwrap();
        let page = list(&of_team).await;
        assert_eq!(text(&page.events[1], "outcome"), "unknown");
        assert_eq!(text(&page.events[1], "lateOutcome"), "aborted");

        let micros = |event: &Event<'_>| {
            i64::try_from(event.time.unwrap().unix_timestamp_nanos() / 1000).unwrap()
        };
        let (from, to) = (Some(micros(&second)), Some(micros(&abort)));
        let page = list(&Filter { from, to, ..Filter::default() }).await;
        assert_eq!(names(&page), ["DescribeVault"]);

        let all = Filter::default();
        let first_page = query::list(store, &all, None, 2, |_| true).await.unwrap();
        let of_a_b = |teams: &[&str]| teams == ["a_b"];
        let rest = query::list(store, &all, first_page.marker, 9, of_a_b).await.unwrap();
        assert_eq!(names(&first_page), ["StartLog", "ListParts"]);
        assert_eq!((names(&rest), rest.marker), (vec!["AbortMultipartUpload"], None));

        let found = query::find(store, abort.id).await.unwrap().unwrap();
        assert_eq!((found.entries.len(), found.teams), (3, vec!["a_b".to_owned()]));
        assert!(query::find(store, Uuid::now_v7()).await.unwrap().is_none());
        close(store).await;
    }

    async fn a_wrong_clock_hides_nothing_from_a_search(place: Place) {
        let trail = Trail::open(&place.settings, &audit()).await.unwrap();
        let store = trail.store().unwrap();
        let begin = OffsetDateTime::now_utc();
        let (past, future) = (begin - time::Duration::hours(3), begin + time::Duration::days(3650));
        let (behind, ahead) = (at(past, "ListParts"), at(future, "DescribeVault"));
        for i in 0..30 {
            let events: Vec<Event> = (0..100)
                .map(|j| at(begin + time::Duration::milliseconds(i * 100 + j), "ListVaults"))
                .collect();
            let mut records = tokio::task::JoinSet::new();
            for event in events {
                let trail = trail.clone();
                records.spawn(async move { trail.record_durably(&event).await });
            }
            assert!(records.join_all().await.into_iter().all(|recorded| recorded.is_ok()));
            match i {
                10 => trail.record_durably(&behind).await.unwrap(),
                20 => trail.record_durably(&ahead).await.unwrap(),
                _ => {}
            }
        }
        let within = async |from: OffsetDateTime, to: OffsetDateTime| {
            let micros = |time: OffsetDateTime| {
                Some(i64::try_from(time.unix_timestamp_nanos() / 1000).unwrap())
            };
            let filter = Filter { from: micros(from), to: micros(to), ..Filter::default() };
            let page = query::list(store, &filter, None, 1000, |_| true).await.unwrap();
            assert_eq!(page.marker, None);
            names(&page).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        let second = time::Duration::seconds(1);
        assert_eq!(within(past, past + second).await, ["ListParts"]);
        assert_eq!(within(future, future + second).await, ["DescribeVault"]);
        for from in [begin + second / 2, begin + second * 1.5, begin + second * 2.5] {
            assert_eq!(within(from, from + second / 10).await, vec!["ListVaults"; 100]);
        }
        for event in [behind, ahead] {
            let found = query::find(store, event.id).await.unwrap().unwrap();
            assert_eq!(text(&found.event, "eventName"), event.name);
        }
        close(store).await;
    }

    async fn an_outcome_is_joined_however_late_it_came(place: Place) {
        let trail = Trail::open(&place.settings, &audit()).await.unwrap();
        let store = trail.store().unwrap();
        let abort = event("media", "AbortMultipartUpload");
        let intent = trail.intent(&abort).await.unwrap();
        for _ in 0..51 {
            let other = || Append::new(Uuid::now_v7(), 0, Kind::Event, "/a/".into(), b"{}".into());
            let pending: Vec<_> = (0..2_000).map(|_| store.append(other())).collect();
            for pending in pending {
                pending.durable(PATIENCE).await.unwrap();
            }
        }
        intent.settle("aborted", None, None);
        trail.record_durably(&event("media", "ListParts")).await.unwrap();
        let of_team = Filter { team: Some("media".to_owned()), ..Filter::default() };
        let page = query::list(store, &of_team, None, 1, |_| true).await.unwrap();
        assert_eq!(text(&page.events[0], "outcome"), "aborted");
        let found = query::find(store, abort.id).await.unwrap().unwrap();
        assert_eq!((text(&found.event, "outcome"), found.entries.len()), ("aborted", 2));
        close(store).await;
    }
}
