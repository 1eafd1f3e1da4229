//! The policy engine over its real interfaces: the batch form, and policy
//! folders.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cases;
mod differential;
mod folder;
mod generate;
mod index;
mod lint;
mod properties;
mod reference;
mod reload;
mod resources;
mod support;
mod upload;
