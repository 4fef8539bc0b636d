//! Which scratch directories are in use, and that a signal which ends a one-shot command takes them along.
//!
//! Listens to no signal before a command asked for that: the daemon's are its own affair.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::locks::lock;

/// How often, and after what time again, a directory is tried to be removed into which a git still writes.
const TRIES: usize = 50;
const PACE: Duration = Duration::from_millis(20);

/// Every directory in use. A mutex because passes run side by side; held for one change.
static IN_USE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
/// Whether the next directory is the first of a one-shot command.
static IS_ONE_SHOT: AtomicBool = AtomicBool::new(false);

fn in_use() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    lock(&IN_USE)
}

/// Makes a one-shot command that a signal ends take its scratch directories along, once it has any.
pub fn remove_on_signals() {
    IS_ONE_SHOT.store(true, Ordering::SeqCst);
}

/// Listens from the first directory of a one-shot command on.
pub(super) fn begin() {
    if IS_ONE_SHOT.swap(false, Ordering::SeqCst)
        && let Err(error) = listen()
    {
        tracing::debug!(%error, "signals stay as they are");
    }
}

pub(super) fn note(dir: &Path) {
    in_use().insert(dir.to_owned());
}

pub(super) fn forget(dir: &Path) {
    in_use().remove(dir);
}

fn listen() -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            for dir in in_use().iter() {
                let removed = (0..TRIES).any(|_| gone_or_wait(dir));
                tracing::debug!(removed, "scratch directory");
            }
            drop(signal_hook::low_level::emulate_default_handler(signal));
        }
    });
    Ok(())
}

/// A git that still writes there makes a removal fail, and then soon ends as its directory is gone.
fn gone_or_wait(dir: &Path) -> bool {
    let gone = std::fs::remove_dir_all(dir).is_ok() || !dir.exists();
    std::thread::sleep(PACE);
    gone && !dir.exists()
}
