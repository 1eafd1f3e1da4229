//! The audit trail: a record of every decision, durable before a change is forwarded.

mod event;
pub mod export;
mod flood;
mod housekeeping;
pub mod log;
pub mod published;
pub mod query;
mod recovery;
pub mod retention;
mod rewrite;
#[cfg(test)]
mod test_store;
mod trail;
pub mod verify;

pub use self::{
    event::{AwsSession, Confirmer, Event, Job, RecordedDecision, System, Upstream, UserIdentity},
    flood::network,
    recovery::{Abandoned, Recovery},
    trail::{Intent, Trail, TrailStatus, Unrecorded},
};
pub use crate::store::{StoreError, Unavailable};
