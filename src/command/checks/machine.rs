//! What git, the daemon, systemd and the kernel are like.
//!
//! Starts no daemon to learn it, and opens no repository.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Finding;
use crate::client::{Client, recorded};
use crate::command::look::length;
use crate::command::{Context, daemon_end, daemon_start, service, units};
use crate::git::Git;
use crate::ledger::Ledger;
use crate::paths::Paths;
use crate::protocol::{Status, WorktreeStatus};
use crate::text::shell_quoted;

/// The first git that knows `rev-parse --path-format=absolute` (RelNotes/2.31.0).
const GIT_MIN: (u32, u32) = (2, 31);
/// How many seconds two clocks may differ: traces are made milliseconds after versions, and a `Date` has whole seconds.
const SKEW_MAX: i64 = 5;
/// Part of the kernel's watches that has to be free.
const FREE_PART: u64 = 10;

pub(in crate::command) fn old_git() -> Option<Finding> {
    let git = Git::inherited();
    if !git.is_installed() {
        return Some(Finding::new(
            "git",
            "git is not installed or not in PATH",
            "install git and put it on the PATH",
        ));
    }
    let found = git.version()?;
    (found < GIT_MIN).then(|| {
        let ((major, minor), (min_major, min_minor)) = (found, GIT_MIN);
        let problem =
            format!("git is {major}.{minor}: tracemark needs {min_major}.{min_minor} or newer");
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
        Some(Err(error)) => {
            let failure = daemon_start::refused(context, &error);
            let cure = failure.hint.unwrap_or_default();
            vec![Finding::new("daemon", &failure.message, &cure)]
        }
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
        .filter(|info| daemon_end::is_outdated(info))?;
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
    sockets.retain(|_| !units::is_installed(&context.paths));
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

/// Somebody else could listen there, or connect.
pub(in crate::command) fn socket(paths: &Paths) -> Option<Finding> {
    let info = recorded(paths)?;
    let socket = Path::new(&info.socket);
    let dir = socket.parent()?;
    if is_open_to_others(dir) {
        let dir = dir.display();
        let problem = format!("others than you can use {dir}, where the socket is");
        return Some(Finding::new(
            "socket_dir",
            &problem,
            &format!("chmod 700 {dir}"),
        ));
    }
    is_open_to_others(socket).then(|| {
        let socket = socket.display();
        let problem = format!("others than you may connect to {socket}, or it is not yours");
        Finding::new("socket", &problem, &format!("chmod 600 {socket}"))
    })
}

/// False for what is not there.
fn is_open_to_others(path: &Path) -> bool {
    let us = rustix::process::geteuid().as_raw();
    let found = path.symlink_metadata();
    found.is_ok_and(|found| found.mode() & 0o077 != 0 || found.uid() != us)
}

/// Records that cannot be used: nobody watches what they are about.
pub(in crate::command) fn records(context: &Context) -> Vec<Finding> {
    let unusable = context.registry().unusable().into_iter();
    unusable
        .map(|error| {
            let problem = format!("{error}: the repository that it is about is not watched");
            let cure = "remove that file, then tracemark up in the repository";
            Finding::new("record", &problem, cure)
        })
        .collect()
}

/// A ledger that is damaged: what is owed to it from now on is not written down.
pub(in crate::command) fn ledger(paths: &Paths) -> Option<Finding> {
    let file = paths.ledger();
    let damage = Ledger::damage(&file)?;
    let problem = format!("{} is damaged: {damage}", file.display());
    let cure = match recorded(paths) {
        Some(daemon) => format!(
            "kill {}, then tracemark active, which sets it aside",
            daemon.pid
        ),
        None => "tracemark active, which sets it aside".to_owned(),
    };
    Some(Finding::new("ledger", &problem, &cure))
}

/// Files of passwords and tokens that others can read.
pub(in crate::command) fn credentials(paths: &Paths) -> Vec<Finding> {
    let named = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    let at_home = |name: &str| paths.home.join(name);
    let files = [
        paths.credentials(),
        at_home(".mlflow/credentials"),
        named("NETRC").unwrap_or_else(|| at_home(".netrc")),
        named("DATABRICKS_CONFIG_FILE").unwrap_or_else(|| at_home(".databrickscfg")),
    ];
    let readable = |file: &&PathBuf| {
        let found = file.metadata();
        found.is_ok_and(|found| found.is_file() && found.mode() & 0o077 != 0)
    };
    let finding = |file: &PathBuf| {
        let name = file.display();
        let problem = format!("others than you can read {name}, which holds passwords or tokens");
        let cure = format!("chmod 600 {}", shell_quoted(&file.to_string_lossy()));
        Finding::new("credentials", &problem, &cure)
    };
    files.iter().filter(readable).map(finding).collect()
}

/// The daemon that systemd runs ends with the last login.
pub(in crate::command) fn linger(paths: &Paths) -> Option<Finding> {
    let ends = units::is_installed(paths) && service::lingers(paths) == Some(false);
    ends.then(|| {
        let problem = "the daemon ends with your last login on this machine";
        Finding::new("linger", problem, "loginctl enable-linger, to let it stay")
    })
}

/// Times that MLflow shows come from both clocks.
pub(in crate::command) fn clock(skew: Option<i64>) -> Option<Finding> {
    let seconds = skew.filter(|seconds| seconds.abs() > SKEW_MAX)?;
    let word = if seconds > 0 { "ahead of" } else { "behind" };
    let length = length(Duration::from_secs(seconds.unsigned_abs()));
    let problem = format!(
        "the server's clock is {length} {word} this machine's: traces and versions are shown out of order"
    );
    Some(Finding::new(
        "clock",
        &problem,
        "set the clocks: timedatectl set-ntp true",
    ))
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
    scarce(limit("max_user_watches")?, used, watches_of_others())
}

fn scarce(limit: u64, used: u64, by_others: u64) -> Option<Finding> {
    let free = limit.saturating_sub(used).saturating_sub(by_others);
    (free < limit / FREE_PART).then(|| {
        let problem = format!(
            "of the {limit} file watches that the kernel allows you, {used} are used by tracemark and {by_others} by other programs"
        );
        let cure = "sudo sysctl fs.inotify.max_user_watches=524288";
        Finding::new("watches", &problem, cure)
    })
}

/// The watches of this user's other processes, one line each (proc(5), `/proc/PID/fdinfo`). The daemon keeps its own to
/// itself.
fn watches_of_others() -> u64 {
    let us = rustix::process::geteuid().as_raw();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ours = processes.filter(|process| process.metadata().is_ok_and(|it| it.uid() == us));
    ours.map(|process| watches_of(&process.path())).sum()
}

fn watches_of(process: &Path) -> u64 {
    let open = std::fs::read_dir(process.join("fd"))
        .into_iter()
        .flatten()
        .flatten();
    let inotify = open.filter(|file| {
        let target = std::fs::read_link(file.path());
        target.is_ok_and(|target| target.as_os_str() == "anon_inode:inotify")
    });
    let count = |file: std::fs::DirEntry| {
        let info = std::fs::read_to_string(process.join("fdinfo").join(file.file_name()));
        let info = info.unwrap_or_default();
        info.lines()
            .filter(|line| line.starts_with("inotify wd:"))
            .count() as u64
    };
    inotify.map(count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watches_are_scarce_when_less_than_a_tenth_is_free() {
        assert_eq!(scarce(8192, 100, 0), None);
        assert_eq!(scarce(8192, 7300, 0), None);
        let finding = scarce(8192, 400, 7000).unwrap();
        let said = "400 are used by tracemark and 7000 by other programs";
        assert!(finding.problem.contains(said), "{finding:?}");
    }
}
