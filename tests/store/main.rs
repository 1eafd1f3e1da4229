//! The store: the same tests on SQLite and on PostgreSQL, which the tests start themselves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod append;
mod cluster;
mod support;
