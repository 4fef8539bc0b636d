//! Whether a worktree still lies where it lay, which no event tells where a directory around it was moved away.
//!
//! File systems may hang: each is asked on a thread of its own, once at a time and never for longer than the caller waits.
//! Decides nothing.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::repository::Worktree;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Presence {
    /// All of it is there.
    There,
    /// What is gone, as a sentence, and what to type.
    Gone(String, String),
    /// Its file system did not answer in time.
    Silent,
}

/// Asks for one worktree.
#[derive(Debug, Clone)]
pub(super) struct Asker(Arc<Semaphore>);

impl Default for Asker {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Asker {
    /// Returns what the file system says until the deadline. Who asks while it hangs waits for the one that asked before.
    pub(super) async fn ask(self, worktree: Worktree, deadline: Instant) -> Presence {
        let Ok(Ok(turn)) = timeout_at(deadline, self.0.acquire_owned()).await else {
            return Presence::Silent;
        };
        let look = tokio::task::spawn_blocking(move || {
            let found = worktree.what_is_gone();
            drop(turn);
            found
        });
        match timeout_at(deadline, look).await {
            Ok(Ok(Some((what, cure)))) => Presence::Gone(what, cure),
            Ok(Ok(None)) => Presence::There,
            Ok(Err(_)) | Err(_) => Presence::Silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::scratch_repository::ScratchRepository;

    #[tokio::test]
    async fn what_is_there_is_told_from_what_is_gone_and_from_what_does_not_answer() {
        let repository = ScratchRepository::new();
        let worktree = Worktree::discover(repository.root()).unwrap();
        let asker = Asker::default();
        let ask = || {
            let deadline = Instant::now() + Duration::from_mins(1);
            asker.clone().ask(worktree.clone(), deadline)
        };
        assert_eq!(ask().await, Presence::There);
        std::fs::rename(repository.at(".git"), repository.at("elsewhere")).unwrap();
        let gone = ask().await;
        assert!(matches!(gone, Presence::Gone(..)), "{gone:?}");
        let _never_answered = Arc::clone(&asker.0).acquire_owned().await.unwrap();
        let late = asker.ask(worktree, Instant::now()).await;
        assert_eq!(late, Presence::Silent);
    }
}
