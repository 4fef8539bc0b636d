//! The env file that apps and shells read.
//!
//! Its grammar is what every reader of env files agrees on: comment lines and `NAME=VALUE` with values out of
//! `[A-Za-z0-9._/:@%+,=-]`. A value outside it is left empty, so nothing that a branch, a file name or a server says
//! can become shell code.

use std::fs::{File, FileTimes};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{Mode, OFlags};

use crate::fs_util::{self, PathError};

/// The longest step into the future that a file's time is moved, so that a whole second separates two contents.
const MAX_AHEAD: Duration = Duration::from_secs(5);

/// The directory of the visible copy, in the root of the worktree.
pub const COPY_DIR: &str = ".tracemark";
const IGNORE_ALL: &[u8] = b"*\n";

/// What the env file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnvValues {
    /// `MLFLOW_ACTIVE_MODEL_ID`, empty while there is none.
    pub model_id: String,
    /// `TRACEMARK_NAME`
    pub name: String,
    /// `TRACEMARK_CONTENT`
    pub content: String,
    /// `TRACEMARK_STATE`: `active`, `pending` or `broken`.
    pub state: String,
    /// `TRACEMARK_SOCKET`
    pub socket: String,
    /// `MLFLOW_TRACKING_URI` and `MLFLOW_EXPERIMENT_ID`, where the configuration asks for them.
    pub store: Option<(String, String)>,
}

impl EnvValues {
    /// Returns the variables in the order in which they are written, values outside the grammar emptied; those of the
    /// store are left out instead, as an empty one would send the app elsewhere.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("MLFLOW_ACTIVE_MODEL_ID", portable(&self.model_id)),
            ("TRACEMARK_NAME", portable(&self.name)),
            ("TRACEMARK_CONTENT", portable(&self.content)),
            ("TRACEMARK_STATE", portable(&self.state)),
            ("TRACEMARK_SOCKET", portable(&self.socket)),
        ];
        if let Some((uri, experiment)) = &self.store {
            let store = [
                ("MLFLOW_TRACKING_URI", uri),
                ("MLFLOW_EXPERIMENT_ID", experiment),
            ];
            let usable = store
                .into_iter()
                .map(|(name, value)| (name, portable(value)));
            variables.extend(usable.filter(|(_, value)| !value.is_empty()));
        }
        variables
    }

    /// Returns the file's text.
    pub fn render(&self) -> String {
        let head = "# Written by tracemark; replaced whenever the code changes. Read it at each start, do not export it in a login shell.\n";
        self.variables()
            .into_iter()
            .fold(head.to_owned(), |text, (name, value)| {
                text + name + "=" + &value + "\n"
            })
    }
}

fn portable(value: &str) -> String {
    let safe = !value.starts_with('~')
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._/:@%+,=-".contains(&b));
    if safe {
        value.to_owned()
    } else {
        String::new()
    }
}

/// Brings the file to `text`: untouched when its bytes are equal, else replaced whole, its time a whole second after the
/// version before when `same_id` says that the id stays (direnv compares whole seconds).
///
/// # Errors
/// [`PathError`] when the directory cannot be written.
pub fn publish(path: &Path, text: &str, mode: u32) -> Result<bool, PathError> {
    let before = fs_util::read_if_exists(path)?;
    if before.as_deref() == Some(text.as_bytes()) {
        return Ok(false);
    }
    let modified = path
        .symlink_metadata()
        .and_then(|metadata| metadata.modified())
        .ok();
    if let Some(dir) = path.parent() {
        create_last(dir)?;
    }
    if is_mount_point(path) {
        std::fs::write(path, text).map_err(PathError::of("write", path))?;
    } else {
        fs_util::replace(path, text.as_bytes(), mode)?;
    }
    separate_seconds(path, modified);
    Ok(true)
}

/// Writes into the env file of a directory that is held open, wherever it was moved to: in place, as nobody knows its
/// path any more.
///
/// # Errors
/// When there is no such file, or it cannot be written.
pub fn overwrite_in(dir: &File, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, "env", flags, Mode::empty())?;
    File::from(file).write_all(text.as_bytes())
}

