//! A state of a worktree in words: what is wrong, what it waits for, what to type.
//!
//! Pure.

use std::borrow::Cow;

use crate::version::ActiveModel;
use crate::worktree_state::{Pending, State};

/// A state in words.
#[derive(Default)]
pub(super) struct Said<'a> {
    pub(super) state: &'static str,
    pub(super) waiting_for: Option<&'static str>,
    pub(super) lasting: bool,
    pub(super) model: Option<&'a ActiveModel>,
    pub(super) reason: Option<Cow<'a, str>>,
    pub(super) hint: Option<Cow<'a, str>>,
}

impl<'a> Said<'a> {
    pub(super) fn of(state: &'a State) -> Self {
        let pending = |waiting_for, reason: &'a str, hint: &'a str| Self {
            state: "pending",
            waiting_for: Some(waiting_for),
            lasting: false,
            model: None,
            reason: Some(reason.into()),
            hint: Some(hint.into()),
        };
        let again = "ask again in a moment";
        match state {
            State::Active(model) => Self {
                state: "active",
                model: Some(model),
                ..Self::default()
            },
            State::Pending(Pending::Reading) => pending("reading", "not read yet", again),
            State::Pending(Pending::Creation) => {
                pending("creation", "its LoggedModel is being created", again)
            }
            State::Pending(Pending::Question) => pending(
                "question",
                "nobody has asked for this version yet",
                "tracemark active",
            ),
            State::Pending(Pending::Flood) => pending(
                "question",
                "a program writes the code: created only when asked for, until the next commit",
                "tracemark active",
            ),
            State::Pending(Pending::Store(failure)) => Self {
                lasting: failure.lasting,
                ..pending("store", &failure.reason, &failure.hint)
            },
            // In the words of Entry::silence.
            State::Pending(Pending::Silent(_)) => pending("store", "", ""),
            State::Broken(reason) => Self {
                state: "broken",
                reason: Some(reason.into()),
                hint: Some("correct that, then tracemark up".into()),
                ..Self::default()
            },
        }
    }
}
