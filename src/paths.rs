//! Every path outside repositories that the program uses.
//!
//! The state directory is the identity of a daemon: it holds the lock and the record of the socket in use, so that
//! shells with different `XDG_RUNTIME_DIR` values still find one daemon.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use directories::{BaseDirs, ProjectDirs};

/// There is no home directory to keep state in.
#[derive(Debug, thiserror::Error)]
#[error("no home directory: HOME is not set and the user has none")]
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
    runtime: Option<PathBuf>,
}

impl Paths {
    /// Finds the directories as the XDG specification and each platform lay them out. Empty and relative `XDG_*`
    /// values count as unset.
    ///
    /// # Errors
    /// [`NoHome`] when there is no home directory.
    pub fn discover() -> Result<Self, NoHome> {
        let project = ProjectDirs::from("", "", "tracemark").ok_or(NoHome)?;
        let base = BaseDirs::new().ok_or(NoHome)?;
        Ok(Self {
            state: project
                .state_dir()
                .unwrap_or_else(|| project.data_local_dir())
                .to_owned(),
            config: project.config_dir().to_owned(),
            cache: project.cache_dir().to_owned(),
            home: base.home_dir().to_owned(),
            runtime: base.runtime_dir().map(Path::to_owned),
        })
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
        self.state.join("repositories")
    }

    /// The user's configuration file.
    pub fn user_config(&self) -> PathBuf {
        self.config.join("config.toml")
    }

    /// The user's passwords and tokens for MLflow servers.
    pub fn credentials(&self) -> PathBuf {
        self.config.join("credentials")
    }

    /// Where a new daemon puts its socket: the runtime directory, `/run/user/UID` where it is ours alone, else the
    /// state directory.
    pub fn new_socket(&self) -> PathBuf {
        let uid = rustix::process::geteuid().as_raw();
        self.runtime
            .iter()
            .cloned()
            .chain([PathBuf::from(format!("/run/user/{uid}"))])
            .find(|dir| is_private(dir, uid))
            .map_or_else(|| self.state.join("run"), |dir| dir.join("tracemark"))
            .join("api.sock")
    }
}

fn is_private(dir: &Path, uid: u32) -> bool {
    dir.symlink_metadata().is_ok_and(|metadata| {
        metadata.is_dir()
            && metadata.uid() == uid
            && metadata.permissions().mode().trailing_zeros() >= 6
    })
}
