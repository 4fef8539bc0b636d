//! The env file that apps and shells read.
//!
//! Its grammar is what every reader of env files agrees on: comment lines and `NAME=VALUE` with values out of
//! `[A-Za-z0-9._/:@%+,=-]`. A value outside it is left empty, so nothing that a branch, a file name or a server says
//! can become shell code. Knows nothing of where values come from.

mod dates;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::fs_util::PathError;
use crate::fs_util::held_dir::{Content, HeldDir};
pub use dates::Dates;

/// The directory of the visible copy, in the root of the worktree.
pub const COPY_DIR: &str = ".tracemark";
const IGNORE_FILE: &str = ".gitignore";
const IGNORE_ALL: &[u8] = b"*\n";
/// The name of the file, in both directories.
const NAME: &str = "env";
/// What is larger is no env file of ours.
const SIZE_MAX: u64 = 64 * 1024;
/// The first line of each env file, by which ours are known.
const HEAD: &str = "# Written by tracemark; replaced whenever the code changes. Read it at each start, do not export it in a login shell.\n";

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
    /// Returns the variables in the order in which they are written, as they are; those of the store where there is one.
    pub fn exact(&self) -> Vec<(&'static str, &str)> {
        let mut variables = vec![
            ("MLFLOW_ACTIVE_MODEL_ID", self.model_id.as_str()),
            ("TRACEMARK_NAME", &self.name),
            ("TRACEMARK_CONTENT", &self.content),
            ("TRACEMARK_STATE", &self.state),
            ("TRACEMARK_SOCKET", &self.socket),
        ];
        if let Some((uri, experiment)) = &self.store {
            let store = [
                ("MLFLOW_TRACKING_URI", uri.as_str()),
                ("MLFLOW_EXPERIMENT_ID", experiment),
            ];
            variables.extend(store.into_iter().filter(|(_, value)| !value.is_empty()));
        }
        variables
    }

    /// Returns the variables with values outside the grammar emptied; those of the store are left out instead, as an empty
    /// one would send the app elsewhere.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let of_store = |name: &str| name.starts_with("MLFLOW_") && name != "MLFLOW_ACTIVE_MODEL_ID";
        let portable = self
            .exact()
            .into_iter()
            .map(|(name, value)| (name, portable(value)));
        portable
            .filter(|(name, value)| !(value.is_empty() && of_store(name)))
            .collect()
    }

    /// Returns the file's text.
    pub fn render(&self) -> String {
        self.variables()
            .into_iter()
            .fold(HEAD.to_owned(), |text, (name, value)| {
                text + name + "=" + &value + "\n"
            })
    }
}

/// Returns whether every reader of env files takes the value for what it is, without quotes.
pub fn is_portable(value: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._/:@%+,=-".contains(&b);
    !value.starts_with('~') && value.bytes().all(is_plain)
}

fn portable(value: &str) -> String {
    if is_portable(value) {
        value.to_owned()
    } else {
        String::new()
    }
}

/// Brings the file to `text`: untouched when its bytes are equal, else replaced whole, dated in another whole second than the
/// version before (direnv compares nothing else). Makes its directory but not the parents of that: a git directory that is gone stays
/// gone.
///
/// # Errors
/// [`PathError`] when the directory cannot be written, is a link, or belongs to another user.
pub fn publish(path: &Path, text: &str) -> Result<(), PathError> {
    publish_where(path, text, &mut Dates::default(), &|| true).map(drop)
}

/// The same, but no second is used that `dates` knows, and nothing is made that was not there unless `may_create` says so at
/// the last moment. Returns the directory, held open, `None` where something would have had to be made.
///
/// # Errors
/// As [`publish`].
pub fn publish_where(
    path: &Path,
    text: &str,
    dates: &mut Dates,
    may_create: &dyn Fn() -> bool,
) -> Result<Option<HeldDir>, PathError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    if !dir.exists() {
        if !may_create() {
            return Ok(None);
        }
        make_dir(dir)?;
    }
    let held = HeldDir::open(dir)?;
    held.must_be_ours()?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let before = held.read(&name, SIZE_MAX)?;
    if before == Content::Absent && !may_create() {
        return Ok(None);
    }
    publish_over(&held, (&name, before), text, dates)?;
    Ok(Some(held))
}

