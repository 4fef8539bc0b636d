//! tracemark links every MLflow trace to the exact code that made it, with no line in the app.
//!
//! A daemon watches the working tree of a git repository, recomputes the repository hash on every change and commit,
//! finds or creates the matching LoggedModel in MLflow, and publishes its id in an env file and on a local socket.
//! The groups say what a module touches; what each may use, and the order, stands in `tests/it/layers.rs`.

// Pure: no disk, no network, no clock.
pub mod addresses;
pub mod backoff;
pub mod debt;
pub mod ids;
pub mod marked_block;
pub mod protocol;
pub mod retention;
pub mod sightings;
pub mod text;
pub mod touched;
pub mod unix_time;
pub mod version;
pub mod worktree_state;

// Means nothing by itself.
pub mod locks;
pub mod log_line;

// One outside thing each.
pub mod config;
pub mod env_file;
pub mod exclude;
pub mod fs_util;
pub mod git;
pub mod hook_settings;
pub mod hooks;
pub mod identity;
pub mod ledger;
pub mod local_socket;
pub mod log_file;
pub mod mlflow;
pub mod paths;
pub mod reflog;
pub mod registry;
pub mod remote_fs;
pub mod repository;
pub mod snapshot;
pub mod trust;
pub mod watch;
pub mod written;

// What brings them together.
pub mod client;
pub mod daemon;
pub mod session;

// For people.
pub mod cli;
pub mod command;
pub mod error;

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod scratch_repository;
