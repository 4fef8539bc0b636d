//! What is asked of stores and ledger for the worktrees, in tasks whose outcome comes back as an event.
//!
//! Waits for nothing itself.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;

use super::{Event, EventLoop, WorktreeId};
use crate::identity::Reading;
use crate::ids::VersionKey;
use crate::session::{ResolveError, Resolved, Review, Session};
use crate::version::{ActiveModel, Observation};
use crate::worktree_state::{Input, Memory, OWED_MAX, Scope, StoreFailure, Verdict};

/// How long a question waits at most for the word that a known LoggedModel still exists.
const REVIEW_PATIENCE: Duration = Duration::from_secs(3);

impl EventLoop {
    pub(super) fn session(&self, id: WorktreeId) -> Option<Arc<Session>> {
        let entry = self.entries.get(&id)?;
        entry.session.as_ref().ok().map(Arc::clone)
    }

    pub(super) fn owe(&mut self, id: WorktreeId, observation: Box<Observation>) {
        let Some(session) = self.session(id) else {
            return;
        };
        keep_code(&mut self.work, &session, observation.clone());
        self.work.spawn_blocking(move || {
            if let Err(error) = session.owe(&observation) {
                tracing::error!(%error, "what is owed cannot be written down");
            }
            Event::Finished
        });
    }

    pub(super) fn recall(&mut self, id: WorktreeId) {
        let Some(session) = self.session(id) else {
            return;
        };
        self.work.spawn_blocking(move || {
            let owed = session.owed(OWED_MAX);
            Event::Recalled(id, session, owed)
        });
    }

    pub(super) fn begin_resolve(
        &mut self,
        id: WorktreeId,
        observation: Box<Observation>,
        owed: bool,
    ) {
        let Some(session) = self.session(id) else {
            return;
        };
        self.work.spawn_on(
            async move {
                let outcome = session
                    .resolve(&observation, owed)
                    .await
                    .map_err(|error| store_failure(&error));
                Event::Resolved(id, session, observation, outcome.map(Box::new))
            },
            &self.others,
        );
    }

    /// The row exists: it is published first and completed afterwards.
    pub(super) fn resolved(
        &mut self,
        id: WorktreeId,
        session: Arc<Session>,
        observation: Box<Observation>,
        outcome: Result<Box<Resolved>, StoreFailure>,
    ) {
        let model = outcome.as_ref().map(|resolved| resolved.model.clone());
        let model = model.map_err(Clone::clone);
        let is_current = self.is_current(id, &session);
        if let Err(failure) = &outcome
            && let Some(entry) = self.entries.get_mut(&id)
        {
            tracing::warn!(worktree = %entry.worktree.root.display(), reason = failure.reason, "the store failed");
            entry.last_error = Some((failure.reason.clone(), SystemTime::now()));
        }
        if is_current {
            self.input(id, Input::Resolved(observation, model));
        }
        if let Ok(resolved) = outcome {
            self.work.spawn_on(
                async move {
                    let model = resolved.model.model_id.clone();
                    let verdict = verdict(session.finish(&resolved).await);
                    Event::Verified(id, session, model, verdict)
                },
                &self.others,
            );
        }
    }

    pub(super) fn is_current(&self, id: WorktreeId, session: &Arc<Session>) -> bool {
        let current = self.session(id);
        current.is_some_and(|current| Arc::ptr_eq(&current, session))
    }

    /// A store that does not answer is no reason to make whoever asks wait: what is known counts.
    pub(super) fn begin_verify(&mut self, id: WorktreeId, model: ActiveModel, version: VersionKey) {
        let Some(session) = self.session(id) else {
            return;
        };
        self.work.spawn_on(async move {
            let review = tokio::time::timeout(REVIEW_PATIENCE, session.review(&model, &version));
            let model = model.model_id.clone();
            let verdict = match review.await {
                Ok(Ok(review)) => verdict(review),
                Ok(Err(error)) => {
                    tracing::debug!(%error, %model, "the store cannot be asked whether it still has a LoggedModel");
                    Verdict::Stands
                }
                Err(_) => Verdict::Stands,
            };
            Event::Verified(id, session, model, verdict)
        }, &self.others);
    }

    /// The code of a version that has its LoggedModel already, or that was committed, is kept.
    pub(super) fn keep_read(
        &mut self,
        id: WorktreeId,
        observation: Box<Observation>,
        memory: Memory,
    ) {
        let Some(session) = self.session(id) else {
            return;
        };
        if let Memory::Model(model) = memory {
            let keep = async move {
                session.keep_code_of(observation, model).await;
                Event::Finished
            };
            self.work.spawn_on(keep, &self.others);
        } else if observation.is_committed() {
            keep_code(&mut self.work, &session, observation);
        }
    }
}

/// The code of a commit, and of a version that is owed its LoggedModel, is kept before it can go.
fn keep_code(work: &mut JoinSet<Event>, session: &Arc<Session>, observation: Box<Observation>) {
    let session = Arc::clone(session);
    work.spawn_blocking(move || {
        session.keep_code(&observation);
        Event::Finished
    });
}

/// Commits that HEAD has moved on from are written down.
pub(super) fn owe_commits(
    work: &mut JoinSet<Event>,
    id: WorktreeId,
    session: &Arc<Session>,
    reading: Reading,
) {
    let session = Arc::clone(session);
    work.spawn_blocking(move || {
        if session.owe_commits(&reading) {
            Event::Owed(id, session)
        } else {
            Event::Finished
        }
    });
}

fn store_failure(failed: &ResolveError) -> StoreFailure {
    let error = &failed.error;
    StoreFailure {
        reason: error.to_string(),
        hint: error.hint(),
        retry_after: error.retry_after(),
        scope: if failed.of_version {
            Scope::Version
        } else {
            Scope::Store
        },
        lasting: error.is_lasting(),
    }
}

fn verdict(review: Review) -> Verdict {
    match review {
        Review::Stands { .. } => Verdict::Stands,
        Review::Later(winner) => Verdict::Later(winner),
        Review::Gone => Verdict::Gone,
    }
}
