//! How git quotes names above ASCII, told by its own output.
//!
//! Pure. Reads no setting: variables and files that are not known here may say another thing.

use super::status_text::Status;

/// As `core.quotePath` has it (git-config(1)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quoting {
    All,
    Needed,
    /// There was no such name to tell by.
    Untold,
}

impl Quoting {
    /// Finds out from git's own text; `None` where neither gives it.
    pub(super) fn of(status: &Status, text: &str) -> Option<Self> {
        let is = |all| status.render(all).as_deref() == Some(text);
        match (is(true), is(false)) {
            (true, true) => Some(Self::Untold),
            (true, false) => Some(Self::All),
            (false, true) => Some(Self::Needed),
            (false, false) => None,
        }
    }

    pub(super) fn render(self, status: &Status) -> Option<String> {
        match self {
            Self::All => status.render(true),
            Self::Needed => status.render(false),
            Self::Untold => status
                .render(true)
                .filter(|text| status.render(false).as_ref() == Some(text)),
        }
    }
}