/// Makes a directory but not its parents: a git directory that is gone stays gone.
fn create_last(dir: &Path) -> Result<(), PathError> {
    match std::fs::create_dir(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(PathError::of("create", dir)(error))
        }
        _ => Ok(()),
    }
}

/// Writes the visible copy. Its directory is kept out of git by an ignore file of its own, as virtual environments do.
///
/// # Errors
/// [`PathError`] when the worktree cannot be written.
pub fn publish_copy(root: &Path, text: &str) -> Result<bool, PathError> {
    let dir = root.join(COPY_DIR);
    create_last(&dir)?;
    let ignore = dir.join(".gitignore");
    if !ignore.exists() {
        fs_util::replace(&ignore, IGNORE_ALL, 0o644)?;
    }
    publish(&dir.join("env"), text, 0o644)
}

/// Removes the visible copy and its directory, where it holds nothing else.
///
/// # Errors
/// [`PathError`] when the worktree cannot be written.
pub fn remove_copy(root: &Path) -> Result<(), PathError> {
    let dir = root.join(COPY_DIR);
    let ignore = dir.join(".gitignore");
    if fs_util::read_if_exists(&ignore)?.as_deref() != Some(IGNORE_ALL) {
        return Ok(());
    }
    fs_util::remove_if_exists(&dir.join("env"))?;
    let alone = std::fs::read_dir(&dir).is_ok_and(|entries| entries.count() == 1);
    if alone {
        fs_util::remove_if_exists(&ignore)?;
        std::fs::remove_dir(&dir).map_err(PathError::of("remove", &dir))?;
    }
    Ok(())
}

/// A file system that refuses to set times costs direnv a reload, nothing more.
fn separate_seconds(path: &Path, before: Option<SystemTime>) {
    let now = SystemTime::now();
    let Some(wanted) = before.map(|before| before + Duration::from_secs(1)) else {
        return;
    };
    if wanted > now && wanted <= now + MAX_AHEAD {
        let set = File::options()
            .write(true)
            .open(path)
            .and_then(|file| file.set_times(FileTimes::new().set_modified(wanted)));
        if let Err(error) = set {
            tracing::debug!(%error, path = %path.display(), "cannot set the env file's time");
        }
    }
}

/// A file bound into a container cannot be renamed over (EBUSY): it is on another mount than its directory.
fn is_mount_point(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else {
        return false;
    };
    std::fs::read_to_string("/proc/self/mountinfo").is_ok_and(|mounts| {
        mounts
            .lines()
            .filter_map(|line| line.split(' ').nth(4))
            .any(|mount| Path::new(mount) == path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_a_shell_could_run_is_left_empty() {
        for value in [
            "$(reboot)",
            "a b",
            "a;b",
            "`x`",
            "~/x",
            "a#b",
            "a\nb",
            "ü",
            "it's",
        ] {
            let text = EnvValues {
                name: value.to_owned(),
                ..EnvValues::default()
            }
            .render();
            assert!(text.contains("\nTRACEMARK_NAME=\n"), "{value:?}: {text}");
        }
    }

    #[test]
    fn equal_bytes_leave_the_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tracemark/env");
        assert!(publish(&path, "A=1\n", 0o644).unwrap());
        let before = path.metadata().unwrap().modified().unwrap();
        assert!(!publish(&path, "A=1\n", 0o644).unwrap());
        assert_eq!(path.metadata().unwrap().modified().unwrap(), before);
    }

    #[test]
    fn two_contents_are_a_whole_second_apart_for_direnv() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("env");
        publish(&path, "A=1\n", 0o644).unwrap();
        let first = path.metadata().unwrap().modified().unwrap();
        publish(&path, "A=2\n", 0o644).unwrap();
        let second = path.metadata().unwrap().modified().unwrap();
        assert!(second.duration_since(first).unwrap() >= Duration::from_secs(1));
    }

    #[test]
    fn a_symlink_planted_in_its_place_is_replaced_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        let path = dir.path().join("env");
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        publish(&path, "A=1\n", 0o644).unwrap();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    }
}
