//! When the LoggedModel of a worktree was last said to be in use: not at each answer, but often enough for whoever tidies up.
//!
//! Pure.

use std::time::{Duration, Instant};

use crate::ids::ModelId;

/// How often a use is written down.
const PAUSE: Duration = Duration::from_mins(1);

/// The LoggedModel that is handed out, and when that was last written down.
#[derive(Debug, Default)]
pub(super) struct Uses(Option<(ModelId, Instant)>);

impl Uses {
    /// Takes note of what is active, be it handed out just now or not any more; returns the uses to write down.
    pub(super) fn note(&mut self, active: Option<&ModelId>, now: Instant) -> Vec<ModelId> {
        let is_old = |since: Instant| now.saturating_duration_since(since) >= PAUSE;
        let mut due = Vec::new();
        match self.0.take() {
            Some((model, since)) if Some(&model) == active && !is_old(since) => {
                self.0 = Some((model, since));
                return due;
            }
            Some((model, since)) if Some(&model) != active && is_old(since) => due.push(model),
            _ => {}
        }
        if let Some(model) = active {
            due.push(model.clone());
            self.0 = Some((model.clone(), now));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_written_down_at_its_begin_once_a_minute_and_at_its_end() {
        let (one, other): (ModelId, ModelId) = ("m-1".parse().unwrap(), "m-2".parse().unwrap());
        let (mut uses, begin) = (Uses::default(), Instant::now());
        let mut note = |active, seconds| {
            let due = uses.note(active, begin + Duration::from_secs(seconds));
            due.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(note(Some(&one), 0), ["m-1"]);
        assert!(note(Some(&one), 59).is_empty());
        assert_eq!(note(Some(&one), 61), ["m-1"]);
        assert!(
            note(None, 70).is_empty(),
            "it was written down a moment ago"
        );
        assert_eq!(note(Some(&other), 71), ["m-2"]);
        assert_eq!(note(Some(&one), 500), ["m-2", "m-1"]);
        assert_eq!(note(None, 900), ["m-1"]);
        assert!(note(None, 1_000).is_empty());
    }
}
