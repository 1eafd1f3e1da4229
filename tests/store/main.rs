//! The store: the same tests on SQLite and on PostgreSQL, which the tests start themselves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod append;
mod cluster;
mod commands;
mod files;
mod inventory;
mod last_version;
mod log;
mod outages;
mod pgbouncer;
mod proxy;
mod query;
mod replicas;
mod retention;
mod schema;
mod server;
mod support;
