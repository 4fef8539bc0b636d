//! What the daemon writes about itself, by which clients find it, and whether its program was replaced since.
//!
//! Makes nobody the daemon: the lock does.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::StartError;
use super::lock::is_run_by_systemd;
use crate::fs_util::{self, FileId};
use crate::paths::Paths;
use crate::protocol::DaemonInfo;
use crate::unix_time;

/// The record in the state directory by which clients find the socket, removed when dropped.
#[derive(Debug)]
pub(in crate::daemon) struct DaemonRecord {
    path: PathBuf,
    pub(in crate::daemon) info: DaemonInfo,
}

impl DaemonRecord {
    pub(in crate::daemon) fn write(paths: &Paths, socket: &Path) -> Result<Self, StartError> {
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
    pub(in crate::daemon) fn move_to(&mut self, socket: &Path) -> Result<(), StartError> {
        self.info.socket = socket.to_string_lossy().into_owned();
        self.save()
    }

    /// False when somebody removed it or wrote something else there.
    pub(in crate::daemon) fn is_there(&self) -> bool {
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

    pub(in crate::daemon) fn save(&self) -> Result<(), StartError> {
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
pub(in crate::daemon) struct Program {
    path: PathBuf,
    file: Option<FileId>,
}

impl Program {
    pub(in crate::daemon) fn this() -> Self {
        let path = std::env::current_exe().unwrap_or_default();
        Self {
            file: FileId::behind(&path).ok(),
            path,
        }
    }

    /// True when an upgrade put another file in its place, or removed it.
    pub(in crate::daemon) fn is_replaced(&self) -> bool {
        self.file.is_some() && FileId::behind(&self.path).ok() != self.file
    }
}
