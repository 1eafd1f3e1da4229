#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::LazyLock;

use serde_json::Value;
use time::{Duration, macros::datetime};

use super::*;

const NOW: OffsetDateTime = datetime!(2026-11-29 10:00 UTC);

static ONE_TEAM: LazyLock<Vec<String>> = LazyLock::new(|| vec!["media".to_owned()]);
/// A hundred teams of long names.
static MANY_TEAMS: LazyLock<Vec<String>> =
    LazyLock::new(|| (0..100).map(|n| format!("{n:0>100}")).collect());

/// A read of `resource` by `subject`, with an ID and a request ID of its own.
fn read<'a>(subject: &'a str, resource: &'a str) -> Event<'a> {
    let id = Uuid::new_v4();
    Event {
        id,
        time: Some(NOW),
        name: "ListParts",
        read_only: true,
        request_id: Some(if id.as_u128().is_multiple_of(2) { "even" } else { "odd" }),
        identity: Some(UserIdentity {
            issuer: "corporate",
            subject,
            teams: &ONE_TEAM,
            ..UserIdentity::default()
        }),
        resource: Some(resource),
        ..Event::default()
    }
}

/// A read by whoever belongs to many teams.
fn of_many_teams<'a>(subject: &'a str, resource: &'a str) -> Event<'a> {
    let read = read(subject, resource);
    let identity = read.identity.map(|identity| UserIdentity { teams: &MANY_TEAMS, ..identity });
    Event { identity, ..read }
}

fn admitted<'a>(flood: &Flood, events: impl IntoIterator<Item = Event<'a>>) -> usize {
    events.into_iter().filter_map(|event| flood.admit(&event)).count()
}

fn json(record: &Append) -> Value {
    serde_json::from_slice(&record.entry).unwrap()
}

fn counts(records: &[Append]) -> u64 {
    records.iter().map(|record| json(record)["count"].as_u64().unwrap_or(1)).sum()
}

/// How many bytes these records take up in the columns that callers fill.
fn bytes<'a>(records: impl IntoIterator<Item = &'a Append>) -> usize {
    records.into_iter().map(|record| record.entry.len() + record.teams.len()).sum()
}

#[test]
fn beyond_a_hundred_a_minute_equal_events_of_a_caller_become_one_record() {
    let flood = Flood::default();
    let at = |seconds| Event { time: Some(NOW + Duration::seconds(seconds)), ..read("ann", "a") };
    assert_eq!(admitted(&flood, (0..300).map(at)), 100);
    assert_eq!(admitted(&flood, [read("bob", "a")]), 1, "another caller has a hundred too");
    let records = flood.take();
    let [record] = &records[..] else { panic!("{records:#?}") };
    let json = json(record);
    assert_eq!(json["eventType"], "Counted");
    assert_eq!(json["eventID"], record.event.to_string());
    assert_eq!(json["count"], 200);
    assert_eq!(json["from"], "2026-11-29T10:01:40Z");
    assert_eq!(json["to"], "2026-11-29T10:04:59Z");
    assert_eq!(json["eventTime"], json["from"]);
    assert_eq!(json["userIdentity"]["subject"], "ann");
    assert_eq!(json["resource"], "a");
    assert_eq!(json["requestID"], Value::Null, "each had its own");
    assert_eq!(admitted(&flood, [read("ann", "a")]), 1, "a new minute");
    assert!(flood.take().is_empty());
}

#[test]
fn what_happened_once_in_a_flood_keeps_its_own_record() {
    let flood = Flood::default();
    let denied = Event { error_code: Some("not-authorized"), ..read("ann", "b") };
    admitted(&flood, (0..150).map(|_| read("ann", "a")));
    assert!(flood.admit(&denied).is_none());
    let records = flood.take();
    assert_eq!(records.len(), 2);
    let own = records.iter().map(json).find(|record| record["eventType"] == "Event").unwrap();
    assert_eq!(own["eventID"], denied.id.to_string());
    assert_eq!(own["requestID"], denied.request_id.unwrap());
}

#[test]
fn no_caller_can_use_up_what_tells_others_apart() {
    let flood = Flood::default();
    let invented = (0..50_000).map(|n| n.to_string()).collect::<Vec<_>>();
    assert_eq!(admitted(&flood, invented.iter().map(|resource| read("eve", resource))), 100);
    admitted(&flood, (0..101).map(|_| read("ann", "a")));
    let records = flood.take();
    assert!(records.len() > 200, "{}", records.len());
    assert_eq!(counts(&records), 50_000 - 100 + 1);
    assert!(bytes(&records) < BYTES_OF_A_CALLER);
    let beyond = records.iter().map(json).find(|record| record["eventName"] == "OmitRecords");
    let identity = &beyond.unwrap()["userIdentity"];
    assert_eq!((&identity["subject"], &identity["teams"][0]), (&"eve".into(), &"media".into()));
}

