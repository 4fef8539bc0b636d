//! The tests: each asks what a user would ask. One binary, so that one link step and one Python serve them all.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that fails should say where, at once"
)]

mod cases;
mod circles;
mod commands;
mod config;
mod databricks;
mod doctor;
mod documents;
mod env_places;
mod errors;
mod exactly_once;
mod explain;
mod fleet;
mod freshness;
mod generated;
mod hash;
mod history;
mod hooks;
mod identity;
mod layers;
mod life;
mod looks;
mod main_job;
mod offline;
mod one_daemon;
mod params;
mod proxy;
mod purge;
mod python;
mod readers;
mod servers;
mod snapshots;
mod soak;
mod stub;
mod surroundings;
mod terminal;
mod tls;
mod trust;
mod watching;
mod wheel;
mod world;
