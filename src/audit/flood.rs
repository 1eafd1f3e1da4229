//! What keeps a flood of requests from filling the disk: equal events are counted.
//!
//! Intents and outcomes never come here. A minute is the time between two calls of
//! [`Flood::take`].

use std::{
    collections::HashMap,
    mem,
    net::IpAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use aws_lc_rs::digest::{SHA256, digest};
use ipnet::IpNet;
use serde::Deserialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    event::{Counted, Event, UserIdentity},
    rewrite,
};
use crate::store::Append;

/// How many of a caller's reads and denials are recorded one by one in a minute.
const ONE_BY_ONE: u64 = 100;
/// How many records the refused authentications of a minute become.
const MOST_REFUSED: usize = 1_000;
/// How many callers are told apart in a minute.
const MOST_CALLERS: usize = 10_000;
/// How many bytes the reads and denials of one caller take up in a minute's records, so
/// that no caller uses up all there is. One more record tells how many did not fit.
const BYTES_OF_A_CALLER: usize = 256 << 10;
/// The same of all callers together.
const BYTES: usize = 32 << 20;
/// What a row of the store holds beside its entry and its teams, and what a number and
/// two times add to an entry; in bytes.
const ROW: usize = 256;
/// Into how many records of equal events the floods of a minute's callers are told apart.
const MOST_ALIKE: usize = 8_000;
/// The same, with one for each caller that was not told apart any further.
const MOST_COUNTED: usize = 10_000;
/// The issuer of whoever names none that is configured: callers can invent others
/// without end.
const OTHER: &str = "other";

/// Counts what is not recorded one by one.
#[derive(Default)]
pub(super) struct Flood {
    minute: Mutex<Minute>,
    /// Whether so little room is left that everything is counted.
    scarce: AtomicBool,
}

/// What came since the last [`Flood::take`].
#[derive(Default)]
struct Minute {
    refused: HashMap<Refused, Counted>,
    refused_beyond: Option<Counted>,
    /// By issuer and subject.
    callers: HashMap<String, HashMap<String, Caller>>,
    callers_known: usize,
    used: Used,
    /// What is not told apart any further.
    beyond: Option<Counted>,
}

/// What the reads and denials of all callers have taken up so far.
#[derive(Default)]
struct Used {
    /// Of the store, in bytes.
    bytes: usize,
    /// The records that floods have become.
    counted: usize,
}

/// Authentications that are counted as equal.
#[derive(PartialEq, Eq, Hash)]
struct Refused {
    source: Option<IpNet>,
    issuer: String,
    code: &'static str,
}

/// One caller's reads and denials.
#[derive(Default)]
struct Caller {
    seen: u64,
    /// What they have taken up so far, in bytes.
    bytes: usize,
    /// By the hash of what their records have in common.
    alike: HashMap<[u8; 32], Alike>,
    beyond: Option<Alike>,
}

/// Events whose records say the same, or that have only their caller in common.
struct Alike {
    first: Append,
    counted: Counted,
}

impl Flood {
    /// Gives the record of `event`, unless it is only counted.
    pub fn admit(&self, event: &Event<'_>) -> Option<Append> {
        let append = event.append();
        let size = append.entry.len() + append.teams.len() + ROW;
        let scarce = self.scarce.load(Relaxed);
        let now = event.time.unwrap_or_else(OffsetDateTime::now_utc);
        let mut minute = self.minute();
        let Minute { callers, callers_known, used, beyond, .. } = &mut *minute;
        let (issuer, subject) = event
            .identity
            .as_ref()
            .map_or(("", ""), |identity| (identity.issuer, identity.subject));
        let known = callers.get_mut(issuer).and_then(|subjects| subjects.get_mut(subject));
        let caller = match known {
            Some(caller) => caller,
            None if *callers_known < MOST_CALLERS => {
                *callers_known += 1;
                let subjects = callers.entry(issuer.to_owned()).or_default();
                subjects.entry(subject.to_owned()).or_default()
            }
            None => {
                count(beyond, now);
                return None;
            }
        };
        caller.seen += 1;
        let single = caller.seen <= ONE_BY_ONE && !scarce && !event.in_bulk;
        if single && caller.takes_up(size, used) {
            return Some(append);
        }
        if !caller.count(common(event), append, size, now, used) {
            count(beyond, now);
        }
        None
    }

    /// Counts a refused authentication. `issuer` is one that is configured, if it is
    /// known.
    pub fn refused_authentication(
        &self,
        source: Option<IpAddr>,
        issuer: Option<&str>,
        code: &'static str,
        now: OffsetDateTime,
    ) {
        let issuer = issuer.unwrap_or(OTHER).to_owned();
        let refused = Refused { source: source.map(network), issuer, code };
        let mut minute = self.minute();
        if let Some(counted) = minute.refused.get_mut(&refused) {
            counted.another(now);
        } else if minute.refused.len() < MOST_REFUSED - 1 {
            minute.refused.insert(refused, Counted::one(now));
        } else {
            count(&mut minute.refused_beyond, now);
        }
    }

    /// Says whether there is so little room that everything is to be counted.
    pub fn set_scarce(&self, scarce: bool) {
        self.scarce.store(scarce, Relaxed);
    }

