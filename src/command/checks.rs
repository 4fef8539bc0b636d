//! Looks for known troubles: each check answers with what is wrong and what to type, or with nothing.
//!
//! None mends anything, and none asks a person.

pub(super) mod app;
mod calls;
pub(super) mod env_file;
pub(super) mod here;
pub(super) mod machine;

use std::path::Path;

use serde::Serialize;

/// The largest source or environment file that is looked into.
const TEXT_MAX: u64 = 1024 * 1024;

/// One trouble.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// A word for programs that names the check.
    pub(super) check: &'static str,
    /// What is wrong, and what follows from it.
    pub(super) problem: String,
    /// What to type, or to do.
    pub(super) cure: String,
}

impl Finding {
    pub(super) fn new(check: &'static str, problem: &str, cure: &str) -> Self {
        Self {
            check,
            problem: problem.to_owned(),
            cure: cure.to_owned(),
        }
    }
}

fn small_text(file: &Path) -> Option<String> {
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > TEXT_MAX {
        return None;
    }
    std::fs::read_to_string(file).ok()
}
