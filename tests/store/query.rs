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
}
