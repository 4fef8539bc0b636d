//! `tracemark completions` and `man`: made from the definition of the command line.
//!
//! Knows no command, needs no repository, and writes no file but with `--dir`.

use super::answer;
use crate::cli::{Cli, CompletionsArgs, ManArgs};
use crate::error::{Failure, FailureKind};
use crate::fs_util::{PathError, replace};

pub(super) fn completions(arguments: &CompletionsArgs) -> Result<(), Failure> {
    answer(&String::from_utf8_lossy(&Cli::completions(arguments.shell)))
}

pub(super) fn man(arguments: &ManArgs) -> Result<(), Failure> {
    let pages = Cli::man_pages().map_err(|error| {
        Failure::new(FailureKind::Bug, &error.to_string()).hint("tracemark --help")
    })?;
    if let Some(dir) = &arguments.dir {
        std::fs::create_dir_all(dir).map_err(PathError::of("create", dir))?;
        for (name, page) in pages {
            replace(&dir.join(name), &page, 0o644)?;
        }
        return Ok(());
    }
    let words = [&["tracemark".to_owned()], &arguments.command[..]].concat();
    let wanted = format!("{}.1", words.join("-"));
    let Some((_, page)) = pages.iter().find(|(name, _)| *name == wanted) else {
        let message = format!("there is no command {}", words.join(" "));
        return Err(Failure::new(FailureKind::Usage, &message).hint("tracemark --help"));
    };
    answer(&String::from_utf8_lossy(page))
}
