#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::Value;
use time::{Duration, macros::datetime};

use super::*;
use crate::store::Kind;

const NOW: OffsetDateTime = datetime!(2026-11-29 10:00 UTC);

/// A read of `resource` by `subject`, with an ID and a request ID of its own.
fn read(subject: &str, resource: &str) -> Event {
    Event {
        id: Uuid::new_v4(),
        time: Some(NOW),
        name: "ListParts",
        read_only: true,
        request_id: Some(Uuid::new_v4().to_string()),
        identity: Some(UserIdentity {
            issuer: "corporate".to_owned(),
            subject: subject.to_owned(),
            teams: vec!["media".to_owned()],
            ..UserIdentity::default()
        }),
        resource: Some(resource.to_owned()),
        ..Event::default()
    }
}

fn admitted(flood: &Flood, events: impl IntoIterator<Item = Event>) -> usize {
    events.into_iter().filter(|event| admits(flood, event)).count()
}

fn admits(flood: &Flood, event: &Event) -> bool {
    flood.admits(event, &event.append(Kind::Event))
}

/// How many bytes these records take up in the columns that callers fill.
fn bytes<'a>(records: impl IntoIterator<Item = &'a Event>) -> usize {
    let size = |record: &Event| {
        let append = record.append(Kind::Counted);
        append.entry.len() + append.teams.len()
    };
    records.into_iter().map(size).sum()
}

/// Whoever belongs to a hundred teams of long names.
fn of_many_teams(subject: &str, resource: &str) -> Event {
    let read = read(subject, resource);
    let teams = (0..100).map(|n| format!("{n:0>100}")).collect();
    let identity = UserIdentity { teams, ..read.identity.unwrap() };
    Event { identity: Some(identity), ..read }
}

fn counts(records: &[Event]) -> u64 {
    records.iter().map(|record| record.counted.map_or(1, |counted| counted.count)).sum()
}

#[test]
fn beyond_a_hundred_a_minute_equal_events_of_a_caller_become_one_record() {
    let flood = Flood::default();
    let at = |seconds| Event { time: Some(NOW + Duration::seconds(seconds)), ..read("ann", "a") };
    assert_eq!(admitted(&flood, (0..300).map(at)), 100);
    assert_eq!(admitted(&flood, [read("bob", "a")]), 1, "another caller has a hundred too");
    let records = flood.take();
    let [record] = &records[..] else { panic!("{records:#?}") };
    let json: Value = serde_json::from_slice(&record.json("Counted")).unwrap();
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
    assert!(!admits(&flood, &denied));
    let records = flood.take();
    assert_eq!(records.len(), 2);
    let own = records.iter().find(|record| record.counted.is_none()).unwrap();
    assert_eq!((own.id, &own.request_id), (denied.id, &denied.request_id));
}

#[test]
fn no_caller_can_use_up_what_tells_others_apart() {
    let flood = Flood::default();
    let invented = |n: usize| read("eve", &n.to_string());
    assert_eq!(admitted(&flood, (0..50_000).map(invented)), 100);
    admitted(&flood, (0..101).map(|_| read("ann", "a")));
    let records = flood.take();
    assert!(records.len() > 200, "{}", records.len());
    assert_eq!(counts(&records), 50_000 - 100 + 1);
    assert!(bytes(&records) < BYTES_OF_A_CALLER);
    let beyond = records.iter().find(|record| record.name == "OmitRecords").unwrap();
    let identity = beyond.identity.as_ref().unwrap();
    assert_eq!((&*identity.subject, &identity.teams[..]), ("eve", &["media".to_owned()][..]));
}

#[test]
fn a_caller_of_many_teams_takes_up_no_more_than_another() {
    let flood = Flood::default();
    let events: Vec<_> = (0..1_000).map(|n| of_many_teams("eve", &n.to_string())).collect();
    let admitted: Vec<_> = events.iter().filter(|event| admits(&flood, event)).collect();
    let records = flood.take();
    assert!((10..100).contains(&admitted.len()), "{}", admitted.len());
    assert_eq!(admitted.len() as u64 + counts(&records), 1_000);
    let most = BYTES_OF_A_CALLER + bytes([&events[0]]);
    assert!(bytes(admitted.into_iter().chain(&records)) <= most);
}

#[test]
fn all_callers_together_take_up_a_bounded_number_of_bytes() {
    let flood = Flood::default();
    let mut taken = 0;
    let mut admitted = 0;
    for caller in 0..80 {
        let event = of_many_teams(&caller.to_string(), "a");
        for _ in 0..25 {
            let is_admitted = admits(&flood, &event);
            admitted += u64::from(is_admitted);
            taken += if is_admitted { bytes([&event]) } else { 0 };
        }
    }
    let records = flood.take();
    assert_eq!(admitted + counts(&records), 80 * 25);
    assert!(taken + bytes(&records) <= BYTES, "{taken}");
    assert!(taken > BYTES / 2, "{taken}");
}

#[test]
fn the_records_of_all_callers_together_are_bounded() {
    let flood = Flood::default();
    flood.set_scarce(true);
    for caller in 0..4_100 {
        let subject = caller.to_string();
        admitted(&flood, (0..4).map(|n| read(&subject, &n.to_string())));
    }
    flood.set_scarce(false);
    let records = flood.take();
    assert_eq!(records.len(), MOST_COUNTED + 1);
    assert_eq!(counts(&records), 4_100 * 4);
    let callers = (0..MOST_CALLERS + 5).map(|n| read(&n.to_string(), "a"));
    assert_eq!(admitted(&flood, callers), MOST_CALLERS);
    let records = flood.take();
    let [beyond] = &records[..] else { panic!("{}", records.len()) };
    assert_eq!(beyond.counted.unwrap().count, 5);
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
    let mut records: Vec<Value> = flood
        .take()
        .iter()
        .map(|record| serde_json::from_slice(&record.json("Counted")).unwrap())
        .collect();
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
