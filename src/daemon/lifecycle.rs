//! One daemon per user: the lock that makes it so, the socket, the record by which clients find it, signals, systemd.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sd_notify::NotifyState;
use tokio::sync::mpsc;

use crate::fs_util::{self, PathError};
use crate::paths::Paths;
use crate::protocol::DaemonInfo;

/// The longest socket path that the kernel takes: `sun_path` without its NUL (unix(7)); 103 on macOS.
const SOCKET_PATH_MAX: usize = if cfg!(target_os = "macos") { 103 } else { 107 };

/// Why a daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another daemon of this user runs.
    #[error("another tracemark daemon of this user is running")]
    AlreadyRunning,
    /// The socket's path is too long for the kernel.
    #[error("the socket's path has {} bytes, the system takes {SOCKET_PATH_MAX}: {}", path.as_os_str().len(), path.display())]
    SocketPathTooLong {
        /// The path.
        path: PathBuf,
    },
    /// Something else is at the socket's path.
    #[error("{} is in use by another program, or no socket of ours", .0.display())]
    SocketInUse(PathBuf),
    /// A file or directory of ours cannot be used.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The ledger cannot be opened.
    #[error(transparent)]
    Ledger(#[from] crate::ledger::LedgerError),
    /// The system refused something that no daemon can do without.
    #[error("cannot {action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// The refusal.
        #[source]
        source: io::Error,
    },
}

/// Being the only daemon of this user, until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock; the file stays for ever, the lock on it counts.
    pub(super) fn take(paths: &Paths) -> Result<Self, StartError> {
        fs_util::create_private_dir(&paths.state)?;
        let path = paths.lock();
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(PathError::of("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(std::fs::TryLockError::WouldBlock) => Err(StartError::AlreadyRunning),
            Err(std::fs::TryLockError::Error(source)) => {
                Err(PathError::of("lock", &path)(source).into())
            }
        }
    }
}

/// The listening socket, removed when dropped if we made it.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) path: PathBuf,
    pub(super) listener: Option<UnixListener>,
    ours: bool,
}

impl Socket {
    /// Takes the socket that systemd hands over, or binds our own. Called with the lock held, so that a socket file
    /// that nobody answers on is left over.
    pub(super) fn open(paths: &Paths) -> Result<Self, StartError> {
        if let Some(listener) = inherited()? {
            let path = listener
                .local_addr()
                .ok()
                .and_then(|address| address.as_pathname().map(Path::to_owned))
                .unwrap_or_else(|| paths.new_socket());
            return Ok(Self {
                path,
                listener: Some(listener),
                ours: false,
            });
        }
        let path = paths.new_socket();
        if path.as_os_str().as_bytes().len() > SOCKET_PATH_MAX {
            return Err(StartError::SocketPathTooLong { path });
        }
        if let Some(dir) = path.parent() {
            fs_util::create_private_dir(dir)?;
            if !dir.symlink_metadata().is_ok_and(|found| found.is_dir()) {
                return Err(StartError::SocketInUse(dir.to_owned()));
            }
            std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
                .map_err(PathError::of("protect", dir))?;
        }
        remove_stale(&path)?;
        let listener = UnixListener::bind(&path).map_err(PathError::of("listen on", &path))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
            .map_err(PathError::of("protect", &path))?;
        Ok(Self {
            path,
            listener: Some(listener),
            ours: true,
        })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = fs_util::remove_if_exists(&self.path)
        {
            tracing::warn!(%error, "the socket stays behind");
        }
    }
}

fn inherited() -> Result<Option<UnixListener>, StartError> {
    listenfd::ListenFd::from_env()
        .take_unix_listener(0)
        .map_err(|source| StartError::System {
            action: "take over the socket of systemd",
            source,
        })
}

fn remove_stale(path: &Path) -> Result<(), StartError> {
    let is_other = path
        .symlink_metadata()
        .is_ok_and(|found| !found.file_type().is_socket());
    if is_other {
        return Err(StartError::SocketInUse(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(StartError::SocketInUse(path.to_owned())),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
            ) =>
        {
            fs_util::remove_if_exists(path)?;
            Ok(())
        }
        Err(error) => Err(PathError::of("use", path)(error).into()),
    }
}

/// The record in the state directory by which clients find the socket, removed when dropped.
#[derive(Debug)]
pub(super) struct DaemonRecord {
    path: PathBuf,
    pub(super) info: DaemonInfo,
}

impl DaemonRecord {
    pub(super) fn write(paths: &Paths, socket: &Path) -> Result<Self, StartError> {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .ok()
            .and_then(|since| u64::try_from(since.as_millis()).ok())
            .unwrap_or(0);
        let info = DaemonInfo {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            socket: socket.to_string_lossy().into_owned(),
            since,
        };
        let path = paths.daemon_record();
        let text = serde_json::to_vec(&info).map_err(|error| StartError::System {
            action: "write the daemon's record",
            source: error.into(),
        })?;
        fs_util::replace(&path, &text, 0o600)?;
        Ok(Self { path, info })
    }
}

impl Drop for DaemonRecord {
    fn drop(&mut self) {
        if let Err(error) = fs_util::remove_if_exists(&self.path) {
            tracing::warn!(%error, "the daemon's record stays behind");
        }
    }
}

/// A signal that the daemon heeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// SIGTERM or SIGINT: finish and go. A second one ends the process at once.
    Stop,
    /// SIGHUP: read the settings again.
    Reload,
}

/// Hears signals on a thread of its own, as signal-hook lays out, and passes them on.
pub(super) fn listen_for_signals() -> Result<mpsc::Receiver<Signal>, StartError> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let system = |source| StartError::System {
        action: "listen for signals",
        source,
    };
    let stopping = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        let stopping = std::sync::Arc::clone(&stopping);
        signal_hook::flag::register_conditional_shutdown(signal, 1, stopping).map_err(system)?;
    }
    let mut signals =
        signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(system)?;
    let (sender, receiver) = mpsc::channel(4);
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let signal = if signal == SIGHUP {
                Signal::Reload
            } else {
                stopping.store(true, std::sync::atomic::Ordering::SeqCst);
                Signal::Stop
            };
            if sender.blocking_send(signal).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

/// Tells systemd, where it listens (`sd_notify(3)`).
pub(super) fn notify_systemd(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd does not listen");
    }
}

/// Returns how often systemd wants to hear from us: half of the unit's `WatchdogSec=`.
pub(super) fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}
