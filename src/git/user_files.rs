//! Where git looks for what belongs to the user (git-config(1), "FILES").
//!
//! Opens nothing: only says where it would lie, by the variables of this process.

use std::path::{Path, PathBuf};

/// Returns the user's home directory, as git takes it.
pub fn home() -> Option<PathBuf> {
    std::env::var_os("HOME")
        .filter(|home| !home.is_empty())
        .map(PathBuf::from)
}

/// Returns the user's directory for git (`$XDG_CONFIG_HOME/git`, git-config(1)); one that is relative git sees from where it stands.
pub fn xdg_dir() -> Option<PathBuf> {
    let xdg = std::env::var_os("XDG_CONFIG_HOME").filter(|dir| !dir.is_empty());
    let base = match xdg {
        Some(dir) => PathBuf::from(dir),
        None => home()?.join(".config"),
    };
    Some(base.join("git"))
}

/// Returns where the file lies that a setting names: below the home directory behind `~/`, else seen from `dir`.
pub fn seen_from(dir: Option<&Path>, value: &str) -> Option<PathBuf> {
    match value.strip_prefix("~/") {
        Some(below_home) => home().map(|home| home.join(below_home)),
        None => Some(dir?.join(value)),
    }
}