fn publish_in(dir: &HeldDir, text: &str, dates: &mut Dates) -> Result<bool, PathError> {
    let before = dir.read(NAME, SIZE_MAX)?;
    publish_over(dir, (NAME, before), text, dates)
}

/// The same, given what lies under the name.
fn publish_over(
    dir: &HeldDir,
    (name, before): (&str, Content),
    text: &str,
    dates: &mut Dates,
) -> Result<bool, PathError> {
    let modified = match before {
        Content::File(before, _) if before == text.as_bytes() => return Ok(false),
        Content::File(_, modified) => modified,
        Content::Absent | Content::Other => None,
    };
    let date = dates.next(modified, SystemTime::now());
    dir.replace(name, text.as_bytes(), 0o644, Some(date))?;
    Ok(true)
}

/// Writes into the env file of a directory that is held open, wherever it was moved to: in place, as nobody knows its
/// path any more.
///
/// # Errors
/// [`PathError`] when there is no such file, or it cannot be written.
pub fn overwrite_in(dir: &HeldDir, text: &str) -> Result<(), PathError> {
    dir.write_in_place(NAME, text.as_bytes(), None)
}

fn make_dir(dir: &Path) -> Result<(), PathError> {
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
/// [`PathError`] when the worktree cannot be written, the directory is a link, or a file is there that is not ours.
pub fn publish_copy(root: &Path, text: &str, dates: &mut Dates) -> Result<bool, PathError> {
    let dir = HeldDir::open(root)?.make_child(COPY_DIR)?;
    dir.must_be_ours()?;
    let before = dir.read(NAME, SIZE_MAX)?;
    if !is_free(&before) {
        let file = root.join(COPY_DIR).join(NAME);
        let problem = std::io::Error::other("there is a file that tracemark did not write");
        return Err(PathError::of("write", &file)(problem));
    }
    dir.create(IGNORE_FILE, IGNORE_ALL, 0o644)?;
    publish_in(&dir, text, dates)
}

/// True for nothing and for what begins as every env file of ours.
fn is_free(content: &Content) -> bool {
    match content {
        Content::Absent => true,
        Content::File(bytes, _) => bytes.starts_with(HEAD.as_bytes()),
        Content::Other => false,
    }
}

/// Returns the files of the visible copy, relative to the root of the worktree.
pub fn copy_files() -> [PathBuf; 2] {
    [NAME, IGNORE_FILE].map(|name| Path::new(COPY_DIR).join(name))
}

/// True when the visible copy in the worktree is one that tracemark wrote.
pub fn has_copy(root: &Path) -> bool {
    let dir = HeldDir::open(root).and_then(|root| root.child(COPY_DIR));
    dir.ok().flatten().is_some_and(|dir| is_ours(&dir))
}

fn is_ours(dir: &HeldDir) -> bool {
    let content = dir.read(NAME, SIZE_MAX).unwrap_or(Content::Other);
    content != Content::Absent && is_free(&content)
}

/// Has the env file of a private directory, which is ours, name no model, where there is one.
///
/// # Errors
/// [`PathError`] when it cannot be written.
pub fn empty(private_dir: &Path) -> Result<(), PathError> {
    let dir = match HeldDir::open(private_dir) {
        Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        dir => dir?,
    };
    if dir.read(NAME, SIZE_MAX)? != Content::Absent {
        publish_in(&dir, &nothing(), &mut Dates::default())?;
    }
    Ok(())
}

/// Has the visible copy name no model, where there is one of ours.
///
/// # Errors
/// [`PathError`] when it cannot be written.
pub fn empty_copy(root: &Path) -> Result<(), PathError> {
    let Ok(Some(dir)) = HeldDir::open(root).and_then(|root| root.child(COPY_DIR)) else {
        return Ok(());
    };
    if is_ours(&dir) {
        publish_in(&dir, &nothing(), &mut Dates::default())?;
    }
    Ok(())
}

fn nothing() -> String {
    let values = EnvValues {
        state: "pending".to_owned(),
        ..EnvValues::default()
    };
    values.render()
}

/// Removes the visible copy where it is ours, and its directory where that holds nothing else.
///
/// # Errors
/// [`PathError`] when the worktree cannot be written.
pub fn remove_copy(root: &Path) -> Result<(), PathError> {
    let Ok(root) = HeldDir::open(root) else {
        return Ok(());
    };
    let Ok(Some(dir)) = root.child(COPY_DIR) else {
        return Ok(());
    };
    let ignore = dir.read(IGNORE_FILE, SIZE_MAX)?;
    if !matches!(ignore, Content::File(bytes, _) if bytes == IGNORE_ALL) {
        return Ok(());
    }
    if is_ours(&dir) {
        dir.remove(NAME)?;
    }
    if dir.names() == [IGNORE_FILE] {
        dir.remove(IGNORE_FILE)?;
        root.remove_dir(COPY_DIR)?;
    }
    Ok(())
}

/// True for a file that is bound into a container: it cannot be renamed over, and the other side keeps the old one
/// (statx(2), `STATX_ATTR_MOUNT_ROOT`, since Linux 5.8).
#[cfg(target_os = "linux")]
pub fn is_mount_point(path: &Path) -> bool {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
    let found = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty());
    found.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// False: other systems do not tell.
#[cfg(not(target_os = "linux"))]
pub fn is_mount_point(_path: &Path) -> bool {
    false
}

/// Has a file made of parts between NUL characters, whatever a server, a branch or a file is called, and looks whether it holds only
/// the lines that every reader reads alike.
///
/// # Panics
/// Where it does not.
#[cfg(any(test, fuzzing))]
#[allow(clippy::panic, reason = "what is wrong is to be found")]
pub fn fuzz(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split('\0').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    let values = EnvValues {
        model_id: next(),
        name: next(),
        content: next(),
        state: next(),
        socket: next(),
        store: Some((next(), next())),
    };
    let file = values.render();
    for line in file.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.split_once('=').unwrap_or_default();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._/:@%+,=-".contains(&byte);
        let is_ours = name.starts_with("MLFLOW_") || name.starts_with("TRACEMARK_");
        assert!(is_ours && !value.starts_with('~'), "{line}");
        assert!(value.bytes().all(is_plain), "{line}");
    }
    assert!(file.ends_with('\n') && file.is_ascii());
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        publish(&path, "A=1\n").unwrap();
        let before = path.metadata().unwrap().modified().unwrap();
        publish(&path, "A=1\n").unwrap();
        assert_eq!(path.metadata().unwrap().modified().unwrap(), before);
    }

    #[test]
    fn nothing_is_made_anew_where_it_may_not_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tracemark/env");
        for made in ["nothing", "its directory"] {
            assert!(
                publish_where(&path, "A=1\n", &mut Dates::default(), &|| false)
                    .unwrap()
                    .is_none()
            );
            assert!(!path.exists(), "{made} was there");
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        std::fs::write(&path, "A=1\n").unwrap();
        assert!(
            publish_where(&path, "A=2\n", &mut Dates::default(), &|| false)
                .unwrap()
                .is_some()
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "A=2\n");
    }

    #[test]
    fn two_contents_are_a_whole_second_apart_for_direnv() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("env");
        publish(&path, "A=1\n").unwrap();
        let first = path.metadata().unwrap().modified().unwrap();
        publish(&path, "A=2\n").unwrap();
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
        publish(&path, "A=1\n").unwrap();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    }
}
