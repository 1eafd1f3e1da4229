//! Glacier Gateway: lets a company's teams abort Amazon Glacier multipart uploads
//! under IAM-like policies, without AWS credentials of their own.
//!
//! A request goes one way: a door ([`http::rest`] or [`http::aws`]) reads it; [`authn`] says who is
//! calling; [`policy`] decides and, if it allows, hands out a
//! [`policy::Permit`]; [`glacier`] forwards, and takes nothing but a permit.
//! [`app`] builds all of it from [`config::Settings`].

pub mod app;
pub mod audit;
pub mod authn;
pub mod cli;
pub mod config;
#[cfg(feature = "simulator")]
pub mod dev;
pub mod domain;
mod files;
pub mod gateway;
pub mod glacier;
pub mod http;
pub mod inventory;
pub mod jobs;
pub mod lifecycle;
pub mod metrics;
pub mod policy;
pub mod reload;
mod signals;
#[cfg(feature = "simulator")]
pub mod simulator;
mod spelling;
pub mod store;
pub mod telemetry;
pub mod tls;
