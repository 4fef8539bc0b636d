//! The systemd user units of the daemon: where they lie, what systemd says of them, and how it is had start it.
//!
//! Writes and removes none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::systemctl::systemctl;
use super::{Context, say};
use crate::error::Failure;
use crate::paths::Paths;
use crate::text::printable;

pub(super) const SERVICE: &str = "tracemark.service";
pub(super) const SOCKET: &str = "tracemark.socket";
/// Each unit with the target that pulls it in.
pub(super) const UNITS: [(&str, &str); 2] = [
    (SOCKET, "sockets.target.wants"),
    (SERVICE, "default.target.wants"),
];
/// Where packages and administrators put user units (systemd.unit(5)); theirs to remove.
const PACKAGED: [&str; 3] = [
    "/etc/systemd/user",
    "/usr/local/lib/systemd/user",
    "/usr/lib/systemd/user",
];
/// How long systemd may take to start or stop the daemon.
pub(super) const JOB_LIMIT: Duration = Duration::from_secs(30);

/// Has systemd start the daemon, and returns whether it did; false where no unit is installed or no manager answers.
pub(super) fn start(context: &Context) -> bool {
    is_installed(&context.paths)
        && systemctl(&context.paths, &["start", SOCKET, SERVICE], JOB_LIMIT).is_ok()
}

/// Has systemd start the daemon anew, with the program that the unit names.
pub(super) fn restart(context: &Context) -> Result<(), Failure> {
    systemctl(&context.paths, &["restart", SERVICE], JOB_LIMIT)?;
    let unit = show(&context.paths, SERVICE);
    let named = unit.get("ExecStart").map(|start| program_in(start));
    match (named, std::env::current_exe()) {
        (Some(named), Ok(this)) if Path::new(&named) != this => say(&format!(
            "tracemark: systemd runs {}, not this program\n  try: tracemark service install",
            printable(&named)
        )),
        _ => {}
    }
    Ok(())
}

/// Whether systemd is to run the daemon of this instance.
pub(super) fn is_installed(paths: &Paths) -> bool {
    !paths.is_separate && installed(paths).is_some()
}

/// The directory with our unit, among those where user units are looked for (systemd.unit(5)).
pub(super) fn installed(paths: &Paths) -> Option<PathBuf> {
    let packaged = PACKAGED.into_iter().map(PathBuf::from);
    let mut dirs = unit_dirs(paths).chain(packaged);
    dirs.find(|dir| dir.join(SERVICE).exists())
}

/// The directories for units of the user's own.
pub(super) fn unit_dirs(paths: &Paths) -> impl Iterator<Item = PathBuf> {
    let of_config = paths.config.parent().map(Path::to_owned);
    of_config
        .into_iter()
        .chain([paths.home.join(".config")])
        .map(|config| config.join("systemd/user"))
}

/// The first of them where the manager looks: it may know another `XDG_CONFIG_HOME` than this shell.
pub(super) fn unit_dir(paths: &Paths) -> PathBuf {
    let asked = systemctl(
        paths,
        &["show", "--property=UnitPath", "--value"],
        JOB_LIMIT,
    );
    let looked_in = asked.unwrap_or_default();
    let is_looked_in = |dir: &PathBuf| {
        looked_in
            .split_whitespace()
            .any(|one| Path::new(one) == dir)
    };
    unit_dirs(paths)
        .find(is_looked_in)
        .unwrap_or_else(|| paths.home.join(".config/systemd/user"))
}

/// Returns what systemd says of a unit, by the names of its properties; nothing where no manager answers.
pub(super) fn show(paths: &Paths, unit: &str) -> BTreeMap<String, String> {
    let wanted =
        "--property=ActiveState,Result,StatusText,MainPID,NRestarts,UnitFileState,ExecStart";
    let shown = systemctl(paths, &["show", wanted, unit], JOB_LIMIT).unwrap_or_default();
    let pairs = shown.lines().filter_map(|line| line.split_once('='));
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The path in `{ path=/a/b ; argv[]=… }`.
fn program_in(start: &str) -> String {
    let rest = start.split("path=").nth(1).unwrap_or_default();
    rest.split(" ;").next().unwrap_or_default().to_owned()
}
