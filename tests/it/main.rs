//! The tests: each asks what a user would ask. One binary, so that one link step and one Python serve them all.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that fails should say where, at once"
)]

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

/// `cargo test` needs Rust, git, python3 and a package index; what needs more lives in `tests/host`.
#[test]
fn says_that_the_host_suite_exists_and_was_not_run() {
    use std::io::Write as _;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/host/run");
    assert!(
        std::path::Path::new(script).is_file(),
        "{script} is missing"
    );
    writeln!(
        std::io::stderr(),
        "note: the host suite (zsh, fish, direnv, node, just, mise, shellcheck, a real systemd --user) was not run; run it with tests/host/run"
    )
    .unwrap();
}
