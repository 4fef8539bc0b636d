//! `tracemark diff`: the code between two versions, shown by git as the user has it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt as _;
use std::process::Command;

use super::versions::{Code, Versions};
use super::{Context, warn};
use crate::cli::DiffArgs;
use crate::error::{Failure, FailureKind};
use crate::fs_util::printable;
use crate::snapshot::{Snapshots, path_bytes};

pub(super) fn run(context: &Context, arguments: &DiffArgs) -> Result<(), Failure> {
    let versions = Versions::here(context)?;
    let before = versions.code(context, &arguments.a)?;
    let after = versions.code(context, &arguments.b)?;
    let mut command = git_with(&versions.snapshots);
    command.args(["diff", &before.tree, &after.tree, "--"]);
    command.args(&arguments.paths);
    let without = left_out(&[&before, &after]);
    for path in &without {
        let spec = [b":(top,exclude,literal)", path.as_slice()].concat();
        command.arg(OsString::from_vec(spec));
    }
    if !without.is_empty() {
        let names: Vec<_> = without
            .iter()
            .take(3)
            .map(|path| String::from_utf8_lossy(path))
            .collect();
        let message = format!(
            "{} files are not kept and not compared: {}{}",
            without.len(),
            names.join(", "),
            if without.len() > names.len() {
                ", …"
            } else {
                ""
            }
        );
        warn(
            &printable(&message),
            &format!("tracemark show {}", arguments.a),
        );
    }
    let status = command.status().map_err(|error| {
        Failure::new(FailureKind::Negative, &format!("cannot run git: {error}")).hint("install git")
    })?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(FailureKind::Negative, "git diff failed").hint("see what it said above"))
}

/// The user's own git in the user's own directory and environment, and the snapshots beside the objects of the repository.
fn git_with(snapshots: &Snapshots) -> Command {
    let mut command = Command::new("git");
    let name = "GIT_ALTERNATE_OBJECT_DIRECTORIES";
    let mut dirs = Vec::new();
    if snapshots.exist() {
        dirs.push(snapshots.as_alternate());
    }
    dirs.extend(std::env::var_os(name).filter(|dirs| !dirs.is_empty()));
    if !dirs.is_empty() {
        command.env(name, dirs.join(OsStr::new(":")));
    }
    command
}

fn left_out(codes: &[&Code]) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = codes
        .iter()
        .flat_map(|code| &code.left_out)
        .filter(|file| file.is_absent())
        .map(|file| path_bytes(&file.path))
        .collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}