    /// Whether there is so little room.
    pub fn is_scarce(&self) -> bool {
        self.scarce.load(Relaxed)
    }

    /// The records of what was counted since the last call. One that stands for a single
    /// event is that event's own.
    pub fn take(&self) -> Vec<Append> {
        let minute = mem::take(&mut *self.minute());
        let mut records = Vec::new();
        for (Refused { source, issuer, code }, counted) in minute.refused {
            let event = Event {
                identity: Some(UserIdentity { issuer: &issuer, ..UserIdentity::default() }),
                error_code: Some(code),
                ..refused(counted)
            };
            let event = match source {
                Some(IpNet::V4(host)) => Event { source_ip: Some(host.addr().into()), ..event },
                Some(IpNet::V6(network)) => Event { source_network: Some(network), ..event },
                None => event,
            };
            records.push(event.append());
        }
        records.extend(minute.refused_beyond.map(|counted| refused(counted).append()));
        for caller in minute.callers.into_values().flat_map(HashMap::into_values) {
            for Alike { first, counted } in caller.alike.into_values() {
                let single = counted.count == 1;
                records.push(if single { first } else { rewrite::counted(first, counted) });
            }
            records.extend(caller.beyond.map(|beyond| omitted_of(&beyond)));
        }
        records.extend(minute.beyond.map(|counted| omitted("too-many", counted).append()));
        records
    }

    fn minute(&self) -> MutexGuard<'_, Minute> {
        self.minute.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Caller {
    /// Takes up `size` bytes, if there are so many left.
    fn takes_up(&mut self, size: usize, used: &mut Used) -> bool {
        let fits = self.bytes + size <= BYTES_OF_A_CALLER && used.bytes + size <= BYTES;
        if fits {
            self.bytes += size;
            used.bytes += size;
        }
        fits
    }

    /// Counts an event with others like it, unless there are too many records already.
    fn count(
        &mut self,
        key: [u8; 32],
        first: Append,
        size: usize,
        now: OffsetDateTime,
        used: &mut Used,
    ) -> bool {
        if let Some(alike) = self.alike.get_mut(&key) {
            alike.counted.another(now);
        } else if used.counted < MOST_ALIKE && self.takes_up(size, used) {
            used.counted += 1;
            self.alike.insert(key, Alike { first, counted: Counted::one(now) });
        } else if let Some(Alike { counted, .. }) = &mut self.beyond {
            counted.another(now);
        } else if used.counted < MOST_COUNTED && used.bytes + size <= BYTES {
            used.counted += 1;
            used.bytes += size;
            self.beyond = Some(Alike { first, counted: Counted::one(now) });
        } else {
            return false;
        }
        true
    }
}

impl Counted {
    fn one(now: OffsetDateTime) -> Self {
        Self { count: 1, from: now, to: now }
    }

    fn another(&mut self, now: OffsetDateTime) {
        self.count += 1;
        self.from = self.from.min(now);
        self.to = self.to.max(now);
    }
}

fn count(counted: &mut Option<Counted>, now: OffsetDateTime) {
    match counted {
        Some(counted) => counted.another(now),
        None => *counted = Some(Counted::one(now)),
    }
}

/// The hash of what the records of equal events have in common.
fn common(event: &Event<'_>) -> [u8; 32] {
    let nil = Event { id: Uuid::nil(), time: Some(OffsetDateTime::UNIX_EPOCH), ..event.clone() };
    let common = Event { request_id: None, upstream: None, ..nil }.append();
    let mut key = [0; 32];
    key.copy_from_slice(digest(&SHA256, &common.entry).as_ref());
    key
}

/// The record of authentications that were refused.
fn refused(counted: Counted) -> Event<'static> {
    Event { name: "Authenticate", ..of_gateway(counted) }
}

/// The record of events of which only their caller and their number are known.
fn omitted_of(Alike { first, counted }: &Alike) -> Append {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Entry {
        user_identity: Identity,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Identity {
        issuer: String,
        subject: String,
        teams: Vec<String>,
    }
    let Entry { user_identity: Identity { issuer, subject, teams } } =
        serde_json::from_slice(&first.entry).unwrap_or_default();
    let (issuer, subject, teams) = (&*issuer, &*subject, &*teams);
    let identity = UserIdentity { issuer, subject, teams, ..UserIdentity::default() };
    Event { identity: Some(identity), ..omitted("too-many", *counted) }.append()
}

/// The record of so many events of which only their number is known.
pub(super) fn omitted(why: &'static str, counted: Counted) -> Event<'static> {
    Event { name: "OmitRecords", error_code: Some(why), ..of_gateway(counted) }
}

fn of_gateway(counted: Counted) -> Event<'static> {
    Event {
        id: Uuid::now_v7(),
        time: Some(counted.from),
        source: "glacier-gateway",
        read_only: true,
        counted: Some(counted),
        ..Event::default()
    }
}

/// The network that an address is counted with. A single host has a whole /64 of IPv6.
pub fn network(address: IpAddr) -> IpNet {
    match address.to_canonical() {
        address @ IpAddr::V4(_) => address.into(),
        address @ IpAddr::V6(_) => IpNet::new_assert(address, 64).trunc(),
    }
}

#[cfg(test)]
#[path = "flood_tests.rs"]
mod tests;
