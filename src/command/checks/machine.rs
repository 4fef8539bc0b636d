//! What git, the daemon, systemd and the kernel are like.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::Finding;
use crate::client::{Client, recorded};
use crate::command::{Context, daemon, service};
use crate::git::Git;
use crate::paths::Paths;
use crate::protocol::{Status, WorktreeStatus};

/// The first git that knows `rev-parse --path-format=absolute` (RelNotes/2.31.0).
const GIT_MIN: (u32, u32) = (2, 31);
/// Part of the kernel's watches that has to be free.
const FREE_PART: u64 = 10;

pub(in crate::command) fn old_git() -> Option<Finding> {
    let said = Git::inherited().line(&["--version"]);
    let Ok(said) = said else {
        return Some(Finding::new(
            "git",
            "git is not installed or not in PATH",
            "install git and put it on the PATH",
        ));
    };
    let said = String::from_utf8_lossy(&said).into_owned();
    let version = said.split_whitespace().nth(2).unwrap_or_default();
    let mut parts = version.split('.').map_while(|part| part.parse().ok());
    let found: (u32, u32) = (parts.next()?, parts.next()?);
    (found < GIT_MIN).then(|| {
        let problem = format!("git is {version}: tracemark needs 2.31 or newer");
        Finding::new("git", &problem, "install a newer git")
    })
}

/// A daemon that is not there, another one than this program, or a second one.
pub(in crate::command) fn daemons(context: &Context, is_tracked: bool) -> Vec<Finding> {
    let running = Client::of_running(context.socket.as_deref(), &context.paths);
    let status = running.map(|client| client.status());
    match status.filter(|status| !matches!(status, Err(error) if error.is_over())) {
        None if is_tracked => vec![Finding::new(
            "daemon",
            "no daemon is running: env files hold no id until something asks",
            "tracemark status",
        )],
        None => Vec::new(),
        Some(Err(error)) => vec![Finding::new("daemon", &error.to_string(), "tracemark up")],
        Some(Ok(status)) => {
            let outdated = outdated(&status);
            outdated.into_iter().chain(second(context)).collect()
        }
    }
}

fn outdated(status: &Status) -> Option<Finding> {
    let running = status
        .daemon
        .as_ref()
        .filter(|info| daemon::is_outdated(info))?;
    let problem = if running.replaced {
        format!(
            "the daemon's program {} was replaced since it began",
            running.program
        )
    } else {
        let this = env!("CARGO_PKG_VERSION");
        format!(
            "the daemon is version {}, this program {this}",
            running.version
        )
    };
    let cure = "tracemark up, which replaces the daemon";
    Some(Finding::new("daemon_version", &problem, cure))
}

/// A socket where commands look, on which another process listens than the one that the state directory names.
fn second(context: &Context) -> Vec<Finding> {
    let Some(first) = recorded(&context.paths) else {
        return Vec::new();
    };
    let shell = std::env::var_os("TRACEMARK_SOCKET").map(PathBuf::from);
    let mut sockets = context.paths.sockets();
    sockets.extend(shell);
    sockets.retain(|socket| socket.as_path() != Path::new(&first.socket) && socket.exists());
    // A socket of systemd's would start the daemon.
    sockets.retain(|_| !service::is_installed(&context.paths));
    let others = sockets.iter().filter_map(|socket| {
        let status = Client::find(Some(socket), &context.paths).status().ok()?;
        let other = status.daemon.filter(|other| other.pid != first.pid)?;
        let problem = format!(
            "two daemons run: {} on {}, {} on {} for {}",
            first.pid,
            first.socket,
            other.pid,
            socket.display(),
            other.state_dir
        );
        Some(Finding::new(
            "two_daemons",
            &problem,
            &format!("kill {}", other.pid),
        ))
    });
    others.collect()
}

/// Somebody else could listen there.
pub(in crate::command) fn socket_dir(paths: &Paths) -> Option<Finding> {
    let info = recorded(paths)?;
    let dir = Path::new(&info.socket).parent()?;
    let found = dir.symlink_metadata().ok()?;
    let is_private = found.mode().trailing_zeros() >= 6;
    let is_ours = found.uid() == rustix::process::geteuid().as_raw();
    (!is_private || !is_ours).then(|| {
        let dir = dir.display();
        let problem = format!("others than you can use {dir}, where the socket is");
        Finding::new("socket_dir", &problem, &format!("chmod 700 {dir}"))
    })
}

/// A file of tokens that others can read.
pub(in crate::command) fn credentials(paths: &Paths) -> Option<Finding> {
    let file = paths.credentials();
    let found = file.metadata().ok()?;
    (found.mode().trailing_zeros() < 6).then(|| {
        let file = file.display();
        let problem = format!("others than you can read {file}");
        Finding::new("credentials", &problem, &format!("chmod 600 {file}"))
    })
}

/// The limits of inotify(7), and what is used of them.
pub(in crate::command) fn watches(worktrees: &[WorktreeStatus]) -> Option<Finding> {
    let limit = |name: &str| -> Option<u64> {
        let file = format!("/proc/sys/fs/inotify/{name}");
        std::fs::read_to_string(file).ok()?.trim().parse().ok()
    };
    let used = worktrees.iter().map(|one| one.watches as u64).sum();
    let polled = worktrees.iter().find(|one| one.mode == "poll");
    if let Some(polled) = polled {
        let why = polled.note.clone().or_else(|| polled.reason.clone());
        let problem = format!(
            "{} is read at intervals: {}",
            polled.path,
            why.unwrap_or_else(|| "it cannot be watched".to_owned())
        );
        let cure =
            "sudo sysctl fs.inotify.max_user_watches=524288, if the limit of watches is the cause";
        return Some(Finding::new("watches", &problem, cure));
    }
    scarce(limit("max_user_watches")?, used)
}

fn scarce(limit: u64, used: u64) -> Option<Finding> {
    let free = limit.saturating_sub(used);
    (free < limit / FREE_PART).then(|| {
        let problem = format!(
            "{used} of the {limit} file watches that the kernel allows are used by tracemark"
        );
        let cure = "sudo sysctl fs.inotify.max_user_watches=524288";
        Finding::new("watches", &problem, cure)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watches_are_scarce_when_less_than_a_tenth_is_free() {
        assert_eq!(scarce(8192, 100), None);
        assert_eq!(scarce(8192, 7300), None);
        let finding = scarce(8192, 7400).unwrap();
        assert!(
            finding.problem.starts_with("7400 of the 8192"),
            "{finding:?}"
        );
    }
}
