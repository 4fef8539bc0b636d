//! `tracemark diff`: the code between two versions, shown by git as the user has it.
//!
//! Makes no diff itself, and asks no daemon.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use super::code::Code;
use super::shown_by_git::{git_with, show};
use super::versions::Versions;
use super::{Context, warn};
use crate::cli::DiffArgs;
use crate::error::Failure;
use crate::snapshot::{path_bytes, path_text};
use crate::text::printable;

pub(super) fn run(context: &Context, arguments: &DiffArgs) -> Result<(), Failure> {
    let versions = Versions::here(context)?;
    let before = versions.code(context, &arguments.a)?;
    let after = versions.code(context, &arguments.b)?;
    let mut command = git_with(context, &versions, "diff");
    command.args([before.tree.as_str(), &after.tree, "--"]);
    command.args(&arguments.paths);
    let without = left_out(&[&before, &after]);
    for path in &without {
        let spec = [b":(top,exclude,literal)", path.as_slice()].concat();
        command.arg(OsString::from_vec(spec));
    }
    if !without.is_empty() {
        let names: Vec<_> = without.iter().take(3).map(|path| path_text(path)).collect();
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
    show(command, "git diff")
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
