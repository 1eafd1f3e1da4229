//! Reading the trail: events by time and by what they say, and one event by its ID.
//!
//! The table of entries has two indexes: of positions, and of events' IDs. An entry's time is
//! that of its event, by the clock of the gateway that wrote it, and its position is that of
//! its commit; the store knows of each log by how much the two disagree at most. So a range of
//! time is a range of positions, found by bisection, and what is between is read in order. A
//! request reads a bounded number of entries. If that was not enough, its page is short and
//! has a marker.

mod fate;
mod filter;
mod find;
mod join;
mod list;
mod range;
mod record;

pub use self::{
    fate::{Fate, fates, unsettled},
    filter::Filter,
    find::{Entry, FoundEvent, Proof, find},
    list::{Marker, NoMarker, Page, list},
    record::Record,
};
