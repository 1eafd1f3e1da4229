//! The audit trail: a record of every decision, durable before a change is forwarded.

mod event;
mod flood;
mod housekeeping;
mod trail;

pub use self::{
    event::{Decision, Event, Upstream, UserIdentity},
    trail::{Intent, Trail, TrailStatus},
};
pub use crate::store::{StoreError, Unavailable};
