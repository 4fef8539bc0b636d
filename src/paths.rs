//! Where everything of ours lies outside of repositories, but for what systemd looks for elsewhere. Makes none of them, and opens none.
//!
//! The state directory is the identity of a daemon: it holds the lock and the record of the socket in use. It depends
//! on the home directory alone, so that shells, cron jobs and services with different `XDG_*` values find one daemon.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use directories::{BaseDirs, ProjectDirs};

use crate::local_socket;

/// Names a state directory of its own: an instance beside the user's, with its own daemon and socket.
pub const STATE_DIR_VARIABLE: &str = "TRACEMARK_STATE_DIR";
/// Where the state directory lies below the home directory, whatever `XDG_STATE_HOME` says.
const STATE_IN_HOME: &str = if cfg!(target_os = "macos") {
    "Library/Application Support/tracemark"
} else {
    ".local/state/tracemark"
};

/// Below a state directory, one file for each tracked repository.
pub const REPOSITORIES: &str = "repositories";
/// The name of a daemon's socket.
const SOCKET: &str = "api.sock";

/// There is no home directory to keep state in.
#[derive(Debug, thiserror::Error)]
#[error("no home directory: HOME is not an absolute path, or is not set and the user has none")]
pub struct NoHome;

/// The directories of one user.
#[derive(Debug, Clone)]
pub struct Paths {
    /// Lock, ledger, records of tracked repositories, log.
    pub state: PathBuf,
    /// `config.toml` and `credentials`.
    pub config: PathBuf,
    /// What can be made again.
    pub cache: PathBuf,
    /// The user's home directory.
    pub home: PathBuf,
    /// Whether this is an instance beside the user's: no systemd unit is meant for it.
    pub is_separate: bool,
    runtime: Option<PathBuf>,
}

impl Paths {
    /// Finds the directories as the XDG specification and each platform lay them out, but for the state directory, which
    /// is below the home directory or where `TRACEMARK_STATE_DIR` says. Empty and relative values count as unset.
    ///
    /// # Errors
    /// [`NoHome`] when there is no home directory.
    pub fn discover() -> Result<Self, NoHome> {
        let project = ProjectDirs::from("", "", "tracemark").ok_or(NoHome)?;
        let base = BaseDirs::new().ok_or(NoHome)?;
        let home = base.home_dir();
        if !home.is_absolute() {
            return Err(NoHome);
        }
        let separate = std::env::var_os(STATE_DIR_VARIABLE)
            .map(PathBuf::from)
            .filter(|dir| dir.is_absolute());
        Ok(Self {
            is_separate: separate.is_some(),
            state: separate.unwrap_or_else(|| home.join(STATE_IN_HOME)),
            config: project.config_dir().to_owned(),
            cache: project.cache_dir().to_owned(),
            home: home.to_owned(),
            runtime: base.runtime_dir().map(Path::to_owned),
        })
    }

    /// Everything below one directory.
    #[cfg(test)]
    pub fn below(dir: &Path) -> Self {
        Self {
            is_separate: false,
            state: dir.join("state"),
            config: dir.join("config"),
            cache: dir.join("cache"),
            home: dir.join("home"),
            runtime: Some(dir.join("runtime")),
        }
    }

    /// The file whose lock makes a daemon the only one.
    pub fn lock(&self) -> PathBuf {
        self.state.join("daemon.lock")
    }

    /// The record of the running daemon: pid, version, socket.
    pub fn daemon_record(&self) -> PathBuf {
        self.state.join("daemon.json")
    }

    /// What the daemon writes when it has no terminal and no journal.
    pub fn log(&self) -> PathBuf {
        self.state.join("daemon.log")
    }

    /// The ledger of versions.
    pub fn ledger(&self) -> PathBuf {
        self.state.join("ledger.sqlite")
    }

    /// One file for each tracked repository.
    pub fn repositories(&self) -> PathBuf {
        self.state.join(REPOSITORIES)
    }

    /// The user's configuration file.
    pub fn user_config(&self) -> PathBuf {
        self.config.join("config.toml")
    }

    /// The user's passwords and tokens for MLflow servers.
    pub fn credentials(&self) -> PathBuf {
        self.config.join("credentials")
    }

    /// The places where a daemon's socket may be, the best first: the runtime directory and `/run/user/UID` where they
    /// are ours alone, then the state directory; only the last for an instance beside the user's.
    pub fn sockets(&self) -> Vec<PathBuf> {
        let runtime_dirs = self.runtime_dirs().map(|dir| dir.join("tracemark"));
        let runtime_dirs = runtime_dirs.filter(|dir| is_free(dir));
        let mut sockets: Vec<_> = runtime_dirs
            .chain([self.own_socket_dir()])
            .map(|dir| dir.join(SOCKET))
            .collect();
        sockets.dedup();
        sockets
    }

    /// The directories of those places.
    pub fn socket_dirs(&self) -> impl Iterator<Item = PathBuf> {
        let sockets = self.sockets().into_iter();
        sockets.filter_map(|socket| Some(socket.parent()?.to_owned()))
    }

    /// The last of the directories of those places, which is always ours.
    pub fn own_socket_dir(&self) -> PathBuf {
        self.state.join("run")
    }

    /// Where a new daemon puts its socket: the first of the places that the system takes, else the last, which it will
    /// refuse.
    pub fn new_socket(&self) -> PathBuf {
        let sockets = self.sockets();
        let fitting = sockets.iter().find(|socket| local_socket::fits(socket));
        let last = || self.own_socket_dir().join(SOCKET);
        fitting.cloned().unwrap_or_else(last)
    }

    /// What we and the user's secrets of ours take up outside of repositories: code of none, wherever that lies.
    pub fn own_places(&self) -> Vec<PathBuf> {
        let runtime = self.socket_dirs();
        let rest = [self.state.clone(), self.cache.clone(), self.credentials()];
        rest.into_iter()
            .chain(runtime.filter(|dir| !dir.starts_with(&self.state)))
            .collect()
    }

    /// The directories of this login that are ours alone: what `XDG_RUNTIME_DIR` says, what logind would have said.
    pub fn runtime_dirs(&self) -> impl Iterator<Item = PathBuf> {
        let uid = rustix::process::geteuid().as_raw();
        let usual = PathBuf::from(format!("/run/user/{uid}"));
        self.runtime
            .clone()
            .into_iter()
            .chain([usual])
            .filter(|_| !self.is_separate)
            .filter(move |dir| is_private(dir, uid))
    }
}

/// Nothing, or a directory: no link that leads elsewhere, nor a file of somebody else's.
fn is_free(dir: &Path) -> bool {
    dir.symlink_metadata().map_or_else(
        |error| error.kind() == std::io::ErrorKind::NotFound,
        |found| found.is_dir(),
    )
}

fn is_private(dir: &Path, uid: u32) -> bool {
    dir.symlink_metadata().is_ok_and(|metadata| {
        metadata.is_dir()
            && metadata.uid() == uid
            && metadata.permissions().mode().trailing_zeros() >= 6
    })
}
