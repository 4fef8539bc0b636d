//! The steps of `up`, told to a person at a terminal as they happen. Does none of them, and tells nobody else.

use std::io::IsTerminal as _;

use super::say;
use crate::text::printable;

/// Tells steps, or keeps them to itself where nobody watches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steps {
    shown: bool,
}

impl Steps {
    /// Steps are told where standard error is a terminal.
    pub(super) fn new() -> Self {
        Self {
            shown: std::io::stderr().is_terminal(),
        }
    }

    /// Tells that a step is done.
    pub(super) fn done(self, name: &str, what: &str) {
        if self.shown {
            say(&format!("{name:<9} {}", printable(what)));
        }
    }
}
