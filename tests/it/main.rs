//! Integration tests: the real binary on real ports, with the simulator behind it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod accounts;
mod architecture;
mod audit;
mod callers;
mod campaigns;
mod cardinality;
mod cli;
#[allow(dead_code)]
#[path = "../store/cluster.rs"]
mod cluster;
mod deploy;
mod dev;
mod direct;
mod docs;
mod door;
mod errors;
mod files;
mod flood;
mod inventory;
mod jobs;
mod jobs_crash;
mod jobs_run;
mod jobs_wary;
mod keys;
mod lifecycle;
mod limits;
mod limits_server;
mod log;
mod management;
mod openapi;
mod outcomes;
mod parameters;
mod policy;
mod process;
mod recovery;
mod reload;
mod replicas;
mod secrets;
mod shutdown;
mod signed;
mod simulator;
mod support;
mod tamper;
mod tls;
mod tokens;
mod tokens_attacks;
mod tokens_issuer;
mod traces;
mod trail;
mod uploads;
mod vaults;
