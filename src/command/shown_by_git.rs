//! What the user's own git shows: with pager, colours and settings as the user has them, and the snapshots beside the
//! objects of the repository.
//!
//! Runs no program that the repository names and `up` did not see, and no pager then.

use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};

use super::versions::Versions;
use super::{Context, warn};
use crate::error::{Failure, FailureKind};
use crate::text::printable;
use crate::trust;

/// What a shell says of a program that SIGPIPE ended.
const ENDED_BY_PIPE: i32 = 141;

/// Returns a subcommand of the user's own git in the user's own directory and environment. Where the repository names other
/// programs than `up` saw, none takes part, and no pager.
pub(super) fn git_with(context: &Context, versions: &Versions, subcommand: &str) -> Command {
    let mut command = Command::new("git");
    let registry = context.registry();
    let record = registry.find(&versions.worktree.common_dir);
    let doubt = trust::doubt(&registry, &versions.worktree);
    let doubt = doubt.or_else(|| {
        let message = "the repository is not tracked: no program that its git configuration names is run, and no pager";
        matches!(record, Ok(None)).then(|| message.to_owned())
    });
    if let Some(doubt) = doubt {
        warn(&printable(&doubt), "tracemark up");
        // A monitor runs where git reads the index to look for submodules, and whatever these name where it shows their insides.
        command.args(["-c", "core.fsmonitor=false", "--no-pager", subcommand]);
        command.args(["--no-ext-diff", "--no-textconv", "--submodule=short"]);
    } else {
        command.arg(subcommand);
    }
    let snapshots = &versions.snapshots;
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

/// Has git show something; `what` names the command. Whoever leaves the pager early has seen enough.
pub(super) fn show(mut command: Command, what: &str) -> Result<(), Failure> {
    let status = command.status().map_err(|error| {
        Failure::new(FailureKind::Negative, &format!("cannot run git: {error}")).hint("install git")
    })?;
    if status.success() || was_left(status) {
        return Ok(());
    }
    Err(
        Failure::new(FailureKind::Negative, &format!("{what} failed"))
            .hint("see what it said above"),
    )
}

fn was_left(status: ExitStatus) -> bool {
    status.signal() == Some(rustix::process::Signal::PIPE.as_raw())
        || status.code() == Some(ENDED_BY_PIPE)
}