#[test]
fn a_caller_of_many_teams_takes_up_no_more_than_another() {
    let flood = Flood::default();
    let resources: Vec<_> = (0..1_000).map(|n| n.to_string()).collect();
    let events = resources.iter().map(|resource| of_many_teams("eve", resource));
    let mut records: Vec<_> = events.filter_map(|event| flood.admit(&event)).collect();
    assert!((10..100).contains(&records.len()), "{}", records.len());
    let longest = bytes([&records[0]]);
    records.extend(flood.take());
    assert_eq!(counts(&records), 1_000);
    assert!(bytes(&records) <= BYTES_OF_A_CALLER + longest);
}

#[test]
fn all_callers_together_take_up_a_bounded_number_of_bytes() {
    let flood = Flood::default();
    let subjects: Vec<_> = (0..80).map(|n| n.to_string()).collect();
    let events = subjects.iter().flat_map(|subject| (0..25).map(|_| of_many_teams(subject, "a")));
    let mut records: Vec<_> = events.filter_map(|event| flood.admit(&event)).collect();
    records.extend(flood.take());
    assert_eq!(counts(&records), 80 * 25);
    assert!((BYTES / 2..BYTES).contains(&bytes(&records)), "{}", bytes(&records));
}

#[test]
fn the_records_of_all_callers_together_are_bounded() {
    let flood = Flood::default();
    flood.set_scarce(true);
    for caller in 0..4_100 {
        let subject = caller.to_string();
        admitted(&flood, ["a", "b", "c", "d"].map(|resource| read(&subject, resource)));
    }
    flood.set_scarce(false);
    let records = flood.take();
    assert_eq!(records.len(), MOST_COUNTED + 1);
    assert_eq!(counts(&records), 4_100 * 4);
    let subjects: Vec<_> = (0..MOST_CALLERS + 5).map(|n| n.to_string()).collect();
    let once = subjects.iter().map(|subject| read(subject, "a"));
    assert_eq!(admitted(&flood, once), MOST_CALLERS);
    let records = flood.take();
    let [beyond] = &records[..] else { panic!("{}", records.len()) };
    assert_eq!(json(beyond)["count"], 5);
}

#[test]
fn refused_authentications_are_counted_by_network_issuer_and_code() {
    let flood = Flood::default();
    let refuse = |source: &str, issuer, code| {
        flood.refused_authentication(Some(source.parse().unwrap()), issuer, code, NOW);
    };
    refuse("192.0.2.1", Some("corporate"), "token-invalid");
    refuse("::ffff:192.0.2.1", Some("corporate"), "token-invalid");
    refuse("192.0.2.2", None, "token-missing");
    refuse("2001:db8:1:2::3", None, "token-invalid");
    refuse("2001:db8:1:2:ffff::4", None, "token-invalid");
    refuse("2001:db8:1:3::4", None, "token-invalid");
    let mut records: Vec<Value> = flood.take().iter().map(json).collect();
    records.sort_by_key(|record| record["sourceIPAddress"].to_string());
    let said = |record: &Value| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let issuer = text(&record["userIdentity"]["issuer"]);
        let from = text(&record["sourceIPAddress"]);
        (from, issuer, text(&record["errorCode"]), record["count"].as_u64().unwrap())
    };
    let expected = [
        ("192.0.2.1", "corporate", "token-invalid", 2),
        ("192.0.2.2", "other", "token-missing", 1),
        ("2001:db8:1:2::/64", "other", "token-invalid", 2),
        ("2001:db8:1:3::/64", "other", "token-invalid", 1),
    ];
    let expected = expected.map(|(a, b, c, n)| (a.to_owned(), b.to_owned(), c.to_owned(), n));
    assert_eq!(records.iter().map(said).collect::<Vec<_>>(), expected);
    assert_eq!(records[0]["userIdentity"].as_object().unwrap().len(), 1, "nobody is known");
}

#[test]
fn refused_authentications_become_a_thousand_records_at_most() {
    let flood = Flood::default();
    for host in 0..100_000_u32 {
        let source = IpAddr::from(host.to_be_bytes());
        flood.refused_authentication(Some(source), None, "token-invalid", NOW);
    }
    let records = flood.take();
    assert_eq!((records.len(), counts(&records)), (MOST_REFUSED, 100_000));
}

#[test]
fn while_room_is_scarce_everything_is_counted() {
    let flood = Flood::default();
    flood.set_scarce(true);
    assert_eq!(admitted(&flood, (0..50).map(|_| read("ann", "a"))), 0);
    flood.set_scarce(false);
    assert_eq!(admitted(&flood, [read("ann", "a")]), 1);
    assert_eq!(counts(&flood.take()), 50);
}
