//! One daemon per user: the lock that makes it so, the socket, the record by which clients find it, signals, systemd.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal as SystemSignal, kill_process, test_kill_process};
use sd_notify::NotifyState;
use tokio::sync::mpsc;

use crate::fs_util::{self, PathError};
use crate::local_socket::{self, PATH_MAX};
use crate::paths::Paths;
use crate::protocol::DaemonInfo;
use crate::unix_time;
use crate::written::Written;

/// How long a socket's listener may take to show that it is alive.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);
/// How long a daemon that was asked to make room may take: it ends within five seconds.
const ROOM_PATIENCE: Duration = Duration::from_secs(8);
/// How long somebody may hold the lock who is no daemon.
const MOMENT: Duration = Duration::from_secs(2);
/// The pause between two looks at the lock.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Why a daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another daemon of this user runs.
    #[error("another tracemark daemon of this user is running")]
    AlreadyRunning,
    /// The state directory was removed or replaced under a running daemon.
    #[error("the state directory {} is not the one that this daemon began with", .0.display())]
    StateLost(PathBuf),
    /// The socket's path is too long for the kernel.
    #[error("the socket's path has {} bytes, the system takes {PATH_MAX}: {}", path.as_os_str().len(), path.display())]
    SocketPathTooLong {
        /// The path.
        path: PathBuf,
        /// Whether `TRACEMARK_STATE_DIR` chose it.
        is_separate: bool,
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
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock; the file stays for ever, the lock on it counts. The daemon that systemd runs takes the place of one
    /// that a command started, which is asked to go: its socket is the one that clients will be led to.
    pub(super) fn take(paths: &Paths) -> Result<Self, StartError> {
        let makes_room = is_run_by_systemd()
            && crate::client::recorded(paths).is_some_and(|it| !it.by_systemd)
            && signal_holder(paths, SystemSignal::TERM);
        let mut lock = Self::wait_for(paths, makes_room)?;
        lock.sign()?;
        Ok(lock)
    }

    /// Takes the lock without being a daemon: one that starts meanwhile waits that long.
    pub(super) fn take_for_a_moment(paths: &Paths) -> Result<Self, StartError> {
        Self::wait_for(paths, false)
    }

    /// Whoever holds the lock and is no living daemon lets go of it in a moment: it cleans up, or was killed just now.
    fn wait_for(paths: &Paths, makes_room: bool) -> Result<Self, StartError> {
        let patience = if makes_room { ROOM_PATIENCE } else { MOMENT };
        let deadline = Instant::now() + patience;
        loop {
            match Self::try_take(paths) {
                Err(StartError::AlreadyRunning)
                    if Instant::now() < deadline && (makes_room || !is_held_by_a_daemon(paths)) =>
                {
                    std::thread::sleep(LOOK_AGAIN);
                }
                done => return done,
            }
        }
    }

    fn try_take(paths: &Paths) -> Result<Self, StartError> {
        fs_util::claim_private_dir(&paths.state)?;
        let path = paths.lock();
        fs_util::remove_what_is_no_file(&path)?;
        loop {
            let file = File::options()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(&path)
                .map_err(PathError::of("open", &path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(std::fs::TryLockError::WouldBlock) => return Err(StartError::AlreadyRunning),
                Err(std::fs::TryLockError::Error(source)) => {
                    return Err(PathError::of("lock", &path)(source).into());
                }
            }
            // Somebody may have removed it between the opening and the lock.
            if is_at(&file, &path) {
                return Ok(Self { file, path });
            }
        }
    }

    /// Writes into the file who holds it.
    fn sign(&mut self) -> Result<(), StartError> {
        self.file
            .set_len(0)
            .and_then(|()| writeln!(self.file, "{}", std::process::id()))
            .map_err(PathError::of("write", &self.path))?;
        Ok(())
    }

    /// False when the file that is locked is no longer the one that others would lock.
    pub(super) fn is_held(&self) -> bool {
        is_at(&self.file, &self.path)
    }

    /// Returns why a daemon without its lock ends.
    pub(super) fn lost(&self) -> StartError {
        StartError::StateLost(self.path.parent().unwrap_or(&self.path).to_owned())
    }
}

/// Sends a signal to the daemon that holds the lock, and returns whether there is one.
pub(super) fn signal_holder(paths: &Paths, signal: SystemSignal) -> bool {
    if !paths.lock().exists() {
        return false;
    }
    match Lock::try_take(paths) {
        Err(StartError::AlreadyRunning) => {}
        Ok(_) | Err(_) => return false,
    }
    holder(paths).is_some_and(|pid| kill_process(pid, signal).is_ok())
}

fn is_held_by_a_daemon(paths: &Paths) -> bool {
    holder(paths).is_some_and(|pid| test_kill_process(pid).is_ok())
}

/// Returns the process that wrote itself into the lock file, if that is a process of this program.
fn holder(paths: &Paths) -> Option<Pid> {
    let mut text = String::new();
    let file = File::open(paths.lock()).ok()?;
    file.take(20).read_to_string(&mut text).ok()?;
    let number: i32 = text.trim().parse().ok()?;
    let program = std::fs::read_link(format!("/proc/{number}/exe"));
    let is_ours = match program {
        Ok(program) => {
            let name = program.file_name().unwrap_or_default();
            name.as_encoded_bytes().starts_with(b"tracemark")
        }
        // A daemon keeps its memory private, and so this; a zombie has none; a system without /proc does not tell.
        Err(error) => {
            error.kind() == io::ErrorKind::PermissionDenied || !Path::new("/proc/self/exe").exists()
        }
    };
    Pid::from_raw(number).filter(|_| is_ours)
}

/// True when systemd started this very process (systemd.exec(5), `SYSTEMD_EXEC_PID`), not one that started it.
pub(super) fn is_run_by_systemd() -> bool {
    let pid = std::env::var("SYSTEMD_EXEC_PID").ok();
    pid.and_then(|pid| pid.parse().ok()) == Some(std::process::id())
}

fn is_at(file: &File, path: &Path) -> bool {
    let place = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let held = file.metadata().map(place).ok();
    held.is_some() && held == path.symlink_metadata().map(place).ok()
}

/// The listening socket, removed when dropped if we made it and it is still there.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) path: PathBuf,
    pub(super) listener: Option<UnixListener>,
    ours: bool,
    /// Device and inode of the socket's file.
    place: Option<(u64, u64)>,
}

