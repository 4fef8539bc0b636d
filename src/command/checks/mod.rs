//! Looks for known troubles: each check answers with what is wrong and what to type, or with nothing.

pub(super) mod app;
pub(super) mod here;
pub(super) mod machine;

use serde::Serialize;

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
