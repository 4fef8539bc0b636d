//! Hooks in git's own configuration: git 2.54 runs them beside whatever other hooks there are, wherever those lie
//! (git-hook(1), RelNotes/2.54.0). Nobody's hook file is touched.

use std::path::{Path, PathBuf};

use crate::fs_util::read_if_exists;
use crate::git::{Git, GitError, records};
use crate::text::single_quoted;

/// The setting that holds the command.
pub const COMMAND: &str = "hook.tracemark.command";
const EVENT: &str = "hook.tracemark.event";
const SECTION: &str = "hook.tracemark";
/// The first git that runs them.
const SINCE: (u32, u32) = (2, 54);

/// Returns whether the git on the PATH runs hooks of its configuration.
pub fn are_known() -> bool {
    anywhere().version().is_some_and(|found| found >= SINCE)
}

/// Returns the file that the settings are in.
pub fn file(common_dir: &Path) -> PathBuf {
    common_dir.join("config")
}

/// Returns the command: it never fails, never waits, says nothing. Git appends the hook's arguments (`"$@"`), which the
/// last `:` swallows.
pub fn command(program: &Path) -> String {
    let program = single_quoted(&program.to_string_lossy());
    format!(
        "{{ [ \"${{TRACEMARK-1}}\" = 0 ] || [ ! -x {program} ] || {program} hook config; }} </dev/null >/dev/null 2>&1 & :"
    )
}

/// Returns the settings to write, none where they are in place.
///
/// # Errors
/// [`GitError`] when git cannot read the file.
pub fn wanted(
    common_dir: &Path,
    events: &[&str],
    program: &Path,
) -> Result<Vec<(String, String)>, GitError> {
    let event = |event: &&str| (EVENT.to_owned(), (*event).to_owned());
    let mut settings: Vec<_> = events.iter().map(event).collect();
    settings.push((COMMAND.to_owned(), command(program)));
    let there = in_place(common_dir);
    Ok(if there == settings {
        Vec::new()
    } else {
        settings
    })
}

/// Writes settings in the place of those that are there.
///
/// # Errors
/// [`GitError`] when git cannot write the file.
pub fn set(common_dir: &Path, settings: &[(String, String)]) -> Result<(), GitError> {
    remove(common_dir)?;
    for (key, value) in settings {
        config(common_dir, &["--add", key, value])?;
    }
    Ok(())
}

/// Removes the settings. Asks git nothing about the repository, only to edit the file.
///
/// # Errors
/// [`GitError`] when git cannot write the file.
pub fn remove(common_dir: &Path) -> Result<(), GitError> {
    if in_place(common_dir).is_empty() {
        return Ok(());
    }
    config(common_dir, &["--remove-section", SECTION]).map(drop)
}

fn in_place(common_dir: &Path) -> Vec<(String, String)> {
    let text = read_if_exists(&file(common_dir)).ok().flatten();
    let text = text.unwrap_or_default();
    if crate::marked_block::find(&text, b"tracemark").is_none() {
        return Vec::new();
    }
    let listed = config(common_dir, &["-z", "--get-regexp", r"^hook\.tracemark\."]);
    let listed = listed.unwrap_or_default();
    records(&listed)
        .filter_map(|setting| {
            let setting = String::from_utf8_lossy(setting);
            let (key, value) = setting.split_once('\n')?;
            Some((key.to_owned(), value.to_owned()))
        })
        .collect()
}

fn config(common_dir: &Path, arguments: &[&str]) -> Result<Vec<u8>, GitError> {
    let file = file(common_dir);
    let first = ["config", "--file"].map(std::ffi::OsStr::new);
    let rest = arguments.iter().map(std::ffi::OsStr::new);
    let all: Vec<_> = first
        .into_iter()
        .chain([file.as_os_str()])
        .chain(rest)
        .collect();
    Ok(anywhere().run(&all)?.stdout)
}

/// Outside of every repository, which git might refuse.
fn anywhere() -> Git {
    Git::at(Path::new("/"))
}