impl Socket {
    /// Takes the socket that systemd hands over, or binds our own. Called with the lock held, so that a socket file
    /// that nobody answers on is left over.
    pub(super) fn open(paths: &Paths) -> Result<Self, StartError> {
        let Some(listener) = inherited()? else {
            return Self::bind(paths);
        };
        let path = listener
            .local_addr()
            .ok()
            .and_then(|address| address.as_pathname().map(Path::to_owned))
            .unwrap_or_else(|| paths.new_socket());
        Ok(Self {
            place: place_of(&path),
            path,
            listener: Some(listener),
            ours: false,
        })
    }

    /// Binds a socket at the first place that the system takes and where nothing else is.
    pub(super) fn bind(paths: &Paths) -> Result<Self, StartError> {
        let mut refused = None;
        for path in paths.sockets() {
            match Self::bind_at(paths, path) {
                Err(
                    error @ (StartError::SocketInUse(_) | StartError::SocketPathTooLong { .. }),
                ) => refused = refused.or(Some(error)),
                done => {
                    if let Some(error) = refused {
                        tracing::info!(%error, "the socket is in another place");
                    }
                    return done;
                }
            }
        }
        Err(refused.unwrap_or_else(|| StartError::SocketInUse(paths.state.clone())))
    }

    fn bind_at(paths: &Paths, path: PathBuf) -> Result<Self, StartError> {
        if !local_socket::fits(&path) {
            return Err(StartError::SocketPathTooLong {
                path,
                is_separate: paths.is_separate,
            });
        }
        if let Some(dir) = path.parent() {
            // Other runtime directories than those of the shell that purges.
            if !dir.starts_with(&paths.state) {
                Written::of(paths).note_dir(dir)?;
            }
            fs_util::create_private_dir(dir)?;
            if !dir.symlink_metadata().is_ok_and(|found| found.is_dir()) {
                return Err(StartError::SocketInUse(dir.to_owned()));
            }
            std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
                .map_err(PathError::of("protect", dir))?;
        }
        remove_stale(&path)?;
        // What interpreters left who waited for the daemon before in vain (python/tracemark/_start.py).
        fs_util::remove_if_exists(&path.with_extension("sock.slow"))?;
        let listener = UnixListener::bind(&path).map_err(PathError::of("listen on", &path))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
            .map_err(PathError::of("protect", &path))?;
        Ok(Self {
            place: place_of(&path),
            path,
            listener: Some(listener),
            ours: true,
        })
    }

