//! The socket that clients find: taken over from systemd, or made where nobody listens.
//!
//! Lets nobody in, and takes no place where somebody answers.

use std::io::{self};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::StartError;
use crate::fs_util::{self, FileId, PathError};
use crate::local_socket::{self};
use crate::paths::Paths;
use crate::written::Written;

/// How long a socket's listener may take to show that it is alive.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);

/// The listening socket, removed when dropped if we made it and it is still there.
#[derive(Debug)]
pub(in crate::daemon) struct Socket {
    pub(in crate::daemon) path: PathBuf,
    pub(in crate::daemon) listener: Option<UnixListener>,
    ours: bool,
    /// Device and inode of the socket's file.
    file: Option<FileId>,
}

impl Socket {
    /// Takes the socket that systemd hands over, or binds our own. Called with the lock held, so that a socket file
    /// that nobody answers on is left over.
    pub(in crate::daemon) fn open(paths: &Paths) -> Result<Self, StartError> {
        let Some(listener) = inherited()? else {
            return Self::bind(paths);
        };
        let path = listener
            .local_addr()
            .ok()
            .and_then(|address| address.as_pathname().map(Path::to_owned))
            .unwrap_or_else(|| paths.new_socket());
        Ok(Self {
            file: FileId::at(&path).ok(),
            path,
            listener: Some(listener),
            ours: false,
        })
    }

    /// Binds a socket at the first place where that can be done.
    pub(in crate::daemon) fn bind(paths: &Paths) -> Result<Self, StartError> {
        let mut refused = None;
        for path in paths.sockets() {
            match Self::bind_at(paths, path) {
                Err(error) => refused = refused.or(Some(error)),
                Ok(socket) => {
                    if let Some(error) = refused {
                        tracing::info!(%error, "the socket is in another place");
                    }
                    return Ok(socket);
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
            if dir.starts_with(&paths.state) {
                fs_util::create_private_dir(&paths.state)?;
            } else {
                // Other runtime directories than those of the shell that purges.
                Written::of(paths).note_dir(dir)?;
            }
            // A runtime directory that goes with its login at this moment is not made anew.
            fs_util::create_one_private_dir(dir)?;
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
            file: FileId::at(&path).ok(),
            path,
            listener: Some(listener),
            ours: true,
        })
    }

    /// Leaves the socket's file to whoever made it.
    pub(in crate::daemon) fn leave(&mut self) {
        self.ours = false;
    }

    /// False when clients can no longer find it: a cleaner of temporary files or the end of a login took it away.
    pub(in crate::daemon) fn is_there(&self) -> bool {
        self.file.is_some() && FileId::at(&self.path).ok() == self.file
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_directory_that_went_with_its_login_is_not_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::below(dir.path());
        let gone = dir.path().join("login");
        let refused = Socket::bind_at(&paths, gone.join("tracemark/api.sock"));
        assert!(refused.is_err());
        assert!(!gone.exists());
    }
}
