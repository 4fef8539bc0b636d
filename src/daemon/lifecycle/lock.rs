//! Being the only daemon of this user: a lock on a file, which the kernel takes back however a daemon ends.
//!
//! Never removes the file, and takes the lock from nobody: whoever holds it is asked to go.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal as SystemSignal, kill_process, test_kill_process};

use super::StartError;
use crate::fs_util::{self, FileId, PathError};
use crate::paths::Paths;

/// How long a daemon that was asked to make room may take: it ends within five seconds.
const ROOM_PATIENCE: Duration = Duration::from_secs(8);

/// How long somebody may hold the lock who is no daemon.
const MOMENT: Duration = Duration::from_secs(2);

/// The pause between two looks at the lock.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Being the only daemon of this user, until dropped.
#[derive(Debug)]
pub(in crate::daemon) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock; the file stays for ever, the lock on it counts. The daemon that systemd runs takes the place of one
    /// that a command started, which is asked to go: its socket is the one that clients will be led to.
    pub(in crate::daemon) fn take(paths: &Paths) -> Result<Self, StartError> {
        let makes_room = is_run_by_systemd()
            && crate::client::recorded(paths).is_some_and(|it| !it.by_systemd)
            && signal_holder(paths, SystemSignal::TERM);
        let mut lock = Self::wait_for(paths, makes_room)?;
        lock.sign()?;
        Ok(lock)
    }

    /// Takes the lock without being a daemon: one that starts meanwhile waits that long.
    pub(in crate::daemon) fn take_for_a_moment(paths: &Paths) -> Result<Self, StartError> {
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
    pub(in crate::daemon) fn is_held(&self) -> bool {
        is_at(&self.file, &self.path)
    }

    /// Returns why a daemon without its lock ends.
    pub(in crate::daemon) fn lost(&self) -> StartError {
        StartError::StateLost(self.path.parent().unwrap_or(&self.path).to_owned())
    }
}

/// Sends a signal to the daemon that holds the lock, and returns whether there is one.
pub(in crate::daemon) fn signal_holder(paths: &Paths, signal: SystemSignal) -> bool {
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
pub(in crate::daemon) fn is_run_by_systemd() -> bool {
    let pid = std::env::var("SYSTEMD_EXEC_PID").ok();
    pid.and_then(|pid| pid.parse().ok()) == Some(std::process::id())
}

fn is_at(file: &File, path: &Path) -> bool {
    let held = file.metadata().map(|found| FileId::of(&found));
    held.is_ok_and(|held| FileId::at(path).is_ok_and(|there| there == held))
}
