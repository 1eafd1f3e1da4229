//! Integration tests, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(feature = "simulator")]
mod simulator;