    /// Leaves the socket's file to whoever made it.
    pub(super) fn leave(&mut self) {
        self.ours = false;
    }

    /// False when clients can no longer find it: a cleaner of temporary files or the end of a login took it away.
    pub(super) fn is_there(&self) -> bool {
        self.place.is_some() && place_of(&self.path) == self.place
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.ours
            && self.is_there()
            && let Err(error) = fs_util::remove_if_exists(&self.path)
        {
            tracing::warn!(%error, "the socket stays behind");
        }
    }
}

fn place_of(path: &Path) -> Option<(u64, u64)> {
    let metadata = path.symlink_metadata().ok()?;
    Some((metadata.dev(), metadata.ino()))
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
    match local_socket::connect(path, PROBE_PATIENCE) {
        Ok(_) => Err(StartError::SocketInUse(path.to_owned())),
        Err(error) if local_socket::nobody_listens(&error) => {
            fs_util::remove_if_exists(path)?;
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(StartError::SocketInUse(path.to_owned()))
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
        let since = unix_time::unsigned_ms(SystemTime::now());
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let info = DaemonInfo {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            socket: text(socket),
            since,
            program: std::env::current_exe().map_or_else(|_| String::new(), |path| text(&path)),
            replaced: false,
            state_dir: text(&paths.state),
            by_systemd: is_run_by_systemd(),
        };
        let record = Self {
            path: paths.daemon_record(),
            info,
        };
        record.save()?;
        Ok(record)
    }

    /// Says that the socket is somewhere else now.
    pub(super) fn move_to(&mut self, socket: &Path) -> Result<(), StartError> {
        self.info.socket = socket.to_string_lossy().into_owned();
        self.save()
    }

    /// False when somebody removed it or wrote something else there.
    pub(super) fn is_there(&self) -> bool {
        let found = fs_util::read_if_exists(&self.path);
        self.text()
            .is_ok_and(|text| found.is_ok_and(|found| found == Some(text)))
    }

    fn text(&self) -> Result<Vec<u8>, StartError> {
        serde_json::to_vec(&self.info).map_err(|error| StartError::System {
            action: "write the daemon's record",
            source: error.into(),
        })
    }

    pub(super) fn save(&self) -> Result<(), StartError> {
        Ok(fs_util::replace(&self.path, &self.text()?, 0o600)?)
    }
}

impl Drop for DaemonRecord {
    fn drop(&mut self) {
        let is_ours = fs_util::read_if_exists(&self.path)
            .ok()
            .flatten()
            .and_then(|bytes| serde_json::from_slice::<DaemonInfo>(&bytes).ok())
            .is_some_and(|info| info.pid == self.info.pid);
        if is_ours && let Err(error) = fs_util::remove_if_exists(&self.path) {
            tracing::warn!(%error, "the daemon's record stays behind");
        }
    }
}

/// The program that this process runs, and whether its file is still the same.
#[derive(Debug)]
pub(super) struct Program {
    path: PathBuf,
    place: Option<(u64, u64)>,
}

impl Program {
    pub(super) fn this() -> Self {
        let path = std::env::current_exe().unwrap_or_default();
        Self {
            place: place_of_target(&path),
            path,
        }
    }

    /// True when an upgrade put another file in its place, or removed it.
    pub(super) fn is_replaced(&self) -> bool {
        self.place.is_some() && place_of_target(&self.path) != self.place
    }
}

fn place_of_target(path: &Path) -> Option<(u64, u64)> {
    let metadata = path.metadata().ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// News from outside that the event loop heeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Signal {
    /// SIGTERM or SIGINT: finish and go. A second one ends the process at once.
    Stop,
    /// SIGHUP: read the settings again, and see whether clients still find the socket.
    Reload,
    /// The socket is at this path now.
    Moved(String),
    /// File systems were mounted or unmounted.
    Mounts,
}

/// Hears signals on a thread of its own, as signal-hook lays out, and passes them on.
pub(super) fn listen_for_signals()
-> Result<(mpsc::Sender<Signal>, mpsc::Receiver<Signal>), StartError> {
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
    let news = sender.clone();
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
    Ok((news, receiver))
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
