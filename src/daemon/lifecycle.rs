//! One daemon per user: the lock that makes it so, the socket, the record by which clients find it, signals, systemd.
//!
//! Knows no worktree, and nothing of what is said over the socket.

mod lock;
mod record;
mod signals;
mod socket;

use std::io;
use std::path::PathBuf;

use crate::fs_util::PathError;
use crate::local_socket::PATH_MAX;
pub(super) use lock::{Lock, signal_holder};
pub(super) use record::{DaemonRecord, Program};
pub(super) use signals::{News, listen_for_signals, notify_systemd, watchdog_interval};
pub(super) use socket::Socket;

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
