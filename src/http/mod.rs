//! HTTP: the two doors, and what surrounds every request to either.
//!
//! `rest` and `aws` are siblings above the core: each reads its requests, makes a
//! [`Call`](crate::gateway::Call) of them and prints the answer. `router` says which
//! request goes where; `observe` gives each its ID and its log line; `caller` says who
//! is calling; `parameters` and `problem` are what both doors read and refuse with.

pub mod aws;
mod body;
mod caller;
pub mod connections;
mod docs;
mod head;
mod limits;
pub mod management;
mod methods;
mod observe;
mod parameters;
mod peer;
pub mod problem;
pub mod rest;
mod router;

pub use router::{Shared, app, document};
